"""The activation cache: what the trunk said about each example, kept on disk.

One entry per example, so that adding examples computes only those and one person's record can
be erased here too. Entries lie in append-only shards, an SQLite index says where:

    <home>/cache/index.sqlite          key -> shard, offset, size, shape, form; shard -> version, use;
                                       key -> the questions whose activations they are
    <home>/cache/shards/<random>.bin   nonce | AES-256-GCM(packed activations)

Hidden states can be turned back into the text they came from (SipIt, arXiv 2510.15511), so an
entry is as confidential as the data and is encrypted, under the key of the data version that it was first
computed for. GCM authenticates what it decrypts: an entry that was cut short, flipped, or filed under another
key or shape is not read but missed, and is then computed again. A shard is on disk before its index rows
are, so a crash leaves nothing half-written.

The cache can be lost at any time at no risk, so it never stops a run: beyond its quota, or when the disk
is full, the shards that were not used for longest go, and if that does not do, nothing more is kept.
Shards that a living process uses are locked (flock) and stay. Entries are read with `pread`, not through a
mapping: it is as fast, takes no address space, and a shard that is cut short under a mapping
kills the process (docs/benchmarks-cache.md).

To erase a question, its version's entries are written anew under a new key without it, and the old key
and shards are thrown away: neither what is left on the disk nor any copy of a shard can be read any more.

Knows tensors and keys; nothing of models, tokens or training.
"""

import fcntl
import os
import secrets
import shutil
import sqlite3
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

import torch
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from azubi import files, packing
from azubi.errors import DiskFull
from azubi.keys import Keys
from azubi.packing import Form, Wanted

QUOTA = 20 * 10**9
"""Bytes of shards that are kept, if nothing else is said."""
_NONCE = 12
SEAL = _NONCE + 16
"""Bytes that encryption adds to an entry: the nonce, and GCM's tag."""
_GROUP = 64 << 20
"""Bytes that are encrypted in memory before they are written, synced and indexed together."""
_SHARD = 256 << 20
"""A shard of this size is not continued: what goes, goes by the shard."""
_OPEN = 200
"""Shards that one process holds open; the system allows it about a thousand files."""
_NOBODY = "nobody"
"""The version of whoever writes nothing; it has no key."""
_LAYOUT = 3
"""Of the index. A cache of another layout is emptied: it can be computed again."""
_SCHEMA = """
CREATE TABLE shards (
    name TEXT PRIMARY KEY, version TEXT NOT NULL, size INTEGER NOT NULL, used INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE entries (
    key TEXT PRIMARY KEY, shard TEXT NOT NULL, offset INTEGER NOT NULL, size INTEGER NOT NULL,
    rows INTEGER NOT NULL, columns INTEGER NOT NULL, form TEXT NOT NULL, dtype TEXT NOT NULL
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
_DTYPES = {str(dtype): dtype for dtype in (torch.float32, torch.bfloat16, torch.float16)}


@dataclass(frozen=True)
class Origin:
    """All that an activation depends on, but for the example's own tokens."""

    weights: str
    """Hash of the base's published weights."""
    cut: int
    """Number of layers in the trunk."""
    tokenizer: str
    template: str
    prime: tuple[int, ...]
    """Token ids of the prime."""
    dtype: str
    software: str
    """What computed it: versions, way of attention, kind of device; each can change the last digits."""
    view: str = "states"
    """What is kept of the hidden states: all `states`, or one vector (`mean`, `cls`, `last`)."""
    form: str = "float32"
    """How the numbers are kept: a `packing.Form`."""

    def key(self, tokens: Sequence[int]) -> str:
        """The name of the entry for one sequence of token ids."""
        digest = self._begun.copy()
        digest.update(array("q", tokens).tobytes())
        return digest.hexdigest()

    @cached_property
    def _begun(self) -> blake2b:
        """The digest of all but the tokens. A tokenizer is megabytes long: it is hashed once, not per key."""
        digest = blake2b(digest_size=20)
        for part in (
            self.weights,
            str(self.cut),
            self.tokenizer,
            self.template,
            ",".join(map(str, self.prime)),
            self.dtype,
            self.software,
            self.view,
            self.form,
        ):
            digest.update(part.encode() + b"\0")
        return digest


@dataclass(frozen=True, slots=True)
class _Sealed:
    """An entry ready to be written."""

    key: str
    content: bytes
    rows: int
    columns: int
    form: Form
    dtype: str


