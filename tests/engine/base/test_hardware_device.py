"""Devices are handled in one place. No accelerator is here: torch's meta device stands in for one.

A tensor on meta has a shape and no numbers, and torch refuses most work between it and one on the processor.
So whatever is forgotten on the processor shows.
"""

import pytest
import torch
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, masking_utils

from azubi.engine.base import hardware
from azubi.engine.model.batch import EncodedExample, collate
from azubi.engine.model.label_tail import LabelTail
from azubi.engine.model.language_tail import LanguageTail
from azubi.engine.model.trunk import InstructionState, Trunk
from azubi.errors import SettingError


class Base:
    def __init__(self, kind):
        self.kind = kind


@pytest.fixture
def meta(monkeypatch):
    # Both look at numbers, to find out whether several texts share a row and whether there is padding.
    monkeypatch.setattr(masking_utils, "find_packed_sequence_indices", lambda places: None)
    monkeypatch.setattr(masking_utils, "_ignore_bidirectional_mask_sdpa", lambda *anything: False)
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


@pytest.mark.parametrize("rank", [0, 2])
def test_a_decoder_is_computed_where_torch_computes(meta, rank):
    shape = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(**shape, **heads)).eval().requires_grad_(False)
    tail = LanguageTail(model, 2, rank, 0)
    trunk = Trunk(Base("decoder"), model, [2], torch.float32)
    instruction_state = trunk.read_instruction([1, 2, 3])
    states = trunk.states([[1, 2], [4, 5, 6]], instruction_state)[2]
    assert [one.device.type for one in states] == ["meta"] * 2

    encoded = [EncodedExample((1, 2), (2,)), EncodedExample((4, 5, 6), (6, 7))]
    # As the cache gives them: on the processor.
    kept = {one.tokens: torch.zeros(one.length, 32, device="cpu") for one in encoded}
    batch = collate(encoded, kept.__getitem__)
    hidden = tail._hidden(batch.states, hardware.on_device(torch.zeros(3, 32, device="cpu")), batch.rows)
    asked = hidden.flatten(0, 1).index_select(0, batch.rows)
    assert tail.head(asked).shape == (3, 64) and asked.device.type == "meta"
    asked.sum().backward()
    trained = [weight for weight, _ in tail.groups()]
    assert trained and {weight.grad.device.type for weight in trained if weight.grad is not None} == {"meta"}


def test_an_encoder_is_computed_where_torch_computes(meta):
    shape = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3}
    model = BertModel(BertConfig(**shape, num_attention_heads=4)).eval().requires_grad_(False)
    tail = LabelTail(model, 1, 0, 0, 5, "mean")
    trunk = Trunk(Base("encoder"), model, [2], torch.float32)
    states = trunk.states([[1, 2], [4, 5, 6]], InstructionState((), None, {}))[2]
    assert [one.device.type for one in states] == ["meta"] * 2

    encoded = [EncodedExample((1, 2), (2,)), EncodedExample((4, 5, 6), (1,))]
    kept = {one.tokens: torch.zeros(one.length, 32, device="cpu") for one in encoded}
    batch = collate(encoded, kept.__getitem__)
    scores = tail.scores(batch.states, batch.lengths)
    assert scores.shape == (2, 5) and scores.device.type == "meta"
    scores.sum().backward()
    assert tail.head.weight.grad.device.type == "meta"


def test_on_a_processor_nothing_is_set_and_nothing_is_moved():
    assert hardware.use_device("cpu").type == "cpu"
    assert torch.get_default_device().type == "cpu"
    tensor = torch.zeros(2)
    assert hardware.on_device(tensor) is tensor


def test_the_best_is_an_accelerator_that_torch_can_use(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert hardware.best_device().type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    assert hardware.best_device() == torch.device("cuda", 0)


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_here_is_refused(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(SettingError, match=name) as refused:
        hardware.use_device(name)
    assert "azubi doctor" in refused.value.remedy
    assert torch.get_default_device().type == "cpu"


def test_dropout_draws_the_same_again():
    state = hardware.rng_state()
    first = torch.rand(3)
    hardware.set_rng_state(state)
    assert torch.equal(torch.rand(3), first)
