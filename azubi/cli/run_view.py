"""What has happened in a run so far, folded from its events. Draws nothing.

Both drawings of a run, the live one and the plain lines, read from here, and so does the closing table.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import exp
from typing import Literal, get_args

from azubi.cli import formatting
from azubi.events import events as ev
from azubi.events.figures import HeadScore, Trial
from azubi.locale.current import translated

State = Literal["waiting", "running", "done", "stopped"]
Clock = Callable[[], float]
Stage = ev.Stage | ev.ProofStage

SETTLING = 8.0
"""Seconds after which a new estimate counts for most of what is shown."""


@dataclass
class StageView:
    """One stage of the run."""

    stage: Stage
    state: State = "waiting"
    started: float = 0.0
    seconds: float = 0.0
    summary: str = ""


class RunView:
    """The state of a run. `handle` takes one event; all else is there to be read."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.clock = clock
        self.began = clock()
        self.stages: dict[Stage, StageView] = {stage: StageView(stage) for stage in get_args(ev.Stage)}
        self.countdown = Countdown()
        self.name = ""
        self.folder = ""
        self.current: StageView | None = None
        self.progress: ev.Progress | None = None
        self.step: ev.StepDone | None = None
        self.epochs: list[ev.EpochDone] = []
        self.trials: list[Trial] = []
        self.searched: ev.SearchEnded | None = None
        self.heads: tuple[HeadScore, ...] = ()
        self.data: ev.DataReady | None = None
        self.measured: dict[ev.Who, ev.Measured] = {}
        self.compared: list[ev.Compared] = []
        self.packaged: ev.Packaged | None = None
        self.proof: ev.ProofStarted | None = None
        self.baselines: list[ev.BaselineMeasured] = []
        self.ended: ev.RunEnded | ev.Proved | ev.ComparisonEnded | None = None
        self.stopped = False

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self.clock() - self.began

    @property
    def shown(self) -> list[StageView]:
        """The stages of this run; a search is one of them only if it takes place."""
        views = self.stages.values()
        return [view for view in views if view.stage != "search" or view.state != "waiting"]

    @property
    def left(self) -> float | None:
        """Seconds until the run ends, as far as it is known."""
        return self.countdown.left(self.clock())

    @property
    def training(self) -> bool:
        """Whether a step is being made: then it should not be cut off in the middle."""
        return self.current is not None and self.current.stage == "tail"

    def handle(self, event: ev.Event) -> None:
        """Take in one event."""
        match event:
            case ev.RunStarted():
                self.name, self.folder = event.name, event.folder
            case ev.StageStarted():
                self._begin(event.stage)
            case ev.Progress():
                self.progress = event
                self.countdown.handle(event.left, self.clock())
            case ev.StepDone():
                self.step = event
            case ev.EpochDone():
                self.epochs.append(event)
            case ev.TrialDone():
                self.trials.append(event.trial)
            case ev.Compared():
                self.compared.append(event)
            case ev.ProofStarted():
                self.proof, self.name, self.folder = event, event.name, event.folder
                self.stages = {stage: StageView(stage) for stage in event.stages}
            case ev.BaselineMeasured():
                self.baselines.append(event)
                self._sum_up(
                    "baselines",
                    ", ".join(
                        f"{translated(each.who)} {formatting.percent(each.score.value)}"
                        for each in self.baselines
                    ),
                )
            case ev.StageSummed():
                self._sum_up(event.stage, translated(event.text))
            case ev.RunEnded() | ev.Proved() | ev.ComparisonEnded():
                self.ended = event
                self._close("done")
            case _:
                self._conclude(event)

    def stop(self) -> None:
        """The run ended before its end."""
        self.stopped = True
        self._close("stopped")

    def _begin(self, stage: Stage) -> None:
        self._close("done")
        self.progress = None
        self.current = self.stages[stage]
        self.current.state, self.current.started = "running", self.clock()

    def _close(self, state: State) -> None:
        if self.current is not None:
            self.current.state = state
            self.current.seconds = self.clock() - self.current.started
        self.current = None

    def _conclude(self, event: ev.Event) -> None:
        """Keep the result of a stage, and its summary in a few words."""
        match event:
            case ev.DataReady():
                self.data = event
                self._sum_up("data", _data(event))
            case ev.SearchPlanned():
                self.trials = list(event.earlier)
                self._sum_up("search", _plan(event))
            case ev.SearchEnded():
                self.searched = event
                self._sum_up("search", _search(event, self.trials))
            case ev.BaseReady():
                self._sum_up("base", _base(event))
            case ev.InstructionReady():
                source = "made from the data" if event.made else "as given"
                text = f"{formatting.count(event.tokens)} tokens, {source}" if event.text else "none"
                self._sum_up("instruction", translated(text))
            case ev.TrunkDone():
                self._sum_up("trunk", _trunk(event))
            case ev.TrainingEnded():
                self.heads = event.heads
                best = f"epoch {event.best_epoch}" if event.best_epoch else "no training"
                summary = translated(f"{best} is the best; {event.reason}")
                if event.epsilon is not None:
                    summary += translated(f"; privacy: epsilon {event.epsilon:.2f}")
                self._sum_up("tail", summary)
            case ev.Measured():
                self.measured[event.who] = event
                self._sum_up("evaluate", _scores(self.measured))
            case ev.Packaged():
                self.packaged = event
                size = formatting.size(event.bytes)
                self._sum_up("package", translated(f"version {event.version}, {size}"))

    def _sum_up(self, stage: Stage, summary: str) -> None:
        self.stages[stage].summary = formatting.clean(summary)


