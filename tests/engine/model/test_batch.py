"""Which lessons go together, and what a batch says of them."""

from dataclasses import replace

import pytest
import torch

from azubi.engine.model.batch import EncodedExample, by_length, collate, order

LESSONS = [EncodedExample(tuple(range(number, number + 3 + number % 11)), (number,)) for number in range(50)]


def flat(batches):
    return [lesson for batch in batches for lesson in batch]


def test_the_same_arguments_give_the_same_order():
    assert order(LESSONS, 4, 7, 1) == order(LESSONS, 4, 7, 1)


@pytest.mark.parametrize("seed, epoch", [(7, 2), (8, 1)])
def test_another_epoch_or_seed_gives_another_order(seed, epoch):
    other = order(LESSONS, 4, seed, epoch)
    assert flat(other) != flat(order(LESSONS, 4, 7, 1))
    # Not only the order of the same batches.
    assert {frozenset(batch) for batch in other} != {frozenset(batch) for batch in order(LESSONS, 4, 7, 1)}


@pytest.mark.parametrize("size", [1, 4, 7, 50, 64])
def test_an_epoch_holds_every_lesson_once(size):
    batches = order(LESSONS, size, 7, 1)
    assert sorted(flat(batches), key=lambda example: example.targets) == LESSONS
    assert all(0 < len(batch) <= size for batch in batches)
    assert len(batches) == -(-50 // size)


def test_the_order_in_which_lessons_come_is_kept_out_of_the_epoch():
    assert flat(order(LESSONS, 4, 7, 1)) != LESSONS
    assert order([], 4, 7, 1) == []


def test_neighbours_are_of_like_length():
    encoded = [EncodedExample(tuple(range(1 + number % 20)), (0,)) for number in range(320)]

    def padding(batches):
        return sum(
            max(example.length for example in batch) - two.length for batch in batches for two in batch
        )

    unsorted = [encoded[start : start + 8] for start in range(0, 320, 8)]
    assert padding(order(encoded, 8, 1, 1)) < padding(unsorted) / 2


def test_for_measuring_lessons_come_by_length():
    lengths = [example.length for example in flat(by_length(LESSONS, 8))]
    assert lengths == sorted(lengths) and len(lengths) == 50


def states(tokens):
    """A token's state is its own number, twice."""
    return torch.tensor(tokens, dtype=torch.float32)[:, None].expand(-1, 2)


def test_targets_are_predicted_from_the_last_positions_of_each_lesson():
    batch = collate(
        [
            EncodedExample((1, 2, 3, 4, 5), (6, 7)),
            EncodedExample((8, 9), (10,)),
            EncodedExample((11, 12, 13), (14, 15, 16)),
        ],
        states,
    )
    read = batch.states.flatten(0, 1)[batch.rows][:, 0]
    assert read.tolist() == [4, 5, 9, 11, 12, 13]
    assert batch.targets.tolist() == [6, 7, 10, 14, 15, 16]
    assert batch.owners.tolist() == [0, 0, 1, 2, 2, 2]
    assert batch.lengths.tolist() == [5, 2, 3]
    assert batch.states.shape == (3, 5, 2)
    assert batch.states[1, 2:].eq(0).all()


def test_targets_may_lie_anywhere():
    several = EncodedExample((1, 2, 3, 4, 5, 6), (3, 4, 7, 8), target_positions=(1, 2, 4, 5))
    batch = collate([several, EncodedExample((8, 9), (10,))], states)
    assert batch.states.flatten(0, 1)[batch.rows][:, 0].tolist() == [2, 3, 5, 6, 9]
    assert batch.targets.tolist() == [3, 4, 7, 8, 10] and batch.owners.tolist() == [0, 0, 0, 0, 1]
    masked = collate([replace(several, masked_targets=frozenset({0, 2}))], states)
    assert masked.states.flatten(0, 1)[masked.rows][:, 0].tolist() == [3, 6] and masked.masked == 2


def test_the_last_answer_alone_is_measured():
    several = EncodedExample((1, 2, 3, 4, 5, 6), (3, 4, 7, 8), frozenset({1}), 3.0, (1, 2, 4, 5))
    assert several.answers == [(3, 4), (7, 8)]
    assert several.last_answer_only == EncodedExample((1, 2, 3, 4, 5, 6), (7, 8))
    example = EncodedExample((1, 2), (3,))
    assert example.last_answer_only is example and example.answers == [(3,)]


def test_a_label_belongs_to_one_kept_vector():
    batch = collate(
        [EncodedExample((1, 2, 3), (0,)), EncodedExample((4, 5), (1,))], lambda tokens: torch.ones(1, 2)
    )
    assert batch.rows.tolist() == [0, 1]
    assert batch.lengths.tolist() == [1, 1]
