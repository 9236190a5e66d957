"""How often a test set was looked at is counted, whoever looked and whatever files it came from."""

from datetime import UTC, datetime

import pytest

from azubi.data.datasets.test_access_log import Access, TestAccessLog
from azubi.data.example import Example, Turn
from azubi.errors import CorruptFile

THEN = datetime(2026, 11, 24, 9, tzinfo=UTC)


def examples(count, start=0):
    return [Example((Turn("user", f"note {n}"),), "motor", line=n) for n in range(start, start + count)]


def test_each_look_counts_whatever_the_order_and_the_lines(home):
    looks, test = TestAccessLog(home), examples(5)
    assert looks.at(test) == ()
    looks.add(test, Access(when=THEN, by="tune a"))
    other_lines = [Example(one.turns, one.answer, line=99) for one in reversed(test)]
    found = looks.add(other_lines, Access(when=THEN, by="prove claims@1"))
    assert [one.by for one in found] == ["tune a", "prove claims@1"]
    assert TestAccessLog(home).at(test) == found


def test_what_was_interrupted_and_goes_on_looks_once(home):
    looks = TestAccessLog(home)
    looks.add(examples(5), Access(when=THEN, by="tune a"))
    again = Access(when=datetime(2026, 11, 25, tzinfo=UTC), by="tune a")
    assert [one.when for one in looks.add(examples(5), again)] == [THEN]


def test_another_test_set_is_counted_apart(home):
    looks = TestAccessLog(home)
    looks.add(examples(5), Access(when=THEN, by="tune a"))
    assert looks.at(examples(5, start=1)) == ()
    assert looks.at(examples(6)) == ()


def test_a_damaged_book_is_named(home):
    looks = TestAccessLog(home)
    looks.add(examples(5), Access(when=THEN, by="tune a"))
    (home / "data" / "looks.json").write_text("{")
    with pytest.raises(CorruptFile, match=r"looks\.json cannot be read"):
        looks.at(examples(5))
