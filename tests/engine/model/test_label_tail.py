"""A label head begins as a nearest-centroid classifier, has a regression to beat, and learns fast."""

import math
from dataclasses import replace
from statistics import fmean, stdev

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from azubi.engine.model import weights
from azubi.engine.model.batch import EncodedExample
from azubi.engine.model.label_tail import SHARPNESS, LabelTail, pool
from tests.engine.families import ENCODERS

VECTORS = {
    (number,): torch.randn(1, 32, generator=torch.Generator().manual_seed(number)) for number in range(20)
}
LESSONS = [EncodedExample(tokens, (tokens[0] % 3,)) for tokens in VECTORS]


@pytest.fixture
def head_alone():
    return LabelTail(ENCODERS[0].build(), 0, 0, 0, 3, "mean")


def test_the_head_starts_at_the_labels_mean_directions(head_alone):
    head_alone.start_from_means(LESSONS, VECTORS.__getitem__, 4)
    for label in range(3):
        members = [VECTORS[example.tokens][0] for example in LESSONS if example.targets == (label,)]
        mean = torch.stack([member / member.norm() for member in members]).mean(0)
        assert torch.allclose(head_alone.head.weight[label], SHARPNESS * mean / mean.norm(), atol=1e-5)
    assert head_alone.head.bias.eq(0).all()
    # That is: it chooses the label whose mean has the smallest angle to the text.
    rows = nn.functional.normalize(head_alone.head.weight, dim=-1)
    for vector in VECTORS.values():
        scores = head_alone.scores(vector[None], torch.tensor([1]))[0]
        nearest = nn.functional.cosine_similarity(rows, vector).argmax()
        assert scores.argmax() == nearest


def test_a_label_without_examples_starts_at_nothing(head_alone):
    head_alone.start_from_means([LESSONS[0]], VECTORS.__getitem__, 4)
    assert head_alone.head.weight[1:].eq(0).all()
    assert head_alone.head.weight.isfinite().all()


@pytest.mark.parametrize("k, rank", [(0, 0), (2, 0), (2, 3)])
def test_the_head_learns_ten_times_as_fast(k, rank):
    tail = LabelTail(ENCODERS[0].build(), k, rank, 0, 3, "mean")
    factors = {id(weight): factor for weight, factor in tail.groups()}
    assert {factors.pop(id(weight)) for weight in tail.head.parameters()} == {10.0}
    assert set(factors.values()) <= {1.0}
    assert len(factors) == sum(weight.requires_grad for weight in tail.parameters()) - 2
    assert bool(factors) is bool(k)


def test_poolings():
    states = torch.tensor([[[1.0], [2.0], [6.0]], [[4.0], [8.0], [99.0]]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    assert pool(states, mask, "mean").tolist() == [[3.0], [6.0]]
    assert pool(states, mask, "cls").tolist() == [[1.0], [4.0]]
    assert pool(states, mask, "last").tolist() == [[6.0], [8.0]]


def test_scores_do_not_depend_on_the_states_length(head_alone):
    states = torch.randn(2, 5, 32)
    lengths = torch.tensor([5, 3])
    assert torch.allclose(
        head_alone.scores(states, lengths), head_alone.scores(7 * states, lengths), atol=1e-5
    )


# The logistic regression that training has to beat.


def noisy(count, labels, first=0):
    """Examples whose vector says a little of their label, and what reads them; weights differ."""
    generator = torch.Generator().manual_seed(first)
    vectors = torch.randn(count, 1, 32, generator=generator)
    encoded = []
    for number in range(count):
        vectors[number, 0, number % labels] += 2.0
        weight = (1.0, 0.25, 3.0, 1.5)[number // labels % 4]
        encoded.append(EncodedExample((first + number,), (number % labels,), weight=weight))
    return encoded, dict(zip((example.tokens for example in encoded), vectors, strict=True)).__getitem__


def probabilities(tail, encoded, read):
    states = torch.cat([read(example.tokens) for example in encoded])[:, None]
    with torch.no_grad():
        return tail.scores(states, torch.ones(len(encoded), dtype=torch.long)).softmax(-1).numpy()


def features(tail, encoded, read):
    states = torch.cat([read(example.tokens) for example in encoded])[:, None]
    with torch.no_grad():
        return tail.pooled(states, torch.ones(len(encoded), dtype=torch.long)).numpy()


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("k", [0, 2])
def test_the_head_is_scikit_learns_best_regression(k, labels):
    tail = LabelTail(ENCODERS[0].build(), k, 0, 0, labels, "mean")
    before = {name: value.clone() for name, value in tail.state_dict().items()}
    (train, read), (checks, read_checks) = noisy(90, labels), noisy(60, labels, first=1000)

    def read_all(tokens):
        return (read if tokens[0] < 1000 else read_checks)(tokens)

    simple = tail.start_from_means(train, read_all, 7, checks)
    assert tail.head.bias.eq(0).all()  # itself it starts at the means
    weights.restore(tail, simple)
    fits = []
    for inverse_penalty in (1.0, 10.0, 100.0, 1000.0):
        model = LogisticRegression(C=inverse_penalty, max_iter=1_000)
        counts = [example.weight for example in train]
        model.fit(features(tail, train, read), [example.targets[0] for example in train], counts)
        expected = model.predict_proba(features(tail, checks, read_checks))
        right = [row[example.targets[0]] for row, example in zip(expected, checks, strict=True)]
        losses = [-each.weight * math.log(p) for each, p in zip(checks, right, strict=True)]
        if fits:
            gains = [before - now for before, now in zip(fits[-1][0], losses, strict=True)]
            if fmean(gains) <= stdev(gains) / math.sqrt(len(gains)):
                break
        fits.append((losses, expected))
    assert 1 <= len(fits) < 4
    expected = fits[-1][1]
    assert abs(probabilities(tail, checks, read_checks) - expected).max() < 1e-5
    changed = [name for name, value in tail.state_dict().items() if not value.equal(before[name])]
    assert changed == ["head.weight", "head.bias"]  # the layers are untouched


def test_the_regression_respects_weights(head_alone):
    train, read = noisy(90, 3)
    train = [replace(each, weight=1e-6 if each.targets == (2,) else 1.0) for each in train]
    weights.restore(head_alone, head_alone.start_from_means(train, read, 8, train[:30]))
    chosen = probabilities(head_alone, train, read).argmax(-1)
    assert 2 not in chosen and {0, 1} <= set(chosen)


def test_a_label_without_examples_is_never_the_regressions_choice(head_alone):
    encoded, read = noisy(90, 3)
    train = [each for each in encoded if each.targets != (1,)]
    weights.restore(head_alone, head_alone.start_from_means(train, read, 8, train))
    assert probabilities(head_alone, encoded, read)[:, 1].max() < 1e-5


def test_one_label_alone_has_no_regression(head_alone):
    encoded, read = noisy(90, 3)
    train = [each for each in encoded if each.targets == (1,)]
    assert head_alone.start_from_means(train, read, 8, encoded) is None
    assert head_alone.start_from_means(encoded, read, 8) is None
