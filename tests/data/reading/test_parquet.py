"""Parquet."""

import resource
from datetime import date, datetime
from decimal import Decimal

import pyarrow
from pyarrow import parquet

from azubi.data.reading import read, stream
from tests.data.reading.writing import chat, pairs, refused


def write(tmp_path, **columns):
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table(columns), path, row_group_size=2)
    return path


def test_values_of_every_kind(tmp_path):
    path = write(
        tmp_path,
        q=["a", "b", "c"],
        whole=[1, 2, None],
        part=[1.5, float("nan"), 2.0],
        money=[Decimal("1.10"), Decimal("2.00"), None],
        day=[date(2024, 2, 3)] * 3,
        at=[datetime(2024, 2, 3, 4, 5)] * 3,
        flag=[True, False, None],
        more=[[1, 2], [], None],
    )
    mapping = {name: name for name in ("whole", "part", "money", "day", "at", "flag", "more")}
    first, second, third = read(path, "q", mapping, time="at").examples
    assert first.answer == (
        '{"whole": 1, "part": 1.5, "money": 1.1, "day": "2024-02-03", "at": "2024-02-03T04:05:00", '
        '"flag": true, "more": [1, 2]}'
    )
    assert '"part": null, "money": 2' in second.answer and '"whole": null' in third.answer
    assert (third.line, third.time) == (3, "2024-02-03T04:05:00")


def test_conversations(tmp_path):
    path = write(tmp_path, messages=[chat(("user", "a"), ("assistant", "b"))["messages"]] * 3)
    assert pairs(read(path)) == [("a", "b")] * 3


def test_bytes_are_left_out(tmp_path):
    path = write(tmp_path, prompt=["a"] * 30 + ["b"], answer=[b"\xff\x00"] * 31)
    assert "2 bytes of binary data (FF00…)" in refused(path).problem


def test_a_value_stored_once_that_stands_in_every_row(tmp_path):
    path = tmp_path / "a.parquet"
    values = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 5_000), ["x" * 300_000])
    parquet.write_table(pyarrow.table({"prompt": values, "answer": ["a"] * 5_000}), path)
    assert path.stat().st_size < 1_000_000  # and 1.5 GB if all of it were in memory
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(1 for _ in stream(path)) == 5_000
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 200_000_000
    (first, *_) = stream(path, limits={"row": 100_000})
    assert "has 300,001 characters; limits.row allows 100,000" in first.reason


def test_damaged(tmp_path):
    path = write(tmp_path, prompt=["a", "b"], answer=["x", "y"])
    data = path.read_bytes()
    for spoiled in (data[:-20], data[:40], b"PAR1" + bytes(200), data[:60] + b"\xff" * 30 + data[90:]):
        path.write_bytes(spoiled)
        assert "cannot be read as Parquet" in refused(path).problem


def test_too_large(tmp_path):
    path = write(tmp_path, prompt=["a" * 50_000] * 2, answer=["x", "y"])
    assert "row group 1 unfolds to" in refused(path, limits={"office": 1_000}).problem
