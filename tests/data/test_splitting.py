"""The split never lets a prompt stand on two sides, and never moves an example."""

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from azubi.data.example import Example, Turn
from azubi.data.splitting import normalised, place, sample, split
from azubi.errors import DataError


def example(prompt: str, answer: str = "x", line: int = 0) -> Example:
    return Example((Turn("user", prompt),), answer, line)


def many(count: int, start: int = 0) -> list[Example]:
    return [example(f"question {n}", f"answer {n % 7}", n) for n in range(start, start + count)]


def prompts(side) -> set[str]:
    return {normalised(e.prompt) for e in side}


words = st.sampled_from(
    ["Hail", "hail", "HAIL", " hail", "\uff48ail", "fire", "Feuer", "theft", "flood", "storm"]
)
phrases = st.lists(words, min_size=1, max_size=3).map(" ".join)
examples_ = st.lists(st.builds(example, phrases, st.sampled_from("xyz")), max_size=60)


@settings(deadline=None, max_examples=50)
@given(examples_, st.integers(0, 5))
def test_no_prompt_on_two_sides(rows, seed):
    rows = [*rows, *many(40)]
    parts = split(rows, 0.25, 0.25, seed)
    sides = [prompts(side) for side in (parts.train, parts.validation, parts.test)]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    assert sum(map(len, (parts.train, parts.validation, parts.test))) + parts.duplicates == len(rows)


@settings(deadline=None, max_examples=50)
@given(examples_, examples_, st.randoms())
def test_new_rows_and_their_order_move_nothing(rows, more, random):
    before = split([*many(40), *rows], 0.25, 0.25)
    grown = [*many(40), *rows, *more, *many(20, 100)]
    random.shuffle(grown)
    after = split(grown, 0.25, 0.25)
    for old, new in (
        (before.train, after.train),
        (before.validation, after.validation),
        (before.test, after.test),
    ):
        assert {e.id for e in old} <= {e.id for e in new}


@settings(deadline=None, max_examples=50)
@given(examples_)
def test_the_same_every_time(rows):
    rows = [*many(40), *rows]
    assert split(rows, 0.2, 0.2, 3) == split(rows, 0.2, 0.2, 3)


@settings(deadline=None, max_examples=50)
@given(st.text(), st.integers(0, 9))
def test_places_lie_between_0_and_1(prompt, seed):
    assert 0 <= place(example(prompt), seed) < 1


@settings(deadline=None, max_examples=50)
@given(st.floats(0.05, 0.45), st.floats(0.05, 0.45), st.floats(0.05, 0.45))
def test_changing_one_share_leaves_the_other_side_alone(validation, test, other):
    rows = many(300)
    assume(validation + max(test, other) < 0.9)
    one, two = split(rows, validation, test), split(rows, validation, other)
    assert one.validation == two.validation


def test_shares_are_kept():
    parts = split(many(4000), 0.1, 0.15)
    assert len(parts.validation) == pytest.approx(400, abs=60)
    assert len(parts.test) == pytest.approx(600, abs=70)


def test_places_are_pinned():
    """Another hash would put test examples of existing specialists into training."""
    assert place(example("What is covered?")) == pytest.approx(0.42566379196942306)
    assert place(example(" what IS\n covered?")) == place(example("What is covered?"))
    assert place(example("What is covered?"), 1) != place(example("What is covered?"))


def test_exact_duplicates_are_kept_once():
    rows = many(50)
    copies = [replace(rows[3], line=99), example("QUESTION 3", "answer 3", 98)]
    parts = split([*rows, *copies], 0.2, 0.2)
    kept = [e for side in (parts.train, parts.validation, parts.test) for e in side]
    assert parts.duplicates == 1
    assert [e.line for e in kept if e.answer == "answer 3" and normalised(e.prompt) == "question 3"] == [
        3,
        98,
    ]


def test_a_given_test_is_kept_whole_and_kept_out():
    test = [example("Question 5", "other"), example("new"), example("new")]
    parts = split(many(50), 0.2, 0.3, test_given=test)
    assert parts.test == tuple(test)
    assert parts.overlapping == 1
    assert len(parts.train) + len(parts.validation) == 49
    assert "question 5" not in prompts(parts.train) | prompts(parts.validation)


def test_limits_take_the_same_few_in_proportion():
    whole = split(many(400), 0.2, 0.2)
    parts = split(many(400), 0.2, 0.2, limit=40, test_limit=10)
    assert (len(parts.train) + len(parts.validation), len(parts.test)) == (40, 10)
    assert len(parts.validation) == pytest.approx(10, abs=3)
    for few, all_ in (
        (parts.train, whole.train),
        (parts.validation, whole.validation),
        (parts.test, whole.test),
    ):
        assert [e for e in all_ if e in few] == list(few)
    assert parts == split(many(400), 0.2, 0.2, limit=40, test_limit=10)
    smaller = split(many(400), 0.2, 0.2, limit=20, test_limit=5)
    assert set(smaller.train) <= set(parts.train) and set(smaller.test) <= set(parts.test)
    assert split(many(400), 0.2, 0.2, limit=4000) == whole
    assert len(split(many(400), 0.2, 0.2, limit=3).validation) == 1


def test_samples_are_spread():
    taken = sample(many(1000), 100)
    assert len(set(taken)) == 100
    assert 30 < sum(e.line < 500 for e in taken) < 70


def test_too_few_examples_are_counted():
    with pytest.raises(DataError, match=r"1 examples give .*each needs at least 1"):
        split(many(1), 0.1, 0.1)
    with pytest.raises(DataError, match=r"5 examples, 4 of them left out as repeated, give"):
        split(many(1) * 5, 0.1, 0.1)
    with pytest.raises(DataError, match="the same answer"):
        split([example(f"q{n}") for n in range(60)], 0.2, 0.2)
    with pytest.raises(DataError, match="0 for test"):
        split(many(60), 0.2, 0.2, test_given=[])
