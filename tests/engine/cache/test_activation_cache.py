"""The activation cache: a stale or damaged entry is never used, nothing is readable, nothing is lost."""

import dataclasses
import sqlite3
import stat
import subprocess
import sys
import time

import pytest
import torch

from azubi.engine.cache import index
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.cache.filling import Origin
from tests.engine.cache.helpers import (
    DAMAGE,
    ORIGIN,
    SIZE,
    TOKENS,
    flip,
    kept,
    old_run,
    on_disk,
    remove,
    rows,
    shards,
    tensor,
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
    instruction = dataclasses.replace(ORIGIN, instruction=(1,))
    assert instruction.key((2, *TOKENS)) != ORIGIN.key(TOKENS)


def test_the_same_ingredients_hit_in_another_process(cache):
    code = f"from azubi.engine.cache.filling import Origin\nprint({ORIGIN!r}.key({TOKENS!r}))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == ORIGIN.key(TOKENS)


def test_the_key_of_long_ingredients_is_made_quickly():
    """A tokenizer of megabytes is not hashed again for each of ten thousand keys."""
    origin = dataclasses.replace(ORIGIN, tokenizer="x" * 3_000_000)
    begun = time.process_time()
    assert len({origin.key((number,)) for number in range(10_000)}) == 10_000
    assert time.process_time() - begun < 2


# What was written is what is read.


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("cache_format", ["float32", "bfloat16", "int8"])
def test_an_entry_comes_back_as_its_form_keeps_it(home, dtype, cache_format):
    states = tensor(5, dtype)
    cache = ActivationCache(home, dtype=cache_format)
    cache.write([("a", states)])
    got = cache.read("a")
    assert got.dtype == dtype
    assert torch.equal(got, index.rounded(states, index.storage_format(cache_format, dtype)))
    cache.close()
    again = ActivationCache(home)
    assert torch.equal(again.read("a"), got), "whatever the form that is wanted now"
    again.close()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("count", [1, 5])
def test_an_entry_comes_back_bit_for_bit(cache, home, dtype, count):
    first, two = tensor(count, dtype), tensor(count, dtype, seed=1)
    size = cache.write([("one", first), ("two", two)])
    again = ActivationCache(home)
    for opened in (cache, again):
        for key, want in (("one", first), ("two", two)):
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
    assert len(shards(home)) == 1
    for file in (path for path in home.rglob("*") if path.is_file()):
        stored = file.read_bytes()
        for start in range(0, len(plain), 16):
            assert plain[start : start + 16] not in stored
        assert b"5,6,7" not in stored


def test_the_key_is_the_owners_alone(cache, home):
    assert stat.S_IMODE((home / "keys" / "activations-any.key").stat().st_mode) == 0o600


def test_equal_activations_are_not_equal_on_disk(cache, home):
    cache.write([("a", tensor()), ("b", tensor())])
    (shard,) = shards(home)
    stored = shard.read_bytes()
    (_, _, first, size), (_, _, second, _) = rows(home)
    assert stored[first : first + size] != stored[second : second + size]


def test_without_its_key_the_cache_is_empty_and_fills_again(cache, home):
    cache.write([("a", tensor())])
    (home / "keys" / "activations-any.key").unlink()
    again = ActivationCache(home)
    assert again.read("a") is None
    assert again.missing(["a"]) == ["a"]
    again.write([("a", tensor(seed=1))])
    assert torch.equal(again.read("a"), tensor(seed=1))
    again.close()


# Damage.


@pytest.mark.parametrize("harm", DAMAGE, ids=lambda damage: damage.__name__)
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


# What a crash leaves.

KILLED = """
import os, signal, sys, torch
from pathlib import Path
from azubi.engine.cache import activation_cache as activations
cache = activations.ActivationCache(Path(sys.argv[1]))
cache.write([("whole", torch.ones(4, 8))])
cache._index.add = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
cache.write([("half", torch.ones(4, 8))])
"""


def test_what_a_kill_left_is_cleared_away(home):
    assert subprocess.run([sys.executable, "-c", KILLED, str(home)]).returncode == -9
    assert on_disk(home) == 2 * SIZE
    (home / "cache" / "shards" / "lost.bin").write_bytes(bytes(100))
    cache = ActivationCache(home)
    assert on_disk(home) == SIZE
    assert torch.equal(cache.read("whole"), torch.ones(4, 8))
    assert cache.missing(["half"]) == ["half"]
    cache.close()


def test_what_another_run_is_writing_is_not_cleared_away(home):
    other = ActivationCache(home)
    shard = other._own_shard()
    ActivationCache(home).close()
    assert [path.name for path in shards(home)] == [shard]
    other.write([("a", tensor())])
    assert kept(home, "a") == ["a"]
    other.close()


def test_a_shard_that_goes_while_we_run_is_missed(home):
    old_run(home, "a", "b")
    cache = ActivationCache(home)
    remove(home)
    assert cache.read("a") is None
    cache.write([("a", tensor(seed=1))])
    assert torch.equal(cache.read("a"), tensor(seed=1))
    (shard,) = shards(home)
    shard.unlink()
    cache.write([("c", tensor())])
    cache.close()
    assert kept(home, "a", "c") == ["c"], "what was written after it went is there"


def test_a_shard_that_is_gone_is_missed_at_once(home):
    old_run(home, "a")
    remove(home)
    assert kept(home, "a") == []


def test_a_cache_of_an_earlier_layout_is_begun_anew(home):
    (home / "cache" / "shards").mkdir(parents=True)
    (home / "cache" / "shards" / "old.bin").write_bytes(bytes(100))
    index = sqlite3.connect(home / "cache" / "index.sqlite")
    index.execute("CREATE TABLE entries (key TEXT PRIMARY KEY, shard TEXT NOT NULL) WITHOUT ROWID")
    index.execute("INSERT INTO entries VALUES ('a', 'old.bin')")
    index.commit()
    index.close()
    old_run(home, "b")
    assert kept(home, "a", "b") == ["b"]
    assert len(shards(home)) == 1


# Processes.


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
from azubi.engine.cache.activation_cache import ActivationCache
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
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        process.communicate(timeout=120)
        assert process.returncode == 0
    cache = ActivationCache(home)
    for number in range(30):
        assert torch.equal(cache.read(f"key {number}"), torch.full((3, 8), float(number)))
    assert len(shards(home)) == 2
    cache.close()
