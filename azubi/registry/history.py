"""What a run's events amount to: curves, plan against truth, and work done. Knows events, not where they lie.

After an interruption or a setback some steps are made again; the events of those that were undone stay in
the log, and are left out here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from azubi.events import events as ev
from azubi.events.forecast import Forecast


@dataclass
class History:
    """A run as figures."""

    started: ev.RunStarted | None = None
    base: ev.BaseReady | None = None
    data: ev.DataReady | None = None
    packaged: ev.Packaged | None = None
    ended: ev.TrainingEnded | None = None
    stopped: ev.RunStopped | None = None
    """Why it was stopped, if that was the last that happened."""
    steps: list[ev.StepDone] = field(default_factory=list)
    epochs: list[ev.EpochDone] = field(default_factory=list)
    rollbacks: list[ev.RolledBack] = field(default_factory=list)
    measured: dict[ev.Who, ev.Measured] = field(default_factory=dict)
    forecast: Forecast | None = None
    """What was expected of the whole run when it began."""
    trunk: ev.TrunkDone | None = None
    done: ev.RunEnded | None = None
    planned: dict[str, float] = field(default_factory=dict)
    """Seconds that each stage was expected to take."""
    settings: dict[str, object] = field(default_factory=dict)
    """The recipe with every choice made; empty before that."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Seconds that each stage took, over all sessions."""
    sessions: int = 0
    """How often it was begun or gone on with."""
    work: float = 0.0
    """Floating-point operations that trunk, trials and tail could not avoid, undone steps included."""
    throughput: dict[str, float] = field(default_factory=dict)
    """Tokens per second in trunk and tail."""
    peak: dict[str, float] = field(default_factory=dict)
    """Share of the measured matmul speed in trunk and tail."""

    @property
    def share(self) -> float | None:
        """Work as a share of what training the base from nothing took; None where that is not known."""
        known = self.base.pretraining if self.base is not None else None
        return self.work / known if known else None


@dataclass(frozen=True)
class Against:
    """One figure of the plan beside what came of it."""

    name: str
    unit: Literal["seconds", "bytes"]
    planned: float | None
    """None where nothing was planned."""
    took: float

    @property
    def ratio(self) -> float | None:
        """What it took as a multiple of the plan."""
        return self.took / self.planned if self.planned else None


ONE_EPOCH = "one epoch"
_SET_UP = ("data", "base", "instruction")


def against(told: History) -> list[Against]:
    """Plan against truth: the stages, an epoch, all of it; and once the run is done memory and disk.

    The plan is for all epochs; where training ended earlier, it is taken for those that were made.
    """
    times = list(_times(told))
    return [*times, *_whole(told, times), *_room(told)]


def _times(told: History) -> Iterator[Against]:
    plan, made = told.forecast, len(told.epochs)
    yield Against("set-up", "seconds", plan.setup if plan else None, _spent(told, _SET_UP))
    if "search" in told.seconds:
        yield Against("search", "seconds", None, told.seconds["search"])
    for stage, planned in told.planned.items():
        if stage not in told.seconds:
            continue
        if stage == "tail" and plan is not None and made:
            planned = plan.tail - (plan.epochs - made) * plan.epoch
        yield Against(stage, "seconds", planned, told.seconds[stage])
        if stage == "tail" and told.steps and made:
            each = sum(epoch.seconds for epoch in told.epochs) / made
            yield Against(ONE_EPOCH, "seconds", plan.epoch if plan else None, each)


def _whole(told: History, times: Iterable[Against]) -> Iterator[Against]:
    """All that was planned; a search is not."""
    parts = [one for one in times if one.name not in ("search", ONE_EPOCH)]
    if told.done is not None and parts:
        planned = sum(one.planned or 0.0 for one in parts) if told.forecast else None
        yield Against("in all", "seconds", planned, sum(one.took for one in parts))


def _room(told: History) -> Iterator[Against]:
    plan, done, trunk = told.forecast, told.done, told.trunk
    if done is not None and done.memory:
        yield Against("memory", "bytes", plan.memory if plan else None, max(done.memory.values()))
    if trunk is not None and (trunk.bytes or (plan and plan.cache)):
        yield Against("activations", "bytes", plan.cache if plan else None, trunk.bytes)
    if done is not None and done.checkpoints:
        yield Against("checkpoints", "bytes", plan.checkpoints if plan else None, done.checkpoints)


def _spent(told: History, stages: Iterable[str]) -> float:
    return sum(told.seconds.get(stage, 0.0) for stage in stages)


def history(events: Iterable[ev.Event]) -> History:
    """Fold a run's events."""
    told = History()
    stage, since, last = "", 0.0, 0.0
    for event in events:
        if isinstance(event, ev.StageStarted | ev.RunStarted | ev.RunEnded | ev.RunStopped):
            # A killed context ends with the last that it told.
            end = last if isinstance(event, ev.RunStarted) else event.elapsed
            if stage:
                told.seconds[stage] = told.seconds.get(stage, 0.0) + end - since
            stage = event.stage if isinstance(event, ev.StageStarted) else ""
            since = event.elapsed
        last = event.elapsed
        if isinstance(event, ev.RunStarted):
            told.sessions += 1
        told.stopped = event if isinstance(event, ev.RunStopped) else None
        _take(told, event)
    if stage:
        told.seconds[stage] = told.seconds.get(stage, 0.0) + last - since
    return told


def _take(told: History, event: ev.Event) -> None:
    match event:
        case ev.RunStarted():
            told.started = event
        case ev.BaseReady():
            told.base = event
        case ev.DataReady():
            told.data = event
        case ev.Planned():
            told.planned = told.planned or event.seconds
            told.forecast = told.forecast or event.forecast
            told.settings = event.settings
        case ev.Progress():
            if event.throughput is not None:
                told.throughput[event.stage] = event.throughput
            if event.peak is not None:
                told.peak[event.stage] = event.peak
        case ev.TrunkDone():
            told.work += event.work
            told.trunk = event
        case ev.TrialDone():
            told.work += event.trial.work
        case ev.TrainingResumed():
            told.steps = [step for step in told.steps if step.step <= event.step]
        case ev.RolledBack():
            told.rollbacks.append(event)
            told.steps = [step for step in told.steps if step.step <= event.back_to]
        case ev.StepDone():
            told.work += event.work
            told.steps.append(event)
        case ev.EpochDone():
            told.epochs = [one for one in told.epochs if one.epoch != event.epoch] + [event]
        case ev.TrainingEnded():
            told.ended = event
        case ev.Measured():
            told.measured[event.who] = event
        case ev.Packaged():
            told.packaged = event
        case ev.RunEnded():
            told.done = event
