"""Answers questions in the program that an export is meant for; runs by itself, without azubi.

Reads one JSON document from standard input:

    runtime         its name in `RUNTIMES`
    folder          of the export
    longest         most tokens of an answer
    conversations   messages as chat programs write them; the instruction comes from the export's template
    prompts         the same as the whole text that the model reads, where nothing else writes it
    texts           the same as plain texts, for encoders
    vectors         what a label head reads
    base            folder of the base, for adapters

and writes a line {"number": n, "text": answer} for each as it is done.
"""

import json
import os
import runpy
import sys
from collections.abc import Callable, Iterator
from typing import Any

Task = dict[str, Any]
Answers = Iterator[tuple[int, str]]


def transformers(task: Task) -> Answers:
    """Yield answers of a whole model."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(task["folder"], dtype=task.get("dtype", "auto")).eval()
    tokenizer = AutoTokenizer.from_pretrained(task["folder"])
    yield from _generated(model, tokenizer, task, 8)


def peft(task: Task) -> Answers:
    """Yield answers of a base with an adapter; an activated one acts from where each answer is opened."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = AutoModelForCausalLM.from_pretrained(task["base"], dtype=task.get("dtype", "auto"))
    model = PeftModel.from_pretrained(base, task["folder"]).eval()
    config: Any = model.peft_config["default"]
    activated = config.alora_invocation_tokens is not None
    tokenizer = AutoTokenizer.from_pretrained(task["folder"])
    yield from _generated(model, tokenizer, task, 1 if activated else 8)


def _generated(model: Any, tokenizer: Any, task: Task, size: int) -> Answers:
    import torch

    end = task["end"]
    settings = {"max_new_tokens": task["longest"], "do_sample": False, "eos_token_id": end}
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token_id = end
    conversations = task["conversations"]
    order = sorted(range(len(conversations)), key=lambda number: len(str(conversations[number])))
    for start in range(0, len(order), size):
        numbers = order[start : start + size]
        inputs = tokenizer.apply_chat_template(
            [conversations[number] for number in numbers],
            add_generation_prompt=True,
            padding=True,
            return_dict=True,
            return_tensors="pt",
        )
        with torch.inference_mode():
            written = model.generate(**inputs, **settings, pad_token_id=tokenizer.pad_token_id)
        for number, tokens in zip(numbers, written[:, inputs["input_ids"].shape[1] :].tolist(), strict=True):
            tokens = tokens[: tokens.index(end)] if end in tokens else tokens
            yield number, tokenizer.decode(tokens, skip_special_tokens=True)


def llama_cpp(task: Task) -> Answers:
    """Yield answers of a GGUF file, through the chat interface of llama.cpp's server.

    If an activated adapter lies beside it, the file is the base. With `prompts`, the model reads those as
    they are, as in Ollama.
    """
    import xllamacpp

    params = xllamacpp.CommonParams()
    base, adapter = (os.path.join(task["folder"], name) for name in ("base.gguf", "adapter.gguf"))
    params.model.path = os.path.join(task["folder"], "model.gguf")
    if os.path.exists(adapter):
        params.model.path, params.lora_adapters = base, [xllamacpp.CommonAdapterLoraInfo(adapter, 1.0)]
    params.use_jinja, params.n_predict, params.n_parallel, params.warmup = True, task["longest"], 1, False
    params.n_ctx, params.verbosity, params.sampling.temp = task["context"], 0, 0.0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = task["threads"]
    server = xllamacpp.Server(params)
    settings = {"max_tokens": task["longest"], "n_predict": task["longest"], "temperature": 0.0}
    for number, messages in enumerate(task["conversations"]):
        if "prompts" in task:
            answer = server.handle_completions({"prompt": task["prompts"][number], **settings})
            yield number, _said(answer)["text"]
        else:
            answer = server.handle_chat_completions({"messages": messages, **settings})
            yield number, _said(answer)["message"]["content"]


def _said(answer: Any) -> Any:
    if isinstance(answer, dict) and answer.get("choices"):
        return answer["choices"][0]
    raise RuntimeError(f"llama.cpp does not answer: {answer}")


def openvino(task: Task) -> Answers:
    """Yield answers of a GGUF file that OpenVINO reads."""
    import openvino_genai

    model = openvino_genai.LLMPipeline(os.path.join(task["folder"], "model.gguf"), "CPU")
    settings = {"max_new_tokens": task["longest"], "do_sample": False, "apply_chat_template": False}
    for number, prompt in enumerate(task["prompts"]):
        yield number, str(model.generate(prompt, **settings))


def onnxruntime(task: Task) -> Answers:
    """Yield the labels that encoder and head choose."""
    import numpy
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

    session = InferenceSession(os.path.join(task["folder"], "model.onnx"), providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    labels = json.loads(facts["labels"])
    tokenizer = Tokenizer.from_file(os.path.join(task["folder"], "tokenizer.json"))
    tokenizer.encode_special_tokens = True  # what a text spells is no control token
    reads_words = any(each.name == "words" for each in session.get_inputs())
    words = runpy.run_path(os.path.join(task["folder"], "words.py")) if reads_words else {}
    for number, text in enumerate(task["texts"]):
        tokens = numpy.array([tokenizer.encode(facts["prefix"] + text).ids], numpy.int64)
        inputs = {"input_ids": tokens, "attention_mask": numpy.ones_like(tokens)}
        inputs |= {"words": words["features"]([text])} if reads_words else {}
        yield number, labels[int(session.run(["scores"], inputs)[0][0].argmax())]


def scikit_learn(task: Task) -> Answers:
    """Yield the labels that a head chooses for vectors."""
    import numpy
    import skops.io

    head = skops.io.load(os.path.join(task["folder"], "head.skops"), trusted=[])
    yield from enumerate(map(str, head.predict(numpy.array(task["vectors"], numpy.float32))))


RUNTIMES: dict[str, Callable[[Task], Answers]] = {
    "transformers": transformers,
    "peft": peft,
    "llama.cpp": llama_cpp,
    "openvino": openvino,
    "onnxruntime": onnxruntime,
    "scikit-learn": scikit_learn,
}


def main() -> None:
    """Answer; libraries may print, so answers go where standard output was."""
    task = json.load(sys.stdin)
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        for number, text in RUNTIMES[task["runtime"]](task):
            print(json.dumps({"number": number, "text": text}), file=answers, flush=True)


if __name__ == "__main__":
    main()
