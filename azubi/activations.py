"""The activation cache: what the trunk said about each example, kept on disk.

One entry per example, so that adding examples computes only those and one person's record can
be erased here too. Entries lie in append-only shards, an SQLite index says where:

    <home>/cache/index.sqlite          key -> shard, offset, size, shape, dtype
    <home>/cache/shards/<random>.bin   nonce | AES-256-GCM(activations)
    <home>/keys/activations.key        the key, readable by its owner only

Hidden states can be turned back into the text they came from (SipIt, arXiv 2510.15511), so an
entry is as confidential as the data and is encrypted. GCM authenticates what it decrypts: an
entry that was cut short, flipped, or filed under another key or shape is not read but missed, and
is then computed again. A shard is on disk before its index rows are, so a crash leaves nothing half-written.

Knows tensors and keys; nothing of models, tokens or training.
"""

import os
import secrets
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import torch
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from azubi import files

_NONCE = 12
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    key TEXT PRIMARY KEY, shard TEXT NOT NULL, offset INTEGER NOT NULL, size INTEGER NOT NULL,
    rows INTEGER NOT NULL, columns INTEGER NOT NULL, dtype TEXT NOT NULL, used REAL NOT NULL
) WITHOUT ROWID
"""
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
    torch_version: str
    view: str = "states"
    """What is kept of the hidden states: all `states`, or one vector (`mean`, `cls`, `last`)."""

    def key(self, tokens: Sequence[int]) -> str:
        """The name of the entry for one sequence of token ids."""
        digest = blake2b(digest_size=20)
        for part in (
            self.weights,
            str(self.cut),
            self.tokenizer,
            self.template,
            ",".join(map(str, self.prime)),
            self.dtype,
            self.torch_version,
            self.view,
            ",".join(map(str, tokens)),
        ):
            digest.update(part.encode() + b"\0")
        return digest.hexdigest()


class ActivationCache:
    """Read and write entries; safe for several processes at once (each writes shards of its own)."""

    def __init__(self, home: Path) -> None:
        """Open the cache below `home`, or begin one.

        Raises:
            StorageError: the folder cannot be written.
        """
        self._folder = home / "cache"
        self._shards = self._folder / "shards"
        with files.explained(self._folder):
            self._shards.mkdir(parents=True, exist_ok=True)
            self._cipher = AESGCM(_secret(home / "keys" / "activations.key"))
            self._index = sqlite3.connect(self._folder / "index.sqlite", timeout=60, isolation_level=None)
            self._index.execute("PRAGMA journal_mode=WAL")
            self._index.execute(_SCHEMA)
        self._open: dict[str, int] = {}
        self._own = f"{secrets.token_hex(8)}.bin"

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those of `keys` that have no entry, in their order, each once."""
        wanted = list(dict.fromkeys(keys))
        return [key for key in wanted if self._find(key) is None]

    def write(self, entries: Iterable[tuple[str, torch.Tensor]]) -> int:
        """Add entries (key, tensor of shape [tokens, hidden]), all or none; returns the bytes written.

        Raises:
            StorageError: the disk is full or read-only.
        """
        path = self._shards / self._own
        rows: list[tuple[str, str, int, int, int, int, str, float]] = []
        with files.explained(path), path.open("ab") as shard:
            for key, tensor in entries:
                nonce = secrets.token_bytes(_NONCE)
                tokens, hidden = tensor.shape
                kind = str(tensor.dtype)
                label = _label(key, tokens, hidden, kind)
                sealed = nonce + self._cipher.encrypt(nonce, _to_bytes(tensor), label)
                place = shard.tell()
                shard.write(sealed)
                rows.append((key, self._own, place, len(sealed), tokens, hidden, kind, time.time()))
            shard.flush()
            os.fsync(shard.fileno())
            with self._index:
                self._index.execute("BEGIN")
                self._index.executemany("INSERT OR REPLACE INTO entries VALUES (?,?,?,?,?,?,?,?)", rows)
                self._index.execute("COMMIT")
        return sum(row[3] for row in rows)

    def read(self, key: str) -> torch.Tensor | None:
        """The tensor under `key`, or None if there is none or it is damaged (it is then forgotten)."""
        found = self._find(key)
        if found is None:
            return None
        shard, place, size, rows, columns, dtype = found
        try:
            sealed = os.pread(self._descriptor(shard), size, place)
            label = _label(key, rows, columns, dtype)
            plain = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], label)
            return _from_bytes(plain, _DTYPES[dtype]).reshape(rows, columns)
        except (InvalidTag, OSError, ValueError, RuntimeError):
            self.forget([key])
            return None

    def forget(self, keys: Iterable[str]) -> None:
        """Drop entries and overwrite their bytes, where the disk lets us."""
        for key in keys:
            found = self._find(key)
            if found is None:
                continue
            shard, place, size = found[0], found[1], found[2]
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

    def _find(self, key: str) -> tuple[str, int, int, int, int, str] | None:
        row: tuple[str, int, int, int, int, str] | None = self._index.execute(
            "SELECT shard, offset, size, rows, columns, dtype FROM entries WHERE key = ?", (key,)
        ).fetchone()
        return row

    def _descriptor(self, shard: str) -> int:
        if shard not in self._open:
            self._open[shard] = os.open(self._shards / shard, os.O_RDONLY)
        return self._open[shard]


def _secret(path: Path) -> bytes:
    """The cache's key; made at the first use. Throwing the file away erases the cache for good."""
    if not path.is_file():
        # Its folder is locked so that two first runs at once agree on one key.
        with files.locked(path.parent):
            if not path.is_file():
                files.write_bytes(path, AESGCM.generate_key(256))
                path.chmod(0o600)
    return path.read_bytes()


def _label(key: str, rows: int, columns: int, dtype: str) -> bytes:
    """What GCM authenticates beside the bytes: a damaged index cannot make them look like something else."""
    return f"{key} {rows} {columns} {dtype}".encode()


def _to_bytes(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(torch.uint8).numpy().tobytes()


def _from_bytes(content: bytes, dtype: torch.dtype) -> torch.Tensor:
    return torch.frombuffer(bytearray(content), dtype=dtype)
