"""The time left: known from the start, falls to 0, and learns from what was slower than planned."""

from itertools import pairwise

import pytest

from azubi.planning import forecast
from azubi.planning.forecast import Eta

PLANNED = {"trunk": 10.0, "tail": 40.0, "evaluate": 10.0}


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(forecast, "time", clock)
    return clock


def work(eta_, clock, stage, seconds, steps=100):
    """Go through a stage that takes so long; gives the time left after each step."""
    left = [eta_.left(stage, 0.0)]
    for step in range(1, steps + 1):
        clock.now += seconds / steps
        left.append(eta_.left(stage, step / steps))
    return left


def test_at_the_start_it_is_what_was_planned(clock):
    assert Eta(PLANNED).left("trunk", 0.0) == 60.0


def test_it_falls_to_nothing_when_all_goes_as_planned(clock):
    eta_ = Eta(PLANNED)
    left = [seconds for stage, planned in PLANNED.items() for seconds in work(eta_, clock, stage, planned)]
    assert left == sorted(left, reverse=True)
    assert left[-1] == 0.0


def test_a_slow_stage_makes_itself_and_the_later_ones_look_longer_at_once(clock):
    eta_ = Eta(PLANNED)
    left = work(eta_, clock, "trunk", 20.0)
    assert left[50] == pytest.approx(10.0 + 2 * 50.0)
    assert eta_.left("tail", 0.0) == pytest.approx(2 * 50.0)


def test_a_stage_that_is_slow_for_its_own_reasons_does_not_make_the_later_ones_look_endless(clock):
    eta_ = Eta(PLANNED)
    work(eta_, clock, "trunk", 200.0)
    assert eta_.left("tail", 0.0) == pytest.approx(3 * 50.0)


def test_a_stage_too_short_to_tell_anything_teaches_nothing(clock):
    eta_ = Eta(PLANNED)
    work(eta_, clock, "trunk", 0.01)
    assert eta_.left("tail", 0.0) == pytest.approx(50.0)


def test_a_stage_is_learned_from_once(clock):
    eta_ = Eta(PLANNED)
    work(eta_, clock, "trunk", 30.0)
    before = eta_.left("trunk", 1.0)
    clock.now += 100.0
    assert eta_.left("trunk", 1.0) == before


def test_it_is_never_negative(clock):
    eta_ = Eta(PLANNED)
    eta_.left("evaluate", 0.0)
    clock.now += 500.0
    assert eta_.left("evaluate", 0.0) == 0.0


def test_a_stage_that_was_not_planned_counts_what_is_still_to_come(clock):
    assert Eta(PLANNED).left("data", 0.0) == 60.0


def uniform(seconds, pieces):
    return [(seconds / pieces, 1 / pieces)] * pieces


MACHINES = {
    "slower than planned": uniform(120.0, 40),
    "faster than planned": uniform(8.0, 40),
    "slow at first": [(6.0, 1 / 40), *uniform(40.0, 40)[1:]],
    "a few large batches": [piece for _ in range(5) for piece in [(10.0, 0.1), (0.0, 0.05), (0.0, 0.05)]],
    "an unsteady one": [(0.6 if number % 2 else 1.4, 1 / 40) for number in range(40)],
}


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("start", [0.0, 0.6])
def test_from_a_tenth_of_a_stage_on_it_is_within_a_quarter(clock, name, start):
    eta_ = Eta({"tail": 40.0})
    eta_.begin("tail", start)
    pieces = MACHINES[name]
    whole, done, spent = sum(seconds for seconds, _ in pieces), 0.0, 0.0
    for (seconds, share), (following, _) in pairwise([*pieces, (1.0, 0.0)]):
        clock.now += seconds
        done, spent = done + share, spent + seconds
        left = eta_.left("tail", start + (1 - start) * done)
        # What a slow first batch says of the others shows when a few of them are done.
        sure = done >= 0.1 and (name != "slow at first" or spent >= 2 * pieces[0][0])
        if sure and following:  # of reports that come together, the last one stays on the screen
            assert left == pytest.approx(whole - spent, rel=0.25, abs=0.02 * whole)


def test_what_was_done_before_a_stage_was_stopped_took_no_time_now(clock):
    eta_ = Eta({"tail": 40.0})
    eta_.begin("tail", 0.75)
    assert eta_.left("tail", 0.75) == 10.0
    clock.now += 1.0
    assert eta_.left("tail", 0.8) == pytest.approx(4.0)


def test_a_batch_that_ends_at_once_is_not_taken_for_speed(clock):
    eta_ = Eta({"base": 60.0, "specialist": 60.0})
    eta_.begin("base")
    clock.now += 30.0
    left = [eta_.left("base", done / 100) for done in range(1, 51)]
    assert left[-1] == pytest.approx(30.0 + 60.0)


def test_the_first_of_many_answers_that_are_done_at_once_does_not_look_like_hours(clock):
    eta_ = Eta({"baselines": 180.0})
    eta_.begin("baselines")
    clock.now += 27.0
    assert eta_.left("baselines", 1 / 720) <= 3 * 180.0
    assert eta_.left("baselines", 120 / 720) == pytest.approx(5 * 27.0)
