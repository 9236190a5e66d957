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


def alter(home, *statements):
    """Run SQL statements, each with its values, on the cache's index."""
    index = sqlite3.connect(home / "cache" / "index.sqlite")
    for statement, *values in statements:
        index.execute(statement, values)
    index.commit()


def swap(home):
    """File the first entry's bytes under the second's key."""
    (key, _, first, _), (other_key, _, second, _) = rows(home)
    move = "UPDATE entries SET offset = ? WHERE key = ?"
    alter(home, (move, second, key), (move, first, other_key))


def remove(home):
    (shard,) = shards(home)
    shard.unlink()


def halve(home):
    alter(home, ("UPDATE entries SET size = size - 5",))


def reshape(home):
    alter(home, ("UPDATE entries SET rows = rows + 1",))


def turn(home):
    """As many numbers, otherwise arranged."""
    alter(home, ("UPDATE entries SET rows = columns, columns = rows",))


def retype(home):
    """As many bytes, otherwise read."""
    alter(home, ("UPDATE entries SET dtype = 'torch.bfloat16', columns = 2 * columns",))


def repack(home):
    alter(home, ("UPDATE entries SET storage_format = 'bfloat16', columns = 2 * columns",))


def mistype(home):
    alter(home, ("UPDATE entries SET dtype = 'torch.float64'",))


DAMAGE = [flip, truncate, swap, halve, reshape, turn, retype, repack, mistype]


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


SIZE = 4 * 8 * 4 + 12 + 16
"""Bytes of an entry: four tokens of eight numbers, the nonce, GCM's tag."""


def old_run(home, *keys, **settings):
    """A run that wrote entries and ended."""
    cache = ActivationCache(home, **settings)
    cache.write([(key, tensor()) for key in keys])
    cache.close()


def kept(home, *keys):
    cache = ActivationCache(home)
    lost = cache.missing(keys)
    cache.close()
    return [key for key in keys if key not in lost]


def on_disk(home):
    return sum(path.stat().st_size for path in shards(home))
