"""The activation cache: a stale or damaged entry is never used, nothing is readable, nothing is lost."""

import contextlib
import dataclasses
import errno
import gc
import os
import sqlite3
import stat
import subprocess
import sys
import time
import types

import psutil
import pytest
import torch
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from azubi.engine import split_model
from azubi.engine.cache import activation_cache as activations
from azubi.engine.cache import packing
from azubi.engine.cache.activation_cache import ActivationCache, erase, erase_questions
from azubi.engine.cache.filling import Origin, bucketed, fill
from azubi.engine.model.batch import EncodedExample, Outcome
from azubi.engine.model.trunk import InstructionState, Passed
from azubi.engine.split_model import Activations, CachedReader
from azubi.engine.training.loop import TrainingConfig, train
from azubi.errors import StorageError
from tests.dying import die_at

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
    instruction = dataclasses.replace(ORIGIN, instruction=(1,))
    assert instruction.key((2, *TOKENS)) != ORIGIN.key(TOKENS)


def test_the_same_ingredients_hit_in_another_process(cache):
    code = f"from azubi.engine.cache.filling import Origin\nprint({ORIGIN!r}.key({TOKENS!r}))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ORIGIN.key(TOKENS)


def test_the_key_of_long_ingredients_is_made_quickly():
    """A tokenizer of megabytes is not hashed again for each of ten thousand keys."""
    origin = dataclasses.replace(ORIGIN, tokenizer="x" * 3_000_000)
    begun = time.process_time()
    assert len({origin.key((number,)) for number in range(10_000)}) == 10_000
    assert time.process_time() - begun < 2


# What was written is what is read.


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("form", ["float32", "bfloat16", "int8"])
def test_an_entry_comes_back_as_its_form_keeps_it(home, dtype, form):
    states = tensor(5, dtype)
    cache = ActivationCache(home, dtype=form)
    cache.write([("a", states)])
    got = cache.read("a")
    assert got.dtype == dtype
    assert torch.equal(got, packing.rounded(states, packing.form_of(form, dtype)))
    cache.close()
    again = ActivationCache(home)
    assert torch.equal(again.read("a"), got), "whatever the form that is wanted now"
    again.close()


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
    index.execute("UPDATE entries SET form = 'bfloat16', columns = 2 * columns")
    index.commit()


def mistype(home):
    index = sqlite3.connect(home / "cache" / "index.sqlite")
    index.execute("UPDATE entries SET dtype = 'torch.float64'")
    index.commit()


DAMAGE = [flip, truncate, swap, halve, reshape, turn, retype, repack, mistype]


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


# Disks.


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def full_disk(monkeypatch):
    """The disk fills up in the middle of the second entry of a write."""
    write, written = os.write, []

    def some(descriptor, content):
        written.append(len(content))
        if len(written) > 2:
            raise FULL
        return write(descriptor, content[:20] if len(written) == 2 else content)

    monkeypatch.setattr(os, "write", some)


def test_a_full_disk_ends_keeping_and_leaves_nothing_behind(cache, home, full_disk, monkeypatch):
    assert cache.write([("a", tensor()), ("b", tensor())]) == 0
    assert cache.full == "the disk is full"
    monkeypatch.undo()
    assert rows(home) == []
    assert [path.stat().st_size for path in shards(home)] == [0], "the unindexed part of the shard is gone"
    assert cache.write([("a", tensor())]) == 0


def test_what_was_kept_before_the_disk_was_full_is_still_read(cache, home, monkeypatch):
    cache.write([("a", tensor())])
    size = shards(home)[0].stat().st_size
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(FULL))
    assert cache.write([("b", tensor())]) == 0
    assert torch.equal(cache.read("a"), tensor())
    assert cache.missing(["a", "b"]) == ["b"]
    assert shards(home)[0].stat().st_size == size


def test_a_full_disk_gives_up_what_nobody_uses(home, monkeypatch):
    """And then there is room."""
    old_run(home, "old")
    cache, sync = ActivationCache(home), os.fsync

    def full_until_the_old_is_gone(descriptor):
        if len(shards(home)) > 1:
            raise FULL
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full_until_the_old_is_gone)
    assert cache.write([("new", tensor(seed=1))]) > 0
    assert not cache.full
    assert torch.equal(cache.read("new"), tensor(seed=1))
    assert cache.missing(["old"]) == ["old"]
    cache.close()


