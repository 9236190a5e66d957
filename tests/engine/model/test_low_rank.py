"""Low-rank factors: nothing at first, then W + 2 B A, and the same after merging."""

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from azubi.engine.model import weights


def linear():
    torch.manual_seed(0)
    return nn.Linear(5, 3)


def without_bias():
    torch.manual_seed(0)
    return nn.Linear(5, 3, bias=False)


def conv1d():
    torch.manual_seed(0)
    module = Conv1D(3, 5)
    nn.init.normal_(module.bias)
    return module


MAPS = pytest.mark.parametrize("make", [linear, without_bias, conv1d])


def wrapped(make, rank=2, seed=1):
    module = nn.ModuleDict({"inner": nn.ModuleDict({"map": make()}), "norm": nn.LayerNorm(3)})
    weights.wrap(module, rank, seed)
    return module


@MAPS
def test_factors_change_nothing_at_the_start(make):
    x = torch.randn(4, 5)
    assert torch.equal(wrapped(make)["inner"]["map"](x), make()(x))


@MAPS
def test_factors_add_twice_b_a(make):
    module = wrapped(make)["inner"]["map"]
    module.lora_b.data.normal_()
    x = torch.randn(4, 5)
    want = make()(x) + 2 * x @ module.lora_a.T @ module.lora_b.T
    assert torch.allclose(module(x), want, atol=1e-6)


@MAPS
def test_a_model_that_reads_the_weight_sees_the_factors_and_teaches_them(make):
    module = wrapped(make)["inner"]["map"]
    module.lora_b.data.normal_()
    x = torch.randn(4, 5)
    weight = module.weight if make is not conv1d else module.weight.T
    read = nn.functional.linear(x, weight, module.bias)
    assert torch.allclose(read, module(x), atol=1e-6)
    read.sum().backward()
    assert module.lora_a.grad.abs().max() > 0 and module.lora_b.grad.abs().max() > 0


@MAPS
def test_merging_gives_the_same_map_of_the_first_kind(make):
    module = wrapped(make)
    module["inner"]["map"].lora_b.data.normal_()
    x = torch.randn(4, 5)
    want = module["inner"]["map"](x)
    weights.merge(module)
    assert type(module["inner"]["map"]) is type(make())
    assert torch.allclose(module["inner"]["map"](x), want, atol=1e-6)


@MAPS
def test_only_factors_are_trained(make):
    module = wrapped(make)
    assert {name for name, weight in module.named_parameters() if weight.requires_grad} == {
        "inner.map.lora_a",
        "inner.map.lora_b",
    }


def test_the_seed_decides_the_first_factors():
    first, two, other = (wrapped(linear, seed=seed)["inner"]["map"].lora_a for seed in (1, 1, 2))
    assert torch.equal(first, two)
    assert not torch.equal(first, other)


def test_factors_of_several_maps_differ():
    module = nn.ModuleList([linear(), linear()])
    weights.wrap(module, 2, 1)
    assert not torch.equal(module[0].lora_a, module[1].lora_a)
