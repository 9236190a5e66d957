"""The whole plumbing on a tiny base, with a baseline that does nothing but answer."""

import sys
from dataclasses import replace

import pytest

from benchmarks import data, sides, table, train
from benchmarks.cells import SEARCH_RATES, Cell, Method
from benchmarks.sides import Bench, SideError
from benchmarks.store import Store
from tests import tiny
from tests.benchmarks.cells import HERE, result

BASELINE = """
import json, shutil, sys, time
from importlib.metadata import version
job = json.load(open(sys.argv[1]))
if job["rate"] > 1:
    sys.exit("the rate is absurd")
print("half done")
if job["save"]:
    shutil.copytree(job["base"], job["save"])
assert all(example["asked"] and example["answer"] for example in job["train"])
outcome = {
    "seconds": 12.0, "seconds_to_best": 1.5, "peak_bytes": 10**9, "validation_loss": 1 / job["rate"],
    "step_seconds": [9.0, 1.0 if job["mode"] == "mixed" else 2.0], "threads": job["threads"],
    "versions": {"torch": version("torch")},
    "examples": len(job["train"]), "epochs": job["epochs"],
}
json.dump(outcome, open(sys.argv[2], "w"))
"""


OURS = """
import json, pathlib, sys
from importlib.metadata import version
job = json.load(open(sys.argv[1]))
recipe = job["recipe"]
cached = pathlib.Path(job["home"]) / "trunk"
outcome = {
    "best_epoch": 2, "trials": job.get("trials"), "peak_bytes": 10**8,
    "seconds": 1.0, "seconds_to_best": 1.0, "validation_loss": recipe["learning_rate"],
    "versions": {"torch": version("torch")}, "threads": job["threads"], "trunk_computed": not cached.exists(),
    "limit": job.get("train_limit"), "until": job.get("until"),
}
cached.touch()
json.dump(outcome, open(sys.argv[2], "w"))
"""


@pytest.fixture
def cell(bases, monkeypatch, tmp_path):
    """A cell on a tiny decoder; its baseline is a script of this test."""
    script = tmp_path / "baseline.py"
    script.write_text(BASELINE)
    monkeypatch.setattr(sides, "peer", lambda _: [sys.executable, str(script)])
    monkeypatch.setattr(train, "PEERS", script)
    source = data.Source(
        "tiny", "labels", None, lambda train, test: (tiny.labels(train), tiny.labels(test, 1))
    )
    monkeypatch.setitem(data.SOURCES, "tiny", source)
    ours = Method("azubi", "", str(bases.decoder), (1e-3, 3e-3, 1e-2), (("batch", 8), ("tail_layers", 2)), 2)
    baseline = Method(
        "a baseline", "baseline", str(bases.decoder), (1e-3, 2e-3, 5e-3), modes=("float32", "mixed")
    )
    return Cell("tiny-baseline", "set-up", "tiny", 40, 12, 2, (ours,), baseline, 5)


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Puts a script in azubi's place too, and takes scores for granted."""
    script = tmp_path / "ours.py"
    script.write_text(OURS)
    monkeypatch.setattr(sides, "azubi", lambda: [sys.executable, str(script)])
    monkeypatch.setattr(Bench, "_score", lambda *_: [{"name": "accuracy", "value": 0.5}])


@pytest.fixture
def bench(tmp_path):
    """A bench in its short form; what it says is in `lines`."""
    lines: list[str] = []
    store = Store(tmp_path / "results" / "short", HERE)
    made = Bench(tmp_path / "work", store, Store(tmp_path / "results", HERE), 1, lines.append, True)
    made.lines = lines
    return made


def test_a_cell_is_measured_on_both_sides(cell, bench):
    result = bench.measure(cell)
    bench.store.write(cell, result)
    first, second = result["ours"]
    assert (first["seed"], second["seed"]) == (0, 1)
    assert first["tokens"] == second["tokens"]
    assert first["validation_loss"] != second["validation_loss"]
    for run in result["ours"]:
        assert 0 < run["seconds_to_best"] <= run["seconds"]
        assert run["peak_bytes"] > 50e6
        assert 0 < run["trunk_share"] < 1
        assert 0 < run["tail_share"] < 1
        assert run["scores"][0]["name"] == "accuracy"
    (baseline,) = result["baseline"]
    # The baseline's model is the untouched base; that too is scored on every test example.
    assert baseline["scores"][0]["n"] == 12
    assert baseline["examples"] == first["examples"]
    assert "  half done" in bench.lines


