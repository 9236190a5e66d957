"""Which answers a person should see."""

from dataclasses import replace

import numpy as np
import pytest

from azubi.data.contract import Contract
from azubi.engine.inference.answering import Answer
from azubi.engine.inference.review import ReviewedAnswers
from azubi.pipeline.stages.packaging import certain_levels

LABELS = ("glass", "hail", "theft", "zoo")
RARE = Contract(task="labels", labels=LABELS, rare={"glass": 1, "zoo": 3})


def reviewed(answer, contract=RARE):
    ((_, judged),) = ReviewedAnswers(lambda _: iter([(0, answer)]), contract)([()])
    return judged


def answer(*probabilities, **more):
    chances = np.array(probabilities, np.float32)
    return Answer(LABELS[int(chances.argmax())], float(chances.max()), probabilities=chances, **more)


def test_an_answer_that_is_a_rare_label_goes_to_review():
    judged = reviewed(answer(0.9, 0.1, 0, 0, notes=("first",)))
    assert judged.review and judged.text == "glass"
    assert judged.notes == ("first", "“glass” had 1 training example, too few to learn: please check.")


@pytest.mark.parametrize(
    ("glass", "zoo", "review"), [(0.04, 0.02, True), (0.02, 0.04, True), (0.03, 0.01, False)]
)
def test_an_answer_that_may_be_a_rare_label_goes_to_review(glass, zoo, review):
    judged = reviewed(answer(glass, 1 - glass - zoo, 0, zoo))
    assert (judged.text, judged.review) == ("hail", review)
    likeliest = (
        "“zoo”, which had 3 training examples" if zoo > glass else "“glass”, which had 1 training example"
    )
    assert judged.notes == ((f"It may be {likeliest}: please check.",) if review else ())


def test_what_is_known_of_no_probabilities_or_said_by_others_is_left_alone():
    sure = answer(0.3, 0.7, 0, 0)
    assert reviewed(sure).review
    assert not reviewed(replace(sure, probabilities=None)).review
    assert not reviewed(replace(sure, by="base")).review
    assert not reviewed(sure, Contract(task="labels", labels=LABELS)).review


PERILS = Contract(
    task="labels",
    labels=("home/hail", "home/water", "motor/hail", "motor/theft"),
    levels=("line", "peril"),
    separator="/",
)


def perils(*probabilities):
    chances = np.array(probabilities, np.float32)
    return Answer(PERILS.labels[int(chances.argmax())], float(chances.max()), probabilities=chances)


@pytest.mark.parametrize(
    ("probabilities", "note"),
    [
        ((0.05, 0.9, 0.05, 0), ""),
        ((0.4, 0.45, 0.05, 0.1), "Only “home” is certain: please check the rest."),
        ((0.1, 0.2, 0.3, 0.4), "No level of it is certain: please check."),
    ],
)
def test_an_answer_falls_back_to_the_level_that_is_certain(probabilities, note):
    answers = ReviewedAnswers(lambda _: iter([(0, perils(*probabilities))]), PERILS, (0.8, 0.7))
    ((_, judged),) = answers([()])
    assert judged.notes == ((note,) if note else ()) and judged.review == bool(note)
    assert list(judged.levels) == ["home" if judged.text.startswith("home") else "motor", judged.text]
    sums = probabilities[0] + probabilities[1]
    assert judged.levels[judged.text.split("/")[0]] == pytest.approx(max(sums, 1 - sums))


def test_a_level_without_a_limit_is_never_certain_and_none_is_judged_without_limits():
    answer = perils(0, 1, 0, 0)
    ((_, judged),) = ReviewedAnswers(lambda _: iter([(0, answer)]), PERILS, (0.8, None))([()])
    assert judged.notes == ("Only “home” is certain: please check the rest.",)
    assert not reviewed(answer, PERILS).review


def test_each_level_is_certain_from_where_few_validation_answers_are_wrong():
    answers = [perils(0.5 - n / 200, 0.5 + n / 200, 0, 0) for n in range(1, 100)]
    answers += [perils(0.3, 0.3, 0.2, 0.2)] * 10
    truths = ["home/water" if n > 40 else "home/hail" for n in range(1, 100)] + ["motor/hail"] * 10
    line, peril = certain_levels(PERILS, answers, truths, 0.05)
    assert line == pytest.approx(1.0) and 0.68 < peril < 0.71
    assert certain_levels(PERILS, answers, ["motor/theft"] * 109, 0.05) == (None, None)
    assert certain_levels(PERILS, [replace(answers[0], probabilities=None)], truths[:1], 0.05) == ()
