"""The cache's keys: one per data version, its owner's alone, gone when thrown away."""

import shutil
import stat

import pytest
import torch

from azubi.engine.cache.activation_cache import ActivationCache, erase
from azubi.storage.encrypted_file import Keys

FIRST, TWO = "version-one", "version-two"


def tensor(number):
    return torch.full((3, 8), float(number))


def kept(home, version, key, number):
    cache = ActivationCache(home, version)
    cache.write([(key, tensor(number))])
    cache.close()


def read(home, version, key):
    cache = ActivationCache(home, version)
    try:
        return cache.read(key)
    finally:
        cache.close()


def test_each_version_has_a_key_of_its_own(home):
    kept(home, FIRST, "a", 1)
    kept(home, TWO, "b", 2)
    first, two = Keys(home).path(FIRST), Keys(home).path(TWO)
    assert first.read_bytes() != two.read_bytes()
    assert {stat.S_IMODE(path.stat().st_mode) for path in (first, two)} == {0o600}


def test_a_later_version_reads_what_it_shares_with_an_earlier_one(home):
    kept(home, FIRST, "a", 1)
    assert torch.equal(read(home, TWO, "a"), tensor(1))


def test_erasing_a_version_leaves_the_others(home):
    kept(home, FIRST, "a", 1)
    kept(home, TWO, "b", 2)
    assert erase(home, FIRST)
    assert read(home, TWO, "a") is None
    assert torch.equal(read(home, TWO, "b"), tensor(2))
    assert not Keys(home).path(FIRST).exists()
    assert len(list((home / "cache" / "shards").iterdir())) == 1


def test_a_copy_of_the_cache_cannot_be_read_after_erasure(home, tmp_path):
    kept(home, FIRST, "a", 1)
    shutil.copytree(home / "cache", tmp_path / "copy")
    erase(home, FIRST)
    shutil.rmtree(home / "cache")
    shutil.copytree(tmp_path / "copy", home / "cache")
    assert read(home, TWO, "a") is None
    assert read(home, FIRST, "a") is None, "nor under a new key for the same data"


def test_erasing_what_is_not_there(home):
    assert not erase(home, FIRST)
    assert not (home / "cache").exists()
    kept(home, FIRST, "a", 1)
    assert erase(home, FIRST)
    assert not erase(home, FIRST)


def test_erasure_while_a_run_is_at_work(home):
    at_work = ActivationCache(home, FIRST)
    at_work.write([("a", tensor(1))])
    erase(home, FIRST)
    assert at_work.read("a") is None
    at_work.write([("b", tensor(2))])
    assert torch.equal(at_work.read("b"), tensor(2))
    at_work.close()
    assert read(home, TWO, "b") is None, "its key is gone"


@pytest.mark.parametrize("content", [b"", b"too short", bytes(33)])
def test_a_key_that_is_none_is_made_anew(home, content):
    kept(home, FIRST, "a", 1)
    Keys(home).path(FIRST).write_bytes(content)
    assert read(home, FIRST, "a") is None
    kept(home, FIRST, "a", 2)
    assert torch.equal(read(home, FIRST, "a"), tensor(2))
