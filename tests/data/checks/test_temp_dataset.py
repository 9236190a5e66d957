"""What is put by comes back as it was, as often as it is asked for."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azubi.data.checks import ingest
from azubi.data.checks.ingest import TempDataset
from azubi.data.example import Example, Turn
from azubi.errors import DiskFull

texts = st.text(max_size=20)
turns = st.lists(
    st.builds(Turn, st.sampled_from(["system", "user", "assistant"]), texts, st.booleans()),
    min_size=1,
    max_size=3,
).map(tuple)
examples = st.builds(
    Example, turns, texts, st.integers(0, 2**40), texts, texts, texts, st.floats(0, 10, allow_nan=False)
)


def all_of(spool: TempDataset, size: int = 10_000) -> list[Example]:
    return [one for batch in spool.batches(size) for one in batch]


def numbered(count: int) -> list[Example]:
    return [Example((Turn("user", str(number)),), "x", number) for number in range(count)]


@given(st.lists(examples, max_size=20))
def test_what_was_put_in_comes_out(rows):
    spool = TempDataset.of(rows)
    assert len(spool) == len(rows)
    assert all_of(spool) == all_of(spool, 3) == rows
    assert spool.take(range(len(rows))) == dict(enumerate(rows))
    spool.close()


def test_batches_are_no_larger_than_asked_and_may_be_read_side_by_side(monkeypatch):
    monkeypatch.setattr(ingest, "_ROWS", 7)
    rows = numbered(50)
    spool = TempDataset.of(rows)
    assert max(len(batch) for batch in spool.batches(5)) == 5
    assert [one for one, other in zip(all_of(spool), all_of(spool), strict=True) if one != other] == []
    first, second = spool.batches(7), spool.batches(7)
    assert next(first) == next(second) == next(spool.batches(7)) == rows[:7]
    assert next(first) == rows[7:14]
    assert spool.take([49, 0, 8]) == {0: rows[0], 8: rows[8], 49: rows[49]}


def test_long_texts_are_written_before_they_fill_the_memory(monkeypatch):
    monkeypatch.setattr(ingest, "_CHARACTERS", 1000)
    spool = TempDataset.of(Example((Turn("user", "x" * 900),), "x" * 200) for _ in range(5))
    assert [len(batch) for batch in spool.batches()] == [1] * 5


def test_nothing_has_a_name_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    spool = TempDataset.of(numbered(20_000))
    assert os.listdir(tmp_path) == []
    assert len(all_of(spool)) == 20_000


def test_a_full_disk_is_told_with_the_remedy(monkeypatch):
    with open("/dev/full", "wb", buffering=0) as full:
        monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: full)
        with pytest.raises(DiskFull, match="TMPDIR"):
            all_of(TempDataset.of(numbered(10)))