def test_some_of_the_disk_stays_free(home):
    cache = ActivationCache(home, reserve=1 << 60)
    assert cache.write([("a", tensor())]) == 0
    assert "left free for the rest of the run" in cache.full
    cache.close()


def test_a_read_only_disk_is_told(cache, monkeypatch):
    def closed(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "write", closed)
    with pytest.raises(StorageError, match="Read-only"):
        cache.write([("a", tensor())])


# The quota.

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


def test_beyond_the_quota_the_oldest_go(home):
    for key in "abc":
        old_run(home, key)
    old_run(home, "d", quota=3 * SIZE)
    assert held(home, *"abcd") == ["b", "c", "d"]
    assert on_disk(home) == 3 * SIZE


def test_what_was_used_last_stays(home):
    for key in "abc":
        old_run(home, key)
    assert held(home, "a") == ["a"]
    old_run(home, "d", quota=2 * SIZE)
    assert held(home, *"abcd") == ["a", "d"]


def test_the_clock_has_no_say(home, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: -1e9 * len(shards(home)))
    test_what_was_used_last_stays(home)


def test_what_a_run_uses_stays_and_the_rest_is_not_kept(home):
    old_run(home, "a")
    cache = ActivationCache(home, quota=2 * SIZE)
    assert cache.missing(["a", "b", "c"]) == ["b", "c"]
    assert cache.write([("b", tensor())]) == SIZE
    assert cache.write([("c", tensor())]) == 0
    assert "quota" in cache.full
    assert cache.missing(["a", "b", "c"]) == ["c"]
    cache.close()


def test_what_another_run_uses_stays(home):
    other = ActivationCache(home)
    other.write([("a", tensor())])
    old_run(home, "b")
    old_run(home, "c", quota=2 * SIZE)
    assert torch.equal(other.read("a"), tensor())
    assert held(home, *"abc") == ["a", "c"]
    other.close()


def test_a_quota_of_nothing_keeps_nothing(home):
    old_run(home, "a", quota=0)
    assert held(home, "a") == []


def test_a_shard_has_an_end(home, monkeypatch):
    monkeypatch.setattr(activations, "_SHARD", 2 * SIZE)
    cache = ActivationCache(home, quota=6 * SIZE)
    for key in "abcde":
        cache.write([(key, tensor())])
    assert len(shards(home)) == 3
    cache.close()
    old_run(home, "f", "g", quota=6 * SIZE)
    assert held(home, *"abcdefg") == ["c", "d", "e", "f", "g"]


def test_more_shards_than_may_be_open(home, monkeypatch):
    for key in "abcdef":
        old_run(home, key)
    monkeypatch.setattr(activations, "_OPEN", 3)
    cache = ActivationCache(home)
    cache.write([("own", tensor(seed=1))])
    for key in "abcdef" * 2:
        assert torch.equal(cache.read(key), tensor())
        assert len(cache._open) <= 3
    assert torch.equal(cache.read("own"), tensor(seed=1))
    cache.write([("own too", tensor())])
    assert torch.equal(cache.read("own too"), tensor())
    cache.close()


# What a crash leaves.

