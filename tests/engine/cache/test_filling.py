"""Filling the cache, and reading it while training."""

import dataclasses
import gc
import subprocess
import sys
import types

import psutil
import pytest
import torch

from azubi.engine import split_model
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.cache.filling import bucketed, fill
from azubi.engine.model.batch import EncodedExample, Outcome
from azubi.engine.model.trunk import InstructionState, Progress
from azubi.engine.split_model import Activations, CachedReader
from azubi.engine.training.defaults import TrainingConfig
from azubi.engine.training.loop import train
from tests.engine.cache.helpers import DAMAGE, NOTHING, ORIGIN, SIZE, TOKENS, tensor


class CountingTrunk:
    """Says of each token its number, once per cut, and counts what it was asked."""

    def __init__(self):
        self.asked = []

    def run(self, batches, instruction_state):
        done = 0
        for batch in batches:
            self.asked.extend(batch)
            done += len(batch)
            yield Progress(
                done, [(batch, {cut: [said(sequence, cut) for sequence in batch] for cut in (1, 2)})]
            )


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
        for sequence in SEQUENCES:
            assert torch.equal(cache.read(origin.key(sequence)), said(sequence, cut))


def test_an_example_that_lacks_one_of_its_cuts_is_computed(cache):
    trunk = CountingTrunk()
    origins = {cut: dataclasses.replace(ORIGIN, cut=cut) for cut in (1, 2)}
    filled(trunk, cache, SEQUENCES, origins)
    trunk.asked.clear()
    cache.forget([origins[2].key((5, 6))])
    filled(trunk, cache, SEQUENCES, origins)
    assert trunk.asked == [(5, 6)]


@pytest.mark.parametrize("harm", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_entry_is_computed_again(cache, home, harm):
    trunk = CountingTrunk()
    origin = dataclasses.replace(ORIGIN, cut=1)
    pair = [(1, 2, 3), (4, 5, 6)]
    filled(trunk, cache, pair)
    harm(home)
    for sequence in pair:
        cache.read(origin.key(sequence))
    filled(trunk, cache, pair)
    assert len(trunk.asked) > 2
    for sequence in pair:
        assert torch.equal(cache.read(origin.key(sequence)), said(sequence, 1))


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
    assert sorted(sequence for batch in batches for sequence in batch) == sorted(sequences)
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
    assert all(torch.equal(read(sequence), said(sequence, 1)) for sequence in SEQUENCES)
    assert computed == []


@pytest.mark.parametrize("harm", DAMAGE, ids=lambda damage: damage.__name__)
def test_an_entry_that_is_damaged_in_use_is_computed_and_kept(cache, home, harm):
    pair = [(1, 2, 3), (4, 5, 6)]
    filled(CountingTrunk(), cache, pair)
    harm(home)
    read, computed = reader(cache)
    assert all(torch.equal(read(sequence), said(sequence, 1)) for sequence in pair)
    assert 0 < len(computed) <= 2
    again, computed = reader(cache)
    assert all(torch.equal(again(sequence), said(sequence, 1)) for sequence in pair)
    assert computed == []


@pytest.mark.parametrize("cache_format", ["float32", "bfloat16", "int8"])
def test_what_was_not_kept_reads_as_if_it_had_been(home, cache_format):
    settings = {"dtype": cache_format, "quota": 0}
    origin = dataclasses.replace(ORIGIN, cut=1, storage_format=cache_format)
    states = tensor(9)
    without, within = ActivationCache(home, **settings), ActivationCache(home, dtype=cache_format)
    within.write([(origin.key((1,)), states)])
    read = CachedReader(without, dataclasses.replace(origin, weights="other"), lambda _: states)
    assert torch.equal(read((1,)), within.read(origin.key((1,))))
    assert without.full
    without.close()
    within.close()


def test_memory_does_not_grow_with_the_data(home, monkeypatch):
    """Three times the data, trained in random order by the real loop: no more memory than for a third."""
    monkeypatch.setattr(split_model, "_ACTIVATION_BYTES", 20 << 20)

    def lesson(number):
        return EncodedExample((number,) * 100, (1,))

    encoded = [lesson(number) for number in range(180)]
    origin = dataclasses.replace(ORIGIN, cut=1)
    cache = ActivationCache(home)
    for example in encoded:  # 1.6 MB each, 288 MB in all
        cache.write([(origin.key(example.tokens), torch.full((100, 4096), float(example.tokens[0])))])

    def peak(count):
        """Bytes by which the process grows while it trains."""
        gc.collect()
        process = psutil.Process()
        before, most = process.memory_info().rss, 0
        read = CachedReader(cache, origin, lambda _: pytest.fail("all of it is in the cache"))
        plan = TrainingConfig(1, 2, 1e-3, 1, 0, weight_decay=0.0)
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
        (split_model, "fastest_attention", lambda family, dtype: "another"),
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
