"""A run as it is drawn: live, in plain lines, and its outcome at 80 and 120 columns."""

import io
import json
import shlex

import pytest
from rich.console import Console

from azubi.cli import formatting, main, outcome
from azubi.cli.command import Session
from azubi.cli.run_view import Countdown, RunView
from azubi.cli.terminal import LiveView, follow
from azubi.events.events import DataReady, Notice, Progress
from azubi.events.figures import HeadScore


class Clock:
    """A clock that only goes when told."""

    now = 0.0

    def __call__(self):
        return self.now


def drawn(renderable, width):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(renderable)
    return console.file.getvalue()


def drawing(events, upto=None):
    view = RunView(Clock())
    for event in events():
        view.handle(event)
        if event.kind == upto:
            break
    return view


def test_plain_lines_have_no_control_codes(runs, capsys):
    assert main(["tune", "d.csv"]) == 0
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err and "\r" not in err
    for words in (
        "data: reading",
        "trunk: 1,020 examples computed",
        "epoch 3 of 3",
        "note: 3 examples",
        "done in",
    ):
        assert words in err


def test_plain_lines_tell_progress_about_every_ten_seconds(events):
    clock, lines = Clock(), io.StringIO()
    view = RunView(clock)
    from azubi.cli.terminal import PlainOutput

    output = PlainOutput(view, Console(file=lines))
    for event in events():
        clock.now += 2.0
        view.handle(event)
        output.handle(event)
    progress = [line for line in lines.getvalue().splitlines() if "trunk: " in line and " left" in line]
    assert 2 <= len(progress) <= 4
    assert "about 7 min left" in progress[0]


@pytest.mark.parametrize("width", [80, 120])
def test_the_live_picture_always_shows_the_time_left(events, width):
    view, clock = RunView(Clock()), None
    output = LiveView(view, Console(file=io.StringIO(), width=width))
    for event in events():
        view.handle(event)
        picture = drawn(output.picture(), width)
        clock = picture.rstrip().splitlines()[-1]
        assert " left" in clock or "Done in 6 min 11 s" in clock
        assert max(map(len, picture.splitlines())) <= width
        assert len(picture.splitlines()) <= 22
    assert clock == "Done in 6 min 11 s"


def test_the_live_picture_in_the_middle_of_training(events):
    view = drawing(events, upto="epoch_done")
    picture = drawn(LiveView(view, Console(file=io.StringIO())).picture(), 80)
    assert "✓ trunk 1,020 examples computed" in " ".join(picture.split())
    assert "40 of 120 steps" in picture
    assert "best so far" in picture and "loss 0.400" in picture
    assert "· package" in picture


def test_the_live_view_draws_on_a_terminal(events):
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    console._environ = {}
    view = follow(events(), console)
    assert view.ended is not None
    assert "Note: 3 examples" in console.file.getvalue()


def test_a_run_that_stops_says_so_and_is_closed(events):
    closed = []

    def broken():
        try:
            for event in events():
                yield event
                if event.kind == "trunk_done":
                    raise KeyboardInterrupt
        finally:
            closed.append(True)

    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with pytest.raises(KeyboardInterrupt):
        follow(broken(), console)
    assert closed
    assert "✗" in console.file.getvalue() and "Stopped after" in console.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_outcome(events, width, capsys, monkeypatch, home):
    view = drawing(events)
    console = Console(width=width, highlight=False)
    outcome.show(view, console, home)
    text = capsys.readouterr().out
    rows = [line for line in text.splitlines() if line.startswith(("╭", "│", "╰", "├", "  "))]
    assert max(map(len, rows)) <= width
    assert "0 % (0–5 %)" in text and "57 % (51–62 %)" in text
    assert "✗ Large losses" in text and "✓ HH-W31" in text
    assert text.count("right answer") == 3
    assert "The base gave no record, but: Sure!" in text
    assert "28,318,464 of 134,515,008 parameters (21 %)" in text
    assert "report.html\n" in text


def test_labels_side_by_side(events, capsys, home):
    view = drawing(events)
    view.heads = (HeadScore(kind="words", accuracy=0.712, error=0.0127, examples=1264, chosen=True),)
    view.data = DataReady(task="labels", train=1, validation=1, test=1, labels=("a", "b"))
    view.compared = [view.compared[0].model_copy(update={"base": "a", "specialist": "b", "truth": "b"})]
    outcome.show(view, Console(width=80), home)
    assert "│ ✗ a " in (text := capsys.readouterr().out) and "│ ✓ b " in text
    assert "1,264 training examples: 71 % ± 1.3 on words." in " ".join(text.split())


def test_prompts_cannot_steer_the_terminal(events, capsys, home):
    view = drawing(events)
    view.compared = [view.compared[0].model_copy(update={"prompt": "[red]\x1b[2J", "base": "\x9b2J"})]
    outcome.show(view, Console(width=80), home)
    text = capsys.readouterr().out
    assert "\x1b" not in text and "\x9b" not in text and "[red]" in text


@pytest.mark.parametrize("prompt", ["plain", 'it\'s $5 "now"', "-v?", "a `b` c\\"])
def test_the_next_command_works_as_it_stands(prompt, home, tmp_path):
    parts = shlex.split(outcome.next_command("bank", prompt, home))
    assert parts[-1] == prompt
    assert "ask" in parts and "bank" in parts and "--home" not in parts
    assert ("--" in parts) == prompt.startswith("-")
    assert str(tmp_path) in shlex.split(outcome.next_command("bank", prompt, tmp_path))


def test_json_is_one_document(runs, capsys):
    assert main(["tune", "d.csv", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["specialist"]["name"] == "intake"
    assert document["specialist"]["trained"] == 28_318_464
    assert document["scores"]["specialist"][0]["value"] == 0.57
    assert len(document["compared"]) == 3
    assert document["report"].endswith("report.html")


def test_what_a_library_prints_stays_out_of_the_document(stub, events, capsys):
    def run(recipe, home, fresh=False):
        for event in events():
            print("chatter")
            yield event

    stub("azubi.pipeline.run", run=run)
    assert main(["tune", "d.csv", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) and "chatter" in err


def test_the_countdown_runs_evenly():
    countdown = Countdown()
    assert countdown.left(0.0) is None
    countdown.handle(100.0, 0.0)
    assert countdown.left(10.0) == 90.0
    countdown.handle(200.0, 10.0)
    assert 90 < countdown.left(10.0) < 190
    before = countdown.left(10.0)
    countdown.handle(50.0, 10.01)
    assert abs(countdown.left(10.01) - before) < 1
    assert countdown.left(10_000.0) == 0


def test_a_session_prints_on_the_right_streams(capsys):
    session = Session()
    session.out().print("result")
    session.err().print("progress")
    assert capsys.readouterr() == ("result\n", "progress\n")


def test_notices_are_shown_live():
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    follow([Notice(text="[b]mind\x07 this")], console)
    assert "[b]mind" in console.file.getvalue() and "\x07" not in console.file.getvalue()


@pytest.mark.parametrize(
    ("peak", "shown"),
    [(0.61, "5,120 tokens/s, 61 % of peak"), (2.78, "5,120 tokens/s"), (None, "5,120 tokens/s")],
)
def test_a_share_of_a_peak_that_was_measured_wrongly_is_not_shown(peak, shown):
    progress = Progress(stage="tail", done=1, total=2, unit="steps", left=3.0, throughput=5120.0, peak=peak)
    assert formatting.speed(progress) == shown
