"""What each choice that azubi makes by itself does to the score: one thing is changed at a time.

    python benchmarks/defaults.py [triage banking77 clinc150 intake] [--threads 1] [--only NAME] [--table]

For each data set the trunk runs once for all depths; then the tail is trained with azubi's defaults, and with
each variant of them, from the same activations, with the same validation examples choosing the epoch. Scored
is the share of test answers wholly right (of a base that writes: each token given the right ones before it).
The defaults run with several orders of examples, variants with fewer. What can be made of three tails stands
beside one tail: the average of their weights, and the best of them by validation, which costs the same.

One JSON file for each run lies in .bench/results/defaults; what is there is not run again.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from azubi.engine.base import hardware
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.model import weights
from azubi.engine.model.batch import EncodedExample, Reader
from azubi.engine.specialist import Specialist, new_specialist
from azubi.engine.training import defaults, loop
from azubi.engine.training.defaults import config_from
from azubi.engine.training.loop import Ended, Epoch, Start
from azubi.settings import Recipe
from azubi.storage import files
from benchmarks import data, machine

RESULTS = machine.RESULTS / "defaults"
GROUP = 3
"""Tails that are averaged."""


@dataclass(frozen=True)
class Set:
    """A data set, how much of it is used, and the variants that are tried."""

    base: str
    train: int
    """With the tenth for validation."""
    test: int
    variants: Mapping[str, Mapping[str, Any]]
    own: int = GROUP
    """Orders of examples for the defaults."""
    each: int = 1
    """Orders of examples for each variant."""


_ENCODER: dict[str, dict[str, Any]] = {
    "head alone": {"tail_layers": 0},
    "1 layer": {"tail_layers": 1},
    "4 layers": {"tail_layers": 4},
    "all layers": {"tail_layers": 6},
    "LoRA of rank 16": {"rank": 16},
    "LoRA, 4 layers": {"rank": 16, "tail_layers": 4},
    "rate 3e-5": {"learning_rate": 3e-5},
    "rate 3e-4": {"learning_rate": 3e-4},
    "batches of 8": {"batch": 8},
    "batches of 32": {"batch": 32},
    "rare labels weighted": {"label_weights": "balanced"},
}
_DECODER: dict[str, dict[str, Any]] = {
    "4 layers": {"tail_layers": 4},
    "12 layers": {"tail_layers": 12},
    "LoRA of rank 16": {"rank": 16},
    "rate 5e-4": {"learning_rate": 5e-4},
    "rate 2e-3": {"learning_rate": 2e-3},
    "batches of 4": {"batch": 4},
}
SETS = {
    "triage": Set("minilm", 900, 600, _ENCODER, own=2 * GROUP, each=2),
    "banking77": Set("minilm", 2000, 3080, _ENCODER),
    "clinc150": Set("minilm", 2000, 4500, _ENCODER),
    "intake": Set("smollm2-135m", 240, 200, _DECODER),
}
OWN = "defaults"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sets", nargs="*", metavar="DATASET", default=list(SETS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", help="of the variants, this one")
    parser.add_argument("--folder", type=Path, default=Path(".bench/defaults"))
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if not given.table:
        dtype = hardware.probe("auto", given.threads, "cpu").dtype
        for name in given.sets:
            if data.SOURCES[name].lacking:
                print(f"{name}: {data.SOURCES[name].lacking}")
                continue
            bench = Bench(name, SETS[name], given.folder / name, given.threads, dtype)
            for figures in bench.run(given.only):
                print(json.dumps(figures), flush=True)
    for name in given.sets:
        print(table(name))


class Bench:
    """One data set: its activations, and the runs over them."""

    def __init__(self, name: str, set_: Set, folder: Path, threads: int, dtype: torch.dtype) -> None:
        self.name, self.set, self.threads, self.dtype = name, set_, threads, dtype
        source = data.SOURCES[name]
        self.task = source.task
        data.write(source, set_.train, set_.test, folder)
        self.ready = data.prepare(folder, set_.base, source.task, source.instruction, folder)
        self.cache = ActivationCache(folder / "cache", dtype="auto")

    def run(self, only: str | None) -> Iterator[dict[str, object]]:
        """Every run that is not stored yet."""
        changes = ({}, *self.set.variants.values())
        depths = sorted({int(self._settings(change).tail_layers) for change in changes})
        specialist = self._cut()
        splits = (self.ready.split.train, self.ready.split.validation, self.ready.split.test)
        encoded = [[specialist.encode(example) for example in split] for split in splits]
        for examples in encoded:
            for _ in specialist.activations.fill(self.cache, examples, depths):
                pass
        if only in (None, OWN):
            for group in range(0, self.set.own, GROUP):
                yield from self._group(specialist, encoded, range(group, group + GROUP))
        for variant, change in self.set.variants.items():
            for seed in range(self.set.each) if only in (None, variant) else ():
                if not self._path(variant, seed).is_file():
                    figures, _ = self._trained(specialist, change, encoded, seed)
                    yield self._keep(variant, seed, figures)

    # Runs

    def _group(
        self, specialist: Specialist, encoded: Sequence[Sequence[EncodedExample]], seeds: range
    ) -> Iterator[dict[str, object]]:
        """Tails with the defaults from one start, and what can be made of the three of them."""
        if self._path("average of three", seeds[0]).is_file():
            return
        runs = []
        for seed in seeds:
            figures, state = self._trained(specialist, {}, encoded, seed)
            runs.append((figures, state))
            yield self._keep(OWN, seed, figures)
        best = max((run for run, _ in runs), key=lambda run: (run["validation"], -run["validation_loss"]))
        spent = sum(run["seconds"] for run, _ in runs)
        yield self._keep("best of three", seeds[0], best | {"seconds": spent})
        mean = {name: sum(state[name] for _, state in runs) / len(runs) for name in runs[0][1]}
        own, read, recipe, _ = self._begun(specialist, {}, encoded)
        weights.restore(own.tail, mean)  # type: ignore[arg-type]
        scores = self._scored(own, read, recipe, encoded)
        yield self._keep("average of three", seeds[0], scores | {"seconds": spent})

    def _trained(
        self,
        specialist: Specialist,
        change: Mapping[str, Any],
        encoded: Sequence[Sequence[EncodedExample]],
        seed: int,
    ) -> tuple[dict[str, Any], weights.State]:
        started = time.perf_counter()
        own, read, recipe, simple = self._begun(specialist, change, encoded)
        config = config_from(recipe.model_copy(update={"seed": seed}))
        train = loop.as_trained(encoded[0], recipe)
        figures: dict[str, Any] = {"epochs": 0}
        has_instruction = bool(own.instruction_tokens)
        for event in loop.train(
            own.tail,
            train,
            encoded[1],
            read,
            config,
            has_instruction=has_instruction,
            simple=simple,
        ):
            if isinstance(event, Epoch):
                figures["epochs"] = event.epoch
            if isinstance(event, Start):
                figures["simple_validation"] = event.validation_accuracy
            if isinstance(event, Ended):
                figures["best_epoch"] = event.best_epoch
        figures["seconds"] = round(time.perf_counter() - started, 1)
        return figures | self._scored(own, read, recipe, encoded), weights.kept(own.tail)

    def _begun(
        self, specialist: Specialist, change: Mapping[str, Any], encoded: Sequence[Sequence[EncodedExample]]
    ) -> tuple[Specialist, Reader, Recipe, weights.State | None]:
        """A tail at its start, the same for every order of examples, and weights that need no training."""
        recipe = self._settings(change)
        own = specialist.with_new_tail(int(recipe.tail_layers), int(recipe.rank), 0)
        own.set_instruction(self.ready.instruction)
        read = own.activations.reader(self.cache)
        start = own.init_from_data(loop.as_trained(encoded[0], recipe), read)
        return own, read, recipe, start.state if start is not None else None

    def _scored(
        self, own: Specialist, read: Reader, recipe: Recipe, encoded: Sequence[Sequence[EncodedExample]]
    ) -> dict[str, Any]:
        config, instruction = config_from(recipe), read(()) if own.instruction_tokens else None
        validation, tested = (
            loop.measure(own.tail, examples, read, instruction, config) for examples in encoded[1:]
        )
        return {
            "validation": validation.accuracy,
            "validation_loss": validation.loss,
            "right": tested.accuracy,
            "loss": tested.loss,
            "n": len(encoded[2]),
        }

    # What they run with

    def _settings(self, change: Mapping[str, Any]) -> Recipe:
        recipe = Recipe.model_validate({"data": "x", "base": self.set.base, **change})
        return defaults.resolved(recipe, self.ready.base, self.task)

    def _cut(self) -> Specialist:
        recipe = self._settings({})
        depth, rank = int(recipe.tail_layers), int(recipe.rank)
        specialist = new_specialist(self.ready.base, self.ready.contract, depth, rank, 0, self.dtype)
        specialist.set_instruction(self.ready.instruction)
        return specialist

    def _path(self, variant: str, seed: int) -> Path:
        return RESULTS / self.name / f"{variant.replace(' ', '-').replace(',', '')}-{seed}.json"

    def _keep(self, variant: str, seed: int, figures: Mapping[str, Any]) -> dict[str, object]:
        result = {
            "set": self.name,
            "variant": variant,
            "seed": seed,
            "train": len(self.ready.split.train),
            **figures,
            "machine": machine.facts(self.threads),
        }
        path = self._path(variant, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, json.dumps(result, indent=1) + "\n")
        return result


def table(name: str) -> str:
    """The runs of a data set, each variant beside the defaults."""
    runs = [json.loads(path.read_text()) for path in sorted((RESULTS / name).glob("*.json"))]
    if not runs:
        return f"{name}: nothing measured yet"
    by_variant: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        by_variant.setdefault(run["variant"], []).append(run)
    if not (own := by_variant.get(OWN, [])):
        return f"{name}: the defaults are not measured yet"
    base = statistics.fmean(run["right"] for run in own)
    spread = statistics.stdev(run["right"] for run in own)
    lines = [
        f"**{name}**, {SETS[name].base}, {own[0]['train']:,} training and {own[0]['n']:,} test examples; "
        f"one order of examples against another: {100 * spread:.1f} points (standard deviation)",
        "",
        "| | right | against the defaults | loss | best epoch | seconds |",
        "|---|---|---|---|---|---|",
    ]
    order = [OWN, "best of three", "average of three", *SETS[name].variants]
    for variant in (name for name in order if name in by_variant):
        measured = by_variant[variant]
        right, loss, spent = (
            statistics.fmean(run[what] for run in measured) for what in ("right", "loss", "seconds")
        )
        epochs = ", ".join(str(run.get("best_epoch", "–")) for run in measured)
        gain = "" if variant == OWN else f"{100 * (right - base):+.1f}"
        lines.append(f"| {variant} | {100 * right:.1f} % | {gain} | {loss:.3f} | {epochs} | {spent:.0f} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
