"""The events of a run, drawn as they come (on standard error), and its outcome (on standard output).

`follow` works through a run; `tell` says what came out. Neither knows how a run works.
"""

import contextlib
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Literal

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from azubi.cli.command import Session
from azubi.cli.failure import Stopped, patient
from azubi.cli.formatting import (
    clean,
    count,
    duration,
    interval,
    percent,
    setting,
    speed,
    time_left,
    trials_table,
)
from azubi.cli.outcome import document, resume_command, show
from azubi.cli.run_view import RunView, Stage, StageView, note
from azubi.events import events as ev
from azubi.events.events import Event
from azubi.events.figures import Trial
from azubi.locale.current import current, translated

DOING: dict[Stage, str] = {
    "data": "reading, checking and splitting the examples",
    "search": "trying settings on the validation examples",
    "base": "loading the open model and measuring this machine",
    "instruction": "reading the instruction that all examples share",
    "trunk": "running the frozen layers once over every example",
    "tail": "training the last layers",
    "evaluate": "asking both about examples that neither has seen",
    "package": "writing the specialist and its report",
    "examples": "finding the held-out examples and the specialist",
    "baselines": "asking everyone the same held-out questions",
    "forgetting": "asking what it could do before",
    "scope": "asking what is not its job",
    "leaks": "trying to get its examples out of it",
    "learning-curve": "training again on parts of the examples",
    "report": "working out the verdict and writing the report",
}
MARKS = {"waiting": "·", "done": "✓", "stopped": "✗"}
STYLES = {"waiting": "dim", "running": "bold", "done": "", "stopped": "red"}
EPOCHS_SHOWN = 6


class LiveView:
    """Redraws the view four times a second."""

    def __init__(self, view: RunView, console: Console) -> None:
        self._view = view
        self._console = console
        self._spinner = Spinner("dots")
        self._live = Live(console=console, get_renderable=self.picture, refresh_per_second=4)

    def __enter__(self) -> "LiveView":
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def handle(self, event: ev.Event) -> None:
        """Notes stay on the screen; all else is drawn from the view."""
        if text := note(event):
            self._console.print(Text(translated("Note:") + f" {text}", style="yellow"))

    def picture(self) -> RenderableType:
        """Draw the view as it stands."""
        view = self._view
        name = clean(view.name)
        does = f"azubi tunes {name}" if view.proof is None else f"azubi proves {name}"
        title = Text(translated(does), style="bold")
        parts: list[RenderableType] = [title, self._stages()]
        if view.progress is not None and view.current is not None:
            parts += [_bar(view.progress)]
        if view.epochs:
            parts += [Text(), _epochs(view)]
        elif view.trials:
            parts += [Text(), trials_table(view.trials[-EPOCHS_SHOWN:])]
        return Group(*parts, Text(), Text(_clock(view), style="bold"))

    def _stages(self) -> Table:
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(width=1)
        names = [translated(stage_view.stage) for stage_view in self._view.shown]
        grid.add_column(width=max(8, *map(len, names)))
        grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        grid.add_column(justify="right", no_wrap=True)
        for stage_view in self._view.shown:
            grid.add_row(*self._row(stage_view), style=STYLES[stage_view.state])
        return grid

    def _row(self, stage_view: StageView) -> tuple[RenderableType, ...]:
        if stage_view.state == "running":
            mark: RenderableType = self._spinner
            what = stage_view.summary or translated(DOING[stage_view.stage])
            seconds = self._view.clock() - stage_view.started
        else:
            mark, what, seconds = Text(MARKS[stage_view.state]), stage_view.summary, stage_view.seconds
        took = "" if stage_view.state == "waiting" else duration(seconds)
        return mark, Text(translated(stage_view.stage)), Text(what), Text(took)


