"""Excel files, also those that are made to do harm."""

import zipfile
from datetime import date, datetime

import openpyxl
import pytest

from azubi.data.readers.reading import read
from tests.data.readers.writing import pairs, refused


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "a.xlsx"
    made = openpyxl.Workbook()
    first = made.active
    for row in [
        ("prompt", "answer", "n"),
        ("a", 5, 1.5),
        (None, None, None),
        ("b", 2.5, datetime(2024, 2, 3, 4, 5)),
    ]:
        first.append(row)
    second = made.create_sheet("Claims 2024")
    second["B3"], second["C3"], second["B2"] = "prompt", "answer", "All claims"
    second["B4"], second["C4"] = "c", date(2024, 2, 3)
    second["B5"], second["C5"] = "d", True
    made.save(path)
    return path


def test_values_and_row_numbers(book):
    reading = read(book, sheet="Sheet")
    assert pairs(reading) == [("a", "5"), ("b", "2.5")]
    assert [example.line for example in reading.examples] == [2, 4]
    assert read(book, "prompt", "n").examples[1].answer == "2024-02-03T04:05:00"
    assert not reading.notes


def test_a_sheet_of_what_has_none_is_told(tmp_path):
    path = tmp_path / "claims.csv"
    path.write_text("prompt,answer\nWho pays?,we\n")
    (note,) = read(path, sheet="Claims 2024").notes
    assert "claims.csv is no Excel file and has no sheets: sheet (Claims 2024) is not used." in note


def test_another_sheet_that_does_not_begin_at_the_corner(book):
    reading = read(book, sheet="Claims 2024")
    assert [(example.prompt, example.answer, example.line) for example in reading.examples] == [
        ("c", "2024-02-03", 4),
        ("d", "true", 5),
    ]
    error = refused(book, sheet="Claims")
    assert "no sheet “Claims”; it has “Sheet”, “Claims 2024”" in error.problem and "--sheet" in error.remedy


def test_the_sheet_that_alone_has_the_columns_is_read_and_that_is_told(book):
    (note,) = read(book, "prompt", "n").notes
    assert "the sheets “Sheet”, “Claims 2024”; “Sheet” is read" in note and "--sheet" in note


def test_sheets_that_might_all_be_meant_are_named_and_none_is_read(book):
    error = refused(book)
    assert "2 sheets with the columns that are asked for: “Sheet”, “Claims 2024”" in error.problem
    assert "--sheet “Sheet”" in error.remedy
    error = refused(book, prompt="body")
    assert "no sheet with the column “body”: “Sheet” has “prompt”, “answer”, “n”; “Claims" in error.problem
    assert pairs(read(book, header=3)) == [("c", "2024-02-03"), ("d", "true")]


def grown(tmp_path, rows, *merged):
    path = tmp_path / "grown.xlsx"
    made = openpyxl.Workbook()
    for row in rows:
        made.active.append(row)
    for cells in merged:
        made.active.merge_cells(cells)
    made.save(path)
    return path


def test_merged_cells_stand_in_each_of_their_rows(tmp_path):
    rows = [
        ("line", "note"),
        ("motor", "a"),
        (None, "b"),
        ("home", "c"),
        (None, None),
        (None, "d"),
        (None, "e"),
    ]
    reading = read(grown(tmp_path, rows, "A2:A3", "A4:A6"), "note", "line", limits={"rejected": 0.5})
    assert pairs(reading) == [("a", "motor"), ("b", "motor"), ("c", "home"), ("d", "home")]
    assert [(row.line, row.reason) for row in reading.rejected] == [(7, "no answer")]
    (note,) = reading.notes
    assert "merged over several rows" in note and "3 of “line”" in note


def test_a_header_of_two_rows_below_a_title(tmp_path):
    rows = [
        ("Claims of 2026", None, None),
        (None, None, None),
        ("line", "customer", None),
        (None, "name", "note"),
        ("motor", "Ada", "a"),
        ("home", "Bob", "b"),
    ]
    path = grown(tmp_path, rows, "A3:A4", "B3:C3")
    reading = read(path, "{name}: {note}", "line")
    assert pairs(reading) == [("Ada: a", "motor"), ("Bob: b", "home")]
    (note,) = reading.notes
    assert "named in row 4" in note and "“Claims of 2026”" in note and "--header" in note
    assert read(path, "{name}: {note}", "line", header=4).notes == ()
    assert "no row 2 with names" in refused(path, header=2).problem


def test_a_header_that_may_be_another_row(tmp_path):
    path = grown(tmp_path, [("a", "b"), ("prompt", "answer"), ("c", "x"), ("d", "y")])
    error = refused(path)
    assert "in row 2, but row 1 above it" in error.problem and "--header 2" in error.remedy
    assert pairs(read(path, header=2)) == [("c", "x"), ("d", "y")]
    assert len(read(path, "a", "b", header=1).examples) == 3


def rewritten(book, change):
    """The same archive with other contents: `change` gives a file's bytes or None to leave them."""
    path = book.with_name("changed.xlsx")
    with zipfile.ZipFile(book) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, change(name, data) or data)
    return path


def test_a_zip_bomb(book):
    def bomb(name, data):
        return (
            data.replace(b"</worksheet>", b" " * 300_000_000 + b"</worksheet>") if "sheet1" in name else None
        )

    path = rewritten(book, bomb)
    assert path.stat().st_size < 1_000_000
    error = refused(path, limits={"memory": 100_000_000})
    assert "limits.memory" in error.problem and "--limits-memory" in error.remedy


def test_cells_that_lie_far_apart(book):
    far = b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
    path = rewritten(
        book, lambda name, data: data.replace(b"</sheetData>", far) if "sheet1" in name else None
    )
    error = refused(path)
    assert "the memory that limits.memory allows" in error.problem and "stray cells" in error.remedy


def test_no_workbook(book, file):
    data = book.read_bytes()
    assert "Excel" in refused(file(data[: len(data) // 2], "b.xlsx")).problem
    assert "Excel" in refused(file(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "c.xls")).problem
    with zipfile.ZipFile(path := file(b"", "d.xlsx"), "w") as out:
        out.writestr("hello.txt", "x")
    assert "Excel file" in refused(path).problem
