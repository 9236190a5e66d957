"""Rows with their answers as a file: the source's own columns as they were, and what was answered."""

import csv
import json
import math
from datetime import UTC, date, datetime
from pathlib import Path

import openpyxl
import pytest
from pyarrow import parquet

from azubi.cli.ask import ADDED, AnswerTable, added_names
from azubi.data.readers.row import Asked
from azubi.engine.inference.answering import Answer, unanswered
from azubi.errors import SettingError

SAID = [
    Answer("Haftpflicht", 0.9, scope=1.5, in_scope=True),
    Answer('=HYPERLINK("x")', 0.5, notes=("-1+1 is odd.",), scope=-3.0, in_scope=False),
    unanswered("The row is empty."),
    Answer("-1.250,00", 0.8),
]
ROWS = [
    Asked(2, {"note": "=1+1", "sum": 7, "when": date(2024, 2, 3)}),
    Asked(3, {"note": "zwei\nZeilen", "sum": 1.5, "when": None}),
    Asked(4, {}),
    Asked(5, {"note": "ü", "sum": None, "when": None}),
]


def read(path: Path) -> list[dict[str, object]]:
    if path.suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [{name: value or None for name, value in row.items()} for row in csv.DictReader(file)]
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    if path.suffix == ".parquet":
        return parquet.read_table(path).to_pylist()
    names, *rows = openpyxl.load_workbook(path).active.iter_rows()
    return [{name.value: cell.value for name, cell in zip(names, row, strict=True)} for row in rows]


def written(path, rows=ROWS, answers=SAID):
    table = AnswerTable(path, None)
    table.write(rows, {"triage": answers})
    return read(path), table


@pytest.mark.parametrize("kind", ["csv", "xlsx", "jsonl", "parquet"])
def test_each_row_with_its_answer_beside_its_own_columns(kind, tmp_path):
    rows, _ = written(tmp_path / f"a.{kind}")
    assert [list(row) for row in rows] == [["note", "sum", "when", *ADDED]] * 4
    assert [row["note"] for row in rows] == ["=1+1", "zwei\nZeilen", None, "ü"]
    assert [str(row["row"]) for row in rows] == ["2", "3", "4", "5"]
    assert [row["confidence"] and float(row["confidence"]) for row in rows] == [0.9, 0.5, None, 0.8]
    assert [str(row["in_scope"]).lower() for row in rows] == ["true", "false", "none", "none"]
    assert [str(row["review"]).lower() for row in rows] == ["false", "true", "true", "false"]
    assert [row["by"] for row in rows] == ["specialist", "specialist", "nobody", "specialist"]
    assert rows[0]["answer"] == "Haftpflicht" and rows[2]["answer"] is None
    assert rows[2]["notes"] == "The row is empty." and rows[0]["notes"] is None
    assert str(rows[0]["when"]).startswith("2024-02-03")


@pytest.mark.parametrize("kind", ["csv", "xlsx", "jsonl", "parquet"])
def test_an_answer_never_becomes_a_formula(kind, tmp_path):
    rows, table = written(tmp_path / f"a.{kind}")
    mark = "'" if kind == "csv" else ""
    assert rows[1]["answer"] == f'{mark}=HYPERLINK("x")' and rows[1]["notes"] == f"{mark}-1+1 is odd."
    assert rows[3]["answer"] == "-1.250,00", "a number is none"
    assert bool(table.notes) == (kind == "csv")
    if kind == "xlsx":
        sheet = openpyxl.load_workbook(tmp_path / "a.xlsx").active
        assert not any(cell.data_type == "f" for row in sheet.iter_rows() for cell in row)


def test_added_columns_are_called_as_none_of_the_source(tmp_path):
    assert added_names({"answer": 0, "azubi answer": 0, "row": 0}) == dict(zip(ADDED, ADDED, strict=True)) | {
        "answer": "azubi azubi answer",
        "row": "azubi row",
    }
    rows, _ = written(tmp_path / "a.csv", [Asked(2, {"answer": "Kfz"})], SAID[:1])
    assert (rows[0]["answer"], rows[0]["azubi answer"]) == ("Kfz", "Haftpflicht")


@pytest.mark.parametrize("kind", ["csv", "xlsx", "jsonl", "parquet"])
def test_values_of_every_kind(kind, tmp_path):
    values = {
        "list": [{"a": 1}],
        "large": 10**40,
        "long": 12345678901234567,
        "endless": math.inf,
        "nothing": math.nan,
        "moment": datetime(2024, 1, 2, 3, 4, tzinfo=UTC),
        "old": date(1812, 1, 1),
        "picture": b"\x89PNG",
        "half": "\ud83d",
        "control": "a\x07",
        "true": True,
    }
    rows, _ = written(tmp_path / f"a.{kind}", [Asked(1, values)], SAID[:1])
    assert list(rows[0]) == [*values, *ADDED] and rows[0]["answer"] == "Haftpflicht"
    assert str(rows[0]["large"]) == str(10**40) and str(rows[0]["long"]) == "12345678901234567"


def test_values_of_several_kinds_become_text_in_parquet_and_that_is_told(tmp_path):
    rows = [Asked(1, {"x": 1}), Asked(2, {"x": "b"})]
    result, table = written(tmp_path / "a.parquet", rows, SAID[:2])
    assert [row["x"] for row in result] == ["1", "b"] and "“x”" in table.notes[0]


def test_what_a_cell_of_excel_cannot_hold_is_cut_and_told(tmp_path):
    rows, table = written(tmp_path / "a.xlsx", [Asked(1, {"x": "ä" * 40_000})], SAID[:1])
    assert len(rows[0]["x"]) == 32_767 and "32,767" in table.notes[0]
    rows, table = written(tmp_path / "a.csv", [Asked(1, {"x": "ä" * 40_000})], SAID[:1])
    assert len(rows[0]["x"]) == 40_000 and not table.notes


def test_csv_keeps_the_delimiter_of_what_was_asked(tmp_path):
    table = AnswerTable(tmp_path / "a.csv", None)
    table.delimiter = ";"
    table.write(ROWS[:1], {"triage": SAID[:1]})
    assert (tmp_path / "a.csv").read_bytes().startswith(b"\xef\xbb\xbfnote;sum;when;row;answer;")


def test_what_cannot_be_written_is_refused_before_anything_is_asked(tmp_path):
    (tmp_path / "a.csv").write_text("prompt\na\n")
    for path, words in (("a.txt", ".parquet"), ("a.csv", "the very file"), (".", "no kind")):
        with pytest.raises(SettingError) as caught:
            AnswerTable(tmp_path / path, tmp_path / "a.csv")
        assert words in str(caught.value)
    with pytest.raises(SettingError, match=r"1,048,575 rows"):
        AnswerTable(tmp_path / "a.xlsx", None).check(2_000_000)
