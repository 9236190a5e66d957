"""What was erased, so that it does not come back when the same source is read again.

    <home>/data/erased.json     keyed hashes of the erased rows' ids, and what became of the rows
    <home>/keys/erased.key      the hashes' key, mode 0600

Ids are often personal themselves (a claim number), and content can be guessed. So only hashes are kept that
cannot be tried without the key.
"""

import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import blake2b
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from azubi.data.datasets.rows import Row
from azubi.data.example import Example, SplitName
from azubi.errors import CorruptFile
from azubi.storage import files

_KEY_BYTES = 32
_CONFIG = ConfigDict(extra="forbid", frozen=True)


class AffectedSpecialist(BaseModel):
    """A specialist that had to do with an erased row."""

    model_config = _CONFIG

    name: str
    """As name@version."""
    split: SplitName
    """What it used the row for."""
    through: str = ""
    """The ancestor that learned the row; empty if it was the specialist itself."""


class Erasure(BaseModel):
    """One request to erase, and how far it is."""

    model_config = _CONFIG

    when: datetime
    hashes: tuple[str, ...]
    """Of every id that the rows have."""
    rows: int
    """Rows taken out of stored data, counted in each version."""
    versions: tuple[str, ...]
    questions: tuple[str, ...]
    """Names of the rows' questions, as the trunk saw them; emptied when the erasure is done."""
    instructed: bool = False
    """Whether an instruction quotes a row: then all activations go, since they were computed behind it."""
    learners: tuple[AffectedSpecialist, ...]
    done: bool = False


class _Log(BaseModel):
    model_config = _CONFIG

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
        self._hashes = {hashed for erasure in self.erasures for hashed in erasure.hashes}

    def holds(self, row: Row) -> bool:
        """Whether a row was erased: by its key if it has one, else by its content."""
        return bool(self._hashes) and self.hash(row.id) in self._hashes

    def without(self, rows: Sequence[Row]) -> tuple[Row, ...]:
        """The rows that were not erased."""
        return tuple(row for row in rows if not self.holds(row))

    def find(self, name: str) -> list[Erasure]:
        """The erasures of an id."""
        hashed = self.hash(name)
        return [erasure for erasure in self.erasures if hashed in erasure.hashes]

    def pending(self) -> list[Erasure]:
        """Erasures that were begun and have not finished."""
        return [erasure for erasure in self.erasures if not erasure.done]

    def hash(self, name: str) -> str:
        """The keyed hash of an id."""
        return blake2b(name.encode(), digest_size=16, key=self._key).hexdigest()

    def make_key(self) -> None:
        """Make sure that there is a key to hash with.

        Raises:
            StorageError: the folder cannot be written.
        """
        with files.locked(self._key_path.parent):
            self._key = self._read_key()
            if not self._key:
                self._key = secrets.token_bytes(_KEY_BYTES)
                files.write_bytes(self._key_path, self._key)
                self._key_path.chmod(0o600)

    def add(self, erasure: Erasure) -> None:
        """Note an erasure; from now on its rows are left out."""
        self._write((*self.erasures, erasure))

    def end(self, erasure: Erasure) -> None:
        """Note that an erasure has finished."""
        ended = erasure.model_copy(update={"done": True, "questions": ()})
        self._write(tuple(ended if other == erasure else other for other in self.erasures))

    def _write(self, erasures: tuple[Erasure, ...]) -> None:
        self.erasures = erasures
        self._hashes = {hashed for erasure in erasures for hashed in erasure.hashes}
        files.write_text(self._path, _Log(erasures=erasures).model_dump_json(indent=1))

    def _read(self) -> tuple[Erasure, ...]:
        try:
            return _Log.model_validate_json(self._path.read_bytes()).erasures
        except (
            FileNotFoundError,
            NotADirectoryError,
        ):  # who writes to a home that is a file is told so there
            return ()
        except (OSError, ValidationError) as error:
            raise self._corrupt(f"{self._path} cannot be read, so what was erased is not known.") from error

    def _read_key(self) -> bytes:
        try:
            return self._key_path.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            if not self.erasures:
                return b""
            raise self._corrupt(
                f"{self._key_path} is gone, so what was erased cannot be recognised."
            ) from error

    def _corrupt(self, problem: str) -> CorruptFile:
        return CorruptFile(
            problem, "Bring it back from a copy: without it, erased rows would be learned again."
        )


class Access(BaseModel):
    """One time that test examples were answered and scored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    when: datetime
    by: str
    """The run of `azubi tune`, or the proof; one that was interrupted and goes on counts once."""


_LOG = TypeAdapter(dict[str, tuple[Access, ...]])


class TestAccessLog:
    """The test accesses of one home. Its methods raise CorruptFile if the log cannot be read."""

    def __init__(self, home: Path) -> None:
        """`home` need not exist yet."""
        self._path = home / "data" / "test_accesses.json"

    def at(self, test: Iterable[Example]) -> tuple[Access, ...]:
        """All accesses to these examples so far, the oldest first."""
        return self._read().get(_name(test), ())

    def add(self, test: Iterable[Example], access: Access) -> tuple[Access, ...]:
        """Note an access, once per `by`; returns all of them.

        Raises:
            StorageError: the disk is full or may not be written.
        """
        name = _name(test)
        with files.locked(self._path.parent):
            log = self._read()
            known = log.get(name, ())
            if any(earlier.by == access.by for earlier in known):
                return known
            log[name] = (*known, access)
            files.write_bytes(self._path, _LOG.dump_json(log, indent=1))
            return log[name]

    def _read(self) -> dict[str, tuple[Access, ...]]:
        if not self._path.is_file():
            return {}
        try:
            return _LOG.validate_json(self._path.read_bytes())
        except (OSError, ValidationError) as error:
            raise CorruptFile(
                f"{self._path} cannot be read: it does not hold what azubi wrote there.",
                "Bring it back from a copy, or remove it; earlier test accesses are then forgotten.",
            ) from error


def _name(test: Iterable[Example]) -> str:
    digests = sorted(blake2b(example.id.encode(), digest_size=16).digest() for example in test)
    return blake2b(b"".join(digests), digest_size=8).hexdigest()
