"""Rare answers count as much as frequent ones, and only in training."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from azubi.engine.model.batch import EncodedExample, collate
from azubi.engine.model.label_tail import LabelTail
from azubi.engine.training.example_weights import balanced, scaled
from azubi.engine.training.loop import as_trained
from azubi.errors import DataError
from azubi.settings import Recipe
from tests.engine.families import ENCODERS

LESSONS = [EncodedExample((number,), (label,)) for number, label in enumerate([0, 0, 0, 0, 0, 1, 2, 2])]


def read(tokens):
    return torch.randn(1, 32, generator=torch.Generator().manual_seed(tokens[0]))


def test_each_answer_counts_the_same_in_all():
    weighted = balanced(LESSONS)
    sums = [sum(example.weight for example in weighted if example.targets == (label,)) for label in range(3)]
    assert sums == pytest.approx([8 / 3] * 3)
    assert sum(example.weight for example in weighted) == pytest.approx(8)
    assert [replace(example, weight=1.0) for example in weighted] == LESSONS


def test_weights_are_scaled_to_a_mean_of_one_and_nothing_is_left_out():
    weighted = [replace(example, weight=3.0 * (example.targets == (0,))) for example in LESSONS[:-1]]
    weighted[0] = replace(weighted[0], weight=9.0)
    kept = scaled(weighted)
    assert [example.tokens for example in kept] == [(number,) for number in range(5)]
    assert [example.weight for example in kept] == pytest.approx([15 / 7] + [5 / 7] * 4)
    assert as_trained(weighted, Recipe(name="a")) == kept
    with pytest.raises(DataError, match="nothing to learn from"):
        scaled([replace(example, weight=0.0) for example in LESSONS])


def test_balance_comes_on_top_of_weights():
    heavy = [replace(example, weight=2.0 if example.tokens == (0,) else 1.0) for example in LESSONS]
    sums = [
        sum(example.weight for example in balanced(heavy) if example.targets == (label,))
        for label in range(3)
    ]
    assert sums == pytest.approx([3.0] * 3)
    assert balanced(heavy)[0].weight == pytest.approx(2 * balanced(heavy)[1].weight)


def test_it_is_off_unless_asked_for():
    assert as_trained(LESSONS, Recipe(name="a")) == LESSONS
    assert as_trained(LESSONS, Recipe(name="a", label_weights="balanced")) == balanced(LESSONS)
    assert collate(LESSONS, read).weights is None


def test_a_label_tail_weighs_its_loss():
    tail = LabelTail(ENCODERS[0].build(), 0, 0, 0, 3, "mean")
    batch = collate(balanced(LESSONS), read)
    scores = tail.scores(batch.states, batch.lengths)
    want = nn.functional.cross_entropy(scores, batch.targets, reduction="none")
    outcome = tail.train()(batch)
    assert torch.allclose(outcome.loss, (want * batch.weights).mean())
    plain = nn.functional.cross_entropy(scores, batch.targets, reduction="none")
    assert torch.allclose(outcome.losses, plain)
    assert torch.allclose(tail.eval()(collate(LESSONS, read)).loss, plain.mean())
