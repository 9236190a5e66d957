"""A full disk and the quota end keeping; the least recently used shards go first."""

import errno
import os
import time

import pytest
import torch

from azubi.engine.cache import activation_cache as activations
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.errors import StorageError
from tests.engine.cache.helpers import FULL, SIZE, kept, old_run, on_disk, rows, shards, tensor


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


def test_beyond_the_quota_the_oldest_go(home):
    for key in "abc":
        old_run(home, key)
    old_run(home, "d", quota=3 * SIZE)
    assert kept(home, *"abcd") == ["b", "c", "d"]
    assert on_disk(home) == 3 * SIZE


def test_what_was_used_last_stays(home):
    for key in "abc":
        old_run(home, key)
    assert kept(home, "a") == ["a"]
    old_run(home, "d", quota=2 * SIZE)
    assert kept(home, *"abcd") == ["a", "d"]


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
    assert kept(home, *"abc") == ["a", "c"]
    other.close()


def test_a_quota_of_nothing_keeps_nothing(home):
    old_run(home, "a", quota=0)
    assert kept(home, "a") == []


def test_a_shard_has_an_end(home, monkeypatch):
    monkeypatch.setattr(activations, "_SHARD", 2 * SIZE)
    cache = ActivationCache(home, quota=6 * SIZE)
    for key in "abcde":
        cache.write([(key, tensor())])
    assert len(shards(home)) == 3
    cache.close()
    old_run(home, "f", "g", quota=6 * SIZE)
    assert kept(home, *"abcdefg") == ["c", "d", "e", "f", "g"]


def test_more_shards_than_may_be_open(home, monkeypatch):
    for key in "abcdef":
        old_run(home, key)
    monkeypatch.setattr(activations, "_MAX_OPEN", 3)
    cache = ActivationCache(home)
    cache.write([("own", tensor(seed=1))])
    for key in "abcdef" * 2:
        assert torch.equal(cache.read(key), tensor())
        assert len(cache._open) <= 3
    assert torch.equal(cache.read("own"), tensor(seed=1))
    cache.write([("own too", tensor())])
    assert torch.equal(cache.read("own too"), tensor())
    cache.close()
