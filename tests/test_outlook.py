"""The time left: known from the start, falls to 0, and learns from what was slower than planned."""

import pytest

from azubi import outlook
from azubi.outlook import Outlook

PLANNED = {"trunk": 10.0, "tail": 40.0, "evaluate": 10.0}


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(outlook, "time", clock)
    return clock


def work(look, clock, stage, seconds, steps=100):
    """Go through a stage that takes so long; gives the time left after each step."""
    left = [look.left(stage, 0.0)]
    for step in range(1, steps + 1):
        clock.now += seconds / steps
        left.append(look.left(stage, step / steps))
    return left


def test_at_the_start_it_is_what_was_planned(clock):
    assert Outlook(PLANNED).left("trunk", 0.0) == 60.0


def test_it_falls_to_nothing_when_all_goes_as_planned(clock):
    look = Outlook(PLANNED)
    left = [one for stage, seconds in PLANNED.items() for one in work(look, clock, stage, seconds)]
    assert left == sorted(left, reverse=True)
    assert left[-1] == 0.0


def test_a_slow_stage_makes_itself_look_longer_at_once(clock):
    look = Outlook(PLANNED)
    left = work(look, clock, "trunk", 30.0)
    assert left[50] == pytest.approx(15.0 + 50.0)


def test_a_slow_stage_makes_the_later_ones_look_longer(clock):
    look = Outlook(PLANNED)
    work(look, clock, "trunk", 30.0)
    assert look.left("tail", 0.0) == pytest.approx((0.5 + 0.5 * 3) * 50.0)


def test_a_stage_too_short_to_tell_anything_teaches_nothing(clock):
    look = Outlook(PLANNED)
    work(look, clock, "trunk", 0.01)
    assert look.left("tail", 0.0) == pytest.approx(50.0)


def test_a_stage_is_learned_from_once(clock):
    look = Outlook(PLANNED)
    work(look, clock, "trunk", 30.0)
    before = look.left("trunk", 1.0)
    clock.now += 100.0
    assert look.left("trunk", 1.0) == before


def test_it_is_never_negative(clock):
    look = Outlook(PLANNED)
    look.left("evaluate", 0.0)
    clock.now += 500.0
    assert look.left("evaluate", 0.0) == 0.0


def test_a_stage_that_was_not_planned_counts_what_is_still_to_come(clock):
    assert Outlook(PLANNED).left("data", 0.0) == 60.0
