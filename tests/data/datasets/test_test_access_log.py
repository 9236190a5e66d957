"""How often a test set was used is counted, whoever used it and whatever files it came from."""

from datetime import UTC, datetime

import pytest

from azubi.data.datasets.erased import Access, TestAccessLog
from azubi.data.example import Example, Turn
from azubi.errors import CorruptFile

THEN = datetime(2026, 11, 24, 9, tzinfo=UTC)


def examples(count, start=0):
    return [Example((Turn("user", f"note {n}"),), "motor", line=n) for n in range(start, start + count)]


def test_each_access_counts_whatever_the_order_and_the_lines(home):
    log, test = TestAccessLog(home), examples(5)
    assert log.at(test) == ()
    log.add(test, Access(when=THEN, by="tune a"))
    other_lines = [Example(example.turns, example.answer, line=99) for example in reversed(test)]
    accesses = log.add(other_lines, Access(when=THEN, by="prove claims@1"))
    assert [access.by for access in accesses] == ["tune a", "prove claims@1"]
    assert TestAccessLog(home).at(test) == accesses


def test_what_was_interrupted_and_goes_on_counts_once(home):
    log = TestAccessLog(home)
    log.add(examples(5), Access(when=THEN, by="tune a"))
    again = Access(when=datetime(2026, 11, 25, tzinfo=UTC), by="tune a")
    assert [access.when for access in log.add(examples(5), again)] == [THEN]


def test_another_test_set_is_counted_apart(home):
    log = TestAccessLog(home)
    log.add(examples(5), Access(when=THEN, by="tune a"))
    assert log.at(examples(5, start=1)) == ()
    assert log.at(examples(6)) == ()


def test_a_damaged_log_is_named(home):
    log = TestAccessLog(home)
    log.add(examples(5), Access(when=THEN, by="tune a"))
    (home / "data" / "test_accesses.json").write_text("{")
    with pytest.raises(CorruptFile, match=r"test_accesses\.json cannot be read"):
        log.at(examples(5))
