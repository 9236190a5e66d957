"""azubi on a graphics card: whether it computes the same there, and how fast it is beside PEFT's LoRA.

    pip install -e . peft          with a torch that finds the card
    python benchmarks/gpu.py       at most eight minutes; a table and, as the last line, one JSON document
    python benchmarks/gpu.py --small --device cpu     tiny shapes, to try the script itself

Weights are random, in the shapes of well-known models; nothing is fetched. The data are random letters, a
token each: how good an answer is says nothing. On each shape one loaded base trains twice, LoRA of rank 16 in
the last eight layers, with one cut and with two (`prompt_layers` 0), through the encrypted cache on disk.
Beside it stands a plain loop over PEFT's LoRA of rank 16 on all linear layers: the same examples, batches,
optimiser and epochs. Both measure the validation examples after each epoch, and answer the same questions
greedily. Loading the base is in nobody's time.

Memory is the most that torch allocated on the card, weights included; on the processor, the process's peak.
Tokens per second count whole examples in an epoch. What has no time left, or does not fit, is left out, and
the table says why.
"""

import argparse
import copy
import gc
import json
import random
import string
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from azubi.data.contract import Contract
from azubi.data.example import Example, Turn
from azubi.engine import selftest
from azubi.engine.base import hardware
from azubi.engine.base.base import Base
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.inference.answering import in_order
from azubi.engine.specialist import Specialist
from azubi.engine.split_model import SplitModel
from azubi.engine.training.defaults import TrainingConfig
from azubi.engine.training.loop import Epoch, train
from benchmarks import machine

LIMIT = 450.0
"""Seconds after which nothing new begins."""
RANK, RATE = 16, 1e-4
COLUMNS = ("reading", "epoch", "tokens_per_second", "end_to_end", "memory_gb", "answer_tokens_per_second")

LLAMA_1B = dict(model_type="llama", hidden_size=2048, intermediate_size=8192, num_hidden_layers=16) | dict(
    num_attention_heads=32, num_key_value_heads=8, head_dim=64, vocab_size=128256, tie_word_embeddings=True
)
QWEN_7B = dict(model_type="qwen2", hidden_size=3584, intermediate_size=18944, num_hidden_layers=28) | dict(
    num_attention_heads=28, num_key_value_heads=4, vocab_size=152064, tie_word_embeddings=False
)
TINY = dict(model_type="llama", hidden_size=64, intermediate_size=128, num_hidden_layers=4) | dict(
    num_attention_heads=4, num_key_value_heads=2, vocab_size=512, tie_word_embeddings=True
)


@dataclass(frozen=True)
class Work:
    """How much is measured."""

    shapes: dict
    """Source: each model's config.json."""
    tail_layers: int
    examples: int
    tokens: int
    """Of an example, its answer included."""
    answer: int
    """Tokens of an answer, the one that ends it included."""
    batch: int
    epochs: int
    questions: int


WHOLE = Work({"Llama-3.2-1B": LLAMA_1B, "Qwen2.5-7B": QWEN_7B}, 8, 500, 300, 20, 16, 2, 64)
SMALL = Work({"tiny": TINY}, 2, 12, 60, 6, 4, 1, 4)


class OutOfTime(Exception):
    """The limit is reached."""


class Clock:
    """Seconds since the script began, once the device has done what it was given."""

    def __init__(self):
        self._began = time.monotonic()

    def __call__(self):
        if torch.get_default_device().type != "cpu":
            torch.accelerator.synchronize()
        seconds = time.monotonic() - self._began
        if seconds > LIMIT:
            raise OutOfTime(f"no time was left after {seconds:.0f} s")
        return seconds


class RandomBase(Base):
    """A base of which there is a configuration alone."""

    def load(self, attention=None, dtype=torch.float32):
        torch.manual_seed(0)
        config = copy.deepcopy(self.config)
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)
        return hardware.on_device(model.eval().requires_grad_(False))


def random_base(name, shape):
    tokenizer = selftest.byte_tokenizer()
    config = AutoConfig.for_model(**shape, max_position_embeddings=4096, eos_token_id=tokenizer.eos_token_id)
    facts = {"kind": "decoder", "family": config.model_type, "licence": "unknown", "sha256": "0" * 64}
    sizes = {"layers": config.num_hidden_layers, "hidden": config.hidden_size, "context": 4096}
    return RandomBase(
        name=name, folder=Path(), pooling="mean", tokenizer=tokenizer, config=config, **facts, **sizes
    )


def made_up(template, number, work):
    """Examples of exactly so many tokens, none like another."""
    dice = random.Random(0)
    encoded = template.encode("", [Turn("user", "x")], "x")
    around_prompt, around_answer = len(encoded.prompt_ids) - 1, len(encoded.answer_ids) - 1
    asked, answered = work.tokens - work.answer - around_prompt, work.answer - around_answer

    def letters(count):
        return "".join(dice.choices(string.ascii_lowercase, k=count))

    return [Example((Turn("user", letters(asked)),), letters(answered)) for _ in range(number)]


def ours(model, prompt_layers, work, clock, home):
    """Training and answering with one cut, or with two."""
    reset_memory()
    began = clock()
    specialist = Specialist(model, Contract(task="text"), work.tail_layers, RANK, 0, prompt_layers)
    examples = made_up(model.template, work.examples + work.batch, work)
    encoded = [specialist.encode(example) for example in examples]
    learned, validation = encoded[: work.examples], encoded[work.examples :]
    config = TrainingConfig(epochs=work.epochs, batch=work.batch, learning_rate=RATE, patience=9, seed=0)
    epochs = []
    with closing(ActivationCache(home)) as cache:
        for _ in specialist.activations.fill(cache, encoded):
            clock()
        read_at = clock()
        reader = specialist.activations.reader(cache)
        for event in train(specialist.tail, learned, validation, reader, config, has_instruction=False):
            clock()
            epochs += [event.seconds] if isinstance(event, Epoch) else []
    ended, memory = clock(), peak_memory()
    answers = in_order(specialist.answering(work.answer), [each.turns for each in examples[: work.questions]])
    written = sum(answer.wrote for answer in answers)
    return figures(work, read_at - began, epochs, ended - began, memory, written / (clock() - ended))


