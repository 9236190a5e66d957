"""What lies beside the weights of every export: contract, how to serve it, notices, hashes.

Knows cards and files; nothing of weights.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import azubi
from azubi.engine.base.base import Base
from azubi.errors import CorruptFile
from azubi.export.formats import Format, kind_of
from azubi.registry import licence
from azubi.registry.card import Card
from azubi.storage import files

CONTRACT, SERVE, NOTICE, MANIFEST, PARITY = (
    *("contract.json", "serve.md", "NOTICE", "manifest.json"),
    "parity.json",
)
_LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "NOTICE", "NOTICE.txt")


def write(card: Card, base: Base, format: Format, folder: Path, weights: Mapping[str, str]) -> None:
    """Write everything but hashes and parity; `weights` describes what the format needs to say of itself."""
    files.write_text(folder / CONTRACT, contract_text(card))
    files.write_text(folder / SERVE, serve_text(card, base, format, weights))
    files.write_text(folder / NOTICE, notice_text(card, base))


def contract_text(card: Card) -> str:
    """What whoever runs the export has to know: answers, rules of derived fields, instruction, scope."""
    contract = {
        "specialist": f"{card.name}@{card.version}",
        **card.contract.model_dump(mode="json"),
        "instruction": card.instruction,
        "system": card.system,
        "prefix": card.prefix,
        "longest": card.longest,
        "scope_limit": card.scope_limit,
        "personal_data": card.hidden.policy,
    }
    return json.dumps(contract, indent=2, ensure_ascii=False) + "\n"


def notice_text(card: Card, base: Base) -> str:
    """Whose work the base is, what its licence asks for, and the licence's own text where the base has it."""
    parts = [licence.notice(card).strip()]
    for name in _LICENCE_FILES:
        if (path := base.folder / name).is_file():
            parts.append(f"---- {name} of the base ----\n\n{path.read_text(errors='replace').strip()}")
    return "\n\n".join(parts) + "\n"


_TITLE = {
    "hf": "Transformers, vLLM, TGI or SGLang",
    "gguf": "llama.cpp",
    "ollama": "Ollama",
    "peft": "PEFT",
    "onnx": "ONNX Runtime",
    "sklearn": "scikit-learn",
    "openvino": "OpenVINO GenAI",
    "delta": "azubi on another machine",
}
_HF = """vLLM (OpenAI-compatible, port 8000):

    vllm serve {folder} --served-model-name {name} \\
        --override-generation-config '{{"temperature": 0, "max_new_tokens": {longest}}}'

Transformers:

    from transformers import pipeline
    ask = pipeline("text-generation", {folder!r})
    print(ask([{{"role": "user", "content": "…"}}], return_full_text=False)[0]["generated_text"])
"""
_GGUF = """llama.cpp's server (OpenAI-compatible, port 8080):

    llama-server -m {folder}/{model} --jinja --temp 0 -n {longest} --port 8080
"""
_GGUF_ADAPTER = """llama.cpp's server (OpenAI-compatible, port 8080) of September 2025 or later:

    llama-server -m {folder}/{model} --lora {folder}/adapter.gguf --parallel 1 \\
        --jinja --temp 0 -n {longest} --port 8080

The base reads the prompt, and the adapter acts from where the answer is opened: an activated LoRA. Other
programs that read GGUF let it act on the prompt, too, and answer wrongly. So does the server with more than
one slot (`--parallel`) when requests meet: it switches the adapter for all of them at once. {approximation}
"""
_OLLAMA = """In this folder:

    ollama create {name} -f Modelfile
    ollama run {name}
"""
_PEFT = """The base is {base} (SHA-256 of its weights {sha256}); it lay in {base_folder}. {approximation}

    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer
    base = AutoModelForCausalLM.from_pretrained({base_folder!r}, dtype="{dtype}")
    model, tokenizer = PeftModel.from_pretrained(base, {folder!r}), AutoTokenizer.from_pretrained({folder!r})
    inputs = tokenizer.apply_chat_template([{{"role": "user", "content": "…"}}],
        add_generation_prompt=True, return_dict=True, return_tensors="pt")
    written = model.generate(**inputs, max_new_tokens={longest}, do_sample=False, eos_token_id={end})
    print(tokenizer.decode(written[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))
"""
_ACTIVATED = (
    "It is an activated adapter: by `alora_invocation_tokens`, PEFT (0.18 or later) lets it act from where "
    "the answer is opened. Programs that do not know this setting, vLLM among them, ignore it, let the "
    "adapter act on the prompt, too, and answer wrongly."
)
_ONNX = """
    import json, numpy, onnxruntime
    from tokenizers import Tokenizer
    session = onnxruntime.InferenceSession({model!r})
    facts = session.get_modelmeta().custom_metadata_map
    labels, prefix = json.loads(facts["labels"]), facts["prefix"]
    tokens = Tokenizer.from_file("tokenizer.json").encode(prefix + "…").ids
    tokens = numpy.array([tokens], numpy.int64)
    scores, scope = session.run(None, {{"input_ids": tokens, "attention_mask": numpy.ones_like(tokens)}})
    print(labels[scores[0].argmax()])  # softmax(scores) are probabilities; for scope see below

A head that reads the letters of words, too, wants one input more, for the bare texts without prefix:
`{{"words": words.features(["…"])}}`, with the file `words.py`, where there is one.

The output `scope` says how much a text is like the examples. One with less than `scope_limit` of the metadata
is out of scope.
"""
_SKLEARN = """
    import skops.io
    head = skops.io.load({model!r}, trusted=[])
    print(head.predict(vectors), head.predict_proba(vectors))

`vectors` are [texts, {hidden}], float32: {pooling} over the token vectors of {base} (SHA-256 of its weights
{sha256}), scaled to length 1. Every text begins with {prefix!r}. In azubi, `ask` does all of that.
"""
_OPENVINO = """
    import openvino_genai
    model = openvino_genai.LLMPipeline({folder!r} + "/{model}", "CPU")
    print(model.generate(prompt, max_new_tokens={longest}, do_sample=False, apply_chat_template=False))

`prompt` is what the chat template in `tokenizer_config.json` or `chat_template.jinja` makes of a message.
"""
_DELTA = """It needs the base {base} (SHA-256 of its weights {sha256}) on that machine.

    azubi import {folder}
    azubi ask {name} "…"
"""
_SERVE = {
    **{"hf": _HF, "gguf": _GGUF, "ollama": _OLLAMA, "peft": _PEFT, "onnx": _ONNX, "sklearn": _SKLEARN},
    **{"openvino": _OPENVINO, "delta": _DELTA},
}


