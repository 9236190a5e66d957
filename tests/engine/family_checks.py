"""Models of every family, cut and trained, for the checks that all families share."""

import re
from functools import cache

import pytest
import torch
from torch import nn
from transformers.utils import logging

from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.cache.filling import Origin, fill
from azubi.engine.model.batch import EncodedExample
from azubi.engine.model.trunk import InstructionState, Trunk
from azubi.engine.training.defaults import TrainingConfig
from azubi.engine.training.state import rate_factor
from tests.engine.families import DECODERS, ENCODERS, LAYERS, Family, sequences

CUTS = (0, 1, 2, LAYERS - 1)
CLOSE = 1e-5
NOTHING = InstructionState((), None, {})
INSTRUCTION = sequences((9,), seed=5)[0]
UNEQUAL = sequences((11, 7, 3, 12), seed=6)
PLAN = TrainingConfig(
    epochs=1,
    batch=2,
    learning_rate=1e-2,
    warmup=0.2,
    weight_decay=0.1,
    clip=1.0,
    patience=3,
    seed=7,
)

logging.set_verbosity_error()


@cache
def whole(family: Family):
    """The whole model; checks must leave it as it is."""
    return family.build()


def inner(family):
    model = whole(family)
    return model.base_model if family.kind == "decoder" else model


def trunk_of(family, *cuts):
    return Trunk(family.base(whole(family)), whole(family), cuts, torch.float32)


def close(got, want, tolerance=CLOSE):
    assert got.shape == want.shape
    size = max(1.0, want.abs().max().item())
    difference = (got.float() - want.float()).abs().max().item() / size
    assert difference <= tolerance, f"differs by {difference:.3g}"


def pad(rows):
    return nn.utils.rnn.pad_sequence(list(rows), batch_first=True)


def fingerprint(module):
    return {name: weight.clone() for name, weight in module.state_dict(keep_vars=True).items()}


def unchanged(module, before):
    now = module.state_dict(keep_vars=True)
    assert [name for name in before if not torch.equal(before[name], now[name])] == []


decoders = pytest.mark.parametrize("family", DECODERS, ids=lambda family: family.name)
encoders = pytest.mark.parametrize("family", ENCODERS, ids=lambda family: family.name)
both = pytest.mark.parametrize("family", DECODERS + ENCODERS, ids=lambda family: family.name)
cuts = pytest.mark.parametrize("cut", CUTS)


def plain_inputs(family, ids):
    """What the model's own forward is given for sequences of one length."""
    if family.kind == "encoder":
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return {"input_ids": ids, "use_cache": False}


def as_tail(inputs):
    return {name: value for name, value in inputs.items() if name != "input_ids"}


def lessons_of(kind):
    """Ten lessons of unequal length, five steps of two."""
    texts = sequences((9, 6, 8, 5, 10, 7, 6, 9, 4, 8), seed=11)
    if kind == "encoder":
        return [EncodedExample(text, (number % 3,)) for number, text in enumerate(texts)]
    return [
        EncodedExample(text[:-1], text[-answer:])
        for text, answer in zip(texts, (2, 3, 1, 2, 4, 1, 2, 3, 2, 1), strict=True)
    ]


def reader_of(family, trunk, cut, instruction, encoded, home):
    """The lessons' activations, through the cache on disk."""
    store = ActivationCache(home)
    origin = Origin("weights", cut, "tokenizer", "template", instruction, "float32", "torch")
    instruction_state = trunk.read_instruction(instruction) if instruction else NOTHING
    for _ in fill(trunk, store, {cut: origin}, instruction_state, [example.tokens for example in encoded]):
        pass
    return lambda tokens: store.read(origin.key(tokens))


NUMBERED = re.compile(r"(?:^|\.)(?:layers?|h)\.(\d+)\.")
LAST_NORM = re.compile(
    r"(?!embeddings)(?:.*\.)?"
    r"(?:norm|ln_f|final_layernorm|final_layer_norm|embedding_norm|final_norm)\.\w+"
)


def in_the_tail(name, cut):
    """Whether training changes the weight of that name in a whole model; told from names alone."""
    number = NUMBERED.search(name)
    return int(number.group(1)) >= cut if number else bool(LAST_NORM.fullmatch(name))


def in_the_whole(name, cut):
    """A regular expression for the name that a tail's weight has in the whole model."""
    layer = re.match(r"shell\.layers\.(\d+)\.(.*)", name)
    if layer:
        return rf"(?:.*\.)?(?:layers?|h)\.{int(layer.group(1)) + cut}\.{re.escape(layer.group(2))}"
    return rf"(?!.*\.\d+\.|embeddings)(?:.*\.)?{re.escape(name.removeprefix('shell.norms.'))}"


def train_whole(model, cut, loss_of, groups, extra=()):
    """Five steps of AdamW through a whole model whose trunk is frozen, written without the engine."""
    named = [(name, weight) for name, weight in model.named_parameters() if in_the_tail(name, cut)]
    trained = [(weight, 1.0) for _, weight in named] + [(weight, 10.0) for weight in extra]
    for weight, _ in trained:
        weight.requires_grad_(True)
    optimiser = torch.optim.AdamW(
        [
            {
                "params": [weight],
                "weight_decay": PLAN.weight_decay if weight.ndim > 1 else 0.0,
                "factor": factor,
            }
            for weight, factor in trained
        ],
        betas=(0.9, 0.98),
    )
    for step, group in enumerate(groups):
        for parameters in optimiser.param_groups:
            rate = PLAN.learning_rate * rate_factor(step, len(groups), PLAN.warmup)
            parameters["lr"] = rate * parameters["factor"]
        optimiser.zero_grad()
        loss_of(group).backward()
        nn.utils.clip_grad_norm_([weight for weight, _ in trained], PLAN.clip)
        optimiser.step()


def same_weights(tail, model, cut):
    """Every weight of the tail is that of the trained whole model; none of the trained ones is missing."""
    reference = dict(model.named_parameters())
    missing = {name for name in reference if in_the_tail(name, cut)}
    for name, weight in tail.shell.named_parameters(prefix="shell"):
        (match,) = [weight for weight in reference if re.fullmatch(in_the_whole(name, cut), weight)]
        close(weight.detach(), reference[match].detach())
        missing.discard(match)
    assert not missing


def factors_set(tail, seed=0):
    """Give LoRA's second factors, which start at zero, something to say."""
    dice = torch.Generator().manual_seed(seed)
    for name, weight in tail.named_parameters():
        if name.endswith("lora_b"):
            weight.data = 0.05 * torch.randn(weight.shape, generator=dice)
    return tail.eval()