def test_the_long_form_chooses_rates_on_a_third_of_the_examples_and_remembers_them(cell, bench, quick):
    long = replace(bench, middle=False)
    result = long.measure(cell)
    # Ours claims a loss that rises with the rate, the baseline one that falls.
    assert result["rates"] == {"azubi": 1e-3, "a baseline": 5e-3}
    asked = sum("which rate" in line for line in bench.lines)
    assert asked == 2
    long.measure(cell)
    assert sum("which rate" in line for line in bench.lines) == asked


def test_the_trials_of_a_search_are_one_run_of_ours(cell, bench, quick):
    result = bench.measure(replace(cell, trials=6))
    (ours,) = result["ours"]
    assert [(trial["tail_layers"], trial["learning_rate"]) for trial in ours["trials"]] == [
        *((1, rate) for rate in SEARCH_RATES),
        (2, SEARCH_RATES[0]),
    ]
    assert [run["rate"] for run in result["baseline"]] == [1e-3, 2e-3, 5e-3]


@pytest.mark.parametrize("prompt_layers", [2, 0])
def test_a_search_reads_the_examples_once(cell, bench, prompt_layers):
    (method,) = cell.ours
    method = replace(method, settings=(*method.settings, ("prompt_layers", prompt_layers)))
    result = bench.measure(replace(cell, trials=6, ours=(method,)))
    (ours,) = result["ours"]
    assert {trial["prompt_layers"] for trial in ours["trials"]} == ({1, 2} if prompt_layers else {0})
    assert ours["trunk_computed"] == 40
    assert len({trial["validation_loss"] for trial in ours["trials"]}) == 6
    assert sum(trial["seconds"] for trial in ours["trials"]) < ours["seconds"]


def test_a_baseline_that_takes_too_long_is_scaled_by_a_few_steps(cell, bench, quick):
    long = replace(cell, steps=3, baseline=replace(cell.baseline, settings=(("batch", 8),)))
    result = bench.measure(long)
    (run,) = result["baseline"]
    # 36 examples are 5 steps of a second, as the second step took; all but its two steps comes once.
    assert (run["epoch_seconds"], run["set_up_seconds"]) == (5.0, 2.0)
    values = table.figures(long, long.ours[0], result)
    assert (values.baseline_seconds, values.baseline_score) == (2.0 + 2 * 5.0, None)


def test_every_seed_pays_for_its_own_trunk(cell, bench, quick):
    assert [run["trunk_computed"] for run in bench.measure(cell)["ours"]] == [True, True]


def test_the_fastest_number_format_is_probed_once(cell, bench, quick, monkeypatch):
    monkeypatch.setattr(sides.hardware, "has_bfloat16", lambda: True)
    assert bench.measure(cell)["mode"] == "mixed"
    probed = sum("s a step" in line for line in bench.lines)
    assert probed == 2
    bench.measure(cell)
    assert sum("s a step" in line for line in bench.lines) == probed


def test_without_native_bfloat16_nothing_is_probed(cell, bench, quick, monkeypatch):
    monkeypatch.setattr(sides.hardware, "has_bfloat16", lambda: False)
    assert bench.measure(cell)["mode"] == "float32"
    assert not any("s a step" in line for line in bench.lines)


def test_a_baseline_that_fails_is_said_with_its_log(cell, bench, quick):
    broken = replace(cell, baseline=replace(cell.baseline, rates=(2.0, 2.0, 2.0)))
    with pytest.raises(SideError, match="the rate is absurd"):
        bench.measure(broken)


@pytest.fixture
def command(cell, monkeypatch, tmp_path):
    """The command, with the tiny cell and another one after it."""
    second = replace(cell, name="second")
    monkeypatch.setattr(train, "cells", lambda wanted: (cell, second))
    monkeypatch.setattr(train.machine, "identity", lambda threads: HERE)

    def run(*words):
        return train.main(
            [
                "--short",
                "--threads",
                "1",
                "--results",
                str(tmp_path / "r"),
                "--work",
                str(tmp_path / "w"),
                *words,
            ]
        )

    return run


def fake(measured):
    """Stands for `TrialRunner.measure`: takes or raises the next of `measured`."""
    left = iter(measured)

    def measure(self, cell):
        result = next(left)
        if isinstance(result, BaseException):
            raise result
        return result

    return measure


