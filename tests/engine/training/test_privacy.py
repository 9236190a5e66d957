"""No example moves the weights by more than the bound, and what was spent stays below what was allowed."""

import math
import sys
from dataclasses import replace

import pytest
import torch

from azubi.engine.model import weights
from azubi.engine.model.batch import EncodedExample, collate
from azubi.engine.model.language_tail import LanguageTail
from azubi.engine.training import privacy
from azubi.engine.training.loop import Ended, Step, train
from azubi.engine.training.privacy import PrivateSteps, default_delta
from azubi.errors import SettingError, TrainingError

EPSILON = 4.0


@pytest.fixture(params=[0, 2], ids=["full weights", "low rank"])
def tail(school, request):
    return LanguageTail(school.model, 2, request.param, 0)


@pytest.fixture
def plan(plan):
    return replace(plan, epsilon=EPSILON)


def steps_of(tail, encoded, plan, steps=16):
    return PrivateSteps([weight for weight, _ in tail.groups()], encoded, plan, steps)


def gradient(tail):
    return torch.cat([weight.grad.flatten() for weight, _ in tail.groups()])


def silent(steps):
    """The same without noise."""
    steps.noise = 0.0
    return steps


def test_an_outlier_moves_the_sum_by_the_bound_at_most(school, tail, plan):
    """A million times as loud as the others: with and without it differ by clip / expected, and no more."""
    loud = replace(school.encoded[0], weight=1e6)
    tail.train()
    for clip in (1e-3, 0.5):
        steps = silent(steps_of(tail, school.encoded, replace(plan, clip=clip)))
        steps.gradients(tail, [loud, *school.encoded[1:]], school.read, None)
        together = gradient(tail)
        steps.gradients(tail, school.encoded[1:], school.read, None)
        without = gradient(tail)
        assert float((together - without).norm()) == pytest.approx(clip / plan.batch, rel=1e-3)


def test_without_noise_and_bound_it_is_the_sum_of_single_gradients(school, tail, plan):
    steps = silent(steps_of(tail, school.encoded, replace(plan, clip=1e9)))
    group = school.encoded[:4]
    steps.gradients(tail, group, school.read, None)
    measured = gradient(tail)
    tail.zero_grad()
    for lesson in group:
        tail(collate([lesson], school.read), None).loss.backward()
    expected = gradient(tail) / plan.batch
    assert torch.allclose(measured, expected, atol=1e-6)


def test_each_example_has_a_prime_of_its_own(school, tail, plan):
    """The prime's share of an example's gradient is scaled with it."""
    prime = school.read(school.encoded[5].tokens)[:3]
    steps = silent(steps_of(tail, school.encoded, replace(plan, clip=1e-2)))
    for group in (school.encoded[:1], school.encoded[:4]):
        steps.gradients(tail, group, school.read, prime)
        assert float(gradient(tail).norm()) <= len(group) * 1e-2 / plan.batch * (1 + 1e-5)


def test_an_example_that_is_no_number_counts_as_none(school, tail, plan):
    broken = EncodedExample((0,) * 3, (1,))

    def read(tokens):
        shape = school.read(school.encoded[0].tokens)[:3]
        return torch.full_like(shape, math.nan) if tokens == broken.tokens else school.read(tokens)

    steps = silent(steps_of(tail, school.encoded, plan))
    steps.gradients(tail, [broken], read, None)
    assert float(gradient(tail).norm()) == 0.0


def test_the_noise_is_as_loud_as_it_was_told(school, tail, plan):
    steps = steps_of(tail, school.encoded, replace(plan, clip=0.5))
    steps.gradients(tail, [], school.read, None)
    measured = gradient(tail)
    assert float(measured.std()) == pytest.approx(steps.noise * 0.5 / plan.batch, rel=0.05)
    steps.gradients(tail, [], school.read, None)
    assert not torch.equal(measured, gradient(tail))