def _data(event: ev.DataReady) -> str:
    train, validation, test = map(formatting.count, (event.train, event.validation, event.test))
    parts = translated(f"{train} train, {validation} validation, {test} test")
    labels = f"{'sets of ' if event.multi else ''}{len(event.labels)} labels"
    kinds = {"labels": labels, "json": f"records of {len(event.fields)} fields"}
    derived = translated(f", {len(event.derived)} of them derived") if event.derived else ""
    return f"{parts}, {translated(kinds.get(event.task, 'free text'))}{derived}"


def _plan(event: ev.SearchPlanned) -> str:
    bases = ", ".join(event.depths)
    examples, seconds = formatting.count(event.encoded), formatting.duration(event.seconds)
    return translated(f"trials with {examples} examples for {seconds}: {bases}")


def _search(event: ev.SearchEnded, trials: list[Trial]) -> str:
    tried = sum(trial.score is not None for trial in trials)
    chosen = next((trial for trial in trials if trial.number == event.chosen), None)
    what = f"chose number {chosen.number}: {formatting.setting(chosen)}" if chosen else "none was chosen"
    return translated(f"{formatting.count(tried)} settings tried; {what}")


def _base(event: ev.BaseReady) -> str:
    depth = translated(
        f"last {event.tail_layers} of {event.layers} layers" if event.tail_layers else "the head alone"
    )
    depth += formatting.prompt_reading(event.tail_layers, event.prompt_layers)
    return f"{event.name}, {depth}, {event.licence}, {event.dtype}, {event.gflops:.0f} GFLOP/s"


def _trunk(event: ev.TrunkDone) -> str:
    computed, reused = formatting.count(event.computed), formatting.count(event.reused)
    size = formatting.size(event.bytes)
    return translated(f"{computed} examples computed, {reused} known already, {size}")


def _scores(measured: dict[ev.Who, ev.Measured]) -> str:
    parts = [
        f"{translated(who)} {formatting.interval(m.scores[0])}" for who, m in measured.items() if m.scores
    ]
    name = next((formatting.metric(m.scores[0].name).strip() for m in measured.values() if m.scores), "")
    return f"{name}: {', '.join(parts)}" if parts else ""


class Countdown:
    """Keeps the moment at which the run is expected to end."""

    def __init__(self) -> None:
        self._end: float | None = None
        self._updated = 0.0

    def handle(self, left: float | None, now: float) -> None:
        """Take in an estimate, the more readily the longer ago the last one was."""
        if left is None:
            return
        if self._end is None:
            self._end = now + left
        else:
            self._end += (1 - exp((self._updated - now) / SETTLING)) * (now + left - self._end)
        self._updated = now

    def left(self, now: float) -> float | None:
        """Give the seconds left, or None while nothing was measured yet."""
        return None if self._end is None else max(0.0, self._end - now)


def note(event: ev.Event) -> str:
    """What the person should know of an event at once; empty if that is nothing."""
    match event:
        case ev.Notice():
            return formatting.clean(translated(event.text))
        case ev.RunStarted(again=True):
            return translated("going on with the run that was interrupted")
        case ev.TrainingResumed():
            return translated(f"going on from epoch {event.epoch}, step {formatting.count(event.step)}")
        case ev.RolledBack():
            became = "is no longer a number" if event.loss is None else f"exploded to {event.loss:.3g}"
            return translated(
                f"the loss {became} in step {formatting.count(event.step)}: "
                f"back to step {formatting.count(event.back_to)}, with "
                f"half the learning rate (at most {event.learning_rate:.2g} now)"
            )
    return ""
