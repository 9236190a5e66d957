"""A search as it is drawn: live, in plain lines, in the closing table and as JSON, at 80 columns."""

import io

import pytest
from rich.console import Console

from azubi.cli import outcome
from azubi.cli.run_view import RunView
from azubi.cli.terminal import LiveView, PlainOutput
from azubi.events import events as ev
from azubi.events.figures import Trial


def trial(number, **given):
    fields = {
        "number": number, "base": "smollm2-135m", "instruction": "with examples", "tail_layers": 8,
        "rank": 16, "state": "done", "learning_rate": 1e-3, "epochs": 4, "trained": 4, "score": 0.9,
        "error": 0.03, "cost": 80.0, "seconds": 91.0,
    }  # fmt: skip
    return ev.TrialDone(trial=Trial(**fields | given))


@pytest.fixture
def searched(events):
    """A run with a search in it."""

    def search_events():
        run = events()
        for event in run:
            yield event
            if isinstance(event, ev.DataReady):
                break
        yield ev.StageStarted(stage="search")
        yield ev.SearchPlanned(
            seconds=600.0, encoded=900, depths={"smollm2-135m": (1, 2, 4, 8)}, ranks=(0, 4, 16),
            epochs={"smollm2-135m": (2, 4)}, instructions={"smollm2-135m": {"plain": "Read."}},
            dtype="float32", threads=2, gflops=100.0,
        )  # fmt: skip
        yield ev.Progress(
            stage="search", done=10, total=600, unit="seconds of trials", left=900.0, note="trial 1"
        )
        yield trial(1)
        yield trial(2, tail_layers=1, rank=0, state="stopped early", score=0.4)
        yield trial(3, state="no time", score=None, trained=0, seconds=0.0)
        yield ev.SearchEnded(reason="the time is used up", best=1, chosen=1)
        yield from run

    return search_events


def test_the_live_picture_shows_the_trials_and_then_the_epochs(searched):
    view = RunView()
    output = LiveView(view, Console(file=io.StringIO(), width=80))
    for event in searched():
        view.handle(event)
        console = Console(file=io.StringIO(), width=80)
        console.print(output.picture())
        picture = console.file.getvalue()
        assert max(map(len, picture.splitlines())) <= 80
        if isinstance(event, ev.TrialDone) and event.trial.number == 2:
            assert "stopped early" in picture and "search" in picture and "about 15 min left" in picture
    assert "3 settings" not in picture and "2 settings tried; chose number 1" in picture


def test_a_run_without_a_search_does_not_speak_of_one(events):
    view = RunView()
    for event in events():
        view.handle(event)
    assert "search" not in {stage_view.stage for stage_view in view.shown}
    assert outcome.document(view)["search"] is None


def test_plain_lines_and_the_closing_table(searched, tmp_path):
    view, lines, out = RunView(), io.StringIO(), io.StringIO()
    output = PlainOutput(view, Console(file=lines))
    for event in searched():
        view.handle(event)
        output.handle(event)
    assert "search: number 2, smollm2-135m, last 1 layer, rate 0.001" in lines.getvalue()
    assert "number 3" not in lines.getvalue()  # there may be many that there is no time for
    outcome.show(view, Console(file=out, width=120), tmp_path)
    table = out.getvalue()
    assert "done, chosen" in table and "90 % ± 3 %" in table
    assert "no time" not in table and "since they would not have ended in time: 1." in table
    document = outcome.document(view)["search"]
    assert (document["chosen"], len(document["trials"]), document["trials"][1]["score"]) == (1, 3, 0.4)
