"""A head that decides each label on its own."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from azubi.engine.model.batch import EncodedExample, collate
from azubi.engine.model.label_sets import Examples, best_regression, chosen, outcome, regression, thresholds


def test_the_loss_of_an_example_is_that_of_its_set():
    encoded = [EncodedExample((1, 2), (1, 0, 1), weight=2.0), EncodedExample((3,), (0, 0, 1))]
    batch = collate(encoded, lambda tokens: torch.zeros(len(tokens), 4))
    scores = torch.tensor([[2.0, -1.0, 0.5], [1.0, -3.0, 2.0]])
    result = outcome(scores, batch)
    sure = torch.sigmoid(scores).tolist()
    first = -math.log(sure[0][0] * (1 - sure[0][1]) * sure[0][2])
    second = -math.log((1 - sure[1][0]) * (1 - sure[1][1]) * sure[1][2])
    assert result.losses.tolist() == pytest.approx([first, second])
    assert float(result.loss) == pytest.approx((2 * first + second) / 6)
    assert (result.targets, result.examples, result.right, result.rights.tolist()) == (6, 2, 1, [True, False])


def test_each_label_has_a_logistic_regression_against_the_rest():
    dice = np.random.default_rng(0)
    vectors = dice.normal(size=(60, 5)).astype(np.float32)
    truths = np.stack([vectors[:, 0] > 0, vectors[:, 1] > 1, np.zeros(60), np.ones(60)], 1).astype(int)
    weights = dice.uniform(0.5, 2, 60)
    examples = Examples(torch.from_numpy(vectors), torch.from_numpy(truths), torch.from_numpy(weights))
    rows, bias = regression(examples, 10.0)
    for label in range(2):
        model = LogisticRegression(C=10.0, max_iter=1_000).fit(vectors, truths[:, label], weights)
        assert rows[label].tolist() == pytest.approx(model.coef_[0].tolist(), abs=1e-4)
        assert float(bias[label]) == pytest.approx(float(model.intercept_[0]), abs=1e-4)
    assert not rows[2:].any() and bias[2:].tolist() == pytest.approx([-math.log(61), math.log(61)])


def test_the_penalty_is_the_best_on_examples_that_were_not_fitted():
    dice = np.random.default_rng(2)
    vectors = torch.nn.functional.normalize(torch.from_numpy(dice.normal(size=(80, 6))).float(), dim=-1)
    noise = torch.from_numpy(dice.normal(size=(80, 2)))
    clear = Examples(vectors, (vectors[:, :2] > 0).long(), torch.ones(80))
    blurred = Examples(vectors, (vectors[:, :2] + noise > 0).long(), torch.ones(80))
    sharp, soft = best_regression(clear), best_regression(blurred)
    assert sharp[0].norm() > 10 * soft[0].norm()
    assert (sharp[2].examples, sharp[2].chosen) == (80, True)
    assert sharp[2].accuracy > 0.85 > 0.5 > soft[2].accuracy


def test_a_threshold_lies_between_its_label_s_best_and_that_of_all():
    dice = np.random.default_rng(1)
    truths = (dice.random((200, 3)) < [0.3, 0.2, 0.01]).astype(float)
    chances = np.clip(truths * [0.3, 0.2, 0.3] + dice.random((200, 3)) * 0.4, 0, 1)
    limits = thresholds(chances, truths)
    common = limits[2]
    assert truths[:, 2].sum() < 5
    grid = np.linspace(0, 1, 401)
    micro = max(f1_score(truths.ravel(), chances.ravel() >= at) for at in grid)
    assert f1_score(truths.ravel(), chances.ravel() >= common) >= micro - 1e-9
    for label, limit in enumerate(limits[:2]):
        (own,) = thresholds(chances[:, [label]], truths[:, [label]])
        best = max(f1_score(truths[:, label], chances[:, label] >= at) for at in grid)
        assert f1_score(truths[:, label], chances[:, label] >= own) >= best - 1e-9
        assert limit == pytest.approx((own + common) / 2)
    assert limits[0] != common


def test_a_threshold_stays_at_half_where_that_is_as_good():
    assert thresholds(np.array([[0.9], [0.8], [0.2], [0.1]]), np.array([[1.0], [1], [0], [0]])) == (0.5,)
    assert thresholds(np.array([[0.9], [0.1]]), np.zeros((2, 1))) == (0.5,)
    (limit,) = thresholds(np.array([[0.4], [0.3], [0.2], [0.1]]), np.array([[1.0], [1], [0], [0]]))
    assert limit == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("chances", "empty", "given"),
    [((0.6, 0.2, 0.9), False, (0, 2)), ((0.1, 0.25, 0.7), False, (1,)), ((0.1, 0.2, 0.7), True, ())],
)
def test_a_set_is_empty_only_where_it_may_be(chances, empty, given):
    assert chosen(chances, (0.5, 0.3, 0.8), empty) == given
