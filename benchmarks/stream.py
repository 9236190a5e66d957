"""Bases larger than memory: what streaming the trunk costs, in time, memory and bytes read.

    python benchmarks/stream.py run llama-3.1-8b --folder WORK     (all cells that are not stored yet)
    python benchmarks/stream.py table                              (the stored cells as Markdown)

Weights are random, in the shapes of well-known models, in bfloat16, one file per layer; they are written
layer by layer, and deleted when the size is done. Each cell runs in a process of its own, so that its peak of
memory is its own, and each result is stored, so that the table can be made in several sittings.

    trunk   2,048 to 8,192 tokens through all layers but two, into the activation cache
    lora    training steps of the last two layers, factors of rank 16, from activations
    full    the same with full weights
    answer  a few answers of a few tokens, the layers streamed for each token

Memory: `VmHWM`, the most that was resident at any time, mapped file pages included, and how much of it was
the process's own (`RssAnon`) and how much mapped files (`RssFile`), sampled every 20 ms. Bytes read: of
tensors that were asked for, and those that came from the disk rather than from the system's page cache
(`/proc/self/io`); the cache is emptied of the files before each cell.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
CELLS = ("trunk", "lora", "full", "answer")
TAIL, RANK = 2, 16
LENGTH, BATCH, ANSWER = 128, 8, 16
"""Tokens of an example, examples of a training step, tokens of an answer."""
TOKENS = 100_000
"""Size of the data set that the times are scaled to."""

SHAPES = {
    # Source: each model's config.json.
    "qwen2.5-0.5b": dict(
        kind="qwen2",
        hidden=896,
        inner=4864,
        layers=24,
        heads=14,
        keys=2,
        words=151936,
        tied=True,
        tokens=8192,
    ),
    "qwen2.5-1.5b": dict(
        kind="qwen2",
        hidden=1536,
        inner=8960,
        layers=28,
        heads=12,
        keys=2,
        words=151936,
        tied=True,
        tokens=8192,
    ),
    "llama-3.2-3b": dict(
        kind="llama",
        hidden=3072,
        inner=8192,
        layers=28,
        heads=24,
        keys=8,
        words=128256,
        tied=True,
        tokens=4096,
    ),
    "llama-3.1-8b": dict(
        kind="llama",
        hidden=4096,
        inner=14336,
        layers=32,
        heads=32,
        keys=8,
        words=128256,
        tied=False,
        tokens=2048,
    ),
}


# Writing a base.


def config(name):
    from transformers import AutoConfig

    shape = SHAPES[name]
    return AutoConfig.for_model(
        shape["kind"],
        hidden_size=shape["hidden"],
        intermediate_size=shape["inner"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["keys"],
        vocab_size=shape["words"],
        tie_word_embeddings=shape["tied"],
        max_position_embeddings=32768,
        bos_token_id=256,
        eos_token_id=257,
        architectures=[f"{shape['kind'].capitalize()}ForCausalLM"],
    )


def write_base(name, folder):
    """Write the base shard by shard; no more than one layer is in memory."""
    import torch
    from accelerate import init_empty_weights
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM

    settings = config(name)
    with init_empty_weights():
        model = AutoModelForCausalLM.from_config(settings)
    model.tie_weights()
    parts = {}
    for key, weight in model.named_parameters():  # a tied head is named once
        group = key.split(".")[2] if ".layers." in key else key
        parts.setdefault(group, {})[key] = weight
    needed = 2 * sum(weight.numel() for part in parts.values() for weight in part.values())
    free = shutil.disk_usage(folder.parent).free
    if free < 1.2 * needed + 5e9:
        sys.exit(
            f"{name} needs {needed / 1e9:.0f} GB on disk; {free / 1e9:.0f} GB are free in {folder.parent}."
        )
    folder.mkdir()
    pool = torch.randn(1 << 24, generator=torch.Generator().manual_seed(0)).bfloat16()
    for number, part in enumerate(parts.values(), 1):
        file = folder / f"model-{number:05}-of-{len(parts):05}.safetensors"
        save_file({key: some_weight(key, weight.shape, pool) for key, weight in part.items()}, file)
    settings.save_pretrained(folder)
    write_tokenizer(folder)


def some_weight(key, shape, pool):
    """Random, of a size that keeps hidden states and scores near 1; norms are 1, biases 0."""
    import torch

    if len(shape) == 1:
        return torch.full(shape, 0.0 if key.endswith("bias") else 1.0, dtype=torch.bfloat16)
    count = shape.numel()
    start = hash_of(key) % len(pool)
    numbers = pool.roll(start).repeat(-(-count // len(pool)))[:count].reshape(shape)
    return numbers * (0.5 / shape[1] ** 0.5)


def hash_of(key):
    return sum((place + 1) * 7919 * byte for place, byte in enumerate(key.encode()))


def write_tokenizer(folder):
    """One token per byte: what the words are does not matter here."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    words.add_special_tokens(["<|start|>", "<|end|>"])
    PreTrainedTokenizerFast(
        tokenizer_object=words,
        bos_token="<|start|>",
        eos_token="<|end|>",
        chat_template="{% for m in messages %}<|start|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}",
    ).save_pretrained(folder)