KILLED = """
import os, signal, sys, torch
from pathlib import Path
from azubi.engine.cache import activation_cache as activations
cache = activations.ActivationCache(Path(sys.argv[1]))
cache.write([("whole", torch.ones(4, 8))])
cache._tell = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
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
    assert held(home, "a") == ["a"]
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
    assert held(home, "a", "c") == ["c"], "what was written after it went is there"


def test_a_shard_that_is_gone_is_missed_at_once(home):
    old_run(home, "a")
    remove(home)
    assert held(home, "a") == []


def test_a_cache_of_an_earlier_layout_is_begun_anew(home):
    (home / "cache" / "shards").mkdir(parents=True)
    (home / "cache" / "shards" / "old.bin").write_bytes(bytes(100))
    (home / "keys").mkdir()
    (home / "keys" / "activations.key").write_bytes(bytes(32))
    index = sqlite3.connect(home / "cache" / "index.sqlite")
    index.execute("CREATE TABLE entries (key TEXT PRIMARY KEY, shard TEXT NOT NULL) WITHOUT ROWID")
    index.execute("INSERT INTO entries VALUES ('a', 'old.bin')")
    index.commit()
    index.close()
    old_run(home, "b")
    assert held(home, "a", "b") == ["b"]
    assert len(shards(home)) == 1
    assert not (home / "keys" / "activations.key").exists()


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

    def run(self, batches, instruction_state):
        done = 0
        for batch in batches:
            self.asked.extend(batch)
            done += len(batch)
            yield Passed(done, [(batch, {cut: [said(one, cut) for one in batch] for cut in (1, 2)})])


def said(sequence, cut):
    return torch.tensor(sequence, dtype=torch.float32)[:, None].expand(-1, 8) + cut / 10


def filled(trunk, cache, sequences, origins=None, instruction_state=NOTHING):
    return list(
        fill(trunk, cache, origins or {1: dataclasses.replace(ORIGIN, cut=1)}, instruction_state, sequences)
    )


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


def test_a_full_cache_ends_the_pass(home):
    """And says for how many the trunk has to run again."""
    trunk = CountingTrunk()
    quota = 2 * (SIZE - 2 * 32) + 50  # room for two of two tokens each
    cache = ActivationCache(home, quota=quota)
    pairs = [(number, number) for number in range(2000)]
    last = filled(trunk, cache, pairs)[-1]
    assert (last.done, last.total) == (2000, 2000)
    assert len(trunk.asked) == 1024, "one batch, in which it was found out"
    assert last.without == 2000
    read, computed = reader(cache)
    assert torch.equal(read((3, 3)), said((3, 3), 1))
    assert computed == [(3, 3)]
    cache.close()


def test_two_runs_share_the_work(home):
    """What another run has put there meanwhile is not computed."""
    one, two = ActivationCache(home), ActivationCache(home)
    first, second = CountingTrunk(), CountingTrunk()
    origins = {1: dataclasses.replace(ORIGIN, cut=1)}
    sequences = [(number,) * 1024 for number in range(40)]
    passes = [
        fill(trunk, cache, origins, NOTHING, sequences) for trunk, cache in ((first, one), (second, two))
    ]
    for _ in zip(*passes, strict=False):  # step by step in turns
        pass
    for rest in passes:
        list(rest)
    asked = len(first.asked) + len(second.asked)
    assert {*first.asked, *second.asked} == set(sequences)
    assert asked <= 40 + 2 * 2, "only the first batch is the same for both"
    for sequence in sequences:
        assert one.read(origins[1].key(sequence)) is not None
    one.close()
    two.close()


def test_the_instruction_is_kept_once(cache):
    instruction_state = InstructionState((1, 2), None, {1: tensor(2)})
    trunk = CountingTrunk()
    origin = dataclasses.replace(ORIGIN, cut=1)
    assert filled(trunk, cache, [(3,)], instruction_state=instruction_state)[0].bytes > 0
    assert torch.equal(cache.read(origin.key(())), tensor(2))
    assert filled(trunk, cache, [(3,)], instruction_state=instruction_state)[-1].bytes == 0


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

    return CachedReader(cache, origin, compute), computed


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


@pytest.mark.parametrize("form", ["float32", "bfloat16", "int8"])
def test_what_was_not_kept_reads_as_if_it_had_been(home, form):
    settings = {"dtype": form, "quota": 0}
    origin = dataclasses.replace(ORIGIN, cut=1, form=form)
    states = tensor(9)
    without, within = ActivationCache(home, **settings), ActivationCache(home, dtype=form)
    within.write([(origin.key((1,)), states)])
    read = CachedReader(without, dataclasses.replace(origin, weights="other"), lambda _: states)
    assert torch.equal(read((1,)), within.read(origin.key((1,))))
    assert without.full
    without.close()
    within.close()


def test_memory_does_not_grow_with_the_data(home, monkeypatch):
    """Three times the data, trained in random order by the real loop: no more memory than for a third."""
    monkeypatch.setattr(split_model, "_MEMORY", 20 << 20)

    def lesson(number):
        return EncodedExample((number,) * 100, (1,))

    encoded = [lesson(number) for number in range(180)]
    origin = dataclasses.replace(ORIGIN, cut=1)
    cache = ActivationCache(home)
    for one in encoded:  # 1.6 MB each, 288 MB in all
        cache.write([(origin.key(one.tokens), torch.full((100, 4096), float(one.tokens[0])))])

    def peak(count):
        """Bytes by which the process grows while it trains."""
        gc.collect()
        process = psutil.Process()
        before, most = process.memory_info().rss, 0
        read = CachedReader(cache, origin, lambda _: pytest.fail("all of it is in the cache"))
        plan = TrainingConfig(1, 2, 1e-3, 0.1, 0.0, 1.0, 1, 0)
        for _ in train(Mean(), encoded[:count], encoded[:2], read, plan, has_instruction=False):
            most = max(most, process.memory_info().rss - before)
        return most

    third = peak(60)
    whole = peak(180)
    assert whole < third + (24 << 20)
    assert whole < 180 * 100 * 4096 * 4 / 2, "half of the data"
    cache.close()


class Mean(torch.nn.Module):
    """A tail that does next to nothing with the activations it is given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, batch, instruction):
        return Outcome((self.weight - batch.states.mean()) ** 2, len(batch.targets), len(batch.lengths), 0)

    def groups(self):
        yield self.weight, 1.0


