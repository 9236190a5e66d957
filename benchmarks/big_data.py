"""Data larger than memory: five million tokens trained from an activation cache that was made up.

    python benchmarks/big_data.py --folder DIR [--tokens 5000000] [--steps 150] [--dtype float32]

Writes a cache in the shape of smollm2-135m (576 wide, 128 tokens an example) through the real writer, its
numbers random, then takes steps of an epoch with the real loop over the real reader, in random order, and
prints one line of JSON: the most memory that was resident, milliseconds per token, and how these
change between the first and the second half of the steps. The folder needs 12 GB for float32.
"""

import argparse
import itertools
import json
import random
import resource
import time
from pathlib import Path

import psutil
import torch

from azubi.data.contract import Contract
from azubi.engine.base.opening import open_base
from azubi.engine.cache import index
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.model.batch import EncodedExample, collate, order
from azubi.engine.specialist import Specialist
from azubi.engine.split_model import SplitModel
from azubi.engine.training.defaults import TrainingConfig
from azubi.engine.training.loop import Step, train

LENGTH, ANSWER, WIDTH = 128, 40, 576
CHUNK = 512


def encoded(count: int) -> list[EncodedExample]:
    """Examples of random tokens: prompts and answers."""
    dice = random.Random(0)
    made = []
    for _ in range(count):
        tokens = tuple(dice.choices(range(300, 49_000), k=LENGTH))
        made.append(EncodedExample(tokens, (*tokens[LENGTH - ANSWER + 1 :], 2)))
    return made


def make_up(cache: ActivationCache, specialist: Specialist, made: list[EncodedExample]) -> float:
    """Write an entry for every lesson; the seconds it took."""
    begun = time.monotonic()
    origin = specialist.activations.origin(cache, specialist.activations.cut)
    pool = torch.randn(4 * LENGTH, WIDTH) * 3
    pool = pool.to(specialist.dtype)
    dice = random.Random(1)
    missing = cache.missing(
        origin.key(ids.tokens) for ids in made
    )  # an earlier context may have written some
    for start in range(0, len(missing), CHUNK):
        cache.write(
            (key, pool[(place := dice.randrange(3 * LENGTH)) : place + LENGTH])
            for key in missing[start : start + CHUNK]
        )
    assert not cache.full, cache.full
    return time.monotonic() - begun


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=5_000_000)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--reads", type=int, default=20_000, help="examples that are read without training")
    parser.add_argument("--tail-layers", type=int, default=1)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--cache-dtype", choices=["auto", "float32", "bfloat16", "int8"], default="auto")
    given = parser.parse_args()

    process = psutil.Process()
    bare = process.memory_info().rss
    made = encoded(given.tokens // LENGTH)
    of_lessons = process.memory_info().rss - bare
    base = open_base("smollm2-135m", given.folder)
    model = SplitModel(base, getattr(torch, given.dtype))
    specialist = Specialist(model, Contract(task="text"), given.tail_layers, 0, 0)
    cache = ActivationCache(given.folder, "big", dtype=given.cache_dtype, quota=10**12)
    written = make_up(cache, specialist, made)
    result = {
        "tokens": LENGTH * len(made),
        "examples": len(made),
        "form": index.storage_format(given.cache_dtype, specialist.dtype),
        "cache_gb": round(cache.bytes() / 1e9, 2),
        "write_s": round(written, 1),
        "lessons_mb": round(of_lessons / 1e6),
        "before_training_gb": round(process.memory_info().rss / 1e9, 2),
    }

    read = specialist.activations.reader(cache)
    begun = time.monotonic()
    groups = order(made, 16, 0, 1)
    result["order_s"] = round(time.monotonic() - begun, 2)
    # Reading alone, to the end of what is remembered and far beyond it.
    begun, most = time.monotonic(), []
    for number, group in enumerate(groups[: given.reads // 16]):
        collate(group, read)
        if number % 50 == 0:
            most.append(process.memory_info().rss)
    tokens = LENGTH * 16 * len(groups[: given.reads // 16])
    result["read_ms_per_token"] = round((time.monotonic() - begun) / tokens * 1e3, 5)
    result["read_rss_gb"] = [round(example / 1e9, 2) for example in most[:: max(1, len(most) // 5)]]

    plan = TrainingConfig(1, 16, 1e-4, 1, 1)
    stamps, resident = [time.monotonic()], []
    for happened in train(specialist.tail, made, made[:16], read, plan, has_instruction=False):
        assert isinstance(happened, Step)
        stamps.append(time.monotonic())
        resident.append(process.memory_info().rss)
        if happened.step >= given.steps:
            break
    half = len(resident) // 2
    per_token = [(b - a) / (16 * LENGTH) * 1e3 for a, b in itertools.pairwise(stamps)]
    result |= {
        "tail_layers": given.tail_layers,
        "steps": len(resident),
        "train_ms_per_token": round(sum(per_token[1:]) / (len(per_token) - 1), 4),
        "rss_gb_halves": [round(max(part) / 1e9, 2) for part in (resident[:half], resident[half:])],
        "peak_rss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2),
    }
    cache.close()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