# One cell.


class Memory:
    """Watches the process's resident memory."""

    def __init__(self):
        self.most = {"RssAnon": 0, "RssFile": 0}
        self._going = True
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self):
        while self._going:
            now = status()
            self.most = {name: max(size, now[name]) for name, size in self.most.items()}
            time.sleep(0.02)

    def ended(self):
        self._going = False
        self._thread.join()
        return {"peak": status()["VmHWM"], "own": self.most["RssAnon"], "mapped": self.most["RssFile"]}


def status():
    pairs = (line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: 1024 * int(value.split()[0]) for name, value in pairs if name.startswith(("Rss", "VmHWM"))}


def read_from_disk():
    return int(
        next(s for s in Path("/proc/self/io").read_text().splitlines() if s.startswith("read_bytes")).split()[
            1
        ]
    )


def forget_files(folder):
    """Empty the system's page cache of a folder's files."""
    for file in folder.glob("*.safetensors"):
        handle = os.open(file, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def cell(name, kind, folder, home):
    """Measure one cell; runs in a process of its own."""
    import torch

    from azubi import halves
    from azubi.base import probe
    from azubi.base.opening import open_base
    from azubi.data.contract import Contract

    machine = probe.probe()
    base = open_base(str(folder), home)  # hashes the files, the first time
    forget_files(folder)
    memory, disk = Memory(), read_from_disk()
    begun = time.perf_counter()
    both = halves.cut(
        base, Contract(task="text"), TAIL, RANK if kind == "lora" else 0, 0, machine.dtype, stream=True
    )
    opened = time.perf_counter() - begun
    found = {"trunk": trunk, "answer": answer}.get(kind, tail)(name, both, home)
    return found | {
        "base": name,
        "cell": kind,
        "opened_seconds": opened,
        "parameters": both.parameters,
        "layer_parameters": both.layer_parameters,
        "dtype": machine.dtype_name,
        "threads": machine.threads,
        "peak_gflops": machine.gflops,
        "bytes_asked": both._lazy.shards.bytes_read,
        "bytes_from_disk": read_from_disk() - disk,
        "memory": memory.ended(),
        "load": os.getloadavg(),
        "torch": torch.__version__,
    }


def texts(count):
    import random

    dice = random.Random(0)
    return [tuple(dice.randrange(256) for _ in range(LENGTH)) for _ in range(count)]


def trunk(name, both, home):
    """Tokens through all layers but the tail's, into the cache."""
    from azubi.activations import ActivationCache
    from azubi.tail.batch import Lesson

    lessons = [Lesson(one, (0,)) for one in texts(SHAPES[name]["tokens"] // LENGTH)]
    cache = ActivationCache(home)
    begun = time.perf_counter()
    *_, filled = both.fill(cache, lessons)
    seconds = time.perf_counter() - begun
    read = both.reader(cache)
    assert all(read(one.tokens).isfinite().all() for one in lessons)
    layers = SHAPES[name]["layers"] - TAIL
    return {
        "tokens": filled.tokens,
        "seconds": seconds,
        "flops": 2 * filled.tokens * layers * both.layer_parameters,
    }


def tail(name, both, _):
    """Training steps from made-up activations, and the validation after them."""
    import torch

    from azubi.tail import training
    from azubi.tail.batch import Lesson

    lessons = [Lesson(one, one[-ANSWER:]) for one in texts(4 * BATCH)]
    dice = torch.Generator().manual_seed(0)
    states = torch.randn(LENGTH, SHAPES[name]["hidden"], generator=dice).to(both.dtype)
    plan = training.Plan(
        epochs=1, batch=BATCH, learning_rate=1e-4, warmup=0.1, weight_decay=0.01, clip=1.0, patience=2, seed=0
    )
    times, losses = [], []
    begun = time.perf_counter()
    for happened in training.train(both.tail, lessons, lessons[:BATCH], lambda _: states, plan, primed=False):
        if isinstance(happened, training.Step):
            times.append(time.perf_counter() - begun)
            losses.append(happened.loss)
        begun = time.perf_counter()
    assert all(loss == loss for loss in losses)
    tokens, asked = BATCH * LENGTH, BATCH * ANSWER
    # Forward and gradients of states take two products each way per weight; those of weights one more,
    # unless the weights are frozen. The head is frozen, and read at the answer's tokens alone. As if the last
    # layer were computed everywhere: it is not, so the share of the peak comes out a little too high.
    layers = TAIL * both.layer_parameters * tokens
    trained = sum(one.requires_grad for one in both.tail.parameters())
    full = trained == sum(1 for _ in both.tail.parameters())
    flops = (6 if full else 4) * layers + 4 * asked * both.head_parameters
    return {"tokens": tokens, "seconds": min(times[1:]), "steps": times, "losses": losses, "flops": flops}


def answer(name, both, _):
    """The untouched base writes: the questions together, layer by layer for each token."""
    from azubi.data.example import Turn

    both.prime("Answer shortly.")
    longest = 4
    speak = both.untouched(longest)
    questions = [
        (Turn("user", "What is the time in place number " + "abcdefgh"[one] + "?"),) for one in range(8)
    ]
    begun = time.perf_counter()
    answers = list(speak(questions))
    seconds = time.perf_counter() - begun
    return {"tokens": len(answers) * longest, "seconds": seconds, "passes": longest, "answers": len(answers)}


# All of it.


def run(name, folder, cells):
    """Write the base, measure what is not stored yet, delete it."""
    RESULTS.mkdir(exist_ok=True)
    todo = [kind for kind in cells if not stored(name, kind).exists()]
    base, home = folder / name, folder / "home"
    if not todo:
        return
    folder.mkdir(parents=True, exist_ok=True)
    if not base.is_dir():
        begun = time.perf_counter()
        write_base(name, base)
        print(f"{name} written in {time.perf_counter() - begun:.0f} s", flush=True)
    for kind in todo:
        subprocess.run([sys.executable, __file__, "cell", name, kind, "--folder", str(folder)], check=True)
    if all(stored(name, kind).exists() for kind in CELLS):
        shutil.rmtree(base)
        shutil.rmtree(home)


def stored(name, kind):
    return RESULTS / f"stream-{name}-{kind}.json"


def table():
    """The stored cells as Markdown."""
    print(
        "| base | cell | time | peak memory | of it own, mapped | tensors read | from disk | share of peak |"
        f" {TOKENS:,} tokens |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in SHAPES:
        for kind in CELLS:
            if stored(name, kind).exists():
                print(row(json.loads(stored(name, kind).read_text())))


def row(one):
    seconds, memory = one["seconds"], one["memory"]
    scaled = TOKENS * seconds / one["tokens"]
    what = {
        "trunk": f"trunk, {one['tokens']:,} tokens",
        "lora": f"step of {one['tokens']:,} tokens, r={RANK}",
        "full": f"step of {one['tokens']:,} tokens, full weights",
        "answer": f"{one.get('answers')} answers of {one.get('passes')} tokens",
    }[one["cell"]]
    share = f"{one['flops'] / seconds / one['peak_gflops'] / 1e7:.0f} %" if "flops" in one else ""
    per = {"answer": f"{seconds / one.get('passes', 1):.1f} s per token of all"}.get(
        one["cell"], spoken(scaled)
    )
    return (
        f"| {one['base']} | {what} | {seconds:.1f} s | {memory['peak'] / 1e9:.1f} GB | "
        f"{memory['own'] / 1e9:.1f}, {memory['mapped'] / 1e9:.1f} GB | {one['bytes_asked'] / 1e9:.1f} GB | "
        f"{one['bytes_from_disk'] / 1e9:.1f} GB | {share} | {per} |"
    )


def spoken(seconds):
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["run", "cell", "table"])
    parser.add_argument("base", nargs="?", choices=list(SHAPES))
    parser.add_argument("cells", nargs="*", help="some of: " + ", ".join(CELLS))
    parser.add_argument("--folder", type=Path, default=Path("stream-work"))
    given = parser.parse_args()
    if given.what == "table":
        table()
    elif given.what == "cell":
        (kind,) = given.cells
        found = cell(given.base, kind, given.folder / given.base, given.folder / "home")
        stored(given.base, kind).write_text(json.dumps(found, indent=1) + "\n")
        print(row(found), flush=True)
    else:
        for name in [given.base] if given.base else SHAPES:
            run(name, given.folder, given.cells or CELLS)


if __name__ == "__main__":
    main()
