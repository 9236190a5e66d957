"""Choosing on validation: the better one wins, on the same questions, within its time."""

import random
import time
from functools import partial

import pytest

from azubi.engine.inference.answering import Answer
from azubi.evaluation.baselines.asking import Candidate, race, race_in_two_stages
from azubi.events.events import finish, translate


def candidate(task, says, skill, pause=0.0):
    """Right with the chance `skill`."""
    truths = {example.turns: example.answer for example in task.validation}

    def answer(skill, questions):
        for number, question in enumerate(questions):
            time.sleep(pause)
            lucky = random.Random(f"{says} {question}").random() < skill
            yield number, Answer(truths[question] if lucky else "wrong", 0.5)

    return Candidate(says, partial(answer, skill))


def test_the_best_is_found_among_many(labels):
    many = [candidate(labels, f"c{place}", 0.1) for place in range(7)]
    many.insert(4, candidate(labels, "good", 0.95))
    result = finish(race("prompted", many, labels, 60))
    assert result.best[0].name == "good"
    assert result.not_tried == 0
    assert len(result.best[0].rows) == len(labels.validation)


def test_all_that_was_answered_becomes_rows_of_choice(labels):
    many = [candidate(labels, f"c{place}", place / 10) for place in range(9)]
    result = finish(race("prompted", many, labels, 60))
    assert len(result.rows) == sum(len(candidate.rows) for candidate in many)
    assert {(row.part, row.who) for row in result.rows} == {("choice", "prompted")}
    assert len({(row.variant, row.number) for row in result.rows}) == len(result.rows)
    ids = {row.number: row.id for row in result.rows}
    assert all(ids[row.number] == row.id for row in result.rows)
    assert [ids[number] for number in range(len(labels.checks))] == [check.id for check in labels.checks]
    assert all(row.right is (row.answer == row.truth) for row in result.rows)


def test_of_equal_ones_the_first_wins(labels):
    result = finish(race("x", [candidate(labels, name, 1.0) for name in "abcd"], labels, 60))
    assert result.best[0].name == "a"


def test_records_are_told_apart_by_their_fields_where_none_is_right(records):
    def says(text):
        return Candidate(text, lambda asked: ((place, Answer(text, 1.0)) for place in range(len(asked))))

    nothing, half = says('{"line": "x", "amount": 0}'), says('{"line": "motor", "amount": 0}')
    assert finish(race("x", [nothing, half], records, 60)).best[0] is half


def test_the_time_is_kept_and_what_was_not_tried_is_counted(labels):
    many = [candidate(labels, f"c{place}", 0.5, pause=0.02) for place in range(12)]
    begun = time.perf_counter()
    result = finish(race("x", many, labels, 0.3))
    assert time.perf_counter() - begun < 1.5
    assert result.not_tried > 0
    assert result.not_tried == sum(not candidate.rows for candidate in many)


def test_more_time_brings_more_questions(labels):
    def asked(seconds):
        many = [candidate(labels, f"c{place}", place / 4, pause=0.003) for place in range(4)]
        return len(finish(race("x", many, labels, seconds)).rows)

    assert asked(0.1) < asked(20) <= 4 * len(labels.checks)


def test_a_single_candidate_is_not_asked(labels):
    result = finish(race("x", [candidate(labels, "only", 0.5)], labels, 60))
    assert (result.best[0].name, result.rows) == ("only", ())


def test_progress_ends_where_it_said(labels):
    steps = []
    work = race("x", [candidate(labels, f"{n}", 0.5) for n in range(6)], labels, 60)
    finish(translate(work, steps.append))
    assert steps == sorted(steps)
    assert steps[-1].done == steps[-1].total == pytest.approx(12)


# Two things, one after the other.


def test_the_second_choice_is_made_among_the_best_of_the_first(labels):
    first = [candidate(labels, name, skill) for name, skill in (("a", 0.2), ("b", 0.9), ("c", 0.5))]
    seen = []

    def then(front):
        seen.extend(candidate.name for candidate in front)
        skills = {"b": 0.9, "b more": 1.0, "c": 0.5, "c more": 0.6}
        return [candidate(labels, name, skill) for name, skill in skills.items()]

    result = finish(race_in_two_stages("x", first, then, labels, 60, keep=2))
    assert seen == ["b", "c"]
    assert result.best[0].name == "b more"
    assert {row.variant for row in result.rows} == {"a", "b", "c", "b more", "c more"}
    assert len({(row.variant, row.number) for row in result.rows}) == len(result.rows)


def test_a_first_choice_without_alternative_is_not_asked(labels):
    first = [candidate(labels, "only", 0.1)]
    result = finish(
        race_in_two_stages(
            "x", first, lambda front: [*front, candidate(labels, "z", 1.0)], labels, 60, keep=1
        )
    )
    assert result.best[0].name == "z"
    steps = []
    work = race_in_two_stages("x", first[:1], lambda front: front, labels, 60, keep=1)
    finish(translate(work, steps.append))
    assert all(step.done <= step.total for step in steps)
