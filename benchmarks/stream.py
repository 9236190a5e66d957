"""Bases larger than memory: what streaming the trunk costs, in time, memory and bytes read.

    python benchmarks/stream.py run --folder WORK                      all cells that are not stored yet
    python benchmarks/stream.py run llama-3.1-8b lora --folder WORK    one of them
    python benchmarks/stream.py plan --folder WORK                     what is stored, and the room it takes
    python benchmarks/stream.py table                                  the stored cells as Markdown

Weights are random, in the shapes of well-known models, in bfloat16, one file per layer; they are written
layer by layer, and deleted when the base's cells are all stored. Each cell runs in a process of its own, so
that its peak of memory is its own, and each result is stored, so that the table can be made in several
sessions; `--again` measures what is stored already.

    trunk   2,048 to 8,192 tokens through all layers but two, into the activation cache
    lora    training steps of the last two layers, factors of rank 16, from activations, with a checkpoint
    full    the same with full weights
    answer  a few answers of a few tokens, the layers streamed for each token
    tune    all of it for a tail of eight layers, factors of rank 16: the trunk, and an epoch from the cache
    tune-0  the same with two cuts: no layer of the tail acts on the prompt, which the whole base reads once

Memory: the most that was resident at any time as the system keeps count of it (`VmHWM`). It is made of memory
of the process's own (`RssAnon`: tensors, optimiser) and of pages of mapped files (`RssFile`: the layers that
are being used, and the libraries). The latter are the system's page cache seen from the process; it can take
them back, but a layer that is being used has to be there, so they count. The two are sampled every 20 ms and
may reach their highest at different times. Pages that the system keeps of files that are not mapped just then
belong to no process and do not count. What the libraries alone take is kept as `bare`.

Bytes read: of tensors that were asked for, and those that came from the disk rather than from the system's
page cache (`/proc/self/io`); the cache is emptied of the files before each cell.
"""

import argparse
import functools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from azubi.storage import files
from benchmarks import machine

RESULTS = machine.RESULTS / "stream"
CELLS = ("trunk", "lora", "full", "answer", "tune", "tune-0")
TAIL, TUNED, RANK = 2, 8, 16
"""Layers of the tail, and of the cells that tune (of a base of fewer than 16, half of them)."""
LENGTH, BATCH, ANSWER, STEPS = 128, 8, 16, 3
"""Tokens of an example, examples of a training step, tokens of an answer, training steps."""
TOKENS, EPOCHS = 100_000, 3
"""Size of the data set that the times are scaled to, and how often a tuned tail sees it."""
SPARE = 2_000_000_000
"""Bytes on disk for activations, and for others."""

