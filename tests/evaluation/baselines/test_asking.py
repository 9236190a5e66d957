"""Answers as rows of the table: judged against the example, with their time and tokens."""

import math
import time

import pytest

from azubi.engine.inference.answering import Answer
from azubi.evaluation.baselines import asking
from azubi.evaluation.baselines.asking import Baseline, sample_numbers
from azubi.evaluation.prediction import Contender, table
from azubi.events.events import finish, translate
from tests import tiny
from tests.evaluation.baselines.conftest import examples

TEST = examples(tiny.records(30, seed=5))


class Clerk:
    """Knows every second answer, and is slow."""

    def __init__(self, pause=0.0, pace=0.0):
        self.pause, self.asked = pause, []
        self.baseline = Baseline(
            Contender(who="clerk"), self.answer, shared_tokens=60, seconds_per_question=pace
        )

    def answer(self, questions, mode):
        truths = {example.turns: (number, example.answer) for number, example in enumerate(TEST)}
        self.asked.append(len(questions))
        for number, question in reversed(list(enumerate(questions))):
            time.sleep(self.pause)
            position, truth = truths[question]
            text = truth if position % 2 else '{"line": "boat", "amount": 1}'
            yield number, Answer(text, math.nan if position == 3 else 0.25, read=10 + position, wrote=4)


def test_each_row_is_of_its_own_example(records):
    numbers = [5, 2, 9, 3]
    rows = finish(asking.ask(Clerk().baseline, records, TEST, numbers, mode="unconstrained"))
    assert [(row.number, row.id) for row in rows] == [(number, TEST[number].id) for number in numbers]
    assert [row.right for row in rows] == [True, False, True, True]
    assert [row.score for row in rows] == [1.0, 0.0, 1.0, 1.0]
    assert [row.confidence for row in rows] == [0.25, 0.25, 0.25, None]
    assert {(row.part, row.who, row.mode) for row in rows} == {("test", "clerk", "unconstrained")}
    assert [row.tokens_in for row in rows] == [10 + number + 15 for number in numbers]
    assert [row.tokens_out for row in rows] == [4] * 4
    assert table(rows).height == 4


def test_time_is_shared_evenly(records):
    rows = finish(asking.ask(Clerk(0.01).baseline, records, TEST, range(5)))
    assert len({row.seconds for row in rows}) == 1
    assert 0.01 <= rows[0].seconds < 0.05


def test_latency_is_of_questions_asked_alone(records):
    clerk = Clerk(0.005)
    rows = finish(asking.measure_latency(clerk.baseline, records, TEST))
    assert len(rows) == 20 and clerk.asked == [1] * 21
    assert all(row.part == "latency" and row.seconds >= 0.005 for row in rows)
    assert len({row.number for row in rows}) == 20
    assert all(row.id == TEST[row.number].id and row.tokens_in == 10 + row.number for row in rows)


def test_latency_of_the_slow_is_told_from_fewer(records):
    assert len(finish(asking.measure_latency(Clerk(0.03).baseline, records, TEST, seconds=0.01))) == 3
    assert 3 < len(finish(asking.measure_latency(Clerk(0.03).baseline, records, TEST, seconds=0.2))) < 20


def test_latency_asks_no_more_than_there_are(records):
    assert len(finish(asking.measure_latency(Clerk().baseline, records, TEST[:2]))) == 2


def test_all_are_asked_where_there_is_time(records):
    clerk = Clerk()
    rows = finish(asking.ask_within(clerk.baseline, records, TEST, 5))
    assert [row.number for row in rows] == list(range(30))
    assert clerk.asked == [30]


def test_as_many_are_asked_as_there_is_time_for(records):
    clerk, steps = Clerk(0.005, pace=0.02), []
    work = asking.ask_within(clerk.baseline, records, TEST, 0.12, fewest=2)
    rows = finish(translate(work, steps.append))
    # 2 or 3 at the pace that was seen before, then some of the rest at the quicker pace of those.
    assert clerk.asked[0] in (2, 3) and len(clerk.asked) == 2
    assert 3 < len(rows) < 30
    assert [row.number for row in rows] == sample_numbers(TEST, len(rows), 0)
    assert steps[-1][:2] == (len(rows), len(rows))
    assert sum(row.tokens_in for row in rows) == pytest.approx(
        sum(10 + row.number for row in rows) + 60, abs=len(rows) / 2
    )


def test_a_few_are_asked_whatever_they_take(records):
    assert len(finish(asking.ask_within(Clerk(pace=99.0).baseline, records, TEST, 0.0, fewest=7))) == 7
