"""What a run's events amount to: curves, plan against actual figures, work done. Knows events only.

After an interruption or a rollback some steps are made again; events of undone steps stay in the log and are
left out here.
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
    """How often it was begun or resumed."""
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
class PlanVsActual:
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


def plan_vs_actual(past: History) -> list[PlanVsActual]:
    """Planned beside actual figures: stages, an epoch, all of it; once the run is done, memory and disk.

    The plan is for all epochs; where training ended earlier, it is taken for those that were made.
    """
    times = list(_times(past))
    return [*times, *_whole(past, times), *_room(past)]


def _times(past: History) -> Iterator[PlanVsActual]:
    plan, made = past.forecast, len(past.epochs)
    yield PlanVsActual("set-up", "seconds", plan.setup if plan else None, _spent(past, _SET_UP))
    if "search" in past.seconds:
        yield PlanVsActual("search", "seconds", None, past.seconds["search"])
    for stage, planned in past.planned.items():
        if stage not in past.seconds:
            continue
        if stage == "tail" and plan is not None and made:
            planned = plan.tail - (plan.epochs - made) * plan.epoch
        yield PlanVsActual(stage, "seconds", planned, past.seconds[stage])
        if stage == "tail" and past.steps and made:
            each = sum(epoch.seconds for epoch in past.epochs) / made
            yield PlanVsActual(ONE_EPOCH, "seconds", plan.epoch if plan else None, each)


def _whole(past: History, times: Iterable[PlanVsActual]) -> Iterator[PlanVsActual]:
    """All that was planned; a search is not."""
    parts = [figure for figure in times if figure.name not in ("search", ONE_EPOCH)]
    if past.done is not None and parts:
        planned = sum(figure.planned or 0.0 for figure in parts) if past.forecast else None
        yield PlanVsActual("in all", "seconds", planned, sum(figure.took for figure in parts))


def _room(past: History) -> Iterator[PlanVsActual]:
    plan, done, trunk = past.forecast, past.done, past.trunk
    if done is not None and done.memory:
        yield PlanVsActual("memory", "bytes", plan.memory if plan else None, max(done.memory.values()))
    if trunk is not None and (trunk.bytes or (plan and plan.cache)):
        yield PlanVsActual("activations", "bytes", plan.cache if plan else None, trunk.bytes)
    if done is not None and done.checkpoints:
        yield PlanVsActual("checkpoints", "bytes", plan.checkpoints if plan else None, done.checkpoints)


def _spent(past: History, stages: Iterable[str]) -> float:
    return sum(past.seconds.get(stage, 0.0) for stage in stages)


def history(events: Iterable[ev.Event]) -> History:
    """Fold a run's events."""
    past = History()
    stage, since, last = "", 0.0, 0.0
    for event in events:
        if isinstance(event, ev.StageStarted | ev.RunStarted | ev.RunEnded | ev.RunStopped):
            # A killed process ends with the last event that it wrote.
            end = last if isinstance(event, ev.RunStarted) else event.elapsed
            if stage:
                past.seconds[stage] = past.seconds.get(stage, 0.0) + end - since
            stage = event.stage if isinstance(event, ev.StageStarted) else ""
            since = event.elapsed
        last = event.elapsed
        if isinstance(event, ev.RunStarted):
            past.sessions += 1
        past.stopped = event if isinstance(event, ev.RunStopped) else None
        _take(past, event)
    if stage:
        past.seconds[stage] = past.seconds.get(stage, 0.0) + last - since
    return past


def _take(past: History, event: ev.Event) -> None:
    match event:
        case ev.RunStarted():
            past.started = event
        case ev.BaseReady():
            past.base = event
        case ev.DataReady():
            past.data = event
        case ev.Planned():
            past.planned = past.planned or event.seconds
            past.forecast = past.forecast or event.forecast
            past.settings = event.settings
        case ev.Progress():
            if event.throughput is not None:
                past.throughput[event.stage] = event.throughput
            if event.peak is not None:
                past.peak[event.stage] = event.peak
        case ev.TrunkDone():
            past.work += event.work
            past.trunk = event
        case ev.TrialDone():
            past.work += event.trial.work
        case ev.TrainingResumed():
            past.steps = [step for step in past.steps if step.step <= event.step]
        case ev.RolledBack():
            past.rollbacks.append(event)
            past.steps = [step for step in past.steps if step.step <= event.back_to]
        case ev.StepDone():
            past.work += event.work
            past.steps.append(event)
        case ev.EpochDone():
            past.epochs = [epoch for epoch in past.epochs if epoch.epoch != event.epoch] + [event]
        case ev.TrainingEnded():
            past.ended = event
        case ev.Measured():
            past.measured[event.who] = event
        case ev.Packaged():
            past.packaged = event
        case ev.RunEnded():
            past.done = event
