"""The runs of one home: their folders, what happened in each so far, and which can be resumed.

    <home>/runs/<time>-<name>/run.json       what the run is: settings and a hash of settings and data
                              events.jsonl   all that happened, one event a line
                              checkpoint.json, *.safetensors   only until it has ended well

A run belongs to the process that holds its folder's lock; when that ends, however it ends, another may
resume it. Knows events and settings; nothing of how a run works.
"""

import builtins
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from azubi.errors import SettingError
from azubi.events import events as ev
from azubi.events.score import Score
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
