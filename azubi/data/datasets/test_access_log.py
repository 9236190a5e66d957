"""How often a test set was used. Each use that leads to a choice makes its figures a little too good.

    <home>/data/test_accesses.json     for each test set when it was used, and by what

A test set is named by a hash of its examples, so it is the same one whatever files it came from.
"""

from collections.abc import Iterable
from datetime import datetime
from hashlib import blake2b
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from azubi.data.example import Example
from azubi.errors import CorruptFile
from azubi.storage import files


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