def _bar(progress: ev.Progress) -> Table:
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(width=1)
    grid.add_column(ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    figures = _amount(progress)
    grid.add_row("", ProgressBar(total=max(1, progress.total), completed=progress.done), Text(figures))
    below = ", ".join(filter(None, (clean(translated(progress.note)), speed(progress))))
    if below:
        grid.add_row("", Text(below, style="dim", no_wrap=True, overflow="ellipsis"), "")
    return grid


def _amount(progress: ev.Progress) -> str:
    return translated(f"{count(progress.done)} of {count(progress.total)} {clean(progress.unit)}".strip())


def _loss(value: float) -> str:
    return current().number(value, 3)


def _epochs(view: RunView) -> Table:
    grid = Table.grid(padding=(0, 2))
    for heading in ("  epoch", "loss", "validation loss", "validation right", "time", ""):
        grid.add_column(Text(translated(heading), style="dim"), justify="right")
    grid.show_header = True
    for epoch in view.epochs[-EPOCHS_SHOWN:]:
        grid.add_row(*_epoch(epoch))
    step = view.step
    if step is not None and step.epoch > view.epochs[-1].epoch:
        grid.add_row(str(step.epoch), _loss(step.loss), "", "", "", translated("now"), style="dim")
    return grid


def _epoch(epoch: ev.EpochDone) -> tuple[str, ...]:
    right = percent(epoch.validation_accuracy)
    best = translated("best so far") if epoch.best else ""
    losses = (_loss(epoch.loss), _loss(epoch.validation_loss))
    number = translated(f"{epoch.epoch} of {epoch.epochs}")
    return (number, *losses, right, duration(epoch.seconds), best)


def _clock(view: RunView) -> str:
    so_far = translated(f"{duration(view.elapsed)} so far")
    if view.ended is not None:
        return translated(f"Done in {duration(view.ended.seconds)}")
    if view.stopped:
        return translated(f"Stopped after {duration(view.elapsed)}")
    if view.current is not None and view.current.stage == "tail" and view.step is not None:
        so_far += f", {translated(f'loss {_loss(view.step.loss)}')}"
    return f"{time_left(view.left)}  ({so_far})"


EVERY = 10.0
"""Seconds between two lines of progress."""


class PlainOutput:
    """Writes a line when a stage begins and ends, after every epoch, and now and then in between."""

    def __init__(self, view: RunView, console: Console) -> None:
        self._view = view
        self._console = console
        self._stage: Stage | None = None
        self._said = view.clock()

    def __enter__(self) -> "PlainOutput":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def handle(self, event: ev.Event) -> None:
        """Say what is worth a line."""
        match event:
            case ev.StageStarted():
                self._sum_up()
                self._stage = event.stage
                self._say(translated(DOING[event.stage]), event.stage)
            case ev.Progress() if self._view.clock() - self._said >= EVERY:
                self._say(self._progress(event), event.stage)
            case ev.EpochDone():
                self._say(_epoch_line(event), "tail")
            case ev.TrialDone() if event.trial.state != "no time":  # those are counted at the end
                self._say(_trial(event.trial), "search")
            case ev.BaselineMeasured():
                who = translated(event.who) + (f" ({translated(event.says)})" if event.says else "")
                self._say(f"{clean(who)}: {interval(event.score)}", "baselines")
            case ev.RunEnded() | ev.Proved() | ev.ComparisonEnded():
                self._sum_up()
                self._say(translated(f"done in {duration(event.seconds)}"))
            case _ if text := note(event):
                self._say(text, "note")

    def _progress(self, event: ev.Progress) -> str:
        parts = [_amount(event)]
        if event.stage == "tail" and self._view.step is not None:
            parts.append(translated(f"loss {_loss(self._view.step.loss)}"))
        if rate := speed(event):
            parts.append(rate)
        if event.note:
            parts.append(clean(translated(event.note)))
        return ", ".join([*parts, time_left(self._view.left)])

    def _sum_up(self) -> None:
        summary = self._view.stages[self._stage].summary if self._stage else ""
        if summary:
            self._say(summary, self._stage)
        self._stage = None

    def _say(self, text: str, about: Stage | Literal["note"] | None = None) -> None:
        self._said = self._view.clock()
        elapsed = self._view.elapsed
        # Milliseconds would change from line to line what a log's first column is.
        clock = f"{current().number(elapsed, 1)} s" if elapsed < 9.95 else duration(elapsed)
        head = f"{translated(about)}: " if about else ""
        print(f"[{clock:>12}] {head}{text}", file=self._console.file, flush=True)


def _trial(trial: Trial) -> str:
    parts = [translated(f"number {trial.number}"), setting(trial)]
    if trial.score is not None:
        parts.append(translated(f"{percent(trial.score)} right"))
    return ", ".join([*parts, translated(trial.state), duration(trial.seconds)])


def _epoch_line(event: ev.EpochDone) -> str:
    parts = (
        f"epoch {event.epoch} of {event.epochs}",
        f"loss {_loss(event.loss)}",
        f"validation loss {_loss(event.validation_loss)}",
        f"{percent(event.validation_accuracy)} right",
        *(["best so far"] if event.best else []),
    )
    return ", ".join(map(translated, parts))


def follow(events: Iterable[Event], console: Console, *, quiet: bool = False) -> RunView:
    """Work through a run and draw it: live on a terminal, in plain lines elsewhere, not at all if `quiet`."""
    view = RunView()
    interactive = console.is_terminal and not console.is_dumb_terminal
    output = NullOutput() if quiet else LiveView(view, console) if interactive else PlainOutput(view, console)
    # What libraries print must not end up in the result on standard output.
    with contextlib.redirect_stdout(sys.stderr), output, patient(lambda: view.training) as asked_to_stop:
        try:
            for event in events:
                view.handle(event)
                output.handle(event)
                if asked_to_stop():
                    raise Stopped
        except KeyboardInterrupt:
            view.stop()
            _close(events)
            raise Stopped(_how_to_resume(view)) from None
        except BaseException:
            view.stop()
            _close(events)
            raise
    return view


class NullOutput:
    """Draws nothing."""

    def __enter__(self) -> "NullOutput":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def handle(self, event: Event) -> None:
        """Say nothing."""


def _how_to_resume(view: RunView) -> str:
    """The command that resumes a run, if it came far enough for that."""
    folder = Path(view.folder)
    if not view.folder or not folder.is_dir():
        return ""
    return translated(f"Resume it: {resume_command(folder.name, folder.parents[1])}")


def _close(events: Iterable[Event]) -> None:
    """Let the run put its things away now, not when memory is next cleaned up."""
    close = getattr(events, "close", None)
    if close is not None:
        close()


def tell(view: RunView, session: Session) -> None:
    """Say what came out: one JSON document, or tables for a person."""
    if session.json:
        session.emit(document(view))
    else:
        show(view, session.out(), Path(session.home))
