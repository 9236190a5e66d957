"""Linear heads: scikit-learn's regressions on vectors, on words and on both, chosen by cross-validation."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from azubi.engine.model import linear_head, words
from azubi.engine.model.linear_head import fit, refit

THINGS = ("wasserschaden im keller", "feuer in der küche", "hagel auf dem auto")


def examples(count, labels=3, *, by_vector=0.0, by_words=0.0, seed=0):
    """Vectors and texts that give the label away with these chances."""
    generator = torch.Generator().manual_seed(seed)
    truths = torch.arange(count) % labels
    vectors = torch.randn(count, 16, generator=generator)
    told = torch.rand(count, generator=generator) < by_vector
    vectors[told, truths[told]] += 6.0
    named = torch.rand(count, generator=generator) < by_words
    texts = [f"{THINGS[truths[at]] if named[at] else 'schaden'} nr {at * 37 % 101}" for at in range(count)]
    return torch.nn.functional.normalize(vectors, dim=-1), texts, truths


def chosen(linear):
    (score,) = [score for score in linear.scores if score.chosen]
    return score.kind


def scores(linear, vectors, texts):
    vectors = torch.nn.functional.normalize(vectors - linear.centre, dim=-1)
    return vectors @ linear.rows.T + linear.bias + words.scores(texts, linear.words)


@pytest.mark.parametrize(
    "by_vector, by_words, kind", [(0.9, 0.0, "vectors"), (0.0, 0.9, "words"), (0.6, 0.6, "both")]
)
def test_the_simplest_of_the_best_is_chosen(by_vector, by_words, kind):
    vectors, texts, truths = examples(300, by_vector=by_vector, by_words=by_words)
    linear = fit(vectors, texts, truths, torch.ones(300), 3)
    assert chosen(linear) == kind
    assert bool(linear.words.any()) is (kind != "vectors")
    assert bool(linear.rows.any()) is (kind != "words")
    assert [score.kind for score in linear.scores] == ["vectors", "words", "both"]
    assert all(score.examples == 300 for score in linear.scores)
    new = examples(300, by_vector=by_vector, by_words=by_words, seed=1)
    right = (scores(linear, *new[:2]).argmax(1) == new[2]).float().mean()
    promised = next(score for score in linear.scores if score.chosen)
    assert abs(right - promised.accuracy) < 4 * promised.error  # what cross-validation says holds


@pytest.mark.parametrize("labels", [2, 3])
def test_vectors_alone_give_scikit_learns_regression(labels):
    vectors, texts, truths = examples(120, labels, by_vector=0.9)
    weights = torch.tensor([1.0, 0.25, 3.0]).repeat(40)
    linear = fit(vectors, texts, truths, weights, labels)
    assert chosen(linear) == "vectors"
    centred = torch.nn.functional.normalize(vectors - vectors.mean(0), dim=-1)
    found = scores(linear, vectors, texts).softmax(1).numpy()
    gaps = []
    for inverse_penalty in (1.0, 10.0, 100.0, 1000.0):
        model = LogisticRegression(C=inverse_penalty, max_iter=1_000).fit(centred, truths, weights)
        gaps.append(abs(model.predict_proba(centred) - found).mean())
    assert min(gaps) < 0.01 < sorted(gaps)[1]


def test_many_balanced_labels_are_learned():
    """The gradient's entries are small then: a fit must not end where it begins."""
    labels = torch.arange(150).repeat(4)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(150, 64, generator=generator)[labels]
    vectors = torch.nn.functional.normalize(vectors + 0.5 * torch.randn(600, 64, generator=generator), dim=-1)
    texts = [""] * 600
    linear = fit(vectors, texts, labels, torch.ones(600), 150)
    assert chosen(linear) == "vectors" and linear.scores[0].accuracy > 0.9
    assert (scores(linear, vectors, texts).argmax(1) == labels).all()


def test_labels_without_examples_are_never_chosen():
    vectors, texts, truths = examples(120, by_vector=0.6, by_words=0.6)
    linear = fit(vectors, texts, 2 * truths, torch.ones(120), 6)
    assert scores(linear, vectors, texts).softmax(1)[:, [1, 3, 5]].max() < 1e-3


def test_few_examples_of_many_labels():
    vectors, texts, _ = examples(7, by_vector=1.0)
    linear = fit(vectors, texts, torch.tensor([0, 0, 1, 2, 3, 4, 4]), torch.ones(7), 5)
    assert scores(linear, vectors, texts).isfinite().all()
    pair = fit(vectors[:2], texts[:2], torch.tensor([0, 1]), torch.ones(2), 2)
    assert scores(pair, vectors, texts).isfinite().all()


def test_of_many_examples_fewer_folds_are_fitted(monkeypatch):
    monkeypatch.setattr(linear_head, "_HELD_OUT", 50)
    vectors, texts, truths = examples(100, by_vector=0.9)
    assert {score.examples for score in fit(vectors, texts, truths, torch.ones(100), 3).scores} == {60}


def test_folds_hold_out_each_label_alike():
    truths = np.array([0] * 50 + [1] * 10)
    folds = linear_head._folds(truths)
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(60))
    assert [np.bincount(truths[test]).tolist() for _, test in folds] == [[10, 2]] * 5
    assert all(not set(train) & set(test) for train, test in folds)


def test_on_more_examples_what_was_chosen_stays():
    vectors, texts, truths = examples(300, by_vector=0.6, by_words=0.6)
    part = fit(vectors[:100], texts[:100], truths[:100], torch.ones(100), 3)
    whole = refit(part, vectors, texts, truths, torch.ones(300))
    assert (whole.penalties, whole.share, whole.scores) == (part.penalties, part.share, part.scores)
    new, new_texts, new_truths = examples(600, by_vector=0.6, by_words=0.6, seed=1)
    right = [(scores(head, new, new_texts).argmax(1) == new_truths).sum() for head in (part, whole)]
    assert right[1] > right[0]
    again = refit(part, vectors[:100], texts[:100], truths[:100], torch.ones(100))
    assert scores(again, new, new_texts).equal(scores(part, new, new_texts))
