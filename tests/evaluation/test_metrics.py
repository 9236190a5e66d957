import json
import random
import subprocess
import sys
import time

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score

from azubi.data.contract import Contract, infer
from azubi.errors import DataError
from azubi.evaluation.metrics import measure, paired_difference, per_example, right
from azubi.events.figures import Score

COLOURS = Contract(task="labels", labels=("blue", "green", "red"))
CLAIM = Contract(task="json", fields=("code", "amount"))
TEXT = Contract(task="text")


def named(scores: tuple[Score, ...]) -> dict[str, Score]:
    return {score.name: score for score in scores}


def test_labels_by_hand() -> None:
    truths = ["red", "red", "blue", "blue"]
    answers = ["red ", "blue", "blue", "no idea"]
    scores = measure(COLOURS, answers, truths)
    assert [score.name for score in scores] == ["accuracy", "macro_f1"]
    assert scores[0].value == 0.5
    # red: 1 right, 2 true, 1 said: F1 = 2/3. blue: 1 right, 2 true, 2 said: F1 = 1/2.
    assert scores[1].value == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert all(score.n == 4 and 0 <= score.low <= score.value <= score.high <= 1 for score in scores)


@pytest.mark.parametrize("seed", range(5))
def test_macro_f1_is_that_of_scikit_learn(seed: int) -> None:
    draw = random.Random(seed)
    truths = [draw.choice(["red", "green", "red"]) for _ in range(60)]
    answers = [draw.choice([truth, "blue", "nonsense"]) for truth in truths]
    expected = f1_score(truths, answers, labels=["blue", "green", "red"], average="macro", zero_division=0)
    assert named(measure(COLOURS, answers, truths))["macro_f1"].value == pytest.approx(expected)


def test_macro_f1_interval_is_that_of_plain_resampling() -> None:
    draw = random.Random(3)
    truths = [draw.choice(COLOURS.labels) for _ in range(80)]
    answers = [truth if draw.random() < 0.7 else draw.choice(COLOURS.labels) for truth in truths]
    plain = []
    for _ in range(400):
        rows = draw.choices(range(80), k=80)
        plain.append(f1_score([truths[i] for i in rows], [answers[i] for i in rows], average="macro"))
    plain.sort()
    score = named(measure(COLOURS, answers, truths))["macro_f1"]
    assert score.low == pytest.approx(plain[10], abs=0.025)
    assert score.high == pytest.approx(plain[390], abs=0.025)


@pytest.mark.parametrize("seed", range(5))
def test_macro_f1_interval_holds_its_value_even_with_one_example_a_label(seed: int) -> None:
    draw = random.Random(seed)
    labels = tuple(f"intent_{i}" for i in range(60))
    answers = [label if draw.random() < 0.5 else draw.choice(labels) for label in labels]
    score = named(measure(Contract(task="labels", labels=labels), answers, labels))["macro_f1"]
    assert 0 <= score.low <= score.value <= score.high <= 1
    assert score.low < score.high


def test_records_by_hand() -> None:
    truth = '{"code": "A1", "amount": 10}'
    answers = [
        '{"amount": 10.0, "code": "A1"}',
        '{"code": "A1"}',
        '{"code": "A1", "amount": 10, "x": 1}',
        "A1",
    ]
    scores = named(measure(CLAIM, answers, [truth] * 4))
    assert list(scores) == ["record_exact", "parsable", "field:code", "field:amount"]
    assert [score.value for score in scores.values()] == [0.25, 0.75, 0.75, 0.5]


@pytest.mark.parametrize(
    ("answer", "truth", "expected"),
    [
        ('{"a": 1}', '{"a": 1.0}', True),
        ('{"a": true}', '{"a": 1}', False),
        ('{"a": [1, 2]}', '{"a": [2, 1]}', False),
        ('{"a": {"x": 1, "y": 2}}', '{"a": {"y": 2, "x": 1}}', True),
        ('{"a": null}', "{}", False),
        ('{"a": "1"}', '{"a": 1}', False),
        ("not a record", "not a record", False),
    ],
)
def test_right_record(answer: str, truth: str, expected: bool) -> None:
    assert right(Contract(task="json", fields=("a",)), answer, truth) is expected


def test_a_field_that_both_leave_out_is_right() -> None:
    scores = named(measure(CLAIM, ['{"code": "A1"}'], ['{"code": "A1"}']))
    assert scores["field:amount"].value == scores["record_exact"].value == 1


def test_text_by_hand() -> None:
    from sacrebleu import sentence_chrf

    truths = ["The claim is covered.", "Not covered."]
    answers = ["The claim is covered.\n", "It is not covered."]
    scores = named(measure(TEXT, answers, truths))
    assert list(scores) == ["chrf", "exact"]
    assert scores["exact"].value == 0.5
    second = sentence_chrf("It is not covered.", ["Not covered."]).score / 100
    assert scores["chrf"].value == pytest.approx((1 + second) / 2)
    assert right(TEXT, answers[0], truths[0]) and not right(TEXT, answers[1], truths[1])


def test_right_agrees_with_the_main_metric() -> None:
    answers, truths = ["red", "blue", "green?"], ["red", "red", "green"]
    values = per_example(COLOURS, answers, truths)["accuracy"]
    assert [right(COLOURS, a, t) for a, t in zip(answers, truths, strict=True)] == [v == 1 for v in values]