def test_noise_does_not_follow_from_the_seed(school, tail, plan):
    torch.manual_seed(0)
    steps_of(tail, school.encoded, plan).gradients(tail, [], school.read, None)
    first = gradient(tail)
    torch.manual_seed(0)
    steps_of(tail, school.encoded, plan).gradients(tail, [], school.read, None)
    assert not torch.equal(first, gradient(tail))


def test_examples_are_drawn_by_themselves(school, tail, plan):
    steps = steps_of(tail, school.encoded, plan)
    sizes = [len(steps.draw()) for _ in range(2000)]
    rate = plan.batch / len(school.encoded)
    assert sum(sizes) / len(sizes) == pytest.approx(plan.batch, rel=0.05)
    mean = sum(sizes) / len(sizes)
    spread = sum((size - mean) ** 2 for size in sizes) / len(sizes)
    assert spread == pytest.approx(len(school.encoded) * rate * (1 - rate), rel=0.15)


@pytest.mark.parametrize("epsilon", [0.5, 2.0, 8.0])
def test_what_is_spent_grows_and_stays_below_what_was_allowed(school, tail, plan, epsilon):
    steps = steps_of(tail, school.encoded, replace(plan, epsilon=epsilon), steps=40)
    spent = [steps.spent(number).epsilon for number in (0, 1, 10, 40)]
    assert spent[0] == 0.0 and spent == sorted(spent)
    assert 0.9 * epsilon < spent[-1] <= epsilon
    assert steps.spent(40).delta == default_delta(len(school.encoded)) == 0.1 / 12


def test_a_smaller_epsilon_needs_more_noise(school, tail, plan):
    noises = [
        steps_of(tail, school.encoded, replace(plan, epsilon=epsilon)).noise for epsilon in (1.0, 4.0, 16.0)
    ]
    assert noises == sorted(noises, reverse=True)


def test_training_says_what_it_gave_away(school, tail, plan):
    before = weights.kept(tail)
    events = list(train(tail, school.encoded, school.validation, school.read, plan, has_instruction=False))
    (ended,) = (event for event in events if isinstance(event, Ended))
    steps = [event for event in events if isinstance(event, Step)]
    assert len(steps) == plan.epochs * math.ceil(len(school.encoded) / plan.batch)
    assert 0.5 * EPSILON < ended.spent.epsilon <= EPSILON and math.isfinite(ended.spent.epsilon)
    after = weights.trained(tail)
    assert any(not torch.equal(before[name], after[name]) for name in after)
    two = replace(plan, patience=1, learning_rate=0.0)  # the second epoch cannot be better
    events = list(train(tail, school.encoded, school.validation, school.read, two, has_instruction=False))
    assert 0 < events[-1].spent.epsilon < ended.spent.epsilon, "steps that were not made cost nothing"


def test_without_privacy_nothing_is_said(school, tail, plan):
    open_ = replace(plan, epsilon=None)
    *_, ended = train(tail, school.encoded, school.validation, school.read, open_, has_instruction=False)
    assert ended.spent is None


def test_with_little_noise_it_learns(school, plan):
    tail = LanguageTail(school.model, 2, 0, 0)
    lenient = replace(plan, epsilon=1e6, epochs=30, patience=99, learning_rate=1e-2, batch=6)
    events = [
        event
        for event in train(tail, school.encoded, school.encoded, school.read, lenient, has_instruction=False)
        if type(event).__name__ == "Epoch"
    ]
    assert events[-1].validation_loss < 0.8 * events[0].validation_loss


def test_weights_that_are_no_numbers_end_it(school, tail, plan, monkeypatch):
    monkeypatch.setattr("azubi.engine.training.state.TrainingState.move", lambda self, loss, targets: False)
    with pytest.raises(TrainingError, match="privacy"):
        list(train(tail, school.encoded, school.validation, school.read, plan, has_instruction=False))


def test_opacus_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "opacus", None)
    with pytest.raises(SettingError, match="opacus") as caught:
        privacy.check_available()
    assert "azubi[privacy]" in caught.value.remedy
