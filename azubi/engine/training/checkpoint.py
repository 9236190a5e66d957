"""A run's checkpoint on disk: written whole or not at all, read only if it fits.

    checkpoint.json              names and checksums of the other files; no others count
    state-<step>.safetensors     float32 weights and the optimiser's moments, random state
    best-<epoch>.safetensors     the trained weights of the best epoch

Two points of the run are stored: the latest, from which a killed run resumes, and a safe one, to which a
run rolls back when its loss explodes. When the latest is written depends on the clock; the safe one
depends on the steps alone, so that a run comes out the same however long it took. No pickle.

Knows tensors and figures; nothing of how training uses them.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from azubi.engine.model import weights
from azubi.engine.model.weights import State
from azubi.engine.training.example_weights import Validation
from azubi.storage import files

_NAME = "checkpoint.json"


class Point(BaseModel):
    """A point of a run, as figures; its tensors lie in a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epoch: int = 0
    """Epochs that are done."""
    place: int = 0
    """Batches done of the epoch that is running."""
    step: int = 0
    total: float = 0.0
    """Sum of the running epoch's losses, each times its targets."""
    targets: int = 0
    seconds: float = 0.0
    """Spent on the running epoch so far."""
    losses: tuple[float, ...] = ()
    """What the divergence detector remembers."""
    safe: bool = False
    """Whether a safe point is due, and waits for the loss to be calm."""


class Saved(BaseModel):
    """A file and the CRC-32 of its content."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    crc: int


class Contents(BaseModel):
    """The content of `checkpoint.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = 1
    basis: str
    """Hash of all that training depends on; a checkpoint of anything else is not read."""
    latest: tuple[Point, Saved]
    safe: tuple[Point, Saved] | None = None
    best: tuple[int, Validation, Saved] | None = None
    """The best epoch, how good it was, and its weights."""
    rollbacks: int = 0
    seconds: float = 0.0
    """Spent on training so far."""


class Checkpoints:
    """The checkpoint of one run."""

    def __init__(self, folder: Path, basis: str) -> None:
        """`folder`: the run's own. `basis`: hash of all that training depends on."""
        self._folder = folder
        self._basis = basis
        self._contents: Contents | None = None

    def read(self) -> Contents | None:
        """The checkpoint, or None if there is none that is whole and of this `basis`."""
        self._contents = self._read()
        return self._contents

    @property
    def unfit(self) -> bool:
        """Whether there is a checkpoint that is damaged or has another basis."""
        return exists(self._folder) and self.read() is None

    def tensors(self, saved: Saved) -> State:
        """The tensors of a file that `read` verified; mapped from it, so only to be read."""
        return weights.read(self._folder / saved.file)

    def write(
        self,
        point: Point,
        state: State,
        *,
        safe: bool,
        best: tuple[int, Validation, State] | None,
        rollbacks: int,
        seconds: float,
    ) -> None:
        """Keep a point as the latest, and if `safe` also as the one to go back to.

        Raises:
            StorageError: the disk is full or read-only; the checkpoint before still counts.
        """
        try:
            self._contents = self._write_all(point, state, safe, best, rollbacks, seconds)
        finally:
            # Also after a failure: a full disk needs the room of what was half done.
            self._tidy()

    def _write_all(
        self,
        point: Point,
        state: State,
        safe: bool,
        best: tuple[int, Validation, State] | None,
        rollbacks: int,
        seconds: float,
    ) -> Contents:
        before = self._contents
        latest = (point, self._write(f"state-{point.step}-{rollbacks}.safetensors", state))
        kept = before.best if before is not None else None
        if best is not None and (kept is None or kept[:2] != best[:2]):
            kept = (best[0], best[1], self._write(f"best-{best[0]}-{rollbacks}.safetensors", best[2]))
        contents = Contents(
            basis=self._basis,
            latest=latest,
            safe=latest if safe else before.safe if before is not None else None,
            best=kept,
            rollbacks=rollbacks,
            seconds=seconds,
        )
        files.write_text(self._folder / _NAME, contents.model_dump_json(indent=1))
        return contents

    def _write(self, name: str, state: State) -> Saved:
        weights.write(state, self._folder / name)
        return Saved(file=name, crc=files.crc32(self._folder / name))

    def _read(self) -> Contents | None:
        try:
            contents = Contents.model_validate_json((self._folder / _NAME).read_bytes())
        except (OSError, ValidationError):
            return None
        fits = contents.format == 1 and contents.basis == self._basis
        return contents if fits and all(map(self._whole, _saved(contents))) else None

    def _whole(self, saved: Saved) -> bool:
        try:
            return files.crc32(self._folder / saved.file) == saved.crc
        except OSError:
            return False

    def _tidy(self) -> None:
        """Delete files that do not count, also those of a run that was killed while it wrote."""
        counting = {saved.file for saved in _saved(self._contents)} if self._contents else set()
        for path in _files(self._folder):
            if path.name not in counting:
                path.unlink(missing_ok=True)


def clear(folder: Path) -> None:
    """Remove a run's checkpoint."""
    (folder / _NAME).unlink(missing_ok=True)
    for path in _files(folder):
        path.unlink(missing_ok=True)


def size(folder: Path) -> int:
    """Bytes that a run's checkpoint takes now."""
    return sum(path.stat().st_size for path in _files(folder) if path.is_file())


def exists(folder: Path) -> bool:
    """Whether a run has a checkpoint."""
    return (folder / _NAME).is_file()


def _files(folder: Path) -> list[Path]:
    # Half-written ones too: ours, and what safetensors calls its own.
    patterns = ("state-*", "best-*", ".state-*", ".best-*", f".{_NAME}.*", ".tmp*")
    return [path for pattern in patterns for path in folder.glob(pattern)]


def _saved(contents: Contents) -> list[Saved]:
    parts = (contents.latest, contents.safe, contents.best)
    return [part[-1] for part in parts if part is not None]