LIMITED = """
import resource, sys, torch
from pathlib import Path
import psutil
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.cache.filling import Origin
from azubi.engine.split_model import CachedReader
cache = ActivationCache(Path(sys.argv[1]))
origin = Origin("w", 1, "t", "t", (), "torch.float32", "2")
states = torch.ones(100, 4096)
for number in range(100):
    cache.write([(origin.key((number,)), states)])
limit = psutil.Process().memory_info().vms + (64 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
read = CachedReader(cache, origin, lambda _: sys.exit("lost"))
for _ in range(2):
    for number in range(100):
        assert torch.equal(read((number,)), states)
print(len(read._known))
"""


def test_a_cache_larger_than_the_memory_limit_is_read(home):
    """164 MB of activations with 64 MB of address space left: some are remembered, all are read."""
    done = subprocess.run([sys.executable, "-c", LIMITED, str(home)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 0 < int(done.stdout) < 40


def test_what_was_read_is_remembered(cache):
    filled(CountingTrunk(), cache, SEQUENCES)
    read, computed = reader(cache)
    first = read((1, 2, 3))
    cache.forget([dataclasses.replace(ORIGIN, cut=1).key((1, 2, 3))])
    assert read((1, 2, 3)) is first
    assert computed == []


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        (split_model.attention, "fitting", lambda family, dtype: "another"),
        (split_model.azubi, "__version__", "0.0.0"),
        (torch, "__version__", "1.0"),
        (split_model.transformers, "__version__", "1.0"),
        (torch, "get_default_device", lambda: torch.device("meta")),
    ],
)
def test_what_computes_is_part_of_the_key(place, name, value, cache, monkeypatch):
    """Fused attention, another library or a graphics card give other last digits."""
    words = types.SimpleNamespace(get_vocab=lambda: {"a": 1})
    base = types.SimpleNamespace(kind="decoder", sha256="w", family="llama", tokenizer=words, layers=4)
    trunk = types.SimpleNamespace(dtype=torch.bfloat16)
    template = types.SimpleNamespace(fingerprint="chatml")
    model = types.SimpleNamespace(base=base, template=template, trunk=lambda cuts: trunk)

    def key():
        return Activations(model, 2).origin(cache, 2).key(TOKENS)

    before = key()
    assert key() == before
    monkeypatch.setattr(place, name, value)
    assert key() != before


# Erasing.


def several(home, version, keys, seed=0):
    """A cache with entries of a version, each of the question of its own name; closed again."""
    cache = ActivationCache(home, version)
    cache.note((key, f"of {key}") for key in keys)
    cache.write((key, tensor(seed=seed + n)) for n, key in enumerate(keys))
    cache.close()


def read_all(home, keys):
    cache = ActivationCache(home, "reader")
    try:
        return {key: cache.read(key) for key in keys}
    finally:
        cache.close()


def readable(home, content, key, rows=4):
    """Whether any key that is left opens an entry in the bytes of a shard."""
    label = activations._label(key, rows, 8, "float32", "torch.float32")
    size = 12 + rows * 8 * 4 + 16
    for path in (home / "keys").glob("*.key"):
        cipher = AESGCM(path.read_bytes())
        for place in range(0, len(content) - size + 1, size):
            with contextlib.suppress(InvalidTag):
                cipher.decrypt(content[place : place + 12], content[place + 12 : place + size], label)
                return True
    return False


