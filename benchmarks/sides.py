"""Running one side: a process of its own with a job in and an outcome out, its progress said line by line."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from azubi.engine.base import hardware
from benchmarks import data, machine, scoring
from benchmarks.cells import BASELINE_TRIALS, SEARCH_DEPTHS, SEARCH_RATES, Cell, Method
from benchmarks.data import Prepared
from benchmarks.store import Result, Store

PEERS = machine.ROOT / ".venv-bench" / "bin" / "python"
_PROBE_STEPS = 4
_SHORT_RUN = 3
"""Rates are tried on one in so many of the training examples."""
_TAIL_OF_LOG = 25


class SideError(Exception):
    """A side failed; says what, and where its log is."""


@dataclass
class Bench:
    """What all cells share."""

    work: Path
    """Scratch: data, homes, logs. May be thrown away."""
    store: Store
    shared: Store
    """Choices that hold for both forms."""
    threads: int
    tell: Callable[[str], None]
    middle: bool
    """Take the middle one of three rates instead of choosing."""
    _made: set[Path] = field(default_factory=set)

    @property
    def home(self) -> Path:
        """Holds the converted bases."""
        return self.work / "home"

    def measure(self, cell: Cell) -> Result:
        """Both sides of a cell, back to back; choices of rate and number format come first."""
        rates, mode = self.choose(cell)
        if not machine.is_quiet():
            self.tell(f"! the load is {machine.load()}: something else runs, and the times will suffer")
        result: Result = {
            "machine": machine.facts(self.threads),
            "began": machine.now(),
            "load": machine.load(),
            "rates": rates,
            "mode": mode,
            "middle_rates": self.middle,
        }
        ours = self._search(cell) if cell.trials else self._all_ours(cell, rates)
        rate = rates[cell.baseline.name]
        if cell.trials:
            baseline = [self._peer(cell, each, mode) for each in cell.baseline.rates[:BASELINE_TRIALS]]
        elif cell.steps:
            baseline = [self._peer(cell, rate, mode, steps=cell.steps)]
        else:
            baseline = [self._peer(cell, rate, mode, save=bool(cell.baseline.modes))]
        return result | {"ours": ours, "baseline": baseline, "ended": machine.now()}

    # Choices

    def choose(self, cell: Cell) -> tuple[dict[str, float], str]:
        """Each side's rate, and the baseline's number format. In nobody's time; kept, so done once."""
        mode = self._mode(cell) if cell.baseline.modes else ""
        return {method.name: self._rate(cell, method) for method in (cell.baseline, *cell.ours)}, mode

    def _rate(self, cell: Cell, method: Method) -> float:
        """The best of three rates, one epoch on a third of the examples; or the middle one."""
        if self.middle or cell.trials or len(method.rates) == 1:
            return method.rates[len(method.rates) // 2]
        cpu = machine.facts(1)["cpu"]
        basis = [method.name, method.base, method.rates, method.settings, cell.data, cell.train, cpu]
        name = f"{cell.data}-{_file_name(method.name)}-rate"
        if (known := self.store.choice(name, basis)) is not None:
            return float(known["chosen"])
        self.tell(f"which rate suits {method.name}? {', '.join(f'{rate:g}' for rate in method.rates)}")
        # No side meets more than its own mode here, so the mode must be known first.
        mode = self._mode(cell) if method.modes else ""
        prepared = self._prepared(cell, method)
        # Never fewer than there are labels: what was never shown cannot be learned by anyone.
        few = max(len(prepared.split.train) // _SHORT_RUN, len(prepared.contract.labels))
        tried: dict[float, float] = {}
        for rate in method.rates:
            if not method.script:
                outcome = self._ours(cell, method, rate, 0, until="training", train=few, epochs=1)
            else:
                outcome = self._peer(cell, rate, mode, train=few, epochs=1)
            loss = outcome.get("validation_loss")
            tried[rate] = loss if loss is not None else -outcome["validation_right"]
        best = min(tried, key=lambda rate: tried[rate])
        self.store.choose(name, basis, best, {f"{rate:g}": loss for rate, loss in tried.items()})
        self.tell(f"{method.name}: {best:g}")
        return best

    def _mode(self, cell: Cell) -> str:
        """The number format and attention in which a peer is fastest, by a few steps in each."""
        method = cell.baseline
        if len(method.modes) == 1 or not hardware.has_bfloat16():
            return method.modes[0]
        basis = [method.name, method.modes, machine.facts(1)["cpu"], self.threads]
        name = f"{_file_name(method.name)}-mode"
        if (known := self.shared.choice(name, basis)) is not None:
            return str(known["chosen"])
        steps = 2 if cell.steps else _PROBE_STEPS
        self.tell(f"in which number format is {method.name} fastest? {steps} steps each")
        tried = {}
        for mode in method.modes:
            outcome = self._peer(cell, method.rates[0], mode, steps=steps)
            tried[mode] = median(outcome["step_seconds"][1:])
            self.tell(f"{mode}: {tried[mode]:.2f} s a step")
        best = min(tried, key=lambda mode: tried[mode])
        self.shared.choose(name, basis, best, tried)
        return best

    # Runs

    def _all_ours(self, cell: Cell, rates: dict[str, float]) -> list[Result]:
        """Each method of azubi, once per seed."""
        return [
            self._ours(cell, method, rates[method.name], seed, until="scores")
            for method in cell.ours
            for seed in range(method.seeds)
        ]

    def _search(self, cell: Cell) -> list[Result]:
        """Trials over depth and rate, in one process as a search makes them."""
        outcomes = []
        for method in cell.ours:
            two_cuts = dict(method.settings).get("prompt_layers") == 0
            trials = [
                {"tail_layers": depth, "prompt_layers": 0 if two_cuts else depth, "learning_rate": rate}
                for depth in SEARCH_DEPTHS
                for rate in SEARCH_RATES
            ]
            job = self._job(cell, method, method.rates[0], 0)
            job |= {"data": str(self._prepared(cell, method).folder), "trials": trials[: cell.trials]}
            what = f"{method.name}, {cell.trials} trials"
            outcomes.append(self._run(what, azubi(), job) | {"method": method.name})
        return outcomes

    def _ours(
        self,
        cell: Cell,
        method: Method,
        rate: float,
        seed: int,
        *,
        until: str,
        train: int | None = None,
        epochs: int | None = None,
    ) -> Result:
        job = self._job(cell, method, rate, seed) | {"train_limit": train, "until": until}
        job["recipe"]["epochs"] = epochs or cell.epochs
        outcome = self._run(f"{method.name}, rate {rate:g}, seed {seed}", azubi(), job)
        return outcome | {"method": method.name, "rate": rate, "seed": seed}

    def _job(self, cell: Cell, method: Method, rate: float, seed: int) -> dict[str, Any]:
        prepared = self._prepared(cell, method)
        recipe = {
            "name": "benchmark",
            "data": str(prepared.folder / "train.jsonl"),
            "test_data": str(prepared.folder / "test.jsonl"),
            "task": prepared.contract.task,
            "base": data.place(method.base, self.home),
            "instruction": None if prepared.base.kind == "encoder" else prepared.instruction,
            "learning_rate": rate,
            "epochs": cell.epochs,
            "seed": seed,
            "threads": self.threads,
            **dict(method.settings),
        }
        home = str(self._fresh_home(method.base))
        return {"recipe": recipe, "seed": seed, "threads": self.threads, "home": home}

    def _peer(
        self,
        cell: Cell,
        rate: float,
        mode: str,
        *,
        train: int | None = None,
        epochs: int | None = None,
        steps: int | None = None,
        save: bool = False,
    ) -> Result:
        method = cell.baseline
        prepared = self._prepared(cell, method)
        model = self.work / "model"
        shutil.rmtree(model, ignore_errors=True)
        job: dict[str, Any] = {
            "base": str(prepared.base.folder),
            "rate": rate,
            "epochs": epochs or cell.epochs,
            "patience": 2,
            "seed": 0,
            "threads": self.threads,
            "mode": mode,
            "steps": steps,
            "save": str(model) if save else None,
            **dict(method.settings),
        }
        whole = train is None and steps is None
        if method.modes:
            job["train"], job["validation"] = prepared.written(train)
        else:
            job["train"], job["validation"] = prepared.labelled(train)
            job["labels"] = list(prepared.contract.labels)
            job["questions"] = [example.prompt for example in prepared.split.test] if whole else []
        what = f"{method.name}, rate {rate:g}" + (f", {mode}" if mode else "")
        outcome = self._run(what, peer(method.script), job)
        if save:
            outcome["scores"] = self._score(cell, prepared, model)
            shutil.rmtree(model)
        elif job.get("questions"):
            outcome["scores"] = scoring.answers(prepared, outcome["answers"])
        outcome.pop("answers", None)
        if cell.steps and steps:
            outcome |= _scaled(outcome, -(-len(job["train"]) // dict(method.settings)["batch"]))
        return outcome | {"method": method.name, "rate": rate}

    def _score(self, cell: Cell, prepared: Prepared, model: Path) -> Any:
        """Its held-out score; the test is no part of the run that is timed."""
        job = {
            "data": str(prepared.folder),
            "model": str(model),
            "task": prepared.contract.task,
            "instruction": prepared.instruction,
            "home": str(self.home),
            "threads": self.threads,
        }
        return self._run("its answers to the test", [sys.executable, "-m", "benchmarks.scoring"], job)[
            "scores"
        ]

    def _prepared(self, cell: Cell, method: Method) -> Prepared:
        source = data.SOURCES[cell.data]
        folder = self.work / "data" / f"{cell.data}-{cell.train}-{cell.test}"
        if folder not in self._made:
            data.write(source, cell.train, cell.test, folder)
            self._made.add(folder)
        return data.prepare(folder, method.base, source.task, source.instruction, self.home)

    def _fresh_home(self, base: str) -> Path:
        """A home without activations, runs and specialists, but with the base converted and hashed."""
        data.opened(base, self.home)
        home = self.work / "home-azubi"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        (home / "bases").symlink_to((self.home / "bases").resolve())
        return home

    def _run(self, what: str, command: list[str], job: dict[str, Any]) -> Result:
        """Run `command` on `job`; tells each line that it prints."""
        self.tell(what)
        folder = self.work / "jobs"
        folder.mkdir(parents=True, exist_ok=True)
        given, written, log = folder / "job.json", folder / "outcome.json", folder / "log.txt"
        given.write_text(json.dumps(job))
        written.unlink(missing_ok=True)
        began = machine.now()
        with log.open("w") as errors:
            process = subprocess.Popen(
                [*command, str(given), str(written)],
                cwd=machine.ROOT,
                env=_environment(self.threads),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    self.tell(f"  {line.rstrip()}")
                code = process.wait()
            except BaseException:
                process.terminate()
                process.wait()
                raise
        if code or not written.is_file():
            last = "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL_OF_LOG:])
            raise SideError(f"{what}: ended with code {code}.\n{last}\nThe whole log: {log}")
        outcome: Result = json.loads(written.read_text())
        return outcome | {"began": began, "ended": machine.now()}


def _scaled(outcome: Result, steps: int) -> Result:
    """What an epoch of so many steps takes, by a few of them, and all before the first.

    Validation and what comes with the end of an epoch are left out, in the baseline's favour.
    """
    return {
        "epoch_seconds": steps * median(outcome["step_seconds"][1:]),
        "set_up_seconds": outcome["seconds"] - sum(outcome["step_seconds"]),
    }


def _file_name(method: str) -> str:
    """A method's name as part of a file's."""
    return re.sub(r"\W+", "-", method.lower())


def azubi() -> list[str]:
    """How azubi is started."""
    return [sys.executable, "-m", "benchmarks.ours"]


def peer(script: str) -> list[str]:
    """How a peer is started: by the Python that has its libraries."""
    return [str(PEERS), str(machine.ROOT / "benchmarks" / "peers" / f"{script}.py")]


def _environment(threads: int) -> dict[str, str]:
    """One for all sides: the same threads, no network, nothing of this process's own paths."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return kept | {
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONWARNINGS": "ignore",
    }
