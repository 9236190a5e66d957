"""The runs of one home: their folders, what happened in each so far, and which can be resumed.

    <home>/runs/<time>-<name>/run.json       what the run is: settings and a hash of settings and data
                              events.jsonl   all that happened, one event a line
                              checkpoint.json, *.safetensors   only until it has ended well

A run belongs to the process that holds its folder's lock; when that ends, however it ends, another may
resume it. Knows events and settings; nothing of how a run works.
"""

import builtins
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from azubi.errors import SettingError
from azubi.events import events as ev
from azubi.events.figures import Forecast, Score
from azubi.storage import files

State = Literal["running", "unfinished", "failed", "done"]
_PAPER, _LOG = "run.json", "events.jsonl"
_SMALL = ('"kind":"progress"', '"kind":"step_done"')


class RunInfo(BaseModel):
    """What a run is; kept apart from what happened in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    name: str
    """Of the specialist."""
    identity: str
    """Hash of settings and data: a run with the same one is the same run."""
    settings: dict[str, object]
    """The recipe, with paths that hold from any folder."""
    version: int | None = None
    """The specialist's, once it was reserved."""


@dataclass
class Run:
    """One run's folder. Whoever made it with `Runs.begin` or `Runs.take` holds its lock until `release`."""

    folder: Path
    paper: RunInfo
    lock: IO[bytes] | None = None
    earlier: builtins.list[ev.Event] = field(default_factory=list)
    """What had happened when it was taken up again."""

    @property
    def id(self) -> str:
        """What it is called on the command line."""
        return self.folder.name

    def log(self, event: ev.Event) -> None:
        """Add a line to the run's events.

        Raises:
            StorageError: the disk is full or read-only.
        """
        path = self.folder / _LOG
        with files.explained(path), path.open("a", encoding="utf-8") as file:
            file.write(event.model_dump_json() + "\n")

    def reserve(self, version: int) -> None:
        """Note the specialist's version, so that it is registered once, however often the run is killed."""
        self.paper = self.paper.model_copy(update={"version": version})
        self.write_paper()

    def write_paper(self) -> None:
        """Write `run.json`."""
        files.write_text(self.folder / _PAPER, self.paper.model_dump_json(indent=1))

    def events(self, *, steps: bool = True) -> Iterator[ev.Event]:
        """What happened so far; without single `steps` and progress it is quick for long runs too.

        A line that a killed process left half written is passed over.
        """
        try:
            lines = (self.folder / _LOG).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return
        for line in lines:
            if steps or not any(kind in line[:99] for kind in _SMALL):
                try:
                    yield ev.parse(line)
                except ValidationError:
                    continue

    def mend(self) -> None:
        """End a line that was left half written, so that the next one stands by itself."""
        path = self.folder / _LOG
        if path.is_file() and not path.read_bytes().endswith(b"\n"):
            with files.explained(path), path.open("a", encoding="utf-8") as file:
                file.write("\n")

    def remove(self) -> None:
        """Leave nothing of it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def release(self) -> None:
        """Let another process have it."""
        if self.lock is not None:
            self.lock.close()
            self.lock = None


def unwritten(name: str, folder: Path) -> Run:
    """A run for a plan, of which no file is written."""
    return Run(folder, RunInfo(name=name, identity="", settings={}))


@dataclass(frozen=True)
class Summary:
    """A run at a glance."""

    id: str
    name: str
    state: State
    when: datetime
    seconds: float
    score: Score | None


class Runs:
    """Finds runs, and places for new ones."""

    def __init__(self, home: Path) -> None:
        """`home` need not exist yet."""
        self._root = home / "runs"

    def begin(self, name: str, identity: str, settings: dict[str, object]) -> Run:
        """A new run, with a folder of its own that is named by when it began.

        Raises:
            StorageError: the home cannot be written.
        """
        with files.explained(self._root):
            self._root.mkdir(parents=True, exist_ok=True)
            stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
            for number in range(1, 1000):
                folder = self._root / f"{stamp}-{name}{f'-{number}' if number > 1 else ''}"
                try:
                    folder.mkdir()
                except FileExistsError:
                    continue
                run = Run(
                    folder, RunInfo(name=name, identity=identity, settings=settings), files.claim(folder)
                )
                run.write_paper()
                return run
        raise SettingError(f"{self._root} holds a thousand runs of this very second.", "Wait a second.")

    def take(self, identity: str, name: str | None = None) -> Run | None:
        """The newest run of that identity (and id) that was stopped or killed and is free, or None."""
        for run in self.all():
            fits = run.paper.identity == identity and name in (None, run.id)
            if fits and (taken := _taken(run)) is not None:
                return taken
        return None

    def get(self, name: str | None) -> Run:
        """A run by its id; without one, the newest that can be resumed.

        Raises:
            SettingError: there is none.
        """
        if name is None:
            for run in self.all():
                if state(run) == "unfinished":
                    return run
            raise SettingError("There is no unfinished run to resume.", "See: azubi runs")
        named = _read(self._root / name) if name == Path(name).name else None
        if named is None:
            raise SettingError(f"There is no run {name!r} in {self._root}.", "See: azubi runs")
        return named

    def all(self) -> Iterator[Run]:
        """Every run, newest first."""
        folders = (folder for folder in self._root.glob("*") if folder.is_dir())
        for folder in sorted(folders, reverse=True):
            if (run := _read(folder)) is not None:
                yield run


def _taken(run: Run) -> Run | None:
    """The run with its lock, if it is free and not at its end."""
    if state(run) != "unfinished" or (lock := files.claim(run.folder)) is None:
        return None
    run.lock = lock
    # Read again: before the lock was taken another process may have ended it.
    run.earlier = list(run.events())
    if _ended(run.earlier):
        run.release()
        return None
    run.mend()
    return run


def state(run: Run) -> State:
    """How a run stands."""
    if files.is_locked(run.folder):
        return "running"
    events = list(run.events(steps=False))
    if any(isinstance(event, ev.RunEnded) for event in events):
        return "done"
    return "failed" if _ended(events) else "unfinished"


def summary(run: Run) -> Summary:
    """A run at a glance."""
    events = list(run.events(steps=False))
    measured = [event for event in events if isinstance(event, ev.Measured) and event.who == "specialist"]
    return Summary(
        id=run.id,
        name=run.paper.name,
        state=state(run),
        when=datetime.fromtimestamp(events[0].at if events else run.folder.stat().st_mtime, UTC),
        seconds=events[-1].elapsed if events else 0.0,
        score=measured[-1].scores[0] if measured and measured[-1].scores else None,
    )


def _ended(events: list[ev.Event]) -> bool:
    """Whether it went well, or failed in a way that would come again."""
    for event in reversed(events):
        if isinstance(event, ev.RunEnded):
            return True
        if isinstance(event, ev.RunStopped):
            return not event.resumable
        if isinstance(event, ev.RunStarted):
            return False
    return False


def _read(folder: Path) -> Run | None:
    """The run in a folder; None if there is none."""
    try:
        return Run(folder, RunInfo.model_validate_json((folder / _PAPER).read_bytes()))
    except (OSError, ValidationError):
        return None


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
