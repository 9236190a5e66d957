"""What encryption costs: the share of an epoch that is spent on decrypting activations.

    python benchmarks/encryption.py --folder DIR [--examples 96] [--labels 2000]

For smollm2-135m with k = 1 and 8 and for minilm with k = 0, on activations that are made up: epochs of
training with nothing kept in memory, so that every epoch decrypts everything (the rule is one epoch in a
run, since up to 1 GiB stays in memory). The same epoch is read from an encrypted cache and from one whose
cipher does nothing, in turns. Processor time of this process is counted, so that others on the machine do
not show. One line of JSON each: milliseconds per example for a whole epoch, for reading, for reading
without encryption, and the share of the epoch that is the difference.
"""

import argparse
import json
import random
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from azubi.data.contract import Contract
from azubi.engine import split_model
from azubi.engine.base.opening import open_base
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.model.batch import EncodedExample
from azubi.engine.specialist import new_specialist
from azubi.engine.training.defaults import TrainingConfig
from azubi.engine.training.loop import Step, train
from azubi.storage import encrypted_file

ROUNDS = 5


class Open:
    """A cipher that does nothing, but takes as many bytes."""

    def __init__(self, secret: bytes) -> None:
        pass

    @staticmethod
    def generate_key(bits: int) -> bytes:
        return bytes(bits // 8)

    def encrypt(self, nonce: bytes, content: bytes, label: bytes) -> bytes:
        return content + bytes(16)

    def decrypt(self, nonce: bytes, content: bytes, label: bytes) -> bytes:
        return content[:-16]


def measured(
    specialist: Any, made: list[EncodedExample], caches: dict[str, ActivationCache], batch: int
) -> dict[str, float]:
    """Milliseconds per example: an epoch of training, and what reading takes of it, encrypted and not."""
    origin = specialist.activations.origin(caches["encrypted"], specialist.activations.cut)
    rows = {example.tokens: (1 if origin.view != "states" else example.length) for example in made}
    width = 384 if specialist.base.kind == "encoder" else 576
    for cache in caches.values():
        cache.write((origin.key(tokens), torch.randn(count, width)) for tokens, count in rows.items())
    reads: dict[str, list[float]] = {"encrypted": [], "open": []}
    for _ in range(ROUNDS):
        for name, cache in caches.items():
            read = specialist.activations.reader(cache)
            begun = time.process_time()
            for example in made:
                read(example.tokens)
            reads[name].append((time.process_time() - begun) / len(made) * 1e3)
    plan = TrainingConfig(2, batch, 1e-4, 9, 0)
    read = specialist.activations.reader(caches["encrypted"])
    steps = 0
    begun = time.process_time()
    for happened in train(specialist.tail, made, made[:batch], read, plan, has_instruction=False):
        if isinstance(happened, Step):
            steps += 1
            if steps == happened.steps // 2:  # the first epoch warms up
                begun = time.process_time()
            if steps == happened.steps:
                break
    epoch = (time.process_time() - begun) / len(made) * 1e3
    encrypted, plain = (statistics.median(reads[name]) for name in ("encrypted", "open"))
    return {
        "epoch_ms": round(epoch, 4),
        "read_ms": round(encrypted, 4),
        "read_open_ms": round(plain, 4),
        "share_of_reading_percent": round(encrypted / epoch * 100, 3),
        "share_of_encryption_percent": round((encrypted - plain) / epoch * 100, 3),
    }


def caches(folder: Path, name: str) -> dict[str, ActivationCache]:
    """The same cache, encrypted and not."""
    encrypted = ActivationCache(folder / name / "encrypted")
    real, encrypted_file.AESGCM = encrypted_file.AESGCM, Open  # type: ignore[misc, assignment]
    try:
        plain = ActivationCache(folder / name / "open")
        plain._keys.find("any")  # is remembered
    finally:
        encrypted_file.AESGCM = real  # type: ignore[misc]
    return {"encrypted": encrypted, "open": plain}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--examples", type=int, default=96, help="of 128 tokens, for smollm2-135m")
    parser.add_argument("--labels", type=int, default=2000, help="examples of 14 tokens, for minilm")
    given = parser.parse_args()
    split_model._ACTIVATION_BYTES = 0
    dice = random.Random(0)
    labels = Contract(task="labels", labels=tuple(f"label {number:02}" for number in range(77)))
    for k in (0, 1, 8):
        if k:
            base = open_base("smollm2-135m", given.folder)
            specialist = new_specialist(base, Contract(task="text"), k, 0, 0, torch.float32)
            made = [tuple(dice.choices(range(300, 49_000), k=128)) for _ in range(given.examples)]
            of = [EncodedExample(tokens, (*tokens[-39:], 2)) for tokens in made]
        else:
            base = open_base("minilm", given.folder)
            specialist = new_specialist(base, labels, 0, 0, 0, torch.float32)
            made = [tuple(dice.choices(range(300, 29_000), k=14)) for _ in range(given.labels)]
            of = [EncodedExample(tokens, (dice.randrange(77),)) for tokens in made]
        both = caches(given.folder, f"{base.name}-{k}")
        figures = {"base": base.name, "tail_layers": k} | measured(specialist, of, both, 8 if k else 16)
        print(json.dumps(figures), flush=True)
        for cache in both.values():
            cache.close()


if __name__ == "__main__":
    main()
