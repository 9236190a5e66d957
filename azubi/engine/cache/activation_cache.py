"""The activation cache: the trunk's activations of each example, encrypted on disk.

One entry per example, so that adding examples computes only those and one person's record can
be erased here too. Entries lie in append-only shards, an SQLite index says where:

    <home>/cache/index.sqlite          where each entry lies and whose it is: see `index`
    <home>/cache/shards/<random>.bin   nonce | AES-256-GCM(packed activations)

Hidden states can be turned back into the text they came from (SipIt, arXiv 2510.15511), so an entry is as
confidential as the data. It is encrypted under the key of the data version that it was first computed for.
GCM authenticates what it decrypts: an entry that was cut short, changed, or filed under another key or shape
counts as missing and is computed again. A shard is on disk before its index rows are, so a crash leaves
nothing half-written.

The cache can be lost at any time, so it never stops a run: beyond its quota, or when the disk is full, the
least recently used shards are deleted, and if that does not help, nothing more is kept. Shards that a living
process uses are locked (flock) and stay. Entries are read with `pread`, not through a mapping: a shard that
is cut short under a mapping kills the process (docs/benchmarks-cache.md).

To erase a question, its version's entries are written again under a new key without it, and the old key
and shards are deleted: neither what is left on the disk nor any copy of a shard can be read any more.

Knows tensors and keys; nothing of models, tokens or training.
"""

import fcntl
import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Literal

import torch
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from azubi.engine.cache import index
from azubi.engine.cache.index import Entry, Index, StorageFormat
from azubi.errors import DiskFull
from azubi.storage import files
from azubi.storage.encrypted_file import Keys

QUOTA = 20 * 10**9
"""Bytes of shards that are kept by default."""
_NONCE = 12
SEAL = _NONCE + 16
"""Bytes that encryption adds to an entry: the nonce, and GCM's tag."""
_GROUP = 64 << 20
"""Bytes that are encrypted in memory before they are written, synced and indexed together."""
_SHARD = 256 << 20
"""A shard of this size is not continued: space is freed by the shard."""
_MAX_OPEN = 200
"""Shards that one process holds open; the system allows it about a thousand files."""
_NOBODY = "nobody"
"""The version of a cache that only erases; it has no key."""
_DTYPES = {str(dtype): dtype for dtype in (torch.float32, torch.bfloat16, torch.float16)}
_Sealed = tuple[Entry, bytes]
"""An entry that has no place yet, and its encrypted bytes."""


