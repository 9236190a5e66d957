"""Which targets a lesson may leave out."""

import pytest
import torch

from azubi.engine.model.batch import EncodedExample, collate
from azubi.engine.model.language_tail import LanguageTail
from azubi.engine.training.example_weights import _CONTEXT, _MIN_COUNT, _UNMASKED_EVERY, mask_boilerplate

BOILERPLATE, END = (1, 2, 3, 4, 5), 99


def encoded(count, values):
    """Answers of one form: five fixed tokens, a value, two fixed tokens, the end."""
    return [
        EncodedExample((7, 8), (*BOILERPLATE, values[number % len(values)], 6, 7, END))
        for number in range(count)
    ]


def test_the_form_is_spared_and_the_values_are_not():
    masked = mask_boilerplate(encoded(2 * _MIN_COUNT, (20, 21)))
    assert {example.masked_targets for example in masked[1::_UNMASKED_EVERY]} == {
        frozenset({0, 1, 2, 3, 4, 6, 7})
    }


def test_some_lessons_teach_the_whole_form():
    masked = mask_boilerplate(encoded(2 * _MIN_COUNT, (20, 21)))
    assert all(not example.masked_targets for example in masked[::_UNMASKED_EVERY])
    assert sum(not example.masked_targets for example in masked) == len(masked) / _UNMASKED_EVERY


def test_nothing_is_spared_that_was_seen_too_seldom():
    assert not any(example.masked_targets for example in mask_boilerplate(encoded(_MIN_COUNT - 1, (20,))))


def test_a_token_that_is_once_another_is_never_spared():
    many = encoded(2 * _MIN_COUNT, (20,))
    odd = EncodedExample((7, 8), (*BOILERPLATE[:-1], 55, 20, 6, 7, END))
    assert all(4 not in example.masked_targets for example in mask_boilerplate([*many, odd]))


def test_only_the_tokens_just_before_are_looked_at():
    """A value further back does not make a context rare."""
    many = encoded(4 * _MIN_COUNT, range(20, 90))
    tail = tuple(range(100, 100 + _CONTEXT + 2))
    longer = [EncodedExample(example.tokens, (*example.targets[:-1], *tail, END)) for example in many]
    last = len(longer[0].targets) - 2
    assert last in mask_boilerplate(longer)[1].masked_targets


def test_the_end_is_always_taught():
    masked = mask_boilerplate(encoded(2 * _MIN_COUNT, (20,)))
    assert all(len(example.targets) - 1 not in example.masked_targets for example in masked)


def test_lessons_stay_what_they_were():
    plain = encoded(2 * _MIN_COUNT, (20, 21))
    assert [(example.tokens, example.targets) for example in mask_boilerplate(plain)] == [
        (example.tokens, example.targets) for example in plain
    ]


def test_each_answer_of_a_lesson_has_a_form_and_an_end_of_its_own():
    answer = (*BOILERPLATE, 20, END)
    places = (*range(7), *range(10, 17))
    several = [
        EncodedExample((7,) * 17, answer + answer, target_positions=places) for _ in range(2 * _MIN_COUNT)
    ]
    assert mask_boilerplate(several)[1].masked_targets == frozenset({*range(6), *range(7, 13)})


def test_a_label_is_never_spared():
    assert not any(
        example.masked_targets
        for example in mask_boilerplate([EncodedExample((7, 8), (3,))] * 3 * _MIN_COUNT)
    )


def test_a_batch_holds_only_the_targets_that_are_taught():
    lesson = EncodedExample((7, 8, 9, 10, 11), (3, 4, 5), frozenset({1}))
    batch = collate([lesson, lesson], lambda tokens: torch.zeros(len(tokens), 2))
    assert batch.targets.tolist() == [3, 5, 3, 5]
    assert batch.rows.tolist() == [2, 4, 7, 9]
    assert batch.owners.tolist() == [0, 0, 1, 1]
    assert batch.masked == 2


def test_the_loss_is_that_of_whole_answers_whose_spared_targets_cost_nothing(school):
    tail = LanguageTail(school.model, 2, 0, 0).eval()
    (lesson,) = [example for example in school.encoded if len(example.targets) > 2][:1]
    count = len(lesson.targets)
    with torch.no_grad():
        states = tail._hidden(school.read(lesson.tokens)[None], None)[0, -count:]
        each = torch.nn.functional.cross_entropy(
            tail.head(states), torch.tensor(lesson.targets), reduction="none"
        )
        got = tail(
            collate([EncodedExample(lesson.tokens, lesson.targets, frozenset({1}))], school.read), None
        )
    assert got.targets == count
    assert float(got.loss) == pytest.approx(float((each.sum() - each[1]) / count), abs=1e-5)
