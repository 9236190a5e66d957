"""Parquet."""

import json
import resource
from datetime import date, datetime
from decimal import Decimal

import pyarrow
import pytest
from pyarrow import parquet

from azubi.data.readers.reading import read, stream
from azubi.errors import SettingError
from tests.data.readers.writing import chat, pairs, refused


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


def test_columns_that_nobody_asks_for_cost_nothing(tmp_path):
    path = tmp_path / "a.parquet"
    broken = pyarrow.array([b"\xff"] * 4).cast(pyarrow.binary()).view(pyarrow.string())
    columns = {
        "prompt": ["a", "b", "c", "d"],
        "answer": ["x", "y", "x", "y"],
        "at": pyarrow.array([1730000000123456789] * 4, pyarrow.timestamp("ns")),
        "scan": [bytes(range(256)) * 400] * 4,
        "broken": broken,
    }
    parquet.write_table(pyarrow.table(columns), path, use_dictionary=False)
    assert pairs(read(path)) == [
        ("a", "x"),
        ("b", "y"),
        ("c", "x"),
        ("d", "y"),
    ]
    assert "cannot be read: 'utf-8' codec" in refused(path, answer="broken").problem
    assert "it has “prompt”, “answer”, “at”, “scan”, “broken”" in refused(path, answer="team").problem


def test_values_that_python_has_no_kind_for(tmp_path):
    exact = pyarrow.array([1730000000123456789, 1730000000123456000, None], pyarrow.timestamp("ns"))
    lists = pyarrow.ListArray.from_arrays([0, 2, 2, 3], exact)
    path = write(
        tmp_path,
        q=["a", "b", "c"],
        at=exact,
        times=lists,
        far=pyarrow.array([3_000_000, None, 0], pyarrow.date32()),
        long=[Decimal("12345678901234567.89"), Decimal("1.10"), None],
        whole=[Decimal("1234567890123456789012"), None, None],
        coded=pyarrow.array(["x", "y", "x"]).dictionary_encode(),
        pairs=pyarrow.array([{"k": 1}, None, {}], pyarrow.map_(pyarrow.string(), pyarrow.int64())),
        parts=[{"at": 1, "in": ["x"]}, None, None],
    )
    fields = ("at", "times", "far", "long", "whole", "coded", "pairs", "parts")
    first, second, third = (
        json.loads(example.answer) for example in read(path, "q", {f: f for f in fields}).examples
    )
    assert first["at"] == "2024-10-27T03:33:20.123456789"
    assert first["times"] == [first["at"], second["at"]] and second["at"] == "2024-10-27T03:33:20.123456"
    assert (first["far"], third["far"]) == ("10183-09-21", "1970-01-01")
    assert (first["long"], second["long"], first["whole"]) == (
        "12345678901234567.89",
        1.1,
        1234567890123456789012,
    )
    assert (first["coded"], first["pairs"], third["pairs"]) == ("x", {"k": 1}, {})
    assert first["parts"] == {"at": 1, "in": ["x"]}
    assert read(path, "q", "coded", time="at").examples[0].time == "2024-10-27T03:33:20.123456"


def test_lists_of_texts_in_any_order_and_form(tmp_path):
    cells = ["urgent, liability", "liability ,urgent,urgent", "Liability", " , "]
    path = write(tmp_path, q=["a", "b", "c", "d"], cell=cells, several=[["b", "a"], [], None, ["a", None]])
    fields = {name: {"column": name, "separator": ","} for name in ("cell", "several")}
    records = [json.loads(example.answer) for example in read(path, "q", fields).examples]
    assert [record["cell"] for record in records] == [["liability", "urgent"]] * 2 + [["Liability"], []]
    assert [record["several"] for record in records] == [["a", "b"], [], None, ["a"]]
    with pytest.raises(SettingError, match="makes lists of texts"):
        read(path, "q", {"cell": {"column": "cell", "separator": ",", "type": "number"}})


def test_labels_that_are_numbers_get_the_names_in_the_files_metadata(tmp_path):
    labels = {"names": ["home", "motor"], "_type": "ClassLabel"}
    features = {
        "text": {"dtype": "string", "_type": "Value"},
        "label": labels,
        "tags": {"feature": labels, "_type": "List"},
        "old": [labels],
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    columns = {"text": ["a", "b", "c", "d"], "label": [1, 0, -1, 7]} | {
        name: [[0, 1]] * 4 for name in ("tags", "old")
    }
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table(columns).replace_schema_metadata(metadata), path)
    reading = read(path, "text", "label", limits={"rejected": 0.5})
    assert pairs(reading) == [("a", "motor"), ("b", "home")]
    assert [row.reason for row in reading.rejected] == [
        "no answer",
        "the label 7 has no name; the file names 0 to 1",
    ]
    assert "“label” stand for names, which are used: 0 is “home”, 1 is “motor”" in reading.notes[0]
    both = read(path, "text", {"tags": "tags", "old": "old"}).examples[0].answer
    assert json.loads(both) == {"tags": ["home", "motor"], "old": ["home", "motor"]}
    parquet.write_table(pyarrow.table(columns).replace_schema_metadata({"huggingface": "{"}), path)
    assert pairs(read(path, "text", "label"))[0] == ("a", "1")


def test_conversations(tmp_path):
    path = write(tmp_path, messages=[chat(("user", "a"), ("assistant", "b"))["messages"]] * 3)
    assert pairs(read(path)) == [("a", "b")] * 3


def test_bytes_are_left_out(tmp_path):
    path = write(tmp_path, prompt=["a"] * 30 + ["b"], answer=[b"\xff\x00"] * 31)
    assert "2 bytes of binary data (FF00…)" in refused(path).problem


def test_a_value_stored_once_that_stands_in_every_row(tmp_path, longest_row):
    path = tmp_path / "a.parquet"
    values = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 1_000), ["x" * 300_000])
    parquet.write_table(pyarrow.table({"prompt": values, "answer": ["a"] * 1_000}), path)
    assert path.stat().st_size < 1_000_000  # and 300 MB if all of it were in memory
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(1 for _ in stream(path)) == 1_000
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 200_000_000
    longest_row(100_000)
    (first, *_) = stream(path)
    assert "has 300,001 characters, more than 100,000" in first.reason


def test_damaged(tmp_path):
    path = write(tmp_path, prompt=["a", "b"], answer=["x", "y"])
    data = path.read_bytes()
    for spoiled in (data[:-20], data[:40], b"PAR1" + bytes(200), data[:60] + b"\xff" * 30 + data[90:]):
        path.write_bytes(spoiled)
        assert "a Parquet file and cannot be read" in refused(path).problem


def test_too_large(tmp_path):
    path = write(tmp_path, prompt=["a" * 100_000_000, "b"], answer=["x", "y"])
    assert path.stat().st_size < 20_000_000
    error = refused(path, limits={"memory": 100_000_000})
    assert "the memory that limits.memory allows" in error.problem and "--limits-memory" in error.remedy
