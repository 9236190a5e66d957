"""For every family of decoders: training a tail from the cache equals training it in the whole model."""

import copy

import pytest
import torch
from torch import nn

from azubi.engine.inference.generation import Generator
from azubi.engine.model import attention
from azubi.engine.model.batch import order
from azubi.engine.model.cut import to_dtype
from azubi.engine.model.language_tail import InferenceLanguageTail, LanguageTail
from azubi.engine.model.trunk import Trunk
from azubi.engine.training.loop import train
from tests.engine.families import LAYERS
from tests.engine.family_checks import (
    INSTRUCTION,
    NOTHING,
    PLAN,
    UNEQUAL,
    close,
    decoders,
    factors_set,
    fingerprint,
    lessons_of,
    pad,
    reader_of,
    same_weights,
    train_whole,
    trunk_of,
    unchanged,
    whole,
)


@decoders
@pytest.mark.parametrize("instruction", [(), INSTRUCTION], ids=["", "instruction"])
def test_five_steps_from_the_cache_equal_five_through_the_whole_model(
    family, instruction, tmp_path, soft_adam
):
    cut = 2
    encoded = lessons_of("decoder")
    tail = LanguageTail(whole(family), LAYERS - cut, 0, 0)
    read = reader_of(family, trunk_of(family, cut), cut, instruction, encoded, tmp_path)
    start = fingerprint(tail)
    for _ in train(tail, encoded, encoded, read, PLAN, has_instruction=bool(instruction)):
        pass
    model = copy.deepcopy(whole(family))

    def loss_of(group):
        ids = pad([torch.tensor([*instruction, *example.tokens]) for example in group])
        scores = model(input_ids=ids, use_cache=False).logits
        chosen = [
            scores[
                row,
                len(instruction) + example.length - len(example.targets) : len(instruction) + example.length,
            ]
            for row, example in enumerate(group)
        ]
        return nn.functional.cross_entropy(
            torch.cat(chosen), torch.tensor([t for example in group for t in example.targets])
        )

    train_whole(model, cut, loss_of, order(encoded, PLAN.batch, PLAN.seed, 1))
    same_weights(tail, model, cut)
    moved = max((now - start[name]).abs().max().item() for name, now in tail.named_parameters())
    assert moved > 1e-3


@decoders
@pytest.mark.parametrize("rank", [0, 2])
def test_training_changes_the_tail_and_nothing_else(family, rank, tmp_path):
    cut = 1
    before = fingerprint(whole(family))
    encoded = lessons_of("decoder")[:4]
    tail = LanguageTail(whole(family), LAYERS - cut, rank, 3)
    start = fingerprint(tail)
    read = reader_of(family, trunk_of(family, cut), cut, (), encoded, tmp_path)
    for _ in train(tail, encoded, encoded, read, PLAN, has_instruction=False):
        pass
    unchanged(whole(family), before)
    moved = {name for name, weight in tail.named_parameters() if not torch.equal(weight, start[name])}
    allowed = {name for name in start if ".lora_" in name or not rank}
    assert moved <= allowed
    # A few weights may see no gradient, such as an expert's that was not asked.
    assert len(moved) > 0.6 * len(allowed)
    assert any("layers.2." in name for name in moved) and any("layers.0." in name for name in moved)


@decoders
@torch.no_grad()
def test_merged_factors_give_what_the_unmerged_ones_give(family):
    tail = factors_set(LanguageTail(whole(family), 2, 3, 3))
    before = fingerprint(tail)
    (states,) = trunk_of(family, 2).states([UNEQUAL[0]], NOTHING)[2]
    want = tail.head(tail._hidden(states[None], None)[:, -1])
    frozen = InferenceLanguageTail(tail, torch.float32)
    close(frozen.scores(states[None], attention.new_cache(frozen.config)), want)
    unchanged(tail, before)
    assert not [name for name, _ in frozen._shell.named_parameters() if "lora" in name]
    plain = LanguageTail(whole(family), 2, 0, 0).eval()
    assert (plain.head(plain._hidden(states[None], None)[:, -1]) - want).abs().max() > 1e-3


@decoders
def test_every_layer_can_be_trained_with_an_instruction_straight_from_the_embeddings(family):
    """Without a trunk nothing is cached: the trunk's own tensors reach the tail and must take gradients."""
    trunk = trunk_of(family, 0)
    instruction_state = trunk.read_instruction(INSTRUCTION)
    encoded = lessons_of("decoder")[:4]
    tail = LanguageTail(whole(family), LAYERS, 0, 0)
    start = fingerprint(tail)

    def read(tokens):
        return trunk.states([tokens], instruction_state)[0][0] if tokens else instruction_state.states[0]

    for _ in train(tail, encoded, encoded, read, PLAN, has_instruction=True):
        pass
    assert any(not torch.equal(weight, start[name]) for name, weight in tail.named_parameters())


@decoders
@pytest.mark.parametrize("rank", [0, 2])
def test_trunk_tail_and_head_work_in_bfloat16(family, rank):
    """Only that every part takes the other's format: tiny models are too rough to compare numbers."""
    model = family.build()
    tail = LanguageTail(model, 2, rank, 0)
    to_dtype(tail, torch.bfloat16)
    trunk = Trunk(family.base(model), model, [2], torch.bfloat16)
    tail.head.to_dtype(torch.bfloat16)
    instruction_state = trunk.read_instruction(INSTRUCTION)
    encoded = lessons_of("decoder")[:4]

    def read(tokens):
        return trunk.states([tokens], instruction_state)[2][0] if tokens else instruction_state.states[2]

    assert read(UNEQUAL[0]).dtype == torch.bfloat16
    start = fingerprint(tail)
    for _ in train(tail, encoded, encoded, read, PLAN, has_instruction=True):
        pass
    assert any(not torch.equal(weight, start[name]) for name, weight in tail.named_parameters())
    for part in (tail, LanguageTail(model, 2, 0, 0)):  # the trained tail and the untouched one
        writer = Generator(trunk, InferenceLanguageTail(part, torch.bfloat16), INSTRUCTION, end=-1)
        assert [len(answer.tokens) for _, answer in writer.write(UNEQUAL, 2)] == [2, 2, 2, 2]