def peft_lora(base, template, work, clock):
    """The same with PEFT's LoRA on all linear layers."""
    from peft import LoraConfig, get_peft_model

    reset_memory()
    device, dtype = torch.get_default_device(), dtype_here()
    model = base.load(None, dtype)
    began = clock()
    settings = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, settings)
    examples = [
        template.encode("", each.turns, each.answer)
        for each in made_up(template, work.examples + work.batch, work)
    ]
    encoded = [(each.prompt_ids, each.answer_ids) for each in examples]
    learned, validation = encoded[: work.examples], encoded[work.examples :]
    optimiser = torch.optim.AdamW(
        [weight for weight in model.parameters() if weight.requires_grad],
        lr=RATE,
        betas=(0.9, 0.98),
        fused=True,
    )

    def loss_of(batch):
        ids = torch.tensor([[*prompt, *answer] for prompt, answer in batch])
        labels = torch.tensor([[-100] * len(prompt) + list(answer) for prompt, answer in batch])
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            return model(input_ids=ids, labels=labels, use_cache=False).loss

    epochs = []
    for _ in range(work.epochs):
        epoch_began = clock()
        model.train()
        for start in range(0, len(learned), work.batch):
            loss_of(learned[start : start + work.batch]).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
            clock()
        model.eval()
        with torch.inference_mode():
            loss_of(validation)
        epochs.append(clock() - epoch_began)
    ended, memory = clock(), peak_memory()
    prompts = torch.tensor([prompt for prompt, _ in encoded[: work.questions]])
    written = model.generate(
        input_ids=prompts,
        attention_mask=torch.ones_like(prompts),
        max_new_tokens=work.answer,
        do_sample=False,
        pad_token_id=0,
    )
    tokens = int((written[:, prompts.shape[1] :] != 0).sum())
    return figures(work, 0.0, epochs, ended - began, memory, tokens / (clock() - ended))


def figures(work, reading, epochs, end_to_end, memory, answers_per_second):
    epoch = sum(epochs) / len(epochs)
    values = (reading, epoch, work.examples * work.tokens / epoch, end_to_end, memory, answers_per_second)
    return dict(zip(COLUMNS, values, strict=True))


def dtype_here():
    return torch.float32 if torch.get_default_device().type == "cpu" else torch.bfloat16


def reset_memory():
    gc.collect()
    if torch.get_default_device().type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    hardware.reset_peak_memory()


def peak_memory():
    """In 1e9 bytes."""
    on_card = torch.get_default_device().type == "cuda"
    return (torch.cuda.max_memory_allocated() if on_card else hardware.peak_memory()) / 1e9


def measured(measure, *arguments):
    """What a side gave, or why it gave nothing."""
    try:
        return measure(*arguments)
    except (OutOfTime, torch.OutOfMemoryError, ImportError) as error:
        return {"left_out": str(error).splitlines()[0]}


def sides(name, shape, work, clock):
    """Each side's figures on one shape."""
    clock()
    base = random_base(name, shape)
    model = SplitModel(base, dtype_here())
    template, figures = model.template, {}
    for prompt_layers in (work.tail_layers, 0):
        with tempfile.TemporaryDirectory() as home:
            side = f"azubi, k = {work.tail_layers}, j = {prompt_layers}"
            figures[side] = measured(ours, model, prompt_layers, work, clock, Path(home))
    del model
    return figures | {"PEFT LoRA, all layers": measured(peft_lora, base, template, work, clock)}


def table(results):
    """The figures as Markdown."""
    rows = [f"| base | side | {' | '.join(COLUMNS)} |", "|---" * (2 + len(COLUMNS)) + "|"]
    for name, figures in results.items():
        for side, values in ({"": figures} if "left_out" in figures else figures).items():
            cells = [values.get("left_out", "")] if "left_out" in values else []
            cells += [f"{values[column]:,.1f}" for column in COLUMNS if column in values]
            rows.append(f"| {name} | {side} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="tiny shapes, to try the script")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    options = parser.parse_args(arguments)
    device = hardware.use_device(options.device).type
    if device == "cpu" and not options.small:
        print("torch finds no graphics card here. To try the script: --small", file=sys.stderr)
        return 1
    clock, work = Clock(), SMALL if options.small else WHOLE
    checks = [result.model_dump() | {"failed": result.failed} for result in selftest.run(device)]
    for check in checks:
        outcome = check["error"] or ", ".join(check["failed"]) or "same"
        print(f"{check['family']} in {check['dtype']} on {device}: {outcome}")
    hardware.use_threads(None)
    results = {name: measured(sides, name, shape, work, clock) for name, shape in work.shapes.items()}
    print(f"\n{table(results)}\n")
    card = torch.cuda.get_device_name() if device == "cuda" else device
    facts = machine.facts(torch.get_num_threads()) | {"device": card, "torch": torch.__version__}
    document = {"machine": facts, "work": vars(work), "selftest": checks, "results": results}
    print(json.dumps(document))
    return int(any(check["failed"] for check in checks))


if __name__ == "__main__":
    raise SystemExit(main())
