"""Answers as rows of the table: judged against the example, with their time and tokens."""

import math
import time

import pytest

from azubi.engine.inference.answering import Answer
from azubi.evaluation.baselines import asking
from azubi.evaluation.baselines.task import subset
from azubi.evaluation.prediction import table
from azubi.events.tell import silent
from tests import tiny
from tests.evaluation.baselines.conftest import examples

TEST = examples(tiny.records(30, seed=5))


class Clerk:
    """Knows every second answer, and is slow."""

    who = "clerk"
    modes = ("constrained",)
    choice = ()
    notes = ()
    shared = 60

    def __init__(self, pause=0.0, pace=0.0):
        self.pause, self.pace, self.asked = pause, pace, []

    def answer(self, questions, mode="constrained"):
        truths = {one.turns: (place, one.answer) for place, one in enumerate(TEST)}
        self.asked.append(len(questions))
        for number, question in reversed(list(enumerate(questions))):
            time.sleep(self.pause)
            place, truth = truths[question]
            text = truth if place % 2 else '{"line": "boat", "amount": 1}'
            yield number, Answer(text, math.nan if place == 3 else 0.25, read=10 + place, wrote=4)


def test_each_row_is_of_its_own_example(records):
    numbers = [5, 2, 9, 3]
    rows = asking.ask(Clerk(), records, TEST, numbers, silent, mode="unconstrained", variant="x")
    assert [(one.number, one.id) for one in rows] == [(number, TEST[number].id) for number in numbers]
    assert [one.right for one in rows] == [True, False, True, True]
    assert [one.score for one in rows] == [1.0, 0.0, 1.0, 1.0]
    assert [one.confidence for one in rows] == [0.25, 0.25, 0.25, None]
    assert {(one.part, one.who, one.mode, one.variant) for one in rows} == {
        ("test", "clerk", "unconstrained", "x")
    }
    assert [one.tokens_in for one in rows] == [10 + number + 15 for number in numbers]
    assert [one.tokens_out for one in rows] == [4] * 4
    assert table(rows).height == 4


def test_time_is_shared_evenly(records):
    rows = asking.ask(Clerk(0.01), records, TEST, range(5), silent)
    assert len({one.seconds for one in rows}) == 1
    assert 0.01 <= rows[0].seconds < 0.05


def test_latency_is_of_questions_asked_alone(records):
    clerk = Clerk(0.005)
    rows = list(asking.latency(clerk, records, TEST, silent))
    assert len(rows) == 20 and clerk.asked == [1] * 21
    assert all(one.part == "latency" and one.seconds >= 0.005 for one in rows)
    assert len({one.number for one in rows}) == 20
    assert all(one.id == TEST[one.number].id and one.tokens_in == 10 + one.number for one in rows)


def test_latency_of_the_slow_is_told_from_fewer(records):
    assert len(list(asking.latency(Clerk(0.03), records, TEST, silent, seconds=0.01))) == 3
    assert 3 < len(list(asking.latency(Clerk(0.03), records, TEST, silent, seconds=0.2))) < 20


def test_latency_asks_no_more_than_there_are(records):
    assert len(list(asking.latency(Clerk(), records, TEST[:2], silent))) == 2


def test_all_are_asked_where_there_is_time(records):
    clerk = Clerk()
    rows = asking.ask_within(clerk, records, TEST, 5, silent)
    assert [one.number for one in rows] == list(range(30))
    assert clerk.asked == [30]


def test_as_many_are_asked_as_there_is_time_for(records):
    clerk, told = Clerk(0.005, pace=0.02), []
    rows = asking.ask_within(clerk, records, TEST, 0.12, lambda *one: told.append(one), fewest=2)
    # 2 or 3 at the pace that was seen before, then some of the rest at the quicker pace of those.
    assert clerk.asked[0] in (2, 3) and len(clerk.asked) == 2
    assert 3 < len(rows) < 30
    assert [one.number for one in rows] == subset(TEST, len(rows), 0)
    assert told[-1] == (len(rows), len(rows))
    assert sum(one.tokens_in for one in rows) == pytest.approx(
        sum(10 + one.number for one in rows) + 60, abs=len(rows) / 2
    )


def test_a_few_are_asked_whatever_they_take(records):
    assert len(asking.ask_within(Clerk(pace=99.0), records, TEST, 0.0, silent, fewest=7)) == 7
