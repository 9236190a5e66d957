"""What is left of a budget, and how estimates learn from what was measured."""

import pytest

from azubi.planning.cost_model import CostModel
from azubi.search.trial_runner import TimeBudget


def test_time_runs_out():
    now = [100.0]
    budget = TimeBudget(130.0, lambda: now[0])
    assert budget.left() == 30
    now[0] = 140.0
    assert budget.left() == -10


def test_estimates_follow_what_was_measured_kind_by_kind():
    costs = CostModel(cautious=True)
    assert costs.seconds("tail of a", 10) == 10
    costs.observe("tail of a", 10, 30)
    assert costs.seconds("tail of a", 10) == pytest.approx(30)
    costs.observe("tail of a", 30, 10)
    assert costs.seconds("tail of a", 10) == pytest.approx(10)
    costs.observe("tail of b", 0, 5)  # nothing was planned, so nothing is learned of the ratio
    assert costs.seconds("tail of b", 10) == pytest.approx(10)


def test_a_machine_that_gets_slower_is_expected_to_stay_so():
    costs = CostModel(cautious=True)
    for _ in range(100):
        costs.observe("tail", 1, 1)
    for _ in range(30):
        costs.observe("tail", 1, 2)
    assert 1.9 < costs.seconds("tail", 1) < 2
    for _ in range(30):
        costs.observe("tail", 1, 0.1)  # but what is quick for a while is no promise
    assert costs.seconds("tail", 1) > 1


def test_unknown_work_is_expected_to_be_as_slow_as_the_slowest_within_reason():
    costs = CostModel(cautious=True)
    costs.observe("trunk of a", 10, 10)
    costs.observe("tail of a", 10, 17)
    assert costs.seconds("answers of a", 10) == pytest.approx(17)
    costs.observe("tail of b", 0.01, 10)
    assert costs.seconds("answers of a", 10) == pytest.approx(30)


def test_one_slow_moment_is_no_slow_machine():
    """The first step of a process takes what only first ones do; nothing may be given up for it."""
    costs = CostModel(cautious=True)
    costs.observe("tail of a", 0.05, 1.1)
    assert costs.seconds("tail of a", 60) < 90
    for _ in range(10):
        costs.observe("tail of a", 0.05, 1.1)
    assert costs.seconds("tail of a", 60) == pytest.approx(60 * 22)
