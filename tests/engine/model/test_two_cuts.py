"""A tail with two cuts against the whole model, uncached, whose weights are chosen by layer and position."""

import copy

import pytest
import torch
from torch import nn

from azubi.engine.model.batch import EncodedExample, ReadPrompt, collate
from azubi.engine.model.cut import find_layers
from azubi.engine.model.language_tail import LanguageTail
from azubi.engine.model.trunk import NO_INSTRUCTION, Trunk
from azubi.engine.model.two_cuts import key_shapes, keys_to_matrix
from tests.engine.families import DECODERS, LAYERS, sequences

INSTRUCTION = sequences((5,), seed=9)[0]
TEXTS = sequences((11, 8, 14), seed=4)
PROMPTS = (6, 4, 8)
"""Tokens of each text that are prompt; the others are invocation and answer."""
SHAPES = ((2, 0, 0), (2, 1, 3), (3, 2, 0), (LAYERS, 0, 3), (LAYERS, 2, 0))
"""tail_layers, prompt_layers and rank."""
CLOSE = 1e-5

FAMILIES = [family for family in DECODERS if family.shares]


def chosen_by_position(trained, base, start, tokens):
    """Let every module of a layer that has weights use those of `trained` from token `start` on.

    A module of both layers does so: where weights stand beside other modules (attention sinks), both ways to
    compute read what the modules within chose.
    """

    def choose(old, new):
        if isinstance(old, tuple):
            return tuple(choose(*pair) for pair in zip(old, new, strict=True))
        if old is None:
            return None
        axis = next(axis for axis in range(old.ndim) if old.shape[axis] == tokens)
        shape = [1] * old.ndim
        shape[axis] = tokens
        return torch.where((torch.arange(tokens) >= start).view(shape), new, old)

    for name, module in list(base.named_modules()):
        if next(module.parameters(recurse=False), None) is not None:
            other = trained.get_submodule(name)
            old, new = module.forward, other.forward
            module.forward = other.forward = lambda *args, _old=old, _new=new, **more: choose(
                _old(*args, **more), _new(*args, **more)
            )


def reference(model, tail, depth, prompt_layers, rank, ids, start):
    """Scores [tokens, vocabulary], and the weights of layers and norms that they were computed with."""
    whole, trained = copy.deepcopy(model), copy.deepcopy(tail.shell.layers)
    for module in trained.modules():  # the shells' own
        module._forward_pre_hooks.clear()
    stack = find_layers(whole.base_model)
    layers = stack.layers
    for number in range(depth):
        position = LAYERS - depth + number
        if number >= depth - prompt_layers:
            layers[position] = trained[number]
        else:
            chosen_by_position(trained[number], layers[position], start, len(ids))
    parent = whole.base_model.get_submodule(".".join(stack.path[:-1]))
    norms = {name: getattr(parent, name) for name in tail.shell.norms}
    for name, norm in norms.items():
        norm.load_state_dict(tail.shell.norms[name].state_dict())
        norm.requires_grad_(not rank)
    used = {f"layers.{name}": weight for name, weight in trained.named_parameters()}
    for name, norm in norms.items():
        used |= {f"norms.{name}.{part}": weight for part, weight in norm.named_parameters()}
    return whole(torch.tensor([ids]), use_cache=False).logits[0], used


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
        keys = keys_to_matrix(cache, range(lower, upper), 0, slice(0, before + size))
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

    losses, gradients = 0.0, {}
    for text, size, example in zip(TEXTS, PROMPTS, encoded, strict=True):
        scores, used = reference(
            model, tail, depth, prompt_layers, rank, [*instruction, *text], before + size
        )
        loss = nn.functional.cross_entropy(
            scores[before + size :], torch.tensor(example.targets), reduction="sum"
        )
        losses = losses + loss.detach()
        loss.backward()
        for name, weight in used.items():
            if weight.grad is not None:
                gradients[name] = gradients.get(name, 0) + weight.grad
    targets = sum(len(example.targets) for example in encoded)
    assert abs(float(outcome.loss.detach() - losses / targets)) <= CLOSE
    ours = {name: weight for name, weight in tail.shell.named_parameters() if weight.grad is not None}
    assert ours.keys() == gradients.keys()
    for name, weight in ours.items():
        want = gradients[name] / targets
        assert (weight.grad - want).abs().max() <= CLOSE * max(1.0, float(want.abs().max())), name
