"""The script outside of azubi computes every number of a report again, and notices each that is otherwise."""

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from azubi.data.contract import infer, written_labels
from azubi.data.levels import Levels
from azubi.evaluation.prediction import Facts, Prediction, table, write
from azubi.evaluation.proof import prove_from
from benchmarks import reproduce
from tests.evaluation.proof_sample import sample

SCRIPT = Path(reproduce.__file__)


def as_sets(rows: list[Prediction], facts: Facts) -> tuple[list[Prediction], Facts]:
    """The same with a set of labels for each label, which share some."""
    sets = {
        label: written_labels([label, "Urgent"] if number % 2 else [label])
        for number, label in enumerate(facts.contract.labels)
    }
    contract = infer(list(sets.values()), "labels")
    named = [
        replace(row, truth=sets.get(row.truth, row.truth), answer=sets.get(row.answer, "?")) for row in rows
    ]
    return named, facts.model_copy(update={"contract": contract, "main": "exact_set"})


@pytest.fixture(scope="module", params=["labels", "sets", "json", "text", "few baselines"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("proof")
    if request.param == "few baselines":
        rows, facts = sample(60, levels={"specialist": 0.9, "prompted": 0.5}, parts=False)
    else:
        rows, facts = sample(80, task="labels" if request.param == "sets" else request.param)
    if request.param == "labels":
        with_levels = facts.contract.with_levels(Levels(" ", ("area", "desk")))
        facts = facts.model_copy(update={"contract": with_levels})
    if request.param == "sets":
        rows, facts = as_sets(rows, facts)
    write(table(rows), at / "predictions.parquet")
    (at / "facts.json").write_text(facts.model_dump_json(), encoding="utf-8")
    (at / "report.json").write_text(prove_from(table(rows), facts).model_dump_json(), encoding="utf-8")
    return at


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True, timeout=120)


def test_it_imports_nothing_of_azubi() -> None:
    tree = ast.walk(ast.parse(SCRIPT.read_text(encoding="utf-8")))
    names = [alias.name for node in tree if isinstance(node, ast.Import) for alias in node.names]
    tree = ast.walk(ast.parse(SCRIPT.read_text(encoding="utf-8")))
    names += [str(node.module) for node in tree if isinstance(node, ast.ImportFrom)]
    rooms = {name.split(".")[0] for name in names}
    assert "numpy" in rooms and rooms.isdisjoint({"azubi", "benchmarks"})


def test_every_number_is_reproduced(folder: Path) -> None:
    done = run(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "are reproduced" in done.stdout


def test_each_number_that_is_otherwise_is_named(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text())
    facts = json.loads((folder / "facts.json").read_text())
    again = reproduce.expected(report, pl.read_parquet(folder / "predictions.parquet"), facts)
    again["facts"] = facts | {"texts": {}, "slices": {}}
    assert list(reproduce.differences("", report, again)) == []
    places = list(number_places(report))
    assert len(places) == reproduce.count_numbers(report) > 100
    for place in places[:: max(1, len(places) // 300)]:
        changed = deepcopy(report)
        *way, last = place
        at: Any = changed
        for step in way:
            at = at[step]
        at[last] = at[last] * 1.001 + 0.001
        (line,) = reproduce.differences("", changed, again)
        assert str(last) in line


@pytest.mark.parametrize("folder", ["few baselines"], indirect=True)
def test_a_changed_report_ends_with_an_error(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "proof"
    shutil.copytree(folder, other)
    report = json.loads((other / "report.json").read_text())
    report["baselines"][0]["scores"][0]["low"] += 0.01
    report["baselines"][1]["paired"]["more"] = 0.5
    (other / "report.json").write_text(json.dumps(report))
    done = run(other)
    assert done.returncode == 1
    assert "baselines[0].scores[0].low" in done.stdout and "baselines[1].paired.more" in done.stdout


def number_places(value: Any, way: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in pairs:
        yield from number_places(entry, (*way, key))
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield way
