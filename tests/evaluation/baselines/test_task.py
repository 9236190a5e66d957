"""What baselines are given: derived fields are taken out and put back, samples are nested and fair."""

import json
from itertools import pairwise

import pytest

from azubi.evaluation.baselines.asking import sample_numbers, sample_order


def test_models_are_shown_records_without_derived_fields(dear):
    assert all("dear" in json.loads(example.answer) for example in dear.train)
    assert all(list(json.loads(example.answer)) == ["line", "amount"] for example in dear.learned_train)
    for whole, taught in zip(dear.train, dear.learned_train, strict=True):
        assert json.loads(dear.complete(taught.answer)) == json.loads(whole.answer)


def test_what_is_no_record_is_left_as_it_is(dear, labels):
    assert dear.complete("no record") == "no record"
    assert labels.complete("home") == "home"


def test_a_record_with_one_right_field_is_better_than_one_with_none(records):
    truth = '{"line": "motor", "amount": 3}'
    assert records.scores(truth, truth) == (1.0, 1.0)
    assert records.scores('{"line": "motor", "amount": 4}', truth) == (0.0, 0.5)
    assert records.scores('{"line": "home", "amount": 4}', truth) == (0.0, 0.0)
    assert records.scores("nonsense", truth) == (0.0, 0.0)


def test_checks_are_the_validation_examples_in_another_order(records):
    assert sorted(example.line for example in records.checks) == [
        example.line for example in records.validation
    ]
    assert [example.line for example in records.checks] != [example.line for example in records.validation]


def test_smaller_samples_lie_within_larger_ones(records):
    samples = [set(sample_numbers(records.train, count, 7)) for count in (1, 5, 20, 40, 100)]
    assert [len(sample) for sample in samples] == [1, 5, 20, 40, 40]
    assert all(smaller <= other for smaller, other in pairwise(samples))


def test_samples_are_fair():
    """Each of ten numbers is in a sample of three about three times in ten."""
    often = [sum(number in sample_order(10, seed)[:3] for seed in range(2_000)) for number in range(10)]
    assert [number / 2_000 for number in often] == [pytest.approx(0.3, abs=0.05)] * 10
