"""A tail with two cuts against the whole model, uncached, whose weights are chosen by layer and position."""

import pytest
import torch
from torch import nn

from azubi.engine.model.batch import EncodedExample, ReadPrompt, collate
from azubi.engine.model.language_tail import LanguageTail
from azubi.engine.model.trunk import NO_INSTRUCTION, Trunk
from azubi.engine.model.two_cuts import key_shapes, to_matrix
from azubi.engine.selftest import WholeModel
from tests.engine.families import DECODERS, LAYERS, sequences

INSTRUCTION = sequences((5,), seed=9)[0]
TEXTS = sequences((11, 8, 14), seed=4)
PROMPTS = (6, 4, 8)
"""Tokens of each text that are prompt; the others are invocation and answer."""
SHAPES = ((2, 0, 0), (2, 1, 3), (3, 2, 0), (LAYERS, 0, 3), (LAYERS, 2, 0))
"""tail_layers, prompt_layers and rank."""
CLOSE = 1e-5

FAMILIES = [family for family in DECODERS if family.shares]


@pytest.mark.parametrize("instruction", [(), INSTRUCTION], ids=["plain", "instruction"])
@pytest.mark.parametrize(("depth", "prompt_layers", "rank"), SHAPES)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_loss_and_gradients_are_those_of_the_whole_model(family, depth, prompt_layers, rank, instruction):
    model = family.build()
    lower, upper = LAYERS - depth, LAYERS - prompt_layers
    tail = LanguageTail(model, depth, rank, 0, prompt_layers)
    torch.manual_seed(3)
    for weight in tail.parameters():
        weight.data += 0.05 * torch.randn_like(weight)
    trunk = Trunk(family.base(model), model, [lower, upper], torch.float32)
    read = trunk.read_instruction(instruction, full=True) if instruction else NO_INSTRUCTION
    before = len(instruction)

    def reading(tokens):
        size = PROMPTS[TEXTS.index(tokens)]
        states, cache = trunk.read_prompts([tokens], read)
        tokens_read = slice(0, before + size)
        keys = torch.cat([to_matrix(cache, n, "keys", 0, tokens_read) for n in range(lower, upper)], 1)
        prompt = states[upper][0][:size] if prompt_layers else None
        shapes = key_shapes(cache, range(lower, upper))
        return ReadPrompt(keys, shapes, prompt, states[lower][0][size:], states[lower][0][:1])

    encoded = [
        EncodedExample(text, tuple(range(3, 3 + len(text) - size)))
        for text, size in zip(TEXTS, PROMPTS, strict=True)
    ]
    shared = read.states[upper] if instruction and prompt_layers else None
    outcome = tail(collate(encoded, reading), shared)
    outcome.loss.backward()

    losses, whole = 0.0, WholeModel(model, tail)
    for text, size, example in zip(TEXTS, PROMPTS, encoded, strict=True):
        scores = whole.scores([*instruction, *text], before + size)
        loss = nn.functional.cross_entropy(
            scores[before + size :], torch.tensor(example.targets), reduction="sum"
        )
        losses = losses + loss.detach()
        loss.backward()
    targets = sum(len(example.targets) for example in encoded)
    assert abs(float(outcome.loss.detach() - losses / targets)) <= CLOSE
    ours = {name: weight for name, weight in tail.shell.named_parameters() if weight.grad is not None}
    trained = whole.trained["shell"].named_parameters()
    gradients = {name: weight.grad for name, weight in trained if weight.grad is not None}
    assert ours.keys() == gradients.keys()
    for name, weight in ours.items():
        want = gradients[name] / targets
        assert (weight.grad - want).abs().max() <= CLOSE * max(1.0, float(want.abs().max())), name
