"""A log in an SQLite table whose entries carry the hash of the one before.

An entry is only ever added. Whoever changes or removes one in the middle is found by whoever reads next. What
a chain cannot show is that its end was cut off, or that all of it was written anew; for that, note the last
hash elsewhere. Knows nothing of what the entries say.
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from azubi.errors import CorruptFile

TABLE = (
    "CREATE TABLE log (number INTEGER PRIMARY KEY, entry TEXT NOT NULL, hash TEXT NOT NULL)",
    "CREATE TRIGGER only_added BEFORE UPDATE ON log BEGIN SELECT RAISE(ABORT, 'append-only'); END",
    "CREATE TRIGGER never_removed BEFORE DELETE ON log BEGIN SELECT RAISE(ABORT, 'append-only'); END",
)
"""The migration that makes the table."""
_BEFORE_THE_FIRST = "0" * 64


@dataclass(frozen=True)
class Link:
    """One entry of a chain."""

    number: int
    """Counts from 1."""
    text: str
    hash: str
    """Over this text and the hash before it."""


@dataclass(frozen=True)
class HashChain:
    """The log in one file."""

    path: Path
    """For errors."""
    remedy: str
    """What to do if it is broken."""

    def verified(self, connection: sqlite3.Connection) -> Iterator[Link]:
        """All entries, the first one first.

        Raises:
            CorruptFile: an entry was changed or removed; names the first one.
        """
        previous = _BEFORE_THE_FIRST
        rows = connection.execute("SELECT number, entry, hash FROM log ORDER BY number")
        for place, (number, text, digest) in enumerate(rows, start=1):
            if number != place:
                raise self.broken(place, "is missing")
            if digest != _hash(previous, text):
                raise self.broken(place, "is not what was written: its hash does not fit")
            previous = digest
            yield Link(place, text, digest)

    def last(self, connection: sqlite3.Connection) -> Link | None:
        """The newest entry, those before it not verified."""
        row = connection.execute(
            "SELECT number, entry, hash FROM log ORDER BY number DESC LIMIT 1"
        ).fetchone()
        return None if row is None else Link(*row)

    def add(self, connection: sqlite3.Connection, previous: Link | None, text: str) -> Link:
        """Add an entry behind `previous`, which has to be the newest; within a transaction."""
        before = _BEFORE_THE_FIRST if previous is None else previous.hash
        link = Link(1 if previous is None else previous.number + 1, text, _hash(before, text))
        connection.execute("INSERT INTO log VALUES (?, ?, ?)", (link.number, link.text, link.hash))
        return link

    def broken(self, number: int, problem: str) -> CorruptFile:
        """The error that says which entry is broken, and how."""
        return CorruptFile(f"Entry {number} of {self.path} {problem}.", self.remedy)


def _hash(previous: str, text: str) -> str:
    return hashlib.sha256(f"{previous}\n{text}".encode()).hexdigest()
