"""A run told in plain lines, for when nobody watches a terminal: logs, pipes, cron. No control codes.

Knows the view, not the run.
"""

from types import TracebackType

from rich.console import Console

from azubi.cli.formatting import clean, count, duration, interval, percent, setting, speed, time_left
from azubi.cli.live_view import DOING
from azubi.cli.run_view import RunView, Stage, note
from azubi.events import events as ev
from azubi.events.trial import Trial

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
                self._say(f"{event.stage}: {DOING[event.stage]}")
            case ev.Progress() if self._view.clock() - self._said >= EVERY:
                self._say(f"{event.stage}: {self._progress(event)}")
            case ev.EpochDone():
                self._say(f"tail: {_epoch(event)}")
            case ev.TrialDone() if event.trial.state != "no time":  # those are counted at the end
                self._say(f"search: {_trial(event.trial)}")
            case ev.BaselineMeasured():
                who = f"{event.who} ({event.says})" if event.says else event.who
                self._say(f"baselines: {clean(who)}: {interval(event.score)}")
            case ev.RunEnded() | ev.Proved() | ev.ComparisonEnded():
                self._sum_up()
                self._say(f"done in {duration(event.seconds)}")
            case _ if text := note(event):
                self._say(f"note: {text}")

    def _progress(self, event: ev.Progress) -> str:
        parts = [f"{count(event.done)} of {count(event.total)} {clean(event.unit)}".strip()]
        if event.stage == "tail" and self._view.step is not None:
            parts.append(f"loss {self._view.step.loss:.3f}")
        if rate := speed(event):
            parts.append(rate)
        if event.note:
            parts.append(clean(event.note))
        return ", ".join([*parts, time_left(self._view.left)])

    def _sum_up(self) -> None:
        summary = self._view.stages[self._stage].summary if self._stage else ""
        if summary:
            self._say(f"{self._stage}: {summary}")
        self._stage = None

    def _say(self, text: str) -> None:
        self._said = self._view.clock()
        print(f"[{duration(self._view.elapsed):>12}] {text}", file=self._console.file, flush=True)


def _trial(trial: Trial) -> str:
    score = f", {percent(trial.score)} right" if trial.score is not None else ""
    return f"number {trial.number}, {setting(trial)}{score}, {trial.state}, {duration(trial.seconds)}"


def _epoch(event: ev.EpochDone) -> str:
    losses = f"loss {event.loss:.3f}, validation loss {event.validation_loss:.3f}"
    right = f"{percent(event.validation_accuracy)} right"
    best = ", best so far" if event.best else ""
    return f"epoch {event.epoch} of {event.epochs}, {losses}, {right}{best}"
