"""The activation cache: a stale or damaged entry is never used, nothing is readable, nothing is lost."""

import dataclasses
import errno
import os
import sqlite3
import stat
import subprocess
import sys

import pytest
import torch

from azubi.activations import ActivationCache, Origin
from azubi.errors import StorageError
from azubi.halves import _Remembering
from azubi.trunk.filling import bucketed, fill
from azubi.trunk.model import Primed

ORIGIN = Origin(
    weights="sha of the weights",
    cut=3,
    tokenizer="tokenizer",
    template="template",
    prime=(1, 2),
    dtype="torch.float32",
    torch_version="2.13",
    view="states",
)
TOKENS = (5, 6, 7)
NOTHING = Primed((), None, {})


def tensor(rows=4, dtype=torch.float32, seed=0):
    return torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.fixture
def cache(home):
    opened = ActivationCache(home)
    yield opened
    opened.close()


def shards(home):
    return sorted((home / "cache" / "shards").iterdir())


def rows(home):
    return (
        sqlite3.connect(home / "cache" / "index.sqlite")
        .execute("SELECT key, shard, offset, size FROM entries ORDER BY offset")
        .fetchall()
    )


# The key.


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Origin)])
def test_any_ingredient_that_differs_misses(cache, name):
    cache.write([(ORIGIN.key(TOKENS), tensor())])
    value = getattr(ORIGIN, name)
    other = {int: lambda: value + 1, str: lambda: value + "x", tuple: lambda: (*value, 3)}[type(value)]()
    changed = dataclasses.replace(ORIGIN, **{name: other})
    assert cache.read(ORIGIN.key(TOKENS)) is not None
    assert cache.read(changed.key(TOKENS)) is None
    assert cache.missing([changed.key(TOKENS)])


@pytest.mark.parametrize("tokens", [(), (5, 6), (5, 6, 7, 8), (56, 7), (5, 67), (7, 6, 5)])
def test_other_tokens_miss(cache, tokens):
    cache.write([(ORIGIN.key(TOKENS), tensor())])
    assert cache.read(ORIGIN.key(tokens)) is None


def test_what_ends_one_ingredient_is_not_what_begins_the_next():
    moved = dataclasses.replace(ORIGIN, tokenizer="tokenizert", template="emplate")
    assert moved.key(TOKENS) != ORIGIN.key(TOKENS)
    prime = dataclasses.replace(ORIGIN, prime=(1,))
    assert prime.key((2, *TOKENS)) != ORIGIN.key(TOKENS)


def test_the_same_ingredients_hit_in_another_process(cache):
    code = f"from azubi.activations import Origin\nprint({ORIGIN!r}.key({TOKENS!r}))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ORIGIN.key(TOKENS)


# What was written is what is read.


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("count", [1, 5])
def test_an_entry_comes_back_bit_for_bit(cache, home, dtype, count):
    one, two = tensor(count, dtype), tensor(count, dtype, seed=1)
    size = cache.write([("one", one), ("two", two)])
    again = ActivationCache(home)
    for opened in (cache, again):
        for key, want in (("one", one), ("two", two)):
            got = opened.read(key)
            assert got.dtype == dtype and torch.equal(got, want)
    assert cache.bytes() == size
    again.close()


def test_part_of_a_larger_tensor_is_kept_alone(cache):
    large = tensor(6)
    cache.write([("rows", large[2:4]), ("columns", large[:, 1:3])])
    assert torch.equal(cache.read("rows"), large[2:4])
    assert torch.equal(cache.read("columns"), large[:, 1:3])


def test_missing_keeps_the_order_and_names_each_once(cache):
    cache.write([("b", tensor())])
    assert cache.missing(["c", "b", "a", "c"]) == ["c", "a"]


def test_a_later_entry_replaces_an_earlier_one(cache):
    cache.write([("a", tensor())])
    cache.write([("a", tensor(seed=1))])
    assert torch.equal(cache.read("a"), tensor(seed=1))


# Nothing is readable without the key.


def test_neither_activations_nor_tokens_lie_open_on_disk(cache, home):
    content = tensor(16)
    cache.write([(ORIGIN.key(TOKENS), content)])
    cache.close()
    plain = content.numpy().tobytes()
    for file in (one for one in home.rglob("*") if one.is_file()):
        stored = file.read_bytes()
        for start in range(0, len(plain), 16):
            assert plain[start : start + 16] not in stored
        assert b"5,6,7" not in stored


def test_the_key_is_the_owners_alone(cache, home):
    assert stat.S_IMODE((home / "keys" / "activations.key").stat().st_mode) == 0o600


def test_equal_activations_are_not_equal_on_disk(cache, home):
    cache.write([("a", tensor()), ("b", tensor())])
    (shard,) = shards(home)
    stored = shard.read_bytes()
    (_, _, first, size), (_, _, second, _) = rows(home)
    assert stored[first : first + size] != stored[second : second + size]