SHAPES = {
    # Source: each model's config.json. `keys`: heads of keys and values; `tokens`: of the trunk's cell.
    "qwen2.5-0.5b": dict(kind="qwen2", hidden=896, inner=4864, layers=24, heads=14, keys=2, tokens=8192)
    | dict(words=151936, tied=True),
    "qwen2.5-1.5b": dict(kind="qwen2", hidden=1536, inner=8960, layers=28, heads=12, keys=2, tokens=8192)
    | dict(words=151936, tied=True),
    "llama-3.2-3b": dict(kind="llama", hidden=3072, inner=8192, layers=28, heads=24, keys=8, tokens=4096)
    | dict(words=128256, tied=True),
    "llama-3.1-8b": dict(kind="llama", hidden=4096, inner=14336, layers=32, heads=32, keys=8, tokens=2048)
    | dict(words=128256, tied=False),
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


def parts_of(name):
    """The tensors of each file, without numbers: a layer, or what stands beside the layers."""
    from accelerate import init_empty_weights
    from transformers import AutoModelForCausalLM

    with init_empty_weights():
        model = AutoModelForCausalLM.from_config(config(name))
    model.tie_weights()
    parts = {}
    for key, weight in model.named_parameters():  # a tied head is named once
        parts.setdefault(key.split(".")[2] if ".layers." in key else key, {})[key] = weight.shape
    return list(parts.values())


def size_of(parts):
    """Bytes of a base on disk, in bfloat16."""
    return 2 * sum(shape.numel() for part in parts for shape in part.values())


def checkpoint_size(parts):
    """Bytes of the largest checkpoint: float32 masters and two moments, twice, since one is kept until the
    next is whole; and the best weights."""
    layer = size_of([next(part for part in parts if any(".layers." in key for key in part))])
    return TAIL * layer * (2 * 6 + 2)


def room(name, folder, cells):
    """Bytes that some cells of a base need: of weights still to be written, and of what comes beside them."""
    parts = parts_of(name)
    written = (folder / name).is_dir()
    beside = SPARE + (checkpoint_size(parts) if "full" in cells else 0)
    return 0 if written else size_of(parts), beside


def shortage(name, folder, cells):
    """What is missing on disk, said plainly; empty if nothing is."""
    base, beside = room(name, folder, cells)
    free = shutil.disk_usage(existing(folder)).free
    if free >= base + beside:
        return ""
    return (
        f"{name} ({', '.join(cells)}) needs {gb(base + beside)} in {folder}: {gb(base)} for weights that are "
        f"still to be written, {gb(beside)} for checkpoints and activations. {gb(free)} are free, so "
        f"{gb(base + beside - free)} are missing. Free them, or name another folder with --folder."
    )


def gb(size):
    return f"{size / 1e9:.1f} GB"


def existing(folder):
    return next(path for path in (folder, *folder.absolute().parents) if path.is_dir())


def write_base(name, folder):
    """Write the base file by file, whole or not at all; no more than one layer is in memory."""
    import torch
    from safetensors.torch import save_file

    parts = parts_of(name)
    # One block of random numbers, repeated: making all of them anew takes minutes.
    pool = torch.randn(1 << 24, generator=torch.Generator().manual_seed(0)).bfloat16()
    with files.new_folder(folder) as scratch:
        for number, part in enumerate(parts, 1):
            file = scratch / f"model-{number:05}-of-{len(parts):05}.safetensors"
            save_file({key: some_weight(key, shape, pool) for key, shape in part.items()}, file)
        config(name).save_pretrained(scratch)
        write_tokenizer(scratch)


def some_weight(key, shape, pool):
    """Random, of a size that keeps hidden states and scores near 1; norms are 1, biases 0."""
    import torch

    if len(shape) == 1:
        return torch.full(shape, 0.0 if key.endswith("bias") else 1.0, dtype=torch.bfloat16)
    start = sum(place * byte for place, byte in enumerate(key.encode())) * 7919 % len(pool)
    block = pool.roll(start) * (0.5 / shape[1] ** 0.5)
    weight = torch.empty(shape, dtype=torch.bfloat16)
    for piece in weight.view(-1).split(len(block)):
        piece.copy_(block[: len(piece)])
    return weight


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
        self._bare = status()["VmRSS"]
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
        now, most = status(), self.most
        return {"peak": now["VmHWM"], "own": most["RssAnon"], "mapped": most["RssFile"], "bare": self._bare}


def status():
    pairs = (line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        name: 1024 * int(value.split()[0])
        for name, value in pairs
        if name.startswith(("Rss", "VmRSS", "VmHWM"))
    }


def read_from_disk():
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def forget_files(folder):
    """Empty the system's page cache of a folder's files."""
    for file in folder.glob("*.safetensors"):
        handle = os.open(file, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def cell(name, kind, folder):
    """Measure one cell; for a process of its own."""
    import torch

    from azubi.data.contract import Contract
    from azubi.engine.base import hardware
    from azubi.engine.base.opening import open_base
    from azubi.engine.specialist import new_specialist

    home, rank = folder / "home", 0 if kind in ("full", "answer", "trunk") else RANK
    probed = hardware.probe()
    base = open_base(str(folder / name), home)  # hashes the files, the first time
    forget_files(folder / name)
    memory, disk, started = Memory(), read_from_disk(), time.perf_counter()
    depth = min(TUNED, base.layers // 2) if kind.startswith("tune") else TAIL
    contract, prompt_layers = Contract(task="text"), 0 if kind == "tune-0" else None
    specialist = new_specialist(
        base, contract, depth, rank, 0, probed.dtype, stream=True, prompt_layers=prompt_layers
    )
    opened = time.perf_counter() - started
    full = functools.partial(tail, low_rank=False)
    measure = {"trunk": trunk, "answer": answer, "lora": tail, "full": full}.get(kind, tune)
    return measure(name, specialist, home) | {
        "base": name,
        "cell": kind,
        "measured": machine.now(),
        "opened_seconds": opened,
        "tail_layers": depth,
        "parameters": specialist.parameters,
        "dtype": probed.dtype_name,
        "peak_gflops": probed.gflops,
        "bytes_asked": specialist.model._lazy.shards.bytes_read,
        "bytes_from_disk": read_from_disk() - disk,
        "memory": memory.ended(),
        "load": machine.load(),
        "torch": torch.__version__,
        "machine": machine.facts(probed.threads),
    }


def texts(count):
    import random

    dice = random.Random(0)
    return [tuple(dice.randrange(256) for _ in range(LENGTH)) for _ in range(count)]


def work_of(specialist, low_rank=True):
    """The floating-point operations of its trunk and tail, with one cut."""
    from azubi.events.figures import TailShape
    from azubi.planning.cost_model import Work

    model, depth = specialist.model, specialist.tail_layers
    shape = TailShape(tail_layers=depth, prompt_layers=depth, rank=RANK if low_rank else 0)
    return Work(model.layer_parameters, specialist.base.layers, shape, model.head_parameters)


def trunk(name, specialist, home):
    """Tokens through all layers but the tail's, into the cache."""
    from azubi.engine.model.batch import EncodedExample

    encoded = [EncodedExample(tokens, (0,)) for tokens in texts(SHAPES[name]["tokens"] // LENGTH)]
    seconds, filled, read = fill(specialist, encoded, home)
    assert all(read(example.tokens).isfinite().all() for example in encoded)
    return {"tokens": filled.tokens, "seconds": seconds, "flops": work_of(specialist).trunk(filled.tokens)}


def fill(specialist, encoded, home):
    """Let the base read examples into an empty cache: seconds, what was done, and a reader of the cache."""
    from azubi.engine.cache.activation_cache import ActivationCache

    shutil.rmtree(home / "cache", ignore_errors=True)  # of an earlier context
    cache = ActivationCache(home)
    started = time.perf_counter()
    *_, filled = specialist.activations.fill(cache, encoded)
    seconds = time.perf_counter() - started
    assert not (filled.reused or filled.without), filled
    return seconds, filled, specialist.activations.reader(cache)


def tail(name, specialist, home, low_rank=True):
    """Training steps from made-up activations, the checkpoints after them, and the validation."""
    import torch

    from azubi.engine.model.batch import EncodedExample

    encoded = [EncodedExample(tokens, tokens[-ANSWER:]) for tokens in texts(STEPS * BATCH)]
    dice = torch.Generator().manual_seed(0)
    states = torch.randn(LENGTH, SHAPES[name]["hidden"], generator=dice).to(specialist.dtype)
    outcome = train(specialist, encoded, lambda _: states, home)
    tokens = BATCH * LENGTH
    return outcome | {
        "tokens": tokens,
        "seconds": min(outcome["steps"][1:]),  # the first one makes the moments
        "flops": work_of(specialist, low_rank).step(tokens, BATCH * ANSWER, 0),
    }


def train(specialist, encoded, read, home):
    """An epoch with its checkpoints: seconds of the steps, and of everything."""
    from azubi.engine.training import loop
    from azubi.engine.training.checkpoint import Checkpoints
    from azubi.engine.training.defaults import TrainingConfig

    config = TrainingConfig(epochs=1, batch=BATCH, learning_rate=1e-4, patience=2, seed=0)
    kept, validation = home / "checkpoint", encoded[:BATCH]
    shutil.rmtree(kept, ignore_errors=True)
    checkpoints, started = Checkpoints(kept, ""), time.perf_counter()
    training = loop.train(
        specialist.tail, encoded, validation, read, config, has_instruction=False, checkpoints=checkpoints
    )
    events = list(training)
    everything = time.perf_counter() - started
    steps = [event for event in events if isinstance(event, loop.Step)]
    assert len(steps) == len(encoded) // BATCH
    assert not any(isinstance(event, loop.CheckpointFailed) for event in events)
    size = files.size(kept)
    shutil.rmtree(kept)
    return {
        "steps": [event.seconds for event in steps],
        "losses": [event.loss for event in steps],
        "everything_seconds": everything,
        "checkpoint_bytes": size,
    }


def tune(name, specialist, home):
    """The base reads examples into the cache, and a tail is trained from there, checkpoints included."""
    from azubi.engine.model.batch import EncodedExample

    opening = specialist.model.template.invocation_ids()
    start = LENGTH - ANSWER - len(opening)
    examples = [
        (*tokens[:start], *opening, *tokens[-ANSWER:]) for tokens in texts(SHAPES[name]["tokens"] // LENGTH)
    ]
    encoded = [EncodedExample(tokens[:-1], tokens[-ANSWER:]) for tokens in examples]
    reading, _, read = fill(specialist, encoded, home)
    outcome = train(specialist, encoded, read, home)
    steps = outcome["steps"]
    epoch = len(steps) * min(steps[1:])  # the first one makes the moments
    return outcome | {
        "tokens": len(encoded) * LENGTH,
        "reading_seconds": reading,
        "epoch_seconds": epoch,
        "seconds": reading + EPOCHS * epoch,
    }


def answer(name, specialist, home):
    """The untouched base writes: the questions together, layer by layer for each token."""
    from azubi.data.example import Turn

    specialist.set_instruction("Answer shortly.")
    longest = 4
    answering = specialist.base_model(longest)
    questions = [(Turn("user", f"What is the time in place number {letter}?"),) for letter in "abcdefgh"]
    started = time.perf_counter()
    answers = list(answering(questions))
    seconds = time.perf_counter() - started
    return {"tokens": len(answers) * longest, "seconds": seconds, "passes": longest, "answers": len(answers)}


# All of it.


def run(name, folder, cells, again):
    """Write the base, measure what is not stored yet, delete it; whether all went well."""
    todo = [kind for kind in cells if again or not stored(name, kind).is_file()]
    for kind in cells:
        print(f"{name} {kind}: {'to be measured' if kind in todo else 'stored'}", flush=True)
    if not todo:
        return True
    for scratch in folder.glob(f".{name}.*"):  # half a base, of a context that was killed
        shutil.rmtree(scratch)
    if missing := shortage(name, folder, todo):
        print(missing, file=sys.stderr)
        return False
    if not (folder / name).is_dir():
        print(f"{name}: writing {gb(room(name, folder, todo)[0])}", flush=True)
        started = time.perf_counter()
        write_base(name, folder / name)
        print(f"{name}: written in {time.perf_counter() - started:.0f} s", flush=True)
    well = True
    for kind in todo:
        started = time.perf_counter()
        print(f"{name} {kind}: running since {machine.now()}, load {machine.load()}", flush=True)
        words = [sys.executable, __file__, "cell", name, kind, "--folder", str(folder)]
        code = subprocess.run(words).returncode
        well = well and code == 0
        ending = "stored" if code == 0 else f"failed with code {code}, the message stands above"
        print(f"{name} {kind}: {ending}, after {time.perf_counter() - started:.0f} s", flush=True)
    if all(stored(name, kind).is_file() for kind in CELLS):
        shutil.rmtree(folder / name)
        print(f"{name}: all cells are stored, its weights are deleted", flush=True)
    return well


def plan(names, folder):
    """What is stored, and what the rest needs."""
    for name in names:
        todo = [kind for kind in CELLS if not stored(name, kind).is_file()]
        have = [kind for kind in CELLS if kind not in todo]
        base, beside = room(name, folder, todo)
        print(f"{name}: stored {', '.join(have) or 'nothing'}; to be measured {', '.join(todo) or 'nothing'}")
        if todo:
            state = f"{gb(base)} of weights to be written" if base else "weights are written"
            print(f"    {state}, up to {gb(beside)} beside them")
    print(f"{gb(shutil.disk_usage(existing(folder)).free)} are free in {folder}")


def stored(name, kind):
    return RESULTS / f"{name}-{kind}.json"


def table():
    """The stored cells as Markdown."""
    print(
        "| base | cell | time | peak memory | of it own, mapped | tensors read | from disk | share of peak |"
        f" {TOKENS:,} tokens |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in SHAPES:
        for kind in CELLS:
            if stored(name, kind).is_file():
                print(row(json.loads(stored(name, kind).read_text())))


def row(result):
    seconds, memory, tokens = result["seconds"], result["memory"], result["tokens"]
    tuned = f"k = {result.get('tail_layers')}, r={RANK}"
    what = {
        "trunk": f"trunk, {tokens:,} tokens",
        "lora": f"step of {tokens:,} tokens, r={RANK}",
        "full": f"step of {tokens:,} tokens, full weights",
        "answer": f"{result.get('answers')} answers of {result.get('passes')} tokens",
        "tune": f"{tokens:,} tokens, {EPOCHS} epochs, {tuned}",
        "tune-0": f"{tokens:,} tokens, {EPOCHS} epochs, {tuned}, j = 0",
    }[result["cell"]]
    share = f"{result['flops'] / seconds / result['peak_gflops'] / 1e7:.0f} %" if "flops" in result else ""
    each = f"{seconds / result.get('passes', 1):.1f} s per token of all"
    per = each if result["cell"] == "answer" else spoken(TOKENS * seconds / tokens)
    cells = (
        result["base"],
        what,
        f"{seconds:.1f} s",
        gb(memory["peak"]),
        f"{gb(memory['own'])}, {gb(memory['mapped'])}",
        gb(result["bytes_asked"]),
        gb(result["bytes_from_disk"]),
        share,
        per,
    )
    return f"| {' | '.join(cells)} |"


def spoken(seconds):
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def main(words=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["run", "plan", "table", "cell"])
    parser.add_argument("base", nargs="?", choices=list(SHAPES), help="all if not given")
    parser.add_argument("cells", nargs="*", metavar="cell", help="some of: " + ", ".join(CELLS))
    parser.add_argument("--folder", type=Path, default=Path("stream-work"), help="for weights and caches")
    parser.add_argument("--again", action="store_true", help="measure what is stored as well")
    given = parser.parse_args(words)
    if odd := set(given.cells) - set(CELLS):
        parser.error(f"there is no cell {', '.join(sorted(odd))}; there are {', '.join(CELLS)}")
    names = [given.base] if given.base else list(SHAPES)
    if given.what == "table":
        table()
    elif given.what == "plan":
        plan(names, given.folder)
    elif given.what == "cell":
        for kind in given.cells:
            result = cell(given.base, kind, given.folder)
            files.write_text(stored(given.base, kind), json.dumps(result, indent=1) + "\n")
            print(row(result), flush=True)
    else:
        return 0 if all([run(name, given.folder, given.cells or CELLS, given.again) for name in names]) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
