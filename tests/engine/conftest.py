"""A tiny decoder, and lessons with activations from its trunk."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch

from azubi.engine.model.batch import EncodedExample, Tokens
from azubi.engine.model.trunk import InstructionState, Trunk
from azubi.engine.training import state
from azubi.engine.training.defaults import TrainingConfig
from tests.engine.families import DECODERS, LAYERS, Family, sequences


@dataclass(frozen=True)
class Retrainer:
    """What a tail of two layers is trained with."""

    family: Family
    model: object
    encoded: list[EncodedExample]
    validation: list[EncodedExample]
    read: Callable[[Tokens], torch.Tensor]


def school_of(name: str) -> Retrainer:
    family = next(family for family in DECODERS if family.name == name)
    model = family.build()
    trunk = Trunk(family.base(model), model, [LAYERS - 2], torch.float32)
    texts = sequences(tuple(5 + number % 6 for number in range(16)), seed=3)
    encoded = [EncodedExample(text[:-1], text[-1 - number % 3 :]) for number, text in enumerate(texts)]
    known = {
        example.tokens: trunk.states([example.tokens], InstructionState((), None, {}))[LAYERS - 2][0].clone()
        for example in encoded
    }
    return Retrainer(family, model, encoded[:12], encoded[12:], known.__getitem__)


@pytest.fixture(scope="module")
def school() -> Retrainer:
    return school_of("llama")


@pytest.fixture
def plan() -> TrainingConfig:
    return TrainingConfig(
        epochs=4, batch=3, learning_rate=3e-3, warmup=0.1, weight_decay=0.0, clip=1.0, patience=9, seed=1
    )


@pytest.fixture
def soft_adam(monkeypatch):
    """AdamW that does not blow up rounding: a weight whose true gradient is zero stays where it is.

    There are such weights (a key's bias moves all scores alike); AdamW would divide their rounding
    errors by themselves and step at full rate in a random direction, in any implementation.
    """
    monkeypatch.setattr(torch.optim, "AdamW", partial(torch.optim.AdamW, eps=1e-3))
    monkeypatch.setattr(state, "_EPSILON", 1e-3)