def serve_text(card: Card, base: Base, format: Format, weights: Mapping[str, str]) -> str:
    """How to run the export, and what azubi does beside the model that its runtime does not."""
    facts = {
        "name": card.name,
        "longest": str(card.longest),
        "base": Path(card.base).name,
        "base_folder": str(base.folder),
        "sha256": card.base_sha256,
        "dtype": card.dtype,
        "hidden": str(base.hidden),
        "pooling": card.pooling,
        "prefix": card.prefix,
        **weights,
    }
    activated = kind_of(card) == "activated"
    shown = _GGUF_ADAPTER if activated and format.name == "gguf" else _SERVE[format.name]
    command = shown.format(**{"folder": "DIR", **facts})
    parts = [f"# {card.name}@{card.version} in {_TITLE[format.name]}", command.strip("\n")]
    if activated and format.name == "peft":
        parts.append(_ACTIVATED)
    if missing := "\n".join(f"* {line}" for line in _left_to_the_caller(card, format)):
        parts.append(f"azubi does more than the model. Here it is left to you:\n\n{missing}")
    return "\n\n".join(parts) + f"\n\n{_ALSO}\n"


_ALSO = (
    f"`{CONTRACT}` says what an answer may be. `{PARITY}` says how the answers in this format compare with "
    f"azubi's on held-out examples. `{MANIFEST}` has the SHA-256 of every file; `{NOTICE}` goes along "
    "wherever the files go."
)


def _left_to_the_caller(card: Card, format: Format) -> list[str]:
    """What the runtime does not do, as sentences."""
    if format.name == "delta":
        return []
    lines = []
    if derived := ", ".join(card.contract.derived):
        lines.append(f"Derived fields ({derived}) are not written; `{CONTRACT}` has their rules in CEL.")
    if card.contract.task == "labels" and not card.pooling:
        lines.append(
            f"Nothing keeps the answer to the labels of `{CONTRACT}`; azubi chooses among them alone."
        )
    if card.contract.rare:
        lines.append("Answers that may be one of the labels that are too rare are not marked for review.")
    if card.scope_limit is not None and format.name != "onnx":
        lines.append("Questions that are out of scope are not marked.")
    if card.hidden.policy in ("mask", "pseudonym"):
        lines.append(
            f"Personal data were hidden in training (personal_data: {card.hidden.policy}). Hide them before "
            "you ask, too: it has never seen real ones."
        )
    return lines


def listed(folder: Path) -> dict[str, str]:
    """SHA-256 of each file that an export's manifest lists; empty if the folder is no export.

    Raises:
        CorruptFile: the manifest is not as azubi writes it.
    """
    path = folder / MANIFEST
    try:
        entries = json.loads(path.read_bytes())["files"] if path.is_file() else {}
        return {str(name): str(facts["sha256"]) for name, facts in entries.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptFile(f"{path} cannot be read.", "Copy the export again, whole.") from error


def write_manifest(card: Card, format: Format, folder: Path) -> None:
    """Write the SHA-256 and size of every file; it is written last."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    manifest = {
        "specialist": f"{card.name}@{card.version}",
        "format": format.name,
        "azubi": azubi.__version__,
        "tail_sha256": card.tail_sha256,
        "base": Path(card.base).name,
        "base_sha256": card.base_sha256,
        "licence": card.licence,
        "files": {
            path.relative_to(folder).as_posix(): {
                "sha256": files.sha256(path),
                "bytes": path.stat().st_size,
            }
            for path in paths
        },
    }
    files.write_text(folder / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
