"""What took longer than planned makes its like look longer too."""

import pytest

from azubi.planning.cost_model import Observation, Timings, writing_pace


def test_a_kind_is_corrected_by_all_its_pieces():
    seen = Timings((Observation("tail", 1.0, 3.0), Observation("tail", 3.0, 3.0)))
    assert seen.factor("tail") == pytest.approx(1.5)


def test_what_was_not_seen_goes_like_what_is_nearest_to_it():
    seen = Timings((Observation("trunk", 1.0, 2.0), Observation("tail", 1.0, 4.0)))
    assert seen.factor("reading") == 2.0 and seen.factor("writing") == 1.0
    assert seen.factor("validation") == 4.0
    assert Timings().factor("tail") == 1.0
    assert Timings((Observation("tail", 0.0, 1.0),)).factor("tail") == 1.0, "nothing planned, nothing known"


def test_a_disk_is_like_no_arithmetic():
    assert Timings((Observation("tail", 1.0, 9.0),)).factor("keeping") == 1.0


@pytest.mark.parametrize(("step", "row"), [(0.057, 0.002), (0.05, 0.0), (0.0, 0.01)])
def test_passes_and_answers_are_told_apart_on_any_processor(step, row):
    times = [(14, 14 * rows, 14 * (step + rows * row)) for rows in (4, 24)]
    assert writing_pace(*times) == pytest.approx((step, row))


def test_more_answers_that_took_less_time_cost_nothing_each():
    step, row = writing_pace((10, 40, 1.0), (10, 240, 0.8))
    assert (step, row) == (pytest.approx(0.08), 0.0)


def test_few_answers_at_once_say_as_much_as_they_can():
    assert writing_pace((10, 40, 1.0), (10, 40, 1.0)) == (pytest.approx(0.1), 0.0)
