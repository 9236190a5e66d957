"""What took longer than planned makes what is like it look longer too."""

import pytest

from azubi.planning.benchmark_run import writing_pace
from azubi.planning.cost_model import CostModel


def timed(*pieces):
    costs = CostModel()
    for stage, planned, seconds in pieces:
        costs.observe(stage, planned, seconds)
    return costs


def test_a_stage_is_corrected_by_all_its_pieces():
    assert timed(("tail", 1.0, 3.0), ("tail", 3.0, 3.0)).seconds("tail", 10.0) == pytest.approx(15.0)


def test_what_was_not_timed_is_as_slow_as_the_slowest_within_reason():
    costs = timed(("trunk", 4.0, 8.0), ("tail", 1.0, 1.0))
    assert (costs.seconds("answers", 1.0), costs.seconds("tail", 1.0)) == (2.0, 1.0)
    assert timed(("tail", 1.0, 9.0)).seconds("answers", 1.0) == 3.0
    assert timed(("tail", 9.0, 1.0)).seconds("answers", 1.0) == 1.0, "a quick stage promises nothing"
    assert CostModel().seconds("tail", 1.0) == 1.0
    assert timed(("tail", 0.0, 1.0)).seconds("tail", 1.0) == 1.0, "nothing planned, nothing known"


def test_a_disk_is_like_no_arithmetic():
    assert timed(("tail", 1.0, 9.0)).seconds("checkpoints", 1.0) == 1.0
    assert timed(("checkpoints", 1.0, 9.0)).seconds("tail", 1.0) == 1.0


@pytest.mark.parametrize(("step", "row"), [(0.057, 0.002), (0.05, 0.0), (0.0, 0.01)])
def test_passes_and_answers_are_told_apart_on_any_processor(step, row):
    times = [(14, 14 * rows, 14 * (step + rows * row)) for rows in (4, 24)]
    assert writing_pace(*times) == pytest.approx((step, row))


def test_more_answers_that_took_less_time_cost_nothing_each():
    step, row = writing_pace((10, 40, 1.0), (10, 240, 0.8))
    assert (step, row) == (pytest.approx(0.08), 0.0)


def test_few_answers_at_once_say_as_much_as_they_can():
    assert writing_pace((10, 40, 1.0), (10, 40, 1.0)) == (pytest.approx(0.1), 0.0)
