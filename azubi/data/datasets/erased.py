"""What was erased, so that it does not come back when the same source is read again.

    <home>/data/erased.json     keyed hashes of what erased rows were called, and what became of them
    <home>/keys/erased.key      the hashes' key, mode 0600

Ids are often personal themselves (a claim number), and content can be guessed: so neither stands here, only
hashes that cannot be tried without the key. Knows nothing of where rows, activations or specialists lie.
"""

import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import blake2b
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from azubi.data.datasets.rows import Row
from azubi.data.example import SplitName
from azubi.errors import CorruptFile
from azubi.storage import files

_LENGTH = 32


class AffectedSpecialist(BaseModel):
    """A specialist that had to do with an erased row."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """As name@version."""
    split: SplitName
    """What it used the row for: to learn from, to choose with, to be tested with."""
    through: str = ""
    """The specialist that it went on from and that learned the row; empty if it was itself."""


class Erasure(BaseModel):
    """One request to erase, and how far it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    when: datetime
    hashes: tuple[str, ...]
    """Of every name by which the rows could be called."""
    rows: int
    """How many rows it took out of stored data, counted in each version."""
    versions: tuple[str, ...]
    questions: tuple[str, ...]
    """Names of what the rows ask, as the trunk saw it; emptied when it is done."""
    instructed: bool = False
    """Whether an instruction quotes a row: then all activations go, since they were computed behind it."""
    learners: tuple[AffectedSpecialist, ...]
    done: bool = False


class _Book(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    erasures: tuple[Erasure, ...] = ()


class Erased:
    """The erasures of one home."""

    def __init__(self, home: Path) -> None:
        """`home` need not exist yet.

        Raises:
            CorruptFile: there were erasures, but they or their key cannot be read. Nothing may be read then.
        """
        self._path = home / "data" / "erased.json"
        self._key_path = home / "keys" / "erased.key"
        self.erasures = self._read()
        self._key = self._read_key()
        self._hashes = {one for erasure in self.erasures for one in erasure.hashes}

    def holds(self, row: Row) -> bool:
        """Whether a row was erased: by its key if it has one, else by its content."""
        return bool(self._hashes) and self.hash(row.id) in self._hashes

    def find(self, name: str) -> list[Erasure]:
        """The erasures of what is called so."""
        told = self.hash(name)
        return [one for one in self.erasures if told in one.hashes]

    def without(self, rows: Sequence[Row]) -> tuple[Row, ...]:
        """The rows that were not erased."""
        return tuple(row for row in rows if not self.holds(row)) if self._hashes else tuple(rows)

    def pending(self) -> list[Erasure]:
        """Those that were begun and not ended."""
        return [one for one in self.erasures if not one.done]

    def hash(self, name: str) -> str:
        """What stands for a name."""
        return blake2b(name.encode(), digest_size=16, key=self._key).hexdigest()

    def make_key(self) -> None:
        """Make sure that there is a key to hash with.

        Raises:
            StorageError: the folder cannot be written.
        """
        if not self._key:
            with files.locked(self._key_path.parent):
                self._key = self._read_key()
                if not self._key:
                    self._key = secrets.token_bytes(_LENGTH)
                    files.write_bytes(self._key_path, self._key)
                    self._key_path.chmod(0o600)

    def add(self, erasure: Erasure) -> None:
        """Note an erasure; from now on its rows are left out."""
        self._write([*self.erasures, erasure])

    def end(self, erasure: Erasure) -> None:
        """Note that an erasure is done."""
        ended = erasure.model_copy(update={"done": True, "questions": ()})
        self._write([ended if one == erasure else one for one in self.erasures])

    def _write(self, erasures: Iterable[Erasure]) -> None:
        self.erasures = tuple(erasures)
        self._hashes = {one for erasure in self.erasures for one in erasure.hashes}
        files.write_text(self._path, _Book(erasures=self.erasures).model_dump_json(indent=1))

    def _read(self) -> tuple[Erasure, ...]:
        try:
            return _Book.model_validate_json(self._path.read_bytes()).erasures
        except (
            FileNotFoundError,
            NotADirectoryError,
        ):  # a home that is a file is told by whoever writes there
            return ()
        except (OSError, ValidationError) as error:
            raise CorruptFile(
                f"{self._path} cannot be read, so what was erased is not known.",
                "Bring it back from a copy: without it, erased rows would be learned again.",
            ) from error

    def _read_key(self) -> bytes:
        try:
            return self._key_path.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            if not self.erasures:
                return b""
            raise CorruptFile(
                f"{self._key_path} is gone, so what was erased cannot be recognised.",
                "Bring it back from a copy: without it, erased rows would be learned again.",
            ) from error