def test_without_its_key_the_cache_is_empty_and_fills_again(cache, home):
    cache.write([("a", tensor())])
    (home / "keys" / "activations.key").unlink()
    again = ActivationCache(home)
    assert again.read("a") is None
    assert again.missing(["a"]) == ["a"]
    again.write([("a", tensor(seed=1))])
    assert torch.equal(again.read("a"), tensor(seed=1))
    again.close()


# Damage.


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


def mistype(home):
    index = sqlite3.connect(home / "cache" / "index.sqlite")
    index.execute("UPDATE entries SET dtype = 'torch.float64'")
    index.commit()


DAMAGE = [flip, truncate, swap, remove, halve, reshape, turn, retype, mistype]


@pytest.mark.parametrize("harm", DAMAGE, ids=lambda one: one.__name__)
def test_a_damaged_entry_is_missed_not_read(cache, home, harm):
    cache.write([("a", tensor()), ("b", tensor(seed=1))])
    harm(home)
    assert cache.read("a") is None
    assert cache.missing(["a"]) == ["a"]


@pytest.mark.parametrize("place", [0, 11, 12, 20, -1])
def test_any_flipped_byte_is_found(cache, home, place):
    cache.write([("a", tensor())])
    flip(home, place)
    assert cache.read("a") is None


def test_damage_to_one_entry_leaves_the_others(cache, home):
    cache.write([("a", tensor()), ("b", tensor(seed=1))])
    flip(home)
    assert cache.read("a") is None
    assert torch.equal(cache.read("b"), tensor(seed=1))


# Forgetting.


def test_a_forgotten_entry_is_gone_from_index_and_disk(cache, home):
    cache.write([("a", tensor()), ("b", tensor(seed=1))])
    (shard,) = shards(home)
    (_, _, place, size) = rows(home)[0]
    before = shard.read_bytes()
    cache.forget(["a", "never there"])
    after = shard.read_bytes()
    assert after[place : place + size] == bytes(size)
    assert after[place + size :] == before[place + size :]
    assert [row[0] for row in rows(home)] == ["b"]
    assert cache.read("a") is None
    assert torch.equal(cache.read("b"), tensor(seed=1))


# Disks and processes.


class Full:
    """A file on a disk that fills up after the first entry."""

    def __init__(self, file):
        self._file = file
        self._writes = 0

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def write(self, content):
        self._writes += 1
        if self._writes > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._file.write(content)


def test_a_full_disk_is_told_and_leaves_no_entry(cache, home, monkeypatch):
    path = type(home)
    opened = path.open
    monkeypatch.setattr(path, "open", lambda self, *a, **k: Full(opened(self, *a, **k)))
    with pytest.raises(StorageError, match="disk is full"):
        cache.write([("a", tensor()), ("b", tensor())])
    monkeypatch.undo()
    assert rows(home) == []
    cache.write([("a", tensor()), ("b", tensor(seed=1))])
    assert torch.equal(cache.read("a"), tensor())
    assert torch.equal(cache.read("b"), tensor(seed=1))


def test_a_full_disk_at_sync_is_told_and_leaves_no_entry(cache, home, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="disk is full"):
        cache.write([("a", tensor())])
    assert rows(home) == []


def test_an_error_in_the_trunk_leaves_no_entry(cache, home):
    def entries():
        yield "a", tensor()
        raise RuntimeError("the trunk failed")

    with pytest.raises(RuntimeError):
        cache.write(entries())
    assert rows(home) == []
    cache.write([("b", tensor(seed=1))])
    assert torch.equal(cache.read("b"), tensor(seed=1))


WRITER = """
import sys, torch
from pathlib import Path
from azubi.activations import ActivationCache
cache = ActivationCache(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(30):
    cache.write([(f"key {number}", torch.full((3, 8), float(number)))])
"""


def test_two_processes_may_write_the_same_keys_at_once(home):
    """Both begin the cache, and thus its key, at the same time too."""
    both = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for one in both:
        assert one.stdout.readline() == "ready\n"
    for one in both:
        one.stdin.write("go\n")
        one.stdin.flush()
    for one in both:
        one.communicate(timeout=120)
        assert one.returncode == 0
    cache = ActivationCache(home)
    for number in range(30):
        assert torch.equal(cache.read(f"key {number}"), torch.full((3, 8), float(number)))
    assert len(shards(home)) == 2
    cache.close()


# Filling.


class CountingTrunk:
    """Says of each token its number, once per cut, and counts what it was asked."""

    def __init__(self):
        self.asked = []

    def states(self, sequences, primed):
        self.asked.extend(sequences)
        return {cut: [said(one, cut) for one in sequences] for cut in (1, 2)}


def said(sequence, cut):
    return torch.tensor(sequence, dtype=torch.float32)[:, None].expand(-1, 8) + cut / 10


def filled(trunk, cache, sequences, origins=None, primed=NOTHING):
    return list(fill(trunk, cache, origins or {1: dataclasses.replace(ORIGIN, cut=1)}, primed, sequences))


SEQUENCES = [(1, 2, 3), (4,), (5, 6), (4,)]


