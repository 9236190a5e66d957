"""What is said about weights that cannot be read layer by layer."""

import dataclasses

import pytest
import torch
from safetensors.torch import load_file, save_file

from azubi.engine.model.streaming import HEAD, LazyModel
from tests.engine.families import DECODERS, ENCODERS


@pytest.fixture
def base(tmp_path):
    model = DECODERS[0].build()
    model.save_pretrained(tmp_path)
    return dataclasses.replace(DECODERS[0].base(model), folder=tmp_path)


def change(base, edit):
    file = base.folder / "model.safetensors"
    weights = load_file(file)
    edit(weights)
    save_file(weights, file)


def test_a_part_that_nothing_reads_may_be_missing(tmp_path):
    """Published encoders often leave out the pooler."""
    (family,) = [family for family in ENCODERS if family.name == "bert"]
    model = family.build()
    model.save_pretrained(tmp_path)
    base = dataclasses.replace(family.base(model), folder=tmp_path)
    change(base, lambda weights: [weights.pop(name) for name in list(weights) if "pooler" in name])
    lazy = LazyModel(base, torch.float32)
    assert not lazy.model.pooler.dense.weight.is_meta


def test_nothing_asks_for_gradients(base):
    lazy = LazyModel(base, torch.float32)
    with lazy.holding([0, HEAD]):
        assert not any(weight.requires_grad for weight in lazy.model.parameters())
