"""Entries, shards and damage for the tests of the activation cache."""

import errno
import os
import sqlite3

import torch

from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.cache.filling import Origin
from azubi.engine.model.trunk import InstructionState

ORIGIN = Origin(
    weights="sha of the weights",
    cut=3,
    tokenizer="tokenizer",
    template="template",
    instruction=(1, 2),
    dtype="torch.float32",
    software="torch 2.13",
    view="states",
)
TOKENS = (5, 6, 7)
NOTHING = InstructionState((), None, {})


def tensor(rows=4, dtype=torch.float32, seed=0):
    return torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed)).to(dtype)


def shards(home):
    return sorted((home / "cache" / "shards").iterdir())


def rows(home):
    return (
        sqlite3.connect(home / "cache" / "index.sqlite")
        .execute("SELECT key, shard, offset, size FROM entries ORDER BY offset")
        .fetchall()
    )


def flip(home, place=20):
    (shard,) = shards(home)
    content = bytearray(shard.read_bytes())
    content[place] ^= 1
    shard.write_bytes(content)


def truncate(home):
    (shard,) = shards(home)
    os.truncate(shard, rows(home)[0][3] - 1)


def swap(home):
    """File the first entry's bytes under the second's key."""
    index = sqlite3.connect(home / "cache" / "index.sqlite")
    (one, _, first, _), (two, _, second, _) = rows(home)
    index.execute("UPDATE entries SET offset = ? WHERE key = ?", (second, one))
    index.execute("UPDATE entries SET offset = ? WHERE key = ?", (first, two))
    index.commit()


def remove(home):
    (shard,) = shards(home)
    shard.unlink()


def halve(home):
    index = sqlite3.connect(home / "cache" / "index.sqlite")
    index.execute("UPDATE entries SET size = size - 5")
    index.commit()


def reshape(home):
    index = sqlite3.connect(home / "cache" / "index.sqlite")
    index.execute("UPDATE entries SET rows = rows + 1")
    index.commit()


def turn(home):
    """As many numbers, otherwise arranged."""
    index = sqlite3.connect(home / "cache" / "index.sqlite")
    index.execute("UPDATE entries SET rows = columns, columns = rows")
    index.commit()


def retype(home):
    """As many bytes, otherwise read."""
    index = sqlite3.connect(home / "cache" / "index.sqlite")
    index.execute("UPDATE entries SET dtype = 'torch.bfloat16', columns = 2 * columns")
    index.commit()


def repack(home):
    index = sqlite3.connect(home / "cache" / "index.sqlite")
    index.execute("UPDATE entries SET storage_format = 'bfloat16', columns = 2 * columns")
    index.commit()


def mistype(home):
    index = sqlite3.connect(home / "cache" / "index.sqlite")
    index.execute("UPDATE entries SET dtype = 'torch.float64'")
    index.commit()


DAMAGE = [flip, truncate, swap, halve, reshape, turn, retype, repack, mistype]


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


SIZE = 4 * 8 * 4 + 12 + 16
"""Bytes of an entry: four tokens of eight numbers, the nonce, GCM's tag."""


def old_run(home, *keys, **settings):
    """A run that wrote entries and ended."""
    cache = ActivationCache(home, **settings)
    cache.write([(key, tensor()) for key in keys])
    cache.close()


def held(home, *keys):
    cache = ActivationCache(home)
    lost = cache.missing(keys)
    cache.close()
    return [key for key in keys if key not in lost]


def on_disk(home):
    return sum(path.stat().st_size for path in shards(home))
