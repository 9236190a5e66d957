"""The shares of a plan: what is done of training, and what each part of the evaluation takes."""

import pytest

from azubi.events.figures import Forecast


@pytest.fixture
def forecast():
    return Forecast(
        examples={}, tokens={}, known=0, setup=1.0, trunk=10.0, epoch=10.0, epochs=4, tail=40.0, checks=2.0,
        evaluate=12.0, base_answers=9.0, package=1.0, memory=None, cache=0, checkpoints=0, specialist=0,
        measured=1.0,
    )  # fmt: skip


def test_the_parts_are_all_that_is_to_come(forecast):
    assert sum(forecast.parts.values()) == sum(forecast.stages.values())
    assert (forecast.parts["base"], forecast.parts["specialist"]) == (9.0, 3.0)


def test_training_is_as_far_as_its_time_not_as_its_steps(forecast):
    steps, each = 40, 0.8  # ten steps of 0.8 s an epoch, and checks of 2 s behind them
    for step in range(1, steps + 1):
        spent = step * each + (step - 1) // 10 * 2.0
        assert forecast.trained(step, steps) == pytest.approx(spent / 40.0)
    assert forecast.trained(0, steps) == 0.0