def test_an_erased_question_is_gone_and_copies_of_its_shard_are_unreadable(home):
    several(home, "one", ["a", "b", "c"])
    several(home, "two", ["d"], seed=7)
    copies = [path.read_bytes() for path in shards(home)]
    assert any(readable(home, content, "b") for content in copies)
    assert erase_questions(home, ["of b", "never there"]) == 1
    found = read_all(home, "abcd")
    assert found["b"] is None
    assert [torch.equal(found[key], tensor(seed=seed)) for key, seed in (("a", 0), ("c", 2), ("d", 7))] == [
        True
    ] * 3
    everything = [*copies, *(path.read_bytes() for path in shards(home))]
    assert not any(readable(home, content, "b") for content in everything)
    assert readable(home, next(c for c in copies if readable(home, c, "d")), "d"), (
        "other versions keep their key"
    )
    index = b"".join(path.read_bytes() for path in (home / "cache").glob("index.sqlite*"))
    assert b"of a" in index and b"of b" not in index


def test_what_two_questions_share_goes_with_either(home):
    cache = ActivationCache(home, "one")
    cache.note([("a", "first"), ("a", "second"), ("b", "second")])
    cache.write([("a", tensor()), ("b", tensor(seed=1))])
    cache.close()
    assert erase_questions(home, ["first"]) == 1
    found = read_all(home, "ab")
    assert found["a"] is None and found["b"] is not None
    assert erase_questions(home, ["second"]) == 1
    assert shards(home) == []


def test_an_entry_that_was_written_twice_is_gone_twice(home):
    one, two = ActivationCache(home, "one"), ActivationCache(home, "two")
    one.note([("a", "q"), ("b", "other")])
    one.write([("a", tensor()), ("b", tensor(seed=1))])
    two.write([("a", tensor())])
    one.close(), two.close()
    copies = [path.read_bytes() for path in shards(home)]
    assert sum(readable(home, content, "a") for content in copies) == 2
    assert erase_questions(home, ["q"]) == 1
    assert not any(readable(home, content, "a") for content in copies)
    assert torch.equal(read_all(home, "b")["b"], tensor(seed=1))


def test_a_version_that_was_renewed_can_be_erased_whole(home):
    several(home, "one", ["a", "b"])
    erase_questions(home, ["of a"])
    assert erase(home, "one")
    assert read_all(home, "b")["b"] is None
    assert [path.name for path in (home / "keys").glob("activations-one*")] == []


def test_a_run_goes_on_while_a_question_is_erased(home):
    running = ActivationCache(home, "one")
    running.note([("a", "q a"), ("b", "q b")])
    running.write([("a", tensor()), ("b", tensor(seed=1))])
    assert erase_questions(home, ["q a"]) == 1
    assert torch.equal(running.read("b"), tensor(seed=1))
    assert running.read("a") is None
    running.write([("c", tensor(seed=2))])
    assert torch.equal(running.read("c"), tensor(seed=2))
    running.close()
    assert torch.equal(read_all(home, "b")["b"], tensor(seed=1))


def test_nothing_is_erased_where_there_is_no_cache(home):
    assert erase_questions(home, ["q"]) == 0
    assert not home.exists()


def test_erasing_that_is_killed_anywhere_is_finished_by_the_next(home, tmp_path):
    """A child dies at its first step, its second step, …, until it comes through."""
    for step in range(1, 60):
        here = tmp_path / f"step {step}"
        several(here, "one", ["a", "b"])
        several(here, "one", ["c", "d"], seed=2)
        copies = [path.read_bytes() for path in shards(here)]
        code = die_at(step, lambda here=here: erase_questions(here, ["of a", "of d"]))
        found = read_all(here, "abcd")
        if found["a"] is not None:  # it died before anything was noted
            assert code and found["d"] is not None
            erase_questions(here, ["of a", "of d"])
            found = read_all(here, "abcd")
        assert (found["a"], found["d"]) == (None, None)
        assert torch.equal(found["b"], tensor(seed=1)) and torch.equal(found["c"], tensor(seed=2))
        left = [*copies, *(path.read_bytes() for path in shards(here))]
        assert not any(readable(here, content, key) for content in left for key in "ad")
        if code == 0:
            assert step > 8, "the child was to die at several places"
            return
    raise AssertionError("the child never came through")
