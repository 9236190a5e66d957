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
from typing import Any, Literal, NamedTuple

import torch

StorageFormat = Literal["float32", "bfloat16", "int8"]

_OUTLIERS = 8
"""Numbers of each token that are kept apart. With none the error of a typical channel is 5 to 18 % of its
spread on smollm2-135m, with eight below 1 %."""
_BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def storage_format(wanted: Literal["auto"] | StorageFormat, computed: torch.dtype) -> StorageFormat:
    """The format for what is `computed` in a dtype: as wanted, but never wider than that dtype."""
    own: StorageFormat = "bfloat16" if computed == torch.bfloat16 else "float32"
    if wanted == "auto" or _BYTES[wanted] > _BYTES[own]:
        return own
    return wanted


def pack(states: torch.Tensor, stored_as: StorageFormat) -> bytes:
    """The bytes of `states` [tokens, hidden], whatever its dtype; hidden is below 32,768 for int8."""
    if stored_as != "int8":
        return _to_bytes(states.to(_DTYPES[stored_as]))
    rest = states.float()
    columns = rest.abs().topk(min(_OUTLIERS, rest.shape[1]), dim=1).indices
    outliers = rest.gather(1, columns)
    rest = rest.scatter(1, columns, 0.0)
    # A token that is all zeros has the smallest normal number for its scale.
    scales = (rest.abs().amax(1, keepdim=True) / 127).clamp_min(torch.finfo(torch.float32).tiny)
    parts = (scales, columns.to(torch.int16), outliers.bfloat16(), (rest / scales).round().to(torch.int8))
    return b"".join(map(_to_bytes, parts))


def size(rows: int, columns: int, stored_as: StorageFormat) -> int:
    """How many bytes `pack` makes of a tensor [rows, columns]."""
    outliers = rows * (4 + 4 * min(_OUTLIERS, columns)) if stored_as == "int8" else 0
    return rows * columns * _BYTES[stored_as] + outliers


def unpack(
    content: bytes, rows: int, columns: int, stored_as: StorageFormat, dtype: torch.dtype
) -> torch.Tensor:
    """The tensor [rows, columns] in `dtype` that `content` was packed from.

    Raises:
        ValueError, RuntimeError: `content` has another length.
    """
    buffer = bytearray(content)  # torch wants bytes of its own that may be written
    if stored_as != "int8":
        return torch.frombuffer(buffer, dtype=_DTYPES[stored_as]).reshape(rows, columns).to(dtype)
    width = min(_OUTLIERS, columns)
    sizes = (4 * rows, 2 * rows * width, 2 * rows * width, rows * columns)
    dtypes = (torch.float32, torch.int16, torch.bfloat16, torch.int8)
    parts = torch.frombuffer(buffer, dtype=torch.uint8).split(sizes)
    scales, places, outliers, rest = (
        part.clone().view(part_dtype).reshape(rows, -1)
        for part, part_dtype in zip(parts, dtypes, strict=True)
    )
    states: torch.Tensor = rest.float().mul_(scales)
    return states.scatter_(1, places.long(), outliers.float()).to(dtype)


def rounded(states: torch.Tensor, stored_as: StorageFormat) -> torch.Tensor:
    """`states` [tokens, hidden] as they come back after packing, in their own dtype."""
    if stored_as == storage_format("auto", states.dtype):
        return states
    rows, columns = states.shape
    return unpack(pack(states, stored_as), rows, columns, stored_as, states.dtype)


def _to_bytes(tensor: torch.Tensor) -> bytes:
    return tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes()


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
