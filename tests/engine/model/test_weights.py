"""Trained weights are put back only where they belong."""

import tracemalloc

import pytest
import torch
from torch import nn

from azubi.engine.model import weights
from azubi.engine.model.language_tail import LanguageTail
from azubi.errors import CorruptFile


def tail():
    module = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    module[1].requires_grad_(False)
    return module


def test_only_what_is_trained_is_kept():
    assert set(weights.trained(tail())) == {"0.weight", "0.bias"}


def test_a_copy_is_kept_and_put_back():
    module = tail()
    kept = weights.kept(module)
    want = {name: weight.clone() for name, weight in kept.items()}
    module[0].weight.data.add_(1)
    assert torch.equal(kept["0.weight"], want["0.weight"])
    weights.restore(module, kept)
    assert all(torch.equal(module.state_dict()[name], want[name]) for name in want)


def missing(state):
    del state["0.bias"]


def more(state):
    state["1.weight"] = torch.zeros(2, 2)


def other_shape(state):
    state["0.weight"] = torch.zeros(2, 4)


def broadcastable(state):
    state["0.weight"] = torch.zeros(1, 3)


@pytest.mark.parametrize(
    "change, name",
    [(missing, "0.bias"), (more, "1.weight"), (other_shape, "0.weight"), (broadcastable, "0.weight")],
)
def test_weights_of_another_tail_are_refused_and_change_nothing(change, name):
    module = tail()
    before = weights.kept(module)
    state = weights.kept(module)
    change(state)
    with pytest.raises(CorruptFile, match=f"does not fit the base: {name} differs"):
        weights.restore(module, state)
    assert all(torch.equal(weight, before[name]) for name, weight in weights.trained(module).items())


@pytest.mark.parametrize("rank", [0, 2])
def test_a_tail_on_disk_is_the_same_tail(school, tmp_path, rank):
    first, two = LanguageTail(school.model, 2, rank, 1), LanguageTail(school.model, 2, rank, 2)
    for weight in weights.trained(first).values():
        weight.add_(0.1)
    weights.write(weights.trained(first), tmp_path / "tail.safetensors")
    weights.restore(two, weights.read(tmp_path / "tail.safetensors"))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), two.parameters(), strict=True))


def test_a_damaged_or_missing_file_is_said(tmp_path):
    path = tmp_path / "tail.safetensors"
    with pytest.raises(CorruptFile, match="cannot be read"):
        weights.read(path)
    weights.write(weights.kept(tail()), path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CorruptFile, match="cannot be read"):
        weights.read(path)


def test_writing_takes_no_memory_for_a_copy(tmp_path):
    """The state of a large tail fills a good part of the memory already."""
    state = {"masters": torch.ones(4 << 20), "moments": torch.ones(4 << 20)}
    tracemalloc.start()
    try:
        weights.write(state, tmp_path / "state.safetensors")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    read_back = weights.read(tmp_path / "state.safetensors")
    assert read_back.keys() == state.keys() and all(
        torch.equal(read_back[name], state[name]) for name in state
    )