class ActivationCache:
    """Read and write entries; safe for several processes at once (each writes shards of its own)."""

    def __init__(
        self,
        home: Path,
        version: str = "any",
        *,
        dtype: Wanted = "auto",
        quota: int = QUOTA,
        reserve: int = 0,
    ) -> None:
        """Open the cache below `home`, or begin one.

        What is written is encrypted under the key of the data `version` and packed as `dtype`. The
        shards together stay below `quota` bytes, and `reserve` bytes of the disk stay free.

        Raises:
            StorageError: the folder cannot be written.
        """
        self.dtype: Wanted = dtype
        self.full = ""
        """Why nothing more is kept; empty while there is room."""
        self._version, self._quota, self._reserve = version, quota, reserve
        self._folder = home / "cache"
        self._shards = self._folder / "shards"
        self._keys = Keys(home)
        self._open: dict[str, int] = {}
        self._own = ""
        self._written = 0
        with files.explained(self._folder):
            self._shards.mkdir(parents=True, exist_ok=True)
            self._index = sqlite3.connect(self._folder / "index.sqlite", timeout=60, isolation_level=None)
            try:
                self._index.execute("PRAGMA secure_delete=ON")
                self._prepare()
            except BaseException:
                self._index.close()
                raise

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those of `keys` that have no entry, in their order, each once. The others are held from now on."""
        lost = []
        for key in dict.fromkeys(keys):
            found = self._find(key)
            if found is None:
                lost.append(key)
            else:
                with suppress(OSError):
                    self._descriptor(found[0])
        return lost

    def note(self, owners: Iterable[tuple[str, str]]) -> None:
        """Note whose activations entries are, as pairs of key and question, so that those can be erased.

        To be done before they are written. On a full disk nothing is noted, and then nothing is kept either.
        """
        try:
            with files.explained(self._folder), self._index:
                self._index.execute("BEGIN IMMEDIATE")
                self._index.executemany("INSERT OR IGNORE INTO owners VALUES (?, ?)", owners)
        except DiskFull:
            self.full = "the disk is full"

    def write(self, entries: Iterable[tuple[str, torch.Tensor]]) -> int:
        """Add entries (key, tensor of shape [tokens, hidden]); returns the bytes written.

        Where there is no room for them, `full` says why, and they are not kept.

        Raises:
            StorageError: the disk is read-only.
        """
        written, group, size = 0, [], 0
        for key, tensor in entries:
            if self.full:
                return written
            group.append(self._sealed(key, tensor))
            size += len(group[-1].content)
            if size >= _GROUP:
                written += self._keep(group)
                group, size = [], 0
        return written + (self._keep(group) if group else 0)

    def read(self, key: str) -> torch.Tensor | None:
        """The tensor under `key`, or None if there is none or it is damaged (it is then forgotten)."""
        found = self._find(key)
        if found is None:
            return None
        shard, version, place, size, rows, columns, form, dtype = found
        try:
            cipher = self._keys.find(version)
            if cipher is None:
                raise InvalidTag
            sealed = os.pread(self._descriptor(shard), size, place)
            label = _label(key, rows, columns, form, dtype)
            plain = cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], label)
            return packing.unpack(plain, rows, columns, form, _DTYPES[dtype])
        except (InvalidTag, OSError, ValueError, RuntimeError):
            with suppress(OSError, sqlite3.Error):
                self.forget([key])
            return None

    def forget(self, keys: Iterable[str]) -> None:
        """Drop entries and overwrite their bytes, where the disk lets us."""
        for key in keys:
            found = self._find(key)
            if found is None:
                continue
            shard, _, place, size = found[:4]
            self._index.execute("DELETE FROM entries WHERE key = ?", (key,))
            path = self._shards / shard
            if path.is_file() and path.stat().st_size >= place + size:
                with path.open("r+b") as file:
                    file.seek(place)
                    file.write(bytes(size))

    def bytes(self) -> int:
        """Size of all entries."""
        return int(self._index.execute("SELECT COALESCE(SUM(size), 0) FROM entries").fetchone()[0])

    def close(self) -> None:
        """Let go of the files."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()
        self._index.close()

    # Opening

    def _prepare(self) -> None:
        with files.locked(self._folder):
            self._index.execute("PRAGMA journal_mode=WAL")
            if self._index.execute("PRAGMA user_version").fetchone()[0] != _LAYOUT:
                self._begin()
            self._renew()
            if self._version != _NOBODY and self._keys.make(self._version):
                self._drop_version(self._version)
            self._tidy()

    def _begin(self) -> None:
        for path in self._shards.iterdir():
            path.unlink()
        (self._folder.parent / "keys" / "activations.key").unlink(missing_ok=True)  # of the first layout
        tables = ("entries", "shards", "owners", "renewals")
        drop = " ".join(f"DROP TABLE IF EXISTS {table};" for table in tables)
        self._index.executescript(f"BEGIN; {drop} {_SCHEMA} PRAGMA user_version = {_LAYOUT}; COMMIT")

    def _tidy(self) -> None:
        """Remove what nobody can read: without a row, beyond its rows, without its file or its key."""
        told = dict(self._index.execute("SELECT name, size FROM shards").fetchall())
        for path in self._shards.iterdir():
            with _alone(path) as free:
                if free and path.name not in told:
                    path.unlink()
                elif free and path.stat().st_size > told[path.name]:
                    os.truncate(path, told[path.name])
        for name in told:
            if not (self._shards / name).is_file():
                self._drop(name)
        for (version,) in self._index.execute("SELECT DISTINCT version FROM shards").fetchall():
            if self._keys.find(version) is None:
                self._drop_version(version)

    # Writing

    def _sealed(self, key: str, tensor: torch.Tensor) -> _Sealed:
        cipher = self._keys.find(self._version)
        if cipher is None:  # thrown away while we were at work
            self._keys.make(self._version)
            cipher = self._keys.find(self._version)
            assert cipher is not None
        nonce = secrets.token_bytes(_NONCE)
        form, dtype = packing.form_of(self.dtype, tensor.dtype), str(tensor.dtype)
        rows, columns = tensor.shape
        label = _label(key, rows, columns, form, dtype)
        content = nonce + cipher.encrypt(nonce, packing.pack(tensor, form), label)
        return _Sealed(key, content, rows, columns, form, dtype)

    def _keep(self, group: Sequence[_Sealed]) -> int:
        """Write a group, making room for it if need be; 0 if there is none."""
        size = sum(len(one.content) for one in group)
        try:
            while not self.full:
                self.full = self._crowded(size)
                if self.full:
                    # What is not used goes, oldest first, until there is room or nothing is left to go.
                    if self._drop_oldest():
                        self.full = ""
                    continue
                try:
                    self._append(group, size)
                    return size
                except DiskFull:
                    if not self._drop_oldest():
                        raise
        except DiskFull:
            self.full = "the disk is full"
        return 0

    def _crowded(self, size: int) -> str:
        """Why `size` more bytes have no room; empty if they have."""
        held = int(self._index.execute("SELECT COALESCE(SUM(size), 0) FROM shards").fetchone()[0])
        if held + size > self._quota:
            return f"there is no more room within its quota of {self._quota / 1e9:g} GB"
        if shutil.disk_usage(self._folder).free < size + self._reserve:
            return f"{self._reserve / 1e6:,.0f} MB of the disk are left free for the rest of the run"
        return ""

    def _append(self, group: Sequence[_Sealed], size: int) -> None:
        shard = self._own_shard()
        descriptor = self._open[shard]
        with files.explained(self._shards / shard):
            start = os.fstat(descriptor).st_size
            try:
                for one in group:
                    _write_all(descriptor, one.content)
                os.fsync(descriptor)
                self._tell(shard, start, group)
            except BaseException:
                with suppress(OSError):  # what has no row must not take up room
                    os.truncate(descriptor, start)
                raise
        self._written = start + size

    def _tell(self, shard: str, start: int, group: Sequence[_Sealed]) -> None:
        """Put what was written into the index."""
        rows, place = [], start
        for one in group:
            row = (one.key, shard, place, len(one.content), one.rows, one.columns, one.form, one.dtype)
            rows.append(row)
            place += len(one.content)
        with self._index:
            self._index.execute("BEGIN IMMEDIATE")
            self._index.execute(
                f"INSERT OR REPLACE INTO shards VALUES (?, ?, ?, {_USED})", (shard, self._version, place)
            )
            self._index.executemany("INSERT OR REPLACE INTO entries VALUES (?,?,?,?,?,?,?,?)", rows)

    def _own_shard(self) -> str:
        """The shard that this process appends to."""
        ended = self._written >= max(_SHARD, self._quota // 64)
        if self._own in self._open and not ended and (self._shards / self._own).is_file():
            return self._own
        name = f"{secrets.token_hex(8)}.bin"
        path = self._shards / name
        # Whoever tidies holds this lock, and takes a shard for a leftover that has neither row nor lock.
        with files.locked(self._folder), files.explained(path):
            self._hold(name, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        self._own, self._written = name, 0
        return name

    # Room

    def _drop_oldest(self) -> bool:
        """Give up the shard that was not used for longest, among those that nobody uses now."""
        for (name,) in self._index.execute("SELECT name FROM shards ORDER BY used").fetchall():
            path = self._shards / name
            if name in self._open or not path.is_file():
                continue
            with _alone(path) as free, files.explained(path):
                if free:
                    os.truncate(path, 0)
                    path.unlink()
                    self._drop(name)
                    return True
        return False

    def _drop_version(self, version: str) -> None:
        for (name,) in self._index.execute(
            "SELECT name FROM shards WHERE version = ?", (version,)
        ).fetchall():
            (self._shards / name).unlink(missing_ok=True)
            self._drop(name)

    def _drop(self, shard: str) -> None:
        with self._index:
            self._index.execute("BEGIN IMMEDIATE")
            self._index.execute("DELETE FROM entries WHERE shard = ?", (shard,))
            self._index.execute("DELETE FROM shards WHERE name = ?", (shard,))

    # Erasing

    def erase(self, questions: Iterable[str]) -> int:
        """Erase all activations of questions, by their names, for good; returns how many entries.

        Whoever is killed on the way, or finds the disk full, has it done by the next who opens the cache.

        Raises:
            StorageError: the disk is full or read-only.
        """
        with files.locked(self._folder), files.explained(self._folder):
            with self._index:
                self._index.execute("BEGIN IMMEDIATE")
                gone = sum(self._unlist(one) for one in questions)
                # Also what another run wrote twice, or what was forgotten, lies in a shard without a row.
                self._index.execute(
                    "INSERT OR IGNORE INTO renewals SELECT DISTINCT version FROM shards WHERE size > "
                    "(SELECT COALESCE(SUM(size), 0) FROM entries WHERE shard = shards.name)"
                )
            self._renew()
            # What was deleted must not stay in the log of the index either.
            self._index.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return gone

    def _unlist(self, question: str) -> int:
        """Take a question's entries out of the index, whatever else they are of; returns how many."""
        mine = "key IN (SELECT key FROM owners WHERE question = ?)"
        gone = self._index.execute(f"DELETE FROM entries WHERE {mine}", (question,)).rowcount
        self._index.execute(f"DELETE FROM owners WHERE {mine}", (question,))
        return gone

    def _renew(self) -> None:
        """Write versions anew under another key, as far as that is still to do."""
        for (version,) in self._index.execute("SELECT version FROM renewals").fetchall():
            renewed = f"{version.split('.')[0]}.{secrets.token_hex(4)}"
            self._keys.make(renewed)
            shards = "SELECT name, used FROM shards WHERE version = ?"
            for shard, used in self._index.execute(shards, (version,)).fetchall():
                self._renew_shard(shard, used, version, renewed)
            self._keys.throw_away(version)
            self._index.execute("DELETE FROM renewals WHERE version = ?", (version,))

    def _renew_shard(self, shard: str, used: int, version: str, renewed: str) -> None:
        old, new = self._keys.find(version), self._keys.find(renewed)
        rows = self._index.execute(
            "SELECT key, offset, size, rows, columns, form, dtype FROM entries "
            "WHERE shard = ? ORDER BY offset",
            (shard,),
        ).fetchall()
        name, path, moved = f"{secrets.token_hex(8)}.bin", self._shards / shard, []
        if old is not None and new is not None and rows and path.is_file():
            with files.new_file(self._shards / name) as scratch, path.open("rb") as source:
                moved = _resealed(rows, source, old, scratch, new)
        with self._index:
            self._index.execute("BEGIN IMMEDIATE")
            if moved:
                size = sum(size for _, _, size in moved)
                self._index.execute("INSERT INTO shards VALUES (?, ?, ?, ?)", (name, renewed, size, used))
            self._index.executemany(
                "UPDATE entries SET shard = ?, offset = ? WHERE key = ?",
                [(name, place, key) for key, place, _ in moved],
            )
            self._index.execute("DELETE FROM entries WHERE shard = ?", (shard,))
            self._index.execute("DELETE FROM shards WHERE name = ?", (shard,))
        _overwrite(path)

    # Reading

    def _find(self, key: str) -> tuple[Any, ...] | None:
        """Shard, its data version, offset, size, rows, columns, form, dtype."""
        row: tuple[Any, ...] | None = self._index.execute(
            "SELECT e.shard, s.version, e.offset, e.size, e.rows, e.columns, e.form, e.dtype "
            "FROM entries e JOIN shards s ON s.name = e.shard WHERE e.key = ?",
            (key,),
        ).fetchone()
        return row

    def _descriptor(self, shard: str) -> int:
        if shard not in self._open:
            if len(self._open) >= _OPEN:
                oldest = next(name for name in self._open if name != self._own)
                os.close(self._open.pop(oldest))
            self._hold(shard, os.O_RDONLY)
            with suppress(sqlite3.Error):  # on a full disk it just counts as older than it is
                self._index.execute(f"UPDATE shards SET used = {_USED} WHERE name = ?", (shard,))
        return self._open[shard]

    def _hold(self, shard: str, flags: int) -> None:
        """Open a shard, and lock it so that no other process gives it up."""
        descriptor = os.open(self._shards / shard, flags, 0o600)
        with suppress(
            OSError
        ):  # held alone by one that gives it up this very moment, or a disk without locks
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        self._open[shard] = descriptor


def erase(home: Path, version: str) -> bool:
    """Erase what was computed for a data version: its key, its rows, its shards; tells whether it had a key.

    Entries that it shares with an older version lie under that version's key, and go with that one.

    Raises:
        StorageError: the folder cannot be written.
    """
    keys = Keys(home)
    # A question that was erased left its version under another name.
    own = [one for one in keys.versions() if one.split(".")[0] == version]
    had = any([keys.throw_away(one) for one in own])
    if (home / "cache" / "index.sqlite").is_file():
        cache = ActivationCache(home, version)  # gives up what nobody has a key for
        cache.close()
        keys.throw_away(version)
    return had


def erase_all(home: Path) -> None:
    """Erase what was computed for all data versions.

    Raises:
        StorageError: the folder cannot be written.
    """
    for version in {one.split(".")[0] for one in Keys(home).versions()}:
        erase(home, version)


def erase_questions(home: Path, questions: Iterable[str]) -> int:
    """Erase what was computed for questions, by their names, in all versions; returns how many entries.

    Raises:
        StorageError: the disk is full or read-only.
    """
    if not (home / "cache" / "index.sqlite").is_file():
        return 0
    cache = ActivationCache(home, _NOBODY)
    try:
        return cache.erase(questions)
    finally:
        cache.close()


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Hold a shard against all others; says False where another process uses it, or it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


def _resealed(
    rows: Sequence[tuple[str, int, int, int, int, str, str]],
    source: IO[bytes],
    old: AESGCM,
    path: Path,
    new: AESGCM,
) -> list[tuple[str, int, int]]:
    """Write entries into another shard under another key; returns key, place and size of each.

    What cannot be read is left out: it will be computed again.
    """
    moved, place = [], 0
    with path.open("wb") as file:
        for key, offset, size, lines, columns, form, dtype in rows:
            source.seek(offset)
            sealed, label = source.read(size), _label(key, lines, columns, form, dtype)
            try:
                plain = old.decrypt(sealed[:_NONCE], sealed[_NONCE:], label)
            except (InvalidTag, ValueError):
                continue
            nonce = secrets.token_bytes(_NONCE)
            file.write(nonce + new.encrypt(nonce, plain, label))
            moved.append((key, place, size))
            place += size
    return moved


def _overwrite(path: Path) -> None:
    """Write zeros over a shard and remove it."""
    with suppress(FileNotFoundError):
        with suppress(PermissionError), path.open("r+b") as file:
            left = path.stat().st_size
            while left > 0:
                left -= file.write(bytes(min(left, 1 << 20)))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()


def _write_all(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


def _label(key: str, rows: int, columns: int, form: str, dtype: str) -> bytes:
    """What GCM authenticates beside the bytes: a damaged index cannot make them look like something else."""
    return f"{key} {rows} {columns} {form} {dtype}".encode()
