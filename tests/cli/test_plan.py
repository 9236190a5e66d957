"""`azubi plan`: what it takes, what it says, and the truth beside it once the run is done."""

import json

import pytest

from azubi.cli import main, outcome, tune
from azubi.events import events as ev
from azubi.events.figures import Forecast
from azubi.registry.runs import history, plan_vs_actual
from tests import tiny
from tests.cli.conftest import run_events

FORECAST = Forecast(
    examples={"train": 900, "validation": 120, "test": 180},
    tokens={"instruction": 63, "prompts": 61_000, "answers": 30_000, "test": 11_000},
    known=0, setup=6.0, trunk=30.0, epoch=80.0, epochs=4, tail=330.0, evaluate=60.0, package=3.0,
    memory=2_000_000_000, cache=209_000_000, checkpoints=400_000_000, specialist=113_000_000, measured=5.0,
)  # fmt: skip


def planned_run(forecast=FORECAST, **ended):
    """The events of a run, a second apart, with a plan."""
    for number, event in enumerate(_with_plan(forecast, ended)):
        yield event.model_copy(update={"elapsed": float(number)})


def _with_plan(forecast, ended):
    for event in run_events():
        yield event.model_copy(update=ended) if isinstance(event, ev.RunEnded) else event
        if isinstance(event, ev.InstructionReady):
            yield ev.Planned(seconds=forecast.stages, forecast=forecast)


@pytest.fixture
def notes(tmp_path):
    return tiny.write(tmp_path / "notes.jsonl", tiny.records(96))


def test_the_plan_of_a_data_file(notes, bases, home, capsys):
    assert main(["plan", str(notes), "--base", str(bases.decoder), "--threads", "1", "--epochs", "3"]) == 0
    out = capsys.readouterr().out
    lines = {line.split("  ")[0].strip(): line for line in out.splitlines()}
    assert list(lines) == [
        "Base", "Examples", "Tokens", "Set-up", "Trunk", "Training", "Evaluation", "Packaging", "In all",
        "Memory", "Disk", "Measured",
    ]  # fmt: skip
    assert "train" in lines["Examples"] and "test" in lines["Examples"]
    assert "instruction" in lines["Tokens"] and "answers" in lines["Tokens"]
    assert "at most 3 epochs" in lines["Training"] and "at most" in lines["Memory"]
    assert not (home / "runs").exists() and not (home / "specialists").exists()


def test_the_plan_of_a_recipe_as_json(notes, bases, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"name: tiny\ndata: notes.jsonl\nbase: {bases.decoder}\nthreads: 1\nepochs: 1\n")
    assert main(["plan", str(recipe), "--epochs", "2", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["epochs"] == 2 and document["settings"]["name"] == "tiny"
    parts = (document[name] for name in ("setup", "trunk", "tail", "evaluate", "package"))
    assert document["total"] == pytest.approx(sum(parts))
    assert document["machine"]["threads"] == 1 and document["task"] == "json" and document["memory"] > 0


def test_what_a_run_would_refuse_a_plan_refuses_too(notes, bases, tmp_path, capsys):
    assert main(["plan", str(tmp_path / "none.jsonl")]) == 2
    assert main(["plan", str(notes), "--base", str(bases.encoder)]) == 2
    assert "encoder" in capsys.readouterr().err


def test_what_is_left_out_is_said(notes, bases, capsys):
    repeated = tiny.write(notes.with_name("twice.jsonl"), [*tiny.records(96), *tiny.records(1)])
    assert main(["plan", str(repeated), "--base", str(bases.decoder), "--threads", "1"]) == 0
    assert "Note: 1 repeated example is left out" in capsys.readouterr().out


def test_a_budget_shows(bases, tmp_path, capsys):
    notes = tiny.write(tmp_path / "notes.jsonl", tiny.labels(96))
    command = ["plan", str(notes), "--base", str(bases.encoder), "--threads", "1", "--budget", "2m"]
    assert main(command) == 0
    lines = {line.split("  ")[0].strip(): line for line in capsys.readouterr().out.splitlines()}
    assert "what the budget leaves" in lines["Search"] and "2 min" in lines["In all"]


def test_plan_and_truth_side_by_side():
    lines = {
        line.name: line
        for line in plan_vs_actual(history(planned_run(memory={"tail": 1_500_000_000}, checkpoints=7)))
    }
    assert list(lines) == [
        "set-up", "trunk", "tail", "one epoch", "evaluate", "package", "in all", "memory", "activations",
        "checkpoints",
    ]  # fmt: skip
    # Three of four epochs were made.
    assert (lines["tail"].planned, lines["one epoch"].planned) == (330.0 - 80.0, 80.0)
    assert lines["one epoch"].took == 81.0
    assert lines["in all"].planned == 6.0 + 30.0 + 250.0 + 60.0 + 3.0
    assert lines["in all"].took == sum(
        lines[name].took for name in ("set-up", "trunk", "tail", "evaluate", "package")
    )
    assert lines["memory"].ratio == 0.75 and lines["activations"].ratio == 1.0


def test_what_was_not_measured_is_not_made_up():
    rough = FORECAST.model_copy(update={"memory": None, "measured": 0.0})
    lines = plan_vs_actual(history(planned_run(rough, memory={"tail": 5})))
    assert next(line for line in lines if line.name == "memory").ratio is None
    unplanned = plan_vs_actual(history(event for event in planned_run() if not isinstance(event, ev.Planned)))
    assert [line.planned for line in unplanned] == [None] * len(unplanned)


def test_a_plan_of_an_earlier_release_is_still_read():
    line = '{"kind": "planned", "seconds": {"trunk": 3.0}, "settings": {}}'
    assert ev.parse(line).forecast is None
    assert ev.parse('{"kind": "run_ended", "seconds": 3.0}').memory == {}


def test_the_heading_says_what_the_plan_rested_on():
    assert "a rehearsal of 5.0 s" in outcome.plan_heading(history(planned_run()))
    assert "3 of 4 epochs" in outcome.plan_heading(history(planned_run()))
    whole = FORECAST.model_copy(update={"epochs": 3, "measured": 0.0})
    heading = outcome.plan_heading(history(planned_run(whole)))
    assert "arithmetic alone" in heading and "epochs" not in heading


def test_a_run_that_is_done_tells_plan_and_truth(notes, bases, home, capsys):
    command = ["tune", str(notes), "--base", str(bases.decoder), "--threads", "1", "--epochs", "2", "--quiet"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "Plan and truth" in out and "in all" in out and "checkpoints" in out
    assert main([*command, "--seed", "1", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert plan["forecast"]["epochs"] == 2 and plan["against"]["tail"]["took"] > 0
    (run, _) = (path.name for path in sorted((home / "runs").iterdir()))
    assert main(["runs", "show", run]) == 0
    assert "of plan" in capsys.readouterr().out


def test_facts_leave_out_what_there_is_none_of():
    base = next(event for event in run_events() if isinstance(event, ev.BaseReady))
    data = next(event for event in run_events() if isinstance(event, ev.DataReady))
    alone = FORECAST.model_copy(
        update={"tokens": {"instruction": 0, "prompts": 9, "answers": 0, "test": 3}, "epochs": 1, "known": 5}
    )
    facts = tune._facts(base, data, ev.Planned(seconds={}, forecast=alone))
    assert facts["Tokens"] == "prompts 9, test 3" and "1 epoch of" in facts["Training"]
    assert "5 known to the cache" in facts["Examples"]
