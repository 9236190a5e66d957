"""What is left of a budget, and how estimates learn from what was measured."""

import pytest

from azubi.search.allowance import Allowance


def test_time_runs_out():
    now = [100.0]
    allowance = Allowance(130.0, lambda: now[0])
    assert allowance.left() == 30
    now[0] = 140.0
    assert allowance.left() == -10


def test_estimates_follow_what_was_measured_kind_by_kind():
    allowance = Allowance(0.0)
    assert allowance.expect("tail of a", 10) == 10
    allowance.learn("tail of a", 10, 30)
    assert allowance.expect("tail of a", 10) == pytest.approx(30)
    allowance.learn("tail of a", 30, 10)
    assert allowance.expect("tail of a", 10) == pytest.approx(10)
    assert allowance.expect("tail of b", 10) == 10
    allowance.learn("tail of b", 0, 5)  # nothing was planned, so nothing is learned of the ratio
    assert allowance.expect("tail of b", 10) == 10