def test_finished_cells_stay_when_stopped_and_are_not_run_again(command, monkeypatch, capsys):
    monkeypatch.setattr(Bench, "measure", fake([result(), KeyboardInterrupt()]))
    assert command() == 130
    assert "finished cells are kept" in capsys.readouterr().out
    monkeypatch.setattr(Bench, "measure", fake([result()]))
    assert command() == 0
    output = capsys.readouterr().out
    assert output.count("done on 2026-01-01") == 1
    assert command("--list") == 0
    assert capsys.readouterr().out.count(": done") == 2


def test_a_cell_that_fails_does_not_stop_the_others(command, monkeypatch, capsys):
    monkeypatch.setattr(Bench, "measure", fake([SideError("broken"), result()]))
    assert command() == 1
    output = capsys.readouterr().out
    assert "tiny-baseline failed: broken" in output
    assert "tiny-baseline: not measured yet" in output


def test_data_that_is_not_here_is_skipped_and_said(command, monkeypatch, capsys):
    lacking = replace(data.SOURCES["tiny"], files=("nowhere.csv",))
    monkeypatch.setitem(data.SOURCES, "tiny", lacking)
    monkeypatch.setattr(Bench, "measure", fake([]))
    assert command() == 0
    assert "skipped: nowhere.csv not found" in capsys.readouterr().out


def test_without_the_baselines_libraries_it_says_how_to_get_them(command, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(train, "PEERS", tmp_path / "nothing" / "bin" / "python")
    assert command() == 2
    assert "make bench-setup" in capsys.readouterr().out


def test_an_unknown_name_is_answered_with_the_known_ones(command, capsys):
    assert command("--only", "nonsense") == 2
    assert "tiny-baseline" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("elsewhere", "reason"),
    [
        ({"cpu": "another processor"}, "measured with cpu a processor, here it is another processor"),
        ({"threads": 2}, "measured with threads 1, here it is 2"),
        ({"commit": "def"}, "measured with commit abc, here it is def"),
        ({"commit": "abc+"}, "measured with commit abc, here it is abc+"),
    ],
)
def test_what_was_measured_elsewhere_or_on_other_code_is_measured_anew(
    command, monkeypatch, capsys, elsewhere, reason
):
    monkeypatch.setattr(Bench, "measure", fake([result(), result()]))
    assert command() == 0
    monkeypatch.setattr(train.machine, "identity", lambda threads: HERE | elsewhere)
    again = iter([result(), result()])
    made_here = [cell | {"machine": cell["machine"] | elsewhere} for cell in again]
    monkeypatch.setattr(Bench, "measure", fake(made_here))
    assert command() == 0
    shown = capsys.readouterr().out
    assert shown.count(f"measured anew: it was {reason}") == 2
    assert shown.count("2 of 2 cells to measure") == 2


def test_how_long_it_takes_is_said_beforehand(command, cell, monkeypatch, capsys):
    slow = replace(cell, minutes=7.4), replace(cell, name="second", minutes=5)
    monkeypatch.setattr(train, "cells", lambda wanted: slow)
    monkeypatch.setattr(Bench, "measure", fake([result(), result()]))
    assert command() == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert "2 of 2 cells to measure on a processor, 1 threads: about 12 minutes" in first
    assert command() == 0
    assert "everything was measured on this machine" in capsys.readouterr().out


def test_a_fresh_clone_has_no_results_to_show(tmp_path):
    assert not (train.machine.ROOT / "benchmarks" / "results").exists()
    ignored = (train.machine.ROOT / ".gitignore").read_text().splitlines()
    assert f"/{train.machine.RESULTS.parent.name}/" in ignored


def test_a_claim_file_is_decided_by_the_report_of_the_open_claim():
    (files, tests), again = (data.SOURCES["files"].rows(40, 10) for _ in range(2))
    assert (files, tests) == again
    assert (len(files), len(tests)) == (40, 10)
    notes = {note.text: note for split in data.company().generate(7, 123, 33) for note in split}
    for row in (*files, *tests):
        papers = [paper.partition("\n")[::2] for paper in row["prompt"].split("\n\n[")[1:]]
        reports = [text for heading, text in papers if text in notes]
        closed = [text for heading, text in papers if heading.endswith(", closed")]
        assert [notes[text].record["line"] for text in reports] == [row["answer"]]
        assert all(text.removeprefix("Copy for information.\n") in notes for text in closed)
        assert len(closed) <= 2
        assert 2_600 <= len(row["prompt"]) <= 5_000
