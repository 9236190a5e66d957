"""How findings quote and count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azubi.data.finding import Case, Finding, differing, excerpt, listed, share, some, where


def test_excerpts_are_short_and_on_one_line():
    assert excerpt("a\n  b\tc") == "“a b c”"
    assert excerpt("x" * 200, 10) == "“xxxxxxxxx…”"


def test_of_two_texts_the_difference_is_shown():
    head = "word " * 40
    left, other = differing(head + "is here now", head + "is there now")
    assert "here now" in left
    assert "there now" in other
    assert left.startswith("“…word")
    assert differing("same start", "same end") == ("“same start”", "“same end”")


@given(st.text(), st.text())
def test_any_two_texts_can_be_shown(left, other):
    assert all(len(shown) <= 92 for shown in differing(left, other))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 %"), (1, "100 %"), (0.00001, "0.1 %"), (0.9999, "99.9 %"), (0.05, "5.0 %"), (0.331, "33 %")],
)
def test_shares(value, text):
    assert share(value) == text


def test_counts_and_names():
    assert [some(1, "row"), some(1200, "row"), some(2, "has", "have")] == ["1 row", "1,200 rows", "2 have"]
    assert listed(["a", "b", "c"], 2) == "a, b and 1 more"


def test_places():
    plain = Finding(kind="x", level="note", title="", count=1, why="", remedy="")
    sides = plain.model_copy(update={"details": {"splits": ["data", "test"]}})
    case = lambda *lines: Case(lines=lines, text="")  # noqa: E731
    assert where(plain, case()) == ""
    assert where(plain, case(3)) == "line 3"
    assert where(plain, case(3, 1200, 5)) == "lines 3, 1,200 and 5"
    assert where(sides, case(3, 7)) == "line 3, test line 7"
