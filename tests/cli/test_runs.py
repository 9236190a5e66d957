"""resume, runs and runs show, on runs whose events are written by hand."""

import json

import pytest

from azubi.cli import main
from azubi.cli.formatting import operations, tiny_share
from azubi.cli.runs import sparkline
from azubi.engine.base.catalog import find
from azubi.events import events as ev
from azubi.registry.runs import Runs, history
from tests.cli.conftest import run_events

SETTINGS = {"name": "intake", "epochs": 3, "rank": 0, "instruction": None}


def written(home, events, name="intake"):
    """A run with these events, each a second after the other; gives its id."""
    run = Runs(home).begin(name, "id", SETTINGS)
    for number, event in enumerate(events):
        run.log(event.model_copy(update={"at": 1.8e9 + number, "elapsed": float(number)}))
    run.release()
    return run.id


def with_figures(events):
    """The same run with what the figures are made from."""
    for event in events:
        if isinstance(event, ev.BaseReady):
            event = event.model_copy(update={"pretraining": find("smollm2-135m").pretraining})
        if isinstance(event, ev.StepDone):
            event = event.model_copy(update={"work": 1e12, "seconds": 0.5})
        if isinstance(event, ev.Progress) and event.stage == "tail":
            event = event.model_copy(update={"throughput": 1800.0, "peak": 0.61})
        yield event
        if isinstance(event, ev.InstructionReady):
            yield ev.Planned(seconds={"trunk": 30.0, "tail": 240.0, "evaluate": 60.0, "package": 2.0})


@pytest.fixture
def done(home):
    return written(home, with_figures(run_events()))


def test_a_table_of_runs(home, done, capsys):
    half = written(home, list(run_events())[:40], "other")
    assert main(["runs"]) == 0
    out = capsys.readouterr().out
    other, whole = (next(line for line in out.splitlines() if run in line.split()) for run in (half, done))
    assert "unfinished" in other and "–" in other
    assert "done" in whole and "57 %" in whole
    assert "azubi resume" in out
    assert main(["runs", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["runs"]
    assert {row["run"]: row["state"] for row in rows} == {half: "unfinished", done: "done"}


def test_no_runs(capsys):
    assert main(["runs"]) == 0
    assert "azubi tune" in capsys.readouterr().out
    assert main(["runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"runs": []}


def test_a_run_is_shown(home, done, capsys):
    assert main(["runs", "show", done]) == 0
    out = capsys.readouterr().out
    lines = {line.split("  ")[0].strip(): line for line in out.splitlines()}
    assert "intake@1" in lines["Specialist"]
    assert "1.818 → 0.154" in lines["Loss"] and "█" in lines["Loss"] and "▁" in lines["Loss"]
    assert "→ 98 %" in lines["Validation right"]
    assert "1,800 tokens/s, 61 % of the machine's peak" in lines["In tail"]
    # 120 steps of 10^12 operations, of 6 x 134,515,008 x 2 x 10^12.
    assert "1.2 × 10^14 operations to train; one part in 13,451,501" in lines["Work"]
    trunk = next(line for line in out.splitlines() if line.startswith("trunk"))
    assert "30 s" in trunk and "20 s" in trunk
    assert lines["rank"].endswith("0")
    assert not [line for line in out.splitlines() if line.startswith("instruction")], (
        "the setting was not given"
    )
    assert any(line.startswith("set-up") for line in out.splitlines())


def test_a_run_as_json_holds_every_figure(home, done, capsys):
    assert main(["runs", "show", done, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [len(document["steps"]), len(document["epochs"])] == [120, 3]
    assert {"loss", "learning_rate", "tokens", "seconds", "work", "elapsed"} <= set(document["steps"][0])
    assert document["stages"]["tail"]["planned"] == 240.0 and document["stages"]["tail"]["took"] > 0
    assert document["work"]["share"] == pytest.approx(1.2e14 / (6 * 134_515_008 * 2e12))
    assert (document["state"], document["specialist"]["version"], document["settings"]["epochs"]) == (
        "done",
        1,
        3,
    )


def test_what_is_not_known_is_not_made_up(home, capsys):
    run = written(home, run_events())
    assert main(["runs", "show", run]) == 0
    assert "what training smollm2-135m from nothing took is not known" in capsys.readouterr().out
    assert find("minilm").pretraining is None


@pytest.mark.parametrize("line", [["runs", "show", "x"], ["resume"], ["resume", "x"]])
def test_no_such_run(line, capsys):
    assert main([*line, "--json"]) == 2
    assert "azubi runs" in json.loads(capsys.readouterr().out)["error"]["remedy"]


def test_undone_steps_are_left_out_but_their_work_counts():
    step = lambda number, loss: ev.StepDone(  # noqa: E731
        step=number, steps=9, epoch=1, loss=loss, learning_rate=1e-3, tokens=5, work=10.0
    )
    past = history(
        [
            ev.RunStarted(name="x", folder="f", settings={}, elapsed=0.0),
            ev.StageStarted(stage="tail", elapsed=1.0),
            *(step(number, 1.0) for number in (1, 2, 3)),
            ev.RolledBack(epoch=1, step=4, loss=None, back_to=2, learning_rate=5e-4, elapsed=4.0),
            step(3, 2.0),
            step(4, 2.0).model_copy(update={"elapsed": 6.0}),
            ev.RunStarted(name="x", folder="f", settings={}, again=True, elapsed=6.0),
            ev.StageStarted(stage="tail", elapsed=7.0),
            ev.TrainingResumed(epoch=1, step=3, elapsed=7.0),
            step(4, 3.0).model_copy(update={"elapsed": 9.0}),
        ]
    )
    assert [(step.step, step.loss) for step in past.steps] == [(1, 1.0), (2, 1.0), (3, 2.0), (4, 3.0)]
    assert past.work == 60.0 and past.sessions == 2 and past.seconds == {"tail": 7.0}


@pytest.mark.parametrize(
    ("values", "drawn"), [([], ""), ([1.0], "▁"), ([0, 7], "▁█"), ([3, 3, 3], "▁▁▁"), (range(8), "▁▂▃▄▅▆▇█")]
)
def test_sparklines(values, drawn):
    assert sparkline(list(values)) == drawn


def test_long_curves_are_drawn_short():
    assert sparkline([float(number) for number in range(1000)], 8) == "▁▂▃▄▅▆▇█"


def test_large_and_small_numbers():
    assert operations(999.0) == "999 operations" and operations(3.24e15) == "3.2 × 10^15 operations"
    assert tiny_share(0.12) == "12 %" and tiny_share(1 / 800_000) == "one part in 800,000"


def test_quiet_is_quiet(runs, capsys):
    assert main(["tune", "d.csv", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert err == "" and "report.html" in out


@pytest.mark.parametrize("loss", [None, 1e9])
def test_going_on_and_going_back_are_said(loss, stub, capsys):
    def run(recipe, home, fresh=False):
        for event in run_events():
            yield event.model_copy(update={"again": True}) if event.kind == "run_started" else event
            if event.kind == "stage_started" and event.stage == "tail":
                yield ev.TrainingResumed(epoch=2, step=120)
                yield ev.RolledBack(epoch=2, step=1300, loss=loss, back_to=1200, learning_rate=5e-4)

    stub("azubi.pipeline.run", run=run)
    assert main(["tune", "d.csv"]) == 0
    err = capsys.readouterr().err
    assert "note: going on from epoch 2, step 120" in err
    assert "in step 1,300: back to step 1,200, with half the learning rate (at most 0.0005 now)" in err
    assert ("no longer a number" if loss is None else "exploded to 1e+09") in err
