"""How often a test set was looked at. Each look that leads to a choice makes its figures flatter a little.

    <home>/data/looks.json     by the test set's name: when, and by what

A test set is named by a hash of its examples, so it is the same one whatever files it came from. Knows
nothing of what was seen.
"""

from collections.abc import Iterable
from datetime import datetime
from hashlib import blake2b
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from azubi.data.example import Example
from azubi.errors import CorruptFile
from azubi.storage import files

_CONFIG = ConfigDict(extra="forbid", frozen=True)


class Access(BaseModel):
    """One time that these test examples were answered and scored."""

    model_config = _CONFIG

    when: datetime
    by: str
    """The run of `azubi tune`, or the proof; one that was interrupted and goes on counts once."""


class _Book(BaseModel):
    model_config = _CONFIG

    looks: dict[str, tuple[Access, ...]] = {}


class TestAccessLog:
    """The looks of one home."""

    def __init__(self, home: Path) -> None:
        """`home` need not exist yet."""
        self._path = home / "data" / "looks.json"

    def at(self, test: Iterable[Example]) -> tuple[Access, ...]:
        """All looks at these examples so far, the oldest first.

        Raises:
            CorruptFile: the book of looks cannot be read.
        """
        return self._read().looks.get(_name(test), ())

    def add(self, test: Iterable[Example], look: Access) -> tuple[Access, ...]:
        """Note a look, unless it was noted; returns all of them, this one included.

        Raises:
            StorageError: the disk is full or may not be written.
            CorruptFile: the book of looks cannot be read.
        """
        name = _name(test)
        with files.locked(self._path.parent):
            looks = self._read().looks
            known = looks.get(name, ())
            if any(one.by == look.by for one in known):
                return known
            book = _Book(looks=looks | {name: (*known, look)})
            files.write_text(self._path, book.model_dump_json(indent=1))
            return book.looks[name]

    def _read(self) -> _Book:
        if not self._path.is_file():
            return _Book()
        try:
            return _Book.model_validate_json(self._path.read_bytes())
        except (OSError, ValidationError) as error:
            raise CorruptFile(
                f"{self._path} cannot be read: it does not hold what azubi wrote there.",
                "Bring it back from a copy, or remove it; earlier looks at test sets are then forgotten.",
            ) from error


def _name(test: Iterable[Example]) -> str:
    digests = sorted(blake2b(one.id.encode(), digest_size=16).digest() for one in test)
    return blake2b(b"".join(digests), digest_size=8).hexdigest()
