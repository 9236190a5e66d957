"""A label head begins as a nearest-centroid classifier, has a linear head to beat, and learns fast."""

import pytest
import torch
from torch import nn

from azubi.engine.model import linear_head, weights, words
from azubi.engine.model.batch import EncodedExample, by_length, collate
from azubi.engine.model.label_tail import SHARPNESS, InferenceLabelTail, LabelTail, pool
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
        members = [unit(VECTORS[example.tokens][0]) for example in LESSONS if example.targets == (label,)]
        mean = torch.stack(members).mean(0)
        assert torch.allclose(head_alone.head.weight[label], SHARPNESS * mean / mean.norm(), atol=1e-5)
    assert head_alone.head.bias.eq(0).all()
    # That is: it chooses the label whose mean has the smallest angle to the text.
    rows = nn.functional.normalize(head_alone.head.weight, dim=-1)
    for vector in VECTORS.values():
        scores = head_alone.scores(vector[None], torch.tensor([1]))[0]
        nearest = nn.functional.cosine_similarity(rows, vector).argmax()
        assert scores.argmax() == nearest


def unit(vector):
    return nn.functional.normalize(vector, dim=-1)


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
    assert len(factors) == sum(weight.requires_grad for weight in tail.parameters()) - 4
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


# The linear head that training has to beat.


def noisy(count, labels, first=0):
    """Examples whose vector says a little of their label, as their text does, and what reads them."""
    generator = torch.Generator().manual_seed(first)
    vectors = torch.randn(count, 1, 32, generator=generator)
    encoded = []
    for number in range(count):
        vectors[number, 0, number % labels] += 2.0
        weight = (1.0, 0.25, 3.0, 1.5)[number // labels % 4]
        text = f"{('wasser', 'feuer', 'sturm')[number % labels] if number % 5 else 'schaden'} {number}"
        encoded.append(EncodedExample((first + number,), (number % labels,), weight=weight, text=text))
    return encoded, dict(zip((example.tokens for example in encoded), vectors, strict=True)).__getitem__


@torch.no_grad()
def scores(tail, encoded, read):
    states = torch.cat([read(example.tokens) for example in encoded])[:, None]
    lengths = torch.ones(len(encoded), dtype=torch.long)
    return tail.scores(states, lengths, [example.text for example in encoded])


@pytest.mark.parametrize("k", [0, 2])
def test_the_start_is_the_best_linear_head_above_untouched_layers(k):
    tail = LabelTail(ENCODERS[0].build(), k, 0, 0, 3, "mean")
    before = {name: value.clone() for name, value in tail.state_dict().items()}
    train, read = noisy(90, 3)
    start = tail.start_from_means(train, read, 7)
    assert tail.head.bias.eq(0).all()  # itself it starts at the means
    weights.restore(tail, start.state)
    ordered = [each for batch in by_length(train, 7) for each in batch]
    vectors, texts, labels, counts = tail._features(ordered, read, 7)
    linear = linear_head.fit(uncentred(tail, ordered, read), texts, labels, counts, 3)
    assert start.scores == linear.scores
    expected = vectors @ linear.rows.T + linear.bias + words.scores(texts, linear.words)
    assert torch.allclose(scores(tail, ordered, read), expected, atol=1e-4)
    changed = {name for name, value in tail.state_dict().items() if not value.equal(before[name])}
    assert changed == {"centre", "words", "head.weight", "head.bias"}  # the layers are untouched


@torch.no_grad()
def uncentred(tail, encoded, read):
    centre = tail.centre.clone()
    tail.centre.zero_()
    vectors, *_ = tail._features(encoded, read, 7)
    tail.centre.copy_(centre)
    return vectors


def test_a_tail_that_is_to_be_trained_has_neither_words_nor_centre(head_alone):
    train, read = noisy(90, 3)
    start = head_alone.start_from_means(train, read, 8)
    assert start.state["words"].any() and not head_alone.words.any()
    assert start.state["centre"].any() and not head_alone.centre.any()


def test_training_reads_no_words_and_measuring_does(head_alone):
    train, read = noisy(90, 3)
    weights.restore(head_alone, head_alone.start_from_means(train, read, 8).state)
    batch = collate(train, read)
    assert head_alone.words.any()
    without = head_alone.scores(batch.states, batch.lengths)
    head_alone.train()
    loss = nn.functional.cross_entropy(without, batch.targets, reduction="none")
    assert torch.allclose(head_alone(batch).losses, loss)
    head_alone(batch).loss.backward()
    assert head_alone.words.grad is None and head_alone.centre.grad is None
    assert head_alone.eval()(batch).losses.mean() < loss.mean()
    assert not {"words", "centre"} & {name for name, _ in trained_in_steps(head_alone)}


def trained_in_steps(tail):
    moved = {id(weight) for weight, _ in tail.groups()}
    return [(name, weight) for name, weight in tail.named_parameters() if id(weight) in moved]


def test_a_copy_for_answers_reads_words(head_alone):
    train, read = noisy(90, 3)
    weights.restore(head_alone, head_alone.start_from_means(train, read, 8).state)
    texts = [each.text for each in train]
    answers = InferenceLabelTail(head_alone).scores([read(each.tokens) for each in train], texts)
    assert torch.allclose(answers, scores(head_alone, train, read), atol=1e-5)


def test_weights_come_back_exactly(head_alone, tmp_path):
    train, read = noisy(90, 3)
    weights.restore(head_alone, head_alone.start_from_means(train, read, 8).state)
    weights.write(weights.trained(head_alone), tmp_path / "tail.safetensors")
    again = LabelTail(ENCODERS[0].build(), 0, 0, 1, 3, "mean")
    weights.restore(again, weights.read(tmp_path / "tail.safetensors"))
    assert scores(again, train, read).equal(scores(head_alone, train, read))


def test_what_is_kept_of_the_start_knows_the_validation_examples(head_alone):
    (train, read), (checks, read_checks) = noisy(60, 3), noisy(60, 3, first=1000)

    def read_all(tokens):
        return (read if tokens[0] < 1000 else read_checks)(tokens)

    start = head_alone.start_from_means(train, read_all, 8, checks)
    alone = head_alone.start_from_means(train, read_all, 8)
    assert all(weight.equal(alone.state[name]) for name, weight in start.state.items())
    assert all(weight.equal(alone.refitted[name]) for name, weight in alone.state.items())
    losses = []
    for state in (start.state, start.refitted):
        weights.restore(head_alone, state)
        losses.append(head_alone.eval()(collate(checks, read_all)).loss)
    assert losses[1] < losses[0]


def test_one_label_alone_has_no_linear_head(head_alone):
    encoded, read = noisy(90, 3)
    train = [each for each in encoded if each.targets == (1,)]
    assert head_alone.start_from_means(train, read, 8) is None