class ActivationCache:
    """Reads and writes entries; safe for several processes at once (each writes shards of its own)."""

    def __init__(
        self,
        home: Path,
        version: str = "any",
        *,
        dtype: Literal["auto"] | StorageFormat = "auto",
        quota: int = QUOTA,
        reserve: int = 0,
    ) -> None:
        """Open or create the cache below `home`.

        What is written is encrypted under the key of the data `version` and packed as `dtype`. The
        shards together stay below `quota` bytes, and `reserve` bytes of the disk stay free.
        """
        self.dtype: Literal["auto"] | StorageFormat = dtype
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
            self._index = Index(self._folder / "index.sqlite")
            try:
                self._prepare()
            except BaseException:
                self._index.close()
                raise

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those of `keys` that have no entry, in their order, each once. Locks the shards of the others."""
        missing = []
        for key in dict.fromkeys(keys):
            entry_and_version = self._index.find(key)
            if entry_and_version is None:
                missing.append(key)
            else:
                with suppress(OSError):
                    self._descriptor(entry_and_version[0].shard)
        return missing

    def note(self, owners: Iterable[tuple[str, str]]) -> None:
        """Note whose activations entries are, as pairs of key and question, before they are written.

        On a full disk nothing is noted, and then nothing is kept either.
        """
        try:
            with files.explained(self._folder):
                self._index.note(owners)
        except DiskFull:
            self.full = "the disk is full"

    def write(self, entries: Iterable[tuple[str, torch.Tensor]]) -> int:
        """Add entries (key, tensor of shape [tokens, hidden]); returns the bytes written.

        Entries for which there is no room are not kept, and `full` says why.
        """
        written, group, size = 0, list[_Sealed](), 0
        for key, tensor in entries:
            if self.full:
                return written
            group.append(self._sealed(key, tensor))
            size += group[-1][0].size
            if size >= _GROUP:
                written += self._keep(group)
                group, size = [], 0
        return written + (self._keep(group) if group else 0)

    def read(self, key: str) -> torch.Tensor | None:
        """The tensor under `key`, or None if there is none or it is damaged (it is then forgotten)."""
        entry_and_version = self._index.find(key)
        if entry_and_version is None:
            return None
        entry, version = entry_and_version
        try:
            cipher = self._keys.find(version)
            if cipher is None:
                raise InvalidTag
            sealed = os.pread(self._descriptor(entry.shard), entry.size, entry.offset)
            plain = _unseal(entry, sealed, cipher)
            return index.unpack(plain, entry.rows, entry.columns, entry.storage_format, _DTYPES[entry.dtype])
        except (InvalidTag, OSError, ValueError, RuntimeError):
            with suppress(OSError, sqlite3.Error):
                self.forget([key])
            return None

    def forget(self, keys: Iterable[str]) -> None:
        """Remove entries and overwrite their bytes, where the disk allows it."""
        for key in keys:
            entry_and_version = self._index.find(key)
            if entry_and_version is None:
                continue
            entry, _ = entry_and_version
            self._index.forget(key)
            path = self._shards / entry.shard
            if path.is_file() and path.stat().st_size >= entry.offset + entry.size:
                with path.open("r+b") as file:
                    file.seek(entry.offset)
                    file.write(bytes(entry.size))

    def bytes(self) -> int:
        """Size of all entries."""
        return self._index.bytes()

    def close(self) -> None:
        """Close the files."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()
        self._index.close()

    # Opening

    def _prepare(self) -> None:
        with files.locked(self._folder):
            if not self._index.is_current():
                for path in self._shards.iterdir():
                    path.unlink()
                self._index.create()
            self._renew()
            if self._version != _NOBODY and self._keys.make(self._version):
                self._drop_version(self._version)
            self._tidy()

    def _tidy(self) -> None:
        """Delete what nobody can read: without a row, beyond its rows, without its file or its key."""
        sizes = self._index.shards()
        for path in self._shards.iterdir():
            with _lock_exclusively(path) as unused:
                if unused and path.name not in sizes:
                    path.unlink()
                elif unused and path.stat().st_size > sizes[path.name]:
                    os.truncate(path, sizes[path.name])
        for name in sizes:
            if not (self._shards / name).is_file():
                self._index.drop(name)
        for version in self._index.versions():
            if self._keys.find(version) is None:
                self._drop_version(version)

    # Writing

    def _sealed(self, key: str, tensor: torch.Tensor) -> _Sealed:
        cipher = self._keys.find(self._version)
        if cipher is None:  # deleted meanwhile by an erasure
            self._keys.make(self._version)
            cipher = self._keys.find(self._version)
            assert cipher is not None
        stored_as = index.storage_format(self.dtype, tensor.dtype)
        plain = index.pack(tensor, stored_as)
        rows, columns = tensor.shape
        entry = Entry(key, "", 0, SEAL + len(plain), rows, columns, stored_as, str(tensor.dtype))
        return entry, _seal(entry, plain, cipher)

    def _keep(self, group: Sequence[_Sealed]) -> int:
        """Write a group, freeing space for it if need be; returns 0 if there is none."""
        size = sum(entry.size for entry, _ in group)
        try:
            while not self.full:
                self.full = self._no_room(size)
                if self.full:
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

    def _no_room(self, size: int) -> str:
        """Why there is no room for `size` more bytes; empty if there is."""
        if sum(self._index.shards().values()) + size > self._quota:
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
                for _, content in group:
                    _write_all(descriptor, content)
                os.fsync(descriptor)
                entries, offset = list[Entry](), start
                for entry, _ in group:
                    entries.append(entry._replace(shard=shard, offset=offset))
                    offset += entry.size
                self._index.add(shard, self._version, offset, entries)
            except BaseException:
                with suppress(OSError):  # what has no row must not take up room
                    os.truncate(descriptor, start)
                raise
        self._written = start + size

    def _own_shard(self) -> str:
        """The shard that this process appends to."""
        ended = self._written >= max(_SHARD, self._quota // 64)
        if self._own in self._open and not ended and (self._shards / self._own).is_file():
            return self._own
        name = f"{secrets.token_hex(8)}.bin"
        path = self._shards / name
        # `_tidy` holds this lock, and deletes a shard that has neither row nor lock.
        with files.locked(self._folder), files.explained(path):
            self._hold(name, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        self._own, self._written = name, 0
        return name

    # Room

    def _drop_oldest(self) -> bool:
        """Delete the least recently used of the shards that nobody uses now; False if there is none."""
        for name in self._index.shards():
            path = self._shards / name
            if name in self._open or not path.is_file():
                continue
            with _lock_exclusively(path) as unused, files.explained(path):
                if unused:
                    os.truncate(path, 0)
                    path.unlink()
                    self._index.drop(name)
                    return True
        return False

    def _drop_version(self, version: str) -> None:
        for name in self._index.shards_of(version):
            (self._shards / name).unlink(missing_ok=True)
            self._index.drop(name)

    # Erasing

    def erase(self, questions: Iterable[str]) -> int:
        """Erase all activations of questions, by their names, for good; returns how many entries.

        If the process is killed or the disk is full, whoever opens the cache next completes it.
        """
        with files.locked(self._folder), files.explained(self._folder):
            erased = self._index.erase(questions)
            self._renew()
            self._index.flush()
        return erased

    def _renew(self) -> None:
        """Write versions again under another key, as far as that is still to do."""
        for version in self._index.to_renew():
            renewed = f"{version.split('.')[0]}.{secrets.token_hex(4)}"
            self._keys.make(renewed)
            for shard, used in self._index.shards_of(version).items():
                self._renew_shard(shard, used, version, renewed)
            self._keys.throw_away(version)
            self._index.renewed(version)

    def _renew_shard(self, shard: str, used: int, version: str, renewed: str) -> None:
        old, new = self._keys.find(version), self._keys.find(renewed)
        entries = self._index.of_shard(shard)
        name, path, moved = f"{secrets.token_hex(8)}.bin", self._shards / shard, list[Entry]()
        if old is not None and new is not None and entries and path.is_file():
            with files.new_file(self._shards / name) as scratch, path.open("rb") as source:
                resealed = _resealed(entries, source, old, scratch, new)
                moved = [entry._replace(shard=name) for entry in resealed]
        self._index.replace(shard, name, renewed, used, moved)
        _overwrite(path)

    # Reading

    def _descriptor(self, shard: str) -> int:
        if shard not in self._open:
            if len(self._open) >= _MAX_OPEN:
                oldest = next(name for name in self._open if name != self._own)
                os.close(self._open.pop(oldest))
            self._hold(shard, os.O_RDONLY)
            with suppress(sqlite3.Error):  # on a full disk it just counts as older than it is
                self._index.use(shard)
        return self._open[shard]

    def _hold(self, shard: str, flags: int) -> None:
        """Open a shard, and lock it so that no other process deletes it."""
        descriptor = os.open(self._shards / shard, flags, 0o600)
        with suppress(OSError):  # another process deletes it this very moment, or the disk has no locks
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        self._open[shard] = descriptor


def erase(home: Path, version: str) -> bool:
    """Erase what was computed for a data version (key, rows, shards); returns whether it had a key.

    Entries that it shares with an older version lie under that version's key, and are erased with that one.
    """
    keys = Keys(home)
    # Erasing a question gave its version another name: see `_renew`.
    names = [name for name in keys.versions() if name.split(".")[0] == version]
    had = any([keys.throw_away(name) for name in names])
    if (home / "cache" / "index.sqlite").is_file():
        ActivationCache(home, version).close()  # deletes shards that nobody has a key for
        keys.throw_away(version)
    return had


def erase_all(home: Path) -> None:
    """Erase what was computed for all data versions."""
    for version in {name.split(".")[0] for name in Keys(home).versions()}:
        erase(home, version)


def erase_questions(home: Path, questions: Iterable[str]) -> int:
    """Erase what was computed for questions, by their names, in all versions; returns how many entries."""
    if not (home / "cache" / "index.sqlite").is_file():
        return 0
    cache = ActivationCache(home, _NOBODY)
    try:
        return cache.erase(questions)
    finally:
        cache.close()


@contextmanager
def _lock_exclusively(path: Path) -> Iterator[bool]:
    """Lock a shard against all other processes; yields False where one uses it, or it is gone."""
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
    entries: Iterable[Entry], source: IO[bytes], old: AESGCM, path: Path, new: AESGCM
) -> Iterator[Entry]:
    """Write entries into another file under another key; yields them with their places there.

    What cannot be read is left out: it will be computed again.
    """
    offset = 0
    with path.open("wb") as file:
        for entry in entries:
            source.seek(entry.offset)
            try:
                plain = _unseal(entry, source.read(entry.size), old)
            except (InvalidTag, ValueError):
                continue
            file.write(_seal(entry, plain, new))
            yield entry._replace(offset=offset)
            offset += entry.size


def _overwrite(path: Path) -> None:
    """Write zeros over a shard and delete it."""
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


def _seal(entry: Entry, plain: bytes, cipher: AESGCM) -> bytes:
    nonce = secrets.token_bytes(_NONCE)
    return nonce + cipher.encrypt(nonce, plain, _label(entry))


def _unseal(entry: Entry, sealed: bytes, cipher: AESGCM) -> bytes:
    return cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], _label(entry))


def _label(entry: Entry) -> bytes:
    """What GCM authenticates beside the bytes: a damaged index cannot make them look like something else."""
    fields = (entry.key, entry.rows, entry.columns, entry.storage_format, entry.dtype)
    return " ".join(map(str, fields)).encode()
