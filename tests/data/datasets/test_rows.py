"""Rows have stable ids, and a state of the data is called by what is in it."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azubi.data.datasets.rows import Row, from_json, rows_of, to_json, version_of
from azubi.data.example import Example, Turn

turns = st.lists(
    st.builds(Turn, st.sampled_from(["system", "user", "assistant"]), st.text()), min_size=1, max_size=4
)
examples = st.builds(
    Example,
    turns.map(tuple),
    st.text(),
    st.integers(0, 9),
    st.text(max_size=5),
    st.text(max_size=5),
    st.sampled_from(["", "2025-03-01"]),
    st.floats(0.1, 9),
)
rows = st.builds(Row, examples, st.sampled_from(["data", "test_data", "validation_data"]))


@settings(deadline=None, max_examples=60)
@given(rows)
def test_a_row_comes_back_from_its_line(row):
    assert "\n" not in to_json(row)
    assert from_json(to_json(row)) == row


@settings(deadline=None, max_examples=60)
@given(st.lists(rows, max_size=9), st.randoms())
def test_neither_order_nor_lines_matter_to_the_name(many, dice):
    other = [Row(replace(row.example, line=7), row.part) for row in many]
    dice.shuffle(other)
    assert version_of(other) == version_of(many)


def example(prompt="What is covered?", **more):
    return Example((Turn("user", prompt),), "all", **more)


def test_the_name_is_pinned():
    """Another way to name states would make new versions of data that did not change."""
    assert version_of(rows_of({"data": [example(key="C-1"), example("Else?")]})) == "d12370df6f10d472"


@pytest.mark.parametrize(
    "change",
    [
        {"answer": "none"},
        {"turns": (Turn("user", "Else?"),)},
        {"key": "a"},
        {"group": "a"},
        {"time": "2025"},
        {"weight": 2},
    ],
)
def test_whatever_else_changes_does(change):
    examples = example()
    assert version_of([Row(replace(examples, **change))]) != version_of([Row(examples)])
    assert version_of([Row(examples, "test_data")]) != version_of([Row(examples)])
    assert version_of([Row(examples), Row(examples)]) != version_of([Row(examples)])


def test_the_id_is_the_key_or_follows_from_the_content():
    assert Row(example(key="C-1")).id == "C-1"
    assert Row(example()).id == Row(example(line=5, group="x")).id == example().id
    assert Row(example(key="C-1")).ids == {"C-1", example().id}


def test_a_shared_system_message_has_no_part_in_what_is_asked():
    row = Row(Example((Turn("system", "Sort."), Turn("user", "Hail")), "home"))
    assert set(Row(Example((Turn("user", "hail"),), "home")).questions) < set(row.questions)


def test_rows_of_all_parts():
    examples, two = example(), example("Else?")
    assert rows_of({"data": [examples], "test_data": None, "validation_data": [two]}) == (
        Row(examples),
        Row(two, "validation_data"),
    )
