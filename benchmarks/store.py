"""Results on disk: one JSON file for each cell, written whole when both sides are done.

A cell that was stopped half-way leaves nothing: its two sides would not have run back to back.
"""

import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from azubi.storage import files
from benchmarks.cells import Cell

LONGEST_GAP = 300.0
"""Seconds that may lie between the end of one run of a cell and the beginning of the next."""

Result = dict[str, Any]


class Store:
    """The results of the long or the short benchmark."""

    def __init__(self, folder: Path, machine: Mapping[str, object]) -> None:
        """Results in `folder`; only those made on `machine` (see `machine.identity`) count."""
        self.folder = folder
        self.machine = machine

    def read(self, cell: Cell) -> Result | None:
        """What was measured of a cell as it is defined now, on this machine, with this code; else None."""
        result = self._load(cell.name)
        return result if result is not None and not self.stale(cell) else None

    def stale(self, cell: Cell) -> str:
        """Why a stored result does not count here and now; empty if it does, or if there is none."""
        result = self._load(cell.name)
        if result is None:
            return ""
        if _as_measured(result["cell"]) != _as_measured(as_json(cell)):
            return "the cell was defined differently"
        for name, here in self.machine.items():
            if (there := result["machine"].get(name)) != here:
                return f"it was measured with {name} {there}, here it is {here}"
        return "the code has changes that are not committed" if self._changed else ""

    @property
    def _changed(self) -> bool:
        return str(self.machine.get("commit", "")).endswith("+")

    def write(self, cell: Cell, result: Result) -> None:
        """Keep a cell's result.

        Raises:
            ValueError: its sides cannot be compared.
        """
        check_fair(result)
        self.put(cell.name, result | {"cell": as_json(cell)})

    def choice(self, name: str, basis: Any) -> Any:
        """What was chosen before on the same basis; None if nothing was."""
        choice = self._load(f"choices/{name}")
        return choice if choice is not None and choice["basis"] == _plain(basis) else None

    def choose(self, name: str, basis: Any, chosen: Any, tried: dict[str, float]) -> Result:
        """Keep a choice, and what it rests on."""
        made = {"chosen": chosen, "tried": tried, "basis": _plain(basis)}
        self.put(f"choices/{name}", made)
        return made

    def put(self, name: str, content: Result) -> None:
        """Write a file of this folder, whole or not at all."""
        path = self.folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    def _load(self, name: str) -> Result | None:
        try:
            result: Result = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return result


def check_fair(result: Result) -> None:
    """Raise ValueError if the two sides of a cell cannot be compared.

    Nothing may lie between its runs (all of azubi's, then all of the baseline's, each with the times when it
    began and ended), and torch and the threads must be the same.
    """
    ours, baseline = result["ours"], result["baseline"]
    if not (ours and baseline):
        raise ValueError("A ratio needs both sides.")
    for before, after in itertools.pairwise([*ours, *baseline]):
        gap = datetime.fromisoformat(after["began"]) - datetime.fromisoformat(before["ended"])
        if not 0 <= gap.total_seconds() <= LONGEST_GAP:
            raise ValueError(f"{gap} lies between two runs of a cell; they must run back to back.")
    runs = (*ours, *baseline)
    for what, values in (
        ("torch", {str(run["versions"]["torch"]) for run in runs}),
        ("threads", {str(run["threads"]) for run in runs}),
    ):
        if len(values) > 1:
            raise ValueError(f"The two sides had different {what}: {' and '.join(sorted(values))}.")


def _as_measured(cell: Result) -> Result:
    """A cell's definition without what does not change what is measured."""
    return {name: value for name, value in cell.items() if name not in ("minutes", "faster", "memory")}


def as_json(cell: Cell) -> Any:
    """A cell's definition as a file holds it."""
    return _plain(asdict(cell))


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))
