"""How many layers of a tail must act on the prompt: scores by depth, prompt layers, rank, examples, epochs.

    python benchmarks/prompt_layers.py [triage intake banking77 clinc150 files] [--plan NAME] [--table]

Each run trains a tail of smollm2-135m on `examples` worked examples (a tenth more choose the epoch) and
measures the share of test answers that are wholly right, each token given the right ones before it. All four
data sets are learned as text. Seconds are processor time of one thread, without the reading of the trunk.

One JSON file for each run lies in .bench/results/prompt_layers; what is there is not run again.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from azubi.engine.base import hardware
from azubi.engine.specialist import Specialist, new_specialist
from azubi.engine.training import defaults, loop
from azubi.engine.training.defaults import config_from
from azubi.settings import Recipe
from azubi.storage import files
from benchmarks import data, machine

RESULTS = machine.RESULTS / "prompt_layers"
BASE = "smollm2-135m"
TESTS = {"triage": 300, "intake": 200, "banking77": 462, "clinc150": 450, "files": 100}
"""Test examples of each data set."""


@dataclass(frozen=True)
class Setting:
    """One run."""

    name: str
    """The data set."""
    examples: int
    tail_layers: int
    prompt_layers: int
    rank: int = 0
    epochs: int = 4
    learning_rate: float = 1e-3
    seed: int = 0

    @property
    def path(self) -> Path:
        """Where its figures are kept."""
        parts = (
            self.examples,
            self.tail_layers,
            self.prompt_layers,
            self.rank,
            self.epochs,
            self.learning_rate,
        )
        return RESULTS / self.name / f"{'-'.join(map(str, parts))}-{self.seed}.json"


def settings(
    names: Sequence[str],
    examples: Sequence[int] = (200,),
    cuts: Sequence[tuple[int, int]] = ((8, 0), (8, 2), (8, 4), (8, 8)),
    ranks: Sequence[int] = (0,),
    epochs: Sequence[int] = (4,),
    rates: Sequence[float] = (1e-3,),
    seeds: Sequence[int] = (0,),
) -> Iterator[Setting]:
    """Every combination."""
    for name, number, (depth, prompt), rank, epoch, rate, seed in itertools.product(
        names, examples, cuts, ranks, epochs, rates, seeds
    ):
        yield Setting(name, number, depth, prompt, rank, epoch, rate, seed)


_ENDS = ((8, 0), (8, 4), (8, 8))
PLANS: dict[str, dict[str, Any]] = {
    "cuts": {},
    "lora": {"ranks": (16,)},
    "long": {"epochs": (12,), "cuts": _ENDS},
    "few": {"examples": (25, 50, 100, 400), "cuts": _ENDS},
    "few long": {"examples": (25, 50, 100), "cuts": _ENDS, "epochs": (12,)},
    "deep": {"cuts": ((4, 0), (4, 4), (16, 0), (16, 4), (16, 16), (30, 0), (30, 4))},
    "deep lora": {"cuts": ((16, 0), (16, 4), (30, 0)), "ranks": (16,)},
    "seeds": {"cuts": _ENDS, "seeds": (1, 2)},
    "rates": {"cuts": _ENDS, "rates": (5e-4, 2e-3)},
}


class Bench:
    """One data set with so many examples: read once for each pair of cuts."""

    def __init__(self, name: str, examples: int, folder: Path, threads: int) -> None:
        source = data.SOURCES[name]
        self.name, self.task, self.threads = name, source.task, threads
        folder = folder / f"{name}-{examples}"
        data.write(source, examples + max(10, examples // 9), TESTS[name], folder)
        self.ready = data.prepare(folder, BASE, source.task, source.instruction, folder.parent)
        self.dtype = hardware.probe("auto", threads, "cpu").dtype

    def run(self, settings: Sequence[Setting]) -> Iterator[dict[str, Any]]:
        """Every run that is not stored yet."""
        for _, group in itertools.groupby(settings, lambda each: (each.tail_layers, each.prompt_layers)):
            missing = [each for each in group if not each.path.is_file()]
            if not missing:
                continue
            specialist = self._specialist(missing[0])
            splits = (self.ready.split.train, self.ready.split.validation, self.ready.split.test)
            encoded = [[specialist.encode(example) for example in split] for split in splits]
            started = time.process_time()
            read = specialist.activations.in_memory(each.tokens for split in encoded for each in split)
            reading = time.process_time() - started
            for setting in missing:
                yield self._keep(
                    setting, self._train(setting, encoded, read) | {"reading": round(reading, 1)}
                )

    def _specialist(self, setting: Setting) -> Specialist:
        specialist = new_specialist(
            self.ready.base,
            self.ready.contract,
            setting.tail_layers,
            setting.rank,
            setting.seed,
            self.dtype,
            prompt_layers=setting.prompt_layers,
        )
        specialist.set_instruction(self.ready.instruction)
        return specialist

    def _train(self, setting: Setting, encoded: Sequence[Any], read: Any) -> dict[str, Any]:
        recipe = Recipe(
            base=BASE,
            tail_layers=setting.tail_layers,
            rank=setting.rank,
            epochs=setting.epochs,
            learning_rate=setting.learning_rate,
            seed=setting.seed,
            patience=100,
        )
        recipe = defaults.resolved(recipe, self.ready.base, self.task)
        config, specialist = config_from(recipe), self._specialist(setting)
        started = time.process_time()
        curve = []
        training = loop.train(
            specialist.tail,
            loop.as_trained(encoded[0], recipe),
            encoded[1],
            read,
            config,
            has_instruction=bool(specialist.instruction_tokens),
        )
        for event in training:
            if isinstance(event, loop.Epoch):
                curve.append([round(event.validation_loss, 4), round(event.validation_accuracy, 4)])
        seconds = time.process_time() - started
        instruction = read(()) if specialist.instruction_tokens else None
        test = loop.measure(specialist.tail, encoded[2], read, instruction, config)
        return {
            "right": test.accuracy,
            "loss": test.loss,
            "n": len(encoded[2]),
            "train": len(encoded[0]),
            "curve": curve,
            "seconds": round(seconds, 1),
        }

    def _keep(self, setting: Setting, figures: dict[str, Any]) -> dict[str, Any]:
        kept = asdict(setting) | figures | {"machine": machine.facts(self.threads)}
        setting.path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(setting.path, json.dumps(kept, indent=1) + "\n")
        return asdict(setting) | figures


def measured(name: str) -> list[dict[str, Any]]:
    """The runs of a data set."""
    return [json.loads(path.read_text()) for path in sorted((RESULTS / name).glob("*.json"))]


def table(names: Iterable[str]) -> str:
    """Right answers in per cent by prompt layers, a row for everything else."""
    rows: dict[tuple[Any, ...], dict[str, list[dict[str, Any]]]] = {}
    for run in (run for name in names for run in measured(name)):
        key = (
            run["name"],
            run["examples"],
            run["tail_layers"],
            run["rank"],
            run["epochs"],
            run["learning_rate"],
        )
        column = "k" if run["prompt_layers"] == run["tail_layers"] else str(run["prompt_layers"])
        rows.setdefault(key, {}).setdefault(column, []).append(run)
    lines = [
        "| data | examples | k | rank | epochs | rate | j = 0 | 2 | 4 | k | seconds j = 0, k |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for key, columns in sorted(rows.items()):
        cells = [_right(columns.get(column, [])) for column in ("0", "2", "4", "k")]
        seconds = (_mean(columns.get(column, []), "seconds") for column in ("0", "k"))
        spent = ", ".join("–" if value is None else f"{value:.0f}" for value in seconds)
        lines.append(f"| {' | '.join(map(str, key))} | {' | '.join(cells)} | {spent} |")
    return "\n".join(lines)


def _right(runs: Sequence[dict[str, Any]]) -> str:
    right = _mean(runs, "right")
    if right is None:
        return ""
    return f"{100 * right:.1f}" + (f" ({len(runs)})" if len(runs) > 1 else "")


def _mean(runs: Sequence[dict[str, Any]], figure: str) -> float | None:
    return statistics.fmean(run[figure] for run in runs) if runs else None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "names", nargs="*", metavar="DATASET", default=["triage", "intake", "banking77", "clinc150"]
    )
    parser.add_argument("--plan", action="append", choices=PLANS, help="which runs; all if not given")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(".bench/prompt_layers"))
    parser.add_argument("--table", action="store_true", help="only show what is measured")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for plan in () if arguments.table else arguments.plan or PLANS:
        wanted = sorted(settings(arguments.names, **PLANS[plan]), key=lambda each: (each.name, each.examples))
        for (name, examples), group in itertools.groupby(wanted, lambda each: (each.name, each.examples)):
            for figures in Bench(name, examples, arguments.folder, arguments.threads).run(list(group)):
                print(json.dumps(figures), flush=True)
    print(table(arguments.names))


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
