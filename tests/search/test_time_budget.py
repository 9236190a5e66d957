"""What is left of a budget, and how estimates learn from what was measured."""

import pytest

from azubi.search.time_budget import TimeBudget


def test_time_runs_out():
    now = [100.0]
    allowance = TimeBudget(130.0, lambda: now[0])
    assert allowance.left() == 30
    now[0] = 140.0
    assert allowance.left() == -10


def test_estimates_follow_what_was_measured_kind_by_kind():
    allowance = TimeBudget(0.0)
    assert allowance.expect("tail of a", 10) == 10
    allowance.learn("tail of a", 10, 30)
    assert allowance.expect("tail of a", 10) == pytest.approx(30)
    allowance.learn("tail of a", 30, 10)
    assert allowance.expect("tail of a", 10) == pytest.approx(10)
    allowance.learn("tail of b", 0, 5)  # nothing was planned, so nothing is learned of the ratio
    assert allowance.expect("tail of b", 10) == pytest.approx(10)


def test_a_machine_that_gets_slower_is_expected_to_stay_so():
    allowance = TimeBudget(0.0)
    for _ in range(100):
        allowance.learn("tail", 1, 1)
    for _ in range(30):
        allowance.learn("tail", 1, 2)
    assert 1.9 < allowance.expect("tail", 1) < 2
    for _ in range(30):
        allowance.learn("tail", 1, 0.1)  # but what is quick for a while is no promise
    assert allowance.expect("tail", 1) > 1


def test_unknown_work_is_expected_to_be_as_slow_as_the_slowest_within_reason():
    allowance = TimeBudget(0.0)
    allowance.learn("trunk of a", 10, 10)
    allowance.learn("tail of a", 10, 17)
    assert allowance.expect("answers of a", 10) == pytest.approx(17)
    allowance.learn("tail of b", 0.01, 10)
    assert allowance.expect("answers of a", 10) == pytest.approx(30)


def test_one_slow_moment_is_no_slow_machine():
    """The first step of a process takes what only first ones do; nothing may be given up for it."""
    allowance = TimeBudget(1_200.0, clock=lambda: 0.0)
    allowance.learn("tail of a", 0.05, 1.1)
    assert allowance.expect("tail of a", 60) < 90
    for _ in range(10):
        allowance.learn("tail of a", 0.05, 1.1)
    assert allowance.expect("tail of a", 60) == pytest.approx(60 * 22)
