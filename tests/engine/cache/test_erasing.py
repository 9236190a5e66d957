"""Erased questions are gone from index, shards and copies of shards."""

import contextlib

import torch
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from azubi.engine.cache import activation_cache as activations
from azubi.engine.cache.activation_cache import ActivationCache, erase, erase_questions
from azubi.engine.cache.index import Entry
from tests.dying import die_at
from tests.engine.cache.helpers import (
    shards,
    tensor,
)


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
    label = activations._label(Entry(key, "", 0, 0, rows, 8, "float32", "torch.float32"))
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
    entries = read_all(home, "abcd")
    assert entries["b"] is None
    assert [torch.equal(entries[key], tensor(seed=seed)) for key, seed in (("a", 0), ("c", 2), ("d", 7))] == [
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
    entries = read_all(home, "ab")
    assert entries["a"] is None and entries["b"] is not None
    assert erase_questions(home, ["second"]) == 1
    assert shards(home) == []


def test_an_entry_that_was_written_twice_is_gone_twice(home):
    first, two = ActivationCache(home, "one"), ActivationCache(home, "two")
    first.note([("a", "q"), ("b", "other")])
    first.write([("a", tensor()), ("b", tensor(seed=1))])
    two.write([("a", tensor())])
    first.close(), two.close()
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
        entries = read_all(here, "abcd")
        if entries["a"] is not None:  # it died before anything was noted
            assert code and entries["d"] is not None
            erase_questions(here, ["of a", "of d"])
            entries = read_all(here, "abcd")
        assert (entries["a"], entries["d"]) == (None, None)
        assert torch.equal(entries["b"], tensor(seed=1)) and torch.equal(entries["c"], tensor(seed=2))
        left = [*copies, *(path.read_bytes() for path in shards(here))]
        assert not any(readable(here, content, key) for content in left for key in "ad")
        if code == 0:
            assert step > 8, "the child was to die at several places"
            return
    raise AssertionError("the child never came through")
