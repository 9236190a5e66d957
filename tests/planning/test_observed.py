"""What took longer than planned makes its like look longer too."""

import pytest

from azubi.planning.observed import Observation, Observed


def test_a_kind_is_corrected_by_all_its_pieces():
    seen = Observed((Observation("tail", 1.0, 3.0), Observation("tail", 3.0, 3.0)))
    assert seen.factor("tail") == pytest.approx(1.5)


def test_what_was_not_seen_goes_like_what_is_nearest_to_it():
    seen = Observed((Observation("trunk", 1.0, 2.0), Observation("tail", 1.0, 4.0)))
    assert seen.factor("reading") == 2.0 and seen.factor("writing") == 1.0
    assert seen.factor("validation") == 4.0
    assert Observed().factor("tail") == 1.0
    assert Observed((Observation("tail", 0.0, 1.0),)).factor("tail") == 1.0, "nothing planned, nothing known"


def test_a_disk_is_like_no_arithmetic():
    assert Observed((Observation("tail", 1.0, 9.0),)).factor("keeping") == 1.0
