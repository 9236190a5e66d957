"""The simpler ways, on features whose right answers are known."""

import json

import numpy as np
import pytest

from azubi.data.contract import Contract
from azubi.data.example import Example, Turn
from azubi.engine.inference.answering import in_order
from azubi.evaluation.baselines import asking, simple
from azubi.evaluation.baselines.asking import EvaluationTask
from azubi.events.events import finish
from tests import tiny
from tests.evaluation.baselines.conftest import examples, task_of

LABELLED = examples(tiny.labels(40, seed=5))
NOTES = examples(tiny.records(40, seed=5))


def by_things(texts):
    """One direction for each line of business, and a little of the text's length."""
    rows = []
    for text in texts:
        row = [float(any(thing in text for thing in many)) for many in tiny.THINGS.values()]
        rows.append([*row, len(text) / 500])
    vectors = np.array(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def noise(texts):
    """Features that say nothing."""
    vectors = np.stack([np.random.default_rng(abs(hash(text)) % 2**32).normal(size=8) for text in texts])
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def answers(baseline):
    """To all notes, in their order."""
    return in_order(lambda asked: baseline.answer(asked, "constrained"), [note.turns for note in NOTES])


def shares(baseline, task, test):
    rows = finish(asking.ask(finish(baseline), task, test, range(len(test))))
    return sum(row.right for row in rows) / len(rows), rows


@pytest.mark.parametrize("make", [simple.regression, simple.nearest_neighbours])
def test_features_that_tell_the_label_give_the_label(labels, make):
    assert shares(make(labels, by_things), labels, LABELLED)[0] == 1.0


@pytest.mark.parametrize("make", [simple.regression, simple.nearest_neighbours])
def test_features_that_tell_nothing_give_nothing(labels, make):
    assert shares(make(labels, noise), labels, LABELLED)[0] < 0.65


def test_words_are_tried_too_so_that_a_poor_encoder_flatters_nobody(labels):
    baseline = finish(simple.regression(labels, noise, with_words=True))
    assert baseline.contender.says.startswith("logistic regression on words, C = ")
    assert f"the best of {2 * len(simple.INVERSE_PENALTIES)} " in baseline.contender.says
    assert shares(simple.regression(labels, noise, with_words=True), labels, LABELLED)[0] > 0.75


def test_the_setting_is_the_best_on_validation(labels):
    baseline = finish(simple.nearest_neighbours(labels, by_things))
    by_variant = {}
    for row in baseline.choice:
        by_variant.setdefault(row.variant, []).append(row.score)
    assert set(by_variant) == {f"{count} nearest" for count in simple.NEIGHBOURS}
    assert all(len(scores) == len(labels.validation) for scores in by_variant.values())
    best = baseline.contender.says.partition(";")[0]
    assert sum(by_variant[best]) == max(map(sum, by_variant.values()))


def test_confidence_is_a_probability_and_right_answers_have_more_of_it(labels):
    _, rows = shares(simple.regression(labels, by_things), labels, LABELLED)
    assert all(1 / 3 < row.confidence <= 1 for row in rows)


def test_votes_count_by_likeness():
    likeness = np.array([0.9, 0.5, 0.3, 0.1])
    assert simple.vote(likeness, ["a", "b", "b", "b"], 1) == ("a", 1.0)
    assert simple.vote(likeness, ["a", "b", "b", "b"], 3) == ("a", pytest.approx(0.9 / 1.7))
    assert simple.vote(likeness, ["a", "b", "b", "b"], 4) == ("a", pytest.approx(0.5))
    assert simple.vote(np.array([0.5, 0.4, 0.4]), ["a", "b", "b"], 3) == ("b", pytest.approx(0.8 / 1.3))


def test_the_most_frequent_label(labels):
    baseline = simple.most_frequent(labels)
    share, rows = shares(baseline, labels, LABELLED)
    answers = [example.answer for example in labels.train]
    best = max(set(answers), key=answers.count)
    assert {row.answer for row in rows} == {best}
    assert rows[0].confidence == answers.count(best) / len(answers)
    assert share == sum(example.answer == best for example in LABELLED) / len(LABELLED)


def record_case(records):
    examples = tuple(
        Example((Turn("user", f"note {place}"),), json.dumps(answer)) for place, answer in enumerate(records)
    )
    contract = Contract(task="json", fields=("a", "b", "c"))
    return EvaluationTask(contract, examples, examples[:1], "", 9)


def test_each_field_has_its_most_frequent_value():
    task = record_case(
        [
            {"a": "x", "b": 1, "c": None},
            {"a": "x", "b": 2},
            {"a": "y", "b": 2},
            {"a": "x", "b": True},
        ]
    )
    assert json.loads(simple.most_frequent_answer(task)) == {"a": "x", "b": 2}


def test_one_and_true_are_different_values():
    task = record_case([{"a": 1}, {"a": 1}, {"a": True}, {"a": True}, {"a": True}])
    assert json.loads(simple.most_frequent_answer(task)) == {"a": True}


def test_records_are_those_of_the_nearest(records):
    baseline = finish(simple.nearest_neighbours(records, by_things))
    known = {example.answer for example in records.train}
    for answer in answers(baseline):
        assert answer.text in known


def test_closed_fields_are_regressed_and_the_others_most_frequent(records):
    assert simple.closed_fields(records) == ("line",)
    _, rows = shares(simple.regression(records, by_things), records, NOTES)
    common = json.loads(simple.most_frequent_answer(records))["amount"]
    for row in rows:
        said, true = json.loads(row.answer), json.loads(row.truth)
        assert said["line"] == true["line"]
        assert said["amount"] == common


def test_derived_fields_are_computed(dear):
    for baseline in (
        simple.most_frequent(dear),
        simple.nearest_neighbours(dear, by_things),
        simple.regression(dear, by_things),
    ):
        for answer in answers(finish(baseline)):
            record = json.loads(answer.text)
            assert record["dear"] is (record["amount"] > 50)


def test_free_text_has_no_regression_but_neighbours():
    task = task_of(tiny.texts(60))
    assert simple.regression(task, by_things) is None
    baseline = finish(simple.nearest_neighbours(task, by_things))
    assert baseline.choice == []
    answer = answers(baseline)[0]
    assert answer.text in {example.answer for example in task.train}


def test_each_text_is_read_once():
    read = []
    features = simple.cached(lambda texts: read.extend(texts) or by_things(texts))
    first = features(["a car", "a van", "a car"])
    second = features(["a van", "a hotel"])
    assert read == ["a car", "a van", "a hotel"]
    np.testing.assert_array_equal(first[1], second[0])
    np.testing.assert_array_equal(first[0], first[2])
