"""Explosions are noticed, noise is not taken for one; which epoch is the better one."""

import math
import random

import pytest

from azubi.engine.training.example_weights import DivergenceDetector, Validation


def noticed(losses):
    """The step at which going on is refused, or None."""
    detector = DivergenceDetector()
    return next((step for step, loss in enumerate(losses) if not detector.is_healthy(loss)), None)


def learning(steps, spread, dice, start=2.5, end=0.02):
    """Losses of a run that learns: falling, with noise as that of small batches, heavy on the upper side."""
    for step in range(steps):
        level = end + (start - end) * math.exp(-5 * step / steps)
        yield level * math.exp(dice.gauss(0, spread))


@pytest.mark.parametrize("spread", [0.1, 0.5, 1.0, 1.5])
def test_noise_is_no_explosion(spread):
    for seed in range(200):
        assert noticed(learning(600, spread, random.Random(seed))) is None


@pytest.mark.parametrize("spread", [0.1, 0.5, 1.0])
def test_noise_without_learning_is_no_explosion(spread):
    for seed in range(200):
        dice = random.Random(seed)
        assert noticed(math.exp(dice.gauss(0, spread)) for _ in range(600)) is None


def test_what_is_nearly_mastered_may_still_surprise():
    """Most steps have nothing left to teach; every tenth holds an example that is not understood at all."""
    dice = random.Random(0)
    first = [2.0] * 100
    assert noticed([*first, *(3.0 if dice.random() < 0.1 else 1e-4 for _ in range(5000))]) is None


@pytest.mark.parametrize("spread", [0.1, 0.5])
def test_worse_than_ever_is_noticed_also_if_it_comes_slowly(spread):
    dice = random.Random(1)
    grown = [2.5 * math.exp(step / 150 + dice.gauss(0, spread)) for step in range(900)]
    assert noticed(grown) is not None


@pytest.mark.parametrize("to", [1.5, 11.0, 1e6])
def test_what_was_learned_and_is_suddenly_lost_is_noticed_within_sixteen_steps(to):
    dice = random.Random(2)
    calm = list(learning(300, 0.3, dice))
    wild = [to * math.exp(dice.gauss(0, 0.3)) for _ in range(50)]
    assert 300 < noticed([*calm, *wild]) < 316


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("before", [0, 3, 200])
def test_what_is_no_number_is_noticed_at_once(loss, before):
    assert noticed([1.0] * before + [loss]) == before


def test_while_the_loss_is_suspicious_it_is_not_calm():
    detector = DivergenceDetector()
    for loss in learning(200, 0.1, random.Random(0)):
        assert detector.is_healthy(loss) and detector.calm
    assert detector.is_healthy(9.0)
    assert not detector.calm
    assert detector.is_healthy(0.02)
    assert detector.calm


def test_it_goes_on_from_what_it_remembered():
    dice = random.Random(3)
    losses = [*learning(150, 0.3, dice), *[8.0] * 20]
    for cut in (0, 5, 16, 17, 90, 155):
        detector = DivergenceDetector()
        for loss in losses[:cut]:
            detector.is_healthy(loss)
        rest = DivergenceDetector(detector.losses)
        healthy = [rest.is_healthy(loss) for loss in losses[cut:]]
        assert cut + healthy.index(False) == noticed(losses)
        assert len(detector.losses) <= 96


@pytest.mark.parametrize(
    ("examples", "right", "best", "lower_loss", "better"),
    [
        (24, 22, 23, True, True),  # a single answer of 24 says nothing, the loss does
        (24, 23, 22, False, False),
        (24, 24, 21, False, True),  # three answers do
        (24, 20, 23, True, False),
        (1000, 940, 920, False, True),
        (1000, 910, 920, True, False),
        (1000, 915, 920, True, True),
    ],
)
def test_the_loss_decides_between_epochs_unless_the_answers_clearly_do(
    examples, right, best, lower_loss, better
):
    before = Validation(1.0, best / examples, examples)
    assert Validation(0.9 if lower_loss else 1.1, right / examples, examples).better_than(before) is better