def test_difference_is_paired() -> None:
    truths = ["red"] * 50 + ["blue"] * 50
    base = ["red"] * 100
    better = ["red"] * 50 + ["blue"] * 30 + ["red"] * 20
    difference = paired_difference(COLOURS, base, better, truths)
    assert (difference.name, difference.n) == ("accuracy", 100)
    assert difference.value == pytest.approx(0.3)
    # Only the 30 gains vary: standard error sqrt(0.3 * 0.7 / 100) = 0.046, not that of two samples.
    assert difference.low == pytest.approx(0.3 - 1.96 * 0.046, abs=0.015)
    assert difference.high == pytest.approx(0.3 + 1.96 * 0.046, abs=0.015)
    assert difference.certain


def test_difference_of_equals_is_not_certain() -> None:
    truths = ["red", "blue"] * 10
    difference = paired_difference(COLOURS, truths, truths, truths)
    assert difference.value == 0
    assert difference.low < 0 < difference.high
    assert not difference.certain


def test_no_examples_and_uneven_lists_are_refused() -> None:
    with pytest.raises(DataError):
        measure(COLOURS, [], [])
    with pytest.raises(ValueError, match="1 answers, but 2 truths"):
        measure(COLOURS, ["red"], ["red", "blue"])


def test_the_same_answers_give_the_same_figures() -> None:
    truths = [json.dumps({"code": f"A{i % 7}", "amount": i}) for i in range(40)]
    answers = [text.replace("A3", "A4") for text in truths]
    assert measure(CLAIM, answers, truths) == measure(CLAIM, answers, truths)


def test_many_labels_are_measured_fast() -> None:
    draw = random.Random(0)
    labels = tuple(f"intent_{i}" for i in range(77))
    truths = [draw.choice(labels) for _ in range(3_000)]
    answers = [truth if draw.random() < 0.6 else draw.choice(labels) for truth in truths]
    start = time.perf_counter()
    measure(Contract(task="labels", labels=labels), answers, truths)
    assert time.perf_counter() - start < 5


def test_importing_the_metrics_is_light() -> None:
    heavy = ("altair", "vl_convert", "torch", "sklearn", "sacrebleu", "scipy", "jinja2")
    modules = "azubi.evaluation.metrics, azubi.evaluation.report, sys"
    code = f"import {modules}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_each_level_of_a_label_is_scored_by_its_own_part() -> None:
    contract = Contract(task="labels", labels=("a/x", "a/y", "b/x"), levels=("line", "peril"), separator="/")
    answers, truths = ["a/x", "a/y", "b/x", "b/y", "?"], ["a/x", "a/x", "a/x", "a/x", "b"]
    scores = measure(contract, answers, truths)
    assert [(score.name, score.value) for score in scores[:3]] == [
        ("accuracy", 0.2),
        ("level:line", 0.4),
        ("level:peril", 0.6),
    ]
    assert named(measure(COLOURS, ["red"], ["red"])).keys() == {"accuracy", "macro_f1"}


@pytest.mark.parametrize("seed", range(3))
def test_f1_of_sets_of_labels_is_that_of_scikit_learn(seed: int) -> None:
    draw, labels = random.Random(seed), ["a", "b", "c", "d"]
    truths, answers = ([draw.sample(labels, draw.randint(1, 3)) for _ in range(40)] for _ in range(2))
    contract = infer([json.dumps(labels), '["a"]'], "labels")
    scores = named(measure(contract, [json.dumps(a) for a in answers], [json.dumps(t) for t in truths]))
    true, said = ([[label in each for label in labels] for each in sets] for sets in (truths, answers))
    assert list(scores) == ["exact_set", "micro_f1", "macro_f1"]
    assert scores["exact_set"].value == np.mean(
        [set(a) == set(t) for a, t in zip(answers, truths, strict=True)]
    )
    for average in ("micro", "macro"):
        score = scores[f"{average}_f1"]
        assert score.value == pytest.approx(f1_score(true, said, average=average))
        assert score.low < score.value < score.high


def test_an_answer_that_is_no_list_misses_all_labels() -> None:
    contract = infer(['["a"]', '["a", "b"]'], "labels")
    scores = named(measure(contract, ["a", '["a"]'], ['["a"]', '["a"]']))
    assert scores["exact_set"].value == 0.5 and scores["micro_f1"].value == pytest.approx(2 / 3)


GRADES = Contract(task="labels", labels=("high", "low", "medium")).with_order(["low", "medium", "high"])


@pytest.mark.parametrize("seed", range(3))
def test_weighted_kappa_is_that_of_scikit_learn(seed: int) -> None:
    draw = random.Random(seed)
    truths = [draw.choice(GRADES.labels) for _ in range(80)]
    answers = [truth if draw.random() < 0.6 else draw.choice(GRADES.labels) for truth in truths]
    places = [[GRADES.order.index(label) for label in labels] for labels in (answers, truths)]
    kappa = named(measure(GRADES, answers, truths))["weighted_kappa"]
    assert kappa.value == pytest.approx(cohen_kappa_score(*places, weights="quadratic"))
    assert -1 <= kappa.low < kappa.value < kappa.high <= 1


def test_labels_with_an_order_by_hand() -> None:
    truths = ["low", "low", "medium", "high"]
    scores = named(measure(GRADES, ["low", "medium", "medium", "low"], truths))
    assert list(scores) == ["accuracy", "within_one", "macro_f1", "weighted_kappa"]
    assert (scores["accuracy"].value, scores["within_one"].value) == (0.5, 0.75)
    none = named(measure(GRADES, ["low", "low", "medium", "nonsense"], truths))
    far = named(measure(GRADES, ["low", "low", "medium", "low"], truths))
    assert none["within_one"].value == far["within_one"].value == 0.75
    assert named(measure(GRADES, truths, truths))["weighted_kappa"].value == 1
    alike = named(measure(GRADES, ["low"] * 4, ["low"] * 4))["weighted_kappa"]
    assert alike.value == 1 and alike.low < 1
