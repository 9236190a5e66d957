"""A label head begins as a nearest-centroid classifier and learns faster than the layers."""

import pytest
import torch
from torch import nn

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
