"""Where each entry of the activation cache lies, and whose it is: an SQLite file that processes share.

    shards    name -> data version, size, use (counted)
    entries   key -> shard, offset, size, shape, format
    owners    key -> the questions whose activations it is
    renewals  data versions that are still to be written again under another key

Every change is a transaction. Knows nothing of the shards' files, nor of keys.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from azubi.engine.cache.packing import StorageFormat

_LAYOUT = 4
"""Of the index. A cache of another layout is emptied: it can be computed again."""
_SCHEMA = """
CREATE TABLE shards (
    name TEXT PRIMARY KEY, version TEXT NOT NULL, size INTEGER NOT NULL, used INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE entries (
    key TEXT PRIMARY KEY, shard TEXT NOT NULL, offset INTEGER NOT NULL, size INTEGER NOT NULL,
    rows INTEGER NOT NULL, columns INTEGER NOT NULL, storage_format TEXT NOT NULL, dtype TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX entries_of_shard ON entries (shard);
CREATE TABLE owners (
    key TEXT NOT NULL, question TEXT NOT NULL, PRIMARY KEY (key, question)
) WITHOUT ROWID;
CREATE INDEX keys_of_question ON owners (question);
CREATE TABLE renewals (version TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_USED = "(SELECT COALESCE(MAX(used), 0) + 1 FROM shards)"
"""The next moment of use. Counted, not read from a clock, which may be put back."""


class Entry(NamedTuple):
    """A row of `entries`, with its columns."""

    key: str
    shard: str
    offset: int
    size: int
    rows: int
    columns: int
    storage_format: StorageFormat
    dtype: str


class Index:
    """The index of one cache."""

    def __init__(self, path: Path) -> None:
        """Open or create the file; ask `is_current` before anything else."""
        self._file = sqlite3.connect(path, timeout=60, isolation_level=None)
        try:
            self.execute("PRAGMA secure_delete=ON")
        except BaseException:
            self.close()
            raise

    def execute(self, text: str, *values: Any) -> sqlite3.Cursor:
        """Run one statement by itself."""
        return self._file.execute(text, values)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._file:
            self.execute("BEGIN IMMEDIATE")
            yield

    def is_current(self) -> bool:
        """Whether it has the layout of this azubi; nothing else may be asked of another one."""
        self.execute("PRAGMA journal_mode=WAL")
        return bool(self.execute("PRAGMA user_version").fetchone()[0] == _LAYOUT)

    def create(self) -> None:
        """Forget everything and create empty tables."""
        tables = ("entries", "shards", "owners", "renewals")
        drop = " ".join(f"DROP TABLE IF EXISTS {table};" for table in tables)
        self._file.executescript(f"BEGIN; {drop} {_SCHEMA} PRAGMA user_version = {_LAYOUT}; COMMIT")

    # Entries

    def find(self, key: str) -> tuple[Entry, str] | None:
        """An entry, and the data version of its shard."""
        row = self.execute(
            "SELECT e.*, s.version FROM entries e JOIN shards s ON s.name = e.shard WHERE e.key = ?", key
        ).fetchone()
        return None if row is None else (Entry(*row[:-1]), row[-1])

    def of_shard(self, shard: str) -> list[Entry]:
        """The entries of a shard, in their order."""
        rows = self.execute("SELECT * FROM entries WHERE shard = ? ORDER BY offset", shard)
        return [Entry(*row) for row in rows.fetchall()]

    def add(self, shard: str, version: str, size: int, entries: Iterable[Entry]) -> None:
        """Add entries of a shard, which is `size` bytes long now and counts as used."""
        with self._transaction():
            self.execute(f"INSERT OR REPLACE INTO shards VALUES (?, ?, ?, {_USED})", shard, version, size)
            self._file.executemany("INSERT OR REPLACE INTO entries VALUES (?,?,?,?,?,?,?,?)", entries)

    def forget(self, key: str) -> None:
        """Remove an entry; its bytes stay where they are."""
        self.execute("DELETE FROM entries WHERE key = ?", key)

    def bytes(self) -> int:
        """Size of all entries."""
        return int(self.execute("SELECT COALESCE(SUM(size), 0) FROM entries").fetchone()[0])

    # Shards

    def shards(self) -> dict[str, int]:
        """Sizes of all shards by name, the least recently used first."""
        return dict(self.execute("SELECT name, size FROM shards ORDER BY used").fetchall())

    def versions(self) -> list[str]:
        """All data versions that have shards."""
        return [version for (version,) in self.execute("SELECT DISTINCT version FROM shards").fetchall()]

    def shards_of(self, version: str) -> dict[str, int]:
        """When each shard of a data version was last used, by its name."""
        return dict(self.execute("SELECT name, used FROM shards WHERE version = ?", version).fetchall())

    def use(self, shard: str) -> None:
        """Count a shard as used now."""
        self.execute(f"UPDATE shards SET used = {_USED} WHERE name = ?", shard)

    def drop(self, shard: str) -> None:
        """Remove a shard with all its entries."""
        with self._transaction():
            self._drop(shard)

    def _drop(self, shard: str) -> None:
        self.execute("DELETE FROM entries WHERE shard = ?", shard)
        self.execute("DELETE FROM shards WHERE name = ?", shard)

    # Questions

    def note(self, owners: Iterable[tuple[str, str]]) -> None:
        """Note whose activations entries are, as pairs of key and question."""
        with self._transaction():
            self._file.executemany("INSERT OR IGNORE INTO owners VALUES (?, ?)", owners)

    def erase(self, questions: Iterable[str]) -> int:
        """Remove all entries of questions, also those that other questions share; returns how many.

        Data versions whose shards hold bytes without an entry are noted for renewal.
        """
        of_question, erased = "key IN (SELECT key FROM owners WHERE question = ?)", 0
        with self._transaction():
            for question in questions:
                erased += self.execute(f"DELETE FROM entries WHERE {of_question}", question).rowcount
                self.execute(f"DELETE FROM owners WHERE {of_question}", question)
            # Also what another run wrote twice, or what was forgotten, lies in a shard without a row.
            self.execute(
                "INSERT OR IGNORE INTO renewals SELECT DISTINCT version FROM shards WHERE size > "
                "(SELECT COALESCE(SUM(size), 0) FROM entries WHERE shard = shards.name)"
            )
        return erased

    def flush(self) -> None:
        """Remove deleted rows from the file's log, too."""
        self.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def to_renew(self) -> list[str]:
        """Data versions that are still to be written again."""
        return [version for (version,) in self.execute("SELECT version FROM renewals").fetchall()]

    def renewed(self, version: str) -> None:
        """Note that a data version was written again."""
        self.execute("DELETE FROM renewals WHERE version = ?", version)

    def replace(self, shard: str, by: str, version: str, used: int, entries: Sequence[Entry]) -> None:
        """Replace a shard by another, which holds `entries` alone."""
        with self._transaction():
            if entries:
                size = sum(entry.size for entry in entries)
                self.execute("INSERT INTO shards VALUES (?, ?, ?, ?)", by, version, size, used)
            self._file.executemany(
                "UPDATE entries SET shard = ?, offset = ? WHERE key = ?",
                [(entry.shard, entry.offset, entry.key) for entry in entries],
            )
            self._drop(shard)