def test_a_second_pass_computes_nothing(cache):
    trunk = CountingTrunk()
    last = filled(trunk, cache, SEQUENCES)[-1]
    assert sorted(trunk.asked) == sorted(set(SEQUENCES))
    assert (last.done, last.total, last.reused, last.tokens) == (3, 3, 0, 6)
    last = filled(trunk, cache, SEQUENCES)[-1]
    assert len(trunk.asked) == 3
    assert (last.done, last.total, last.reused, last.tokens, last.bytes) == (3, 3, 3, 0, 0)


def test_three_more_examples_compute_three(cache):
    trunk = CountingTrunk()
    filled(trunk, cache, SEQUENCES)
    trunk.asked.clear()
    more = [(7, 8), (9,), (10, 11, 12)]
    filled(trunk, cache, SEQUENCES + more)
    assert sorted(trunk.asked) == sorted(more)


def test_several_cuts_are_kept_from_one_pass(cache):
    trunk = CountingTrunk()
    origins = {cut: dataclasses.replace(ORIGIN, cut=cut) for cut in (1, 2)}
    filled(trunk, cache, SEQUENCES, origins)
    assert len(trunk.asked) == 3
    for cut, origin in origins.items():
        for one in SEQUENCES:
            assert torch.equal(cache.read(origin.key(one)), said(one, cut))


def test_an_example_that_lacks_one_of_its_cuts_is_computed(cache):
    trunk = CountingTrunk()
    origins = {cut: dataclasses.replace(ORIGIN, cut=cut) for cut in (1, 2)}
    filled(trunk, cache, SEQUENCES, origins)
    trunk.asked.clear()
    cache.forget([origins[2].key((5, 6))])
    filled(trunk, cache, SEQUENCES, origins)
    assert trunk.asked == [(5, 6)]


@pytest.mark.parametrize("harm", DAMAGE, ids=lambda one: one.__name__)
def test_a_damaged_entry_is_computed_again(cache, home, harm):
    trunk = CountingTrunk()
    origin = dataclasses.replace(ORIGIN, cut=1)
    pair = [(1, 2, 3), (4, 5, 6)]
    filled(trunk, cache, pair)
    harm(home)
    for one in pair:
        cache.read(origin.key(one))
    filled(trunk, cache, pair)
    assert len(trunk.asked) > 2
    for one in pair:
        assert torch.equal(cache.read(origin.key(one)), said(one, 1))


def test_the_prime_is_kept_once(cache):
    primed = Primed((1, 2), None, {1: tensor(2)})
    trunk = CountingTrunk()
    origin = dataclasses.replace(ORIGIN, cut=1)
    assert filled(trunk, cache, [(3,)], primed=primed)[0].bytes > 0
    assert torch.equal(cache.read(origin.key(())), tensor(2))
    assert filled(trunk, cache, [(3,)], primed=primed)[-1].bytes == 0


@pytest.mark.parametrize("kind, want", [("mean", [[2.1] * 8]), ("cls", [[1.1] * 8]), ("last", [[3.1] * 8])])
def test_one_vector_is_kept_where_the_head_reads_no_more(cache, kind, want):
    origin = dataclasses.replace(ORIGIN, cut=1, view=kind)
    filled(CountingTrunk(), cache, [(1, 2, 3)], {1: origin})
    assert torch.allclose(cache.read(origin.key((1, 2, 3))), torch.tensor(want))


def test_batches_hold_each_sequence_once_and_little_padding():
    sequences = [tuple(range(n)) for n in (3, 9, 1, 4, 4, 9, 20, 2)]
    batches = list(bucketed(sequences, 20))
    assert sorted(one for batch in batches for one in batch) == sorted(sequences)
    assert batches[0] == [tuple(range(20))]
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(map(len, batch)) <= 20
    assert not list(bucketed([], 20))


# Reading while training.


def reader(cache):
    """Reads as training does; and what had to be computed."""
    computed = []
    origin = dataclasses.replace(ORIGIN, cut=1)

    def compute(tokens):
        computed.append(tokens)
        return said(tokens, 1)

    return _Remembering(cache, origin, compute), computed


def test_what_is_in_the_cache_is_read_not_computed(cache):
    filled(CountingTrunk(), cache, SEQUENCES)
    read, computed = reader(cache)
    assert all(torch.equal(read(one), said(one, 1)) for one in SEQUENCES)
    assert computed == []


@pytest.mark.parametrize("harm", DAMAGE, ids=lambda one: one.__name__)
def test_an_entry_that_is_damaged_in_use_is_computed_and_kept(cache, home, harm):
    pair = [(1, 2, 3), (4, 5, 6)]
    filled(CountingTrunk(), cache, pair)
    harm(home)
    read, computed = reader(cache)
    assert all(torch.equal(read(one), said(one, 1)) for one in pair)
    assert 0 < len(computed) <= 2
    again, computed = reader(cache)
    assert all(torch.equal(again(one), said(one, 1)) for one in pair)
    assert computed == []


def test_what_was_read_is_remembered(cache):
    filled(CountingTrunk(), cache, SEQUENCES)
    read, computed = reader(cache)
    first = read((1, 2, 3))
    cache.forget([dataclasses.replace(ORIGIN, cut=1).key((1, 2, 3))])
    assert read((1, 2, 3)) is first
    assert computed == []
