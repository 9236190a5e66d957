"""CSV and its like: delimiters, encodings, and records that are broken."""

import csv
import io

import pytest

from azubi.data.readers.reading import read
from azubi.errors import SettingError
from tests.data.readers.writing import pairs, refused

GERMAN = (
    "Sehr geehrte Damen und Herren, für den Schaden an der Haustür möchte ich größere Kosten melden.",
    "Das Gebäude hat Risse; bitte prüfen Sie die Höhe der Entschädigung über 1.200 €.",
    "Mit freundlichen Grüßen, Jörg Müller, Königstraße 5, 50667 Köln",
)


def table(rows, delimiter=","):
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows([("prompt", "answer"), *rows])
    return out.getvalue()


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_out(file, delimiter):
    rows = [("a, b; c", "1,5"), ("d | e", "2;0"), ("f\tg", "x")] * 4
    path = file(table(rows, delimiter), "a.csv")
    assert pairs(read(path)) == rows


def test_a_wrong_guess_can_be_overridden(file):
    path = file("prompt;answer,x;y\na;b,c;d\n", "a.csv")
    assert read(path, "prompt", "answer,x", delimiter=";").examples[0].answer == "b,c"
    assert read(path, "prompt;answer", "x;y", delimiter=",").examples[0].answer == "c;d"
    path = file("prompt\tanswer\na\tb\n", "b.csv")
    assert pairs(read(path, delimiter="\\t")) == [("a", "b")]
    for wrong in (";;", '"', "\\n"):
        with pytest.raises(SettingError, match="delimiter"):
            read(path, delimiter=wrong)


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_the_line_that_tells_excel_the_delimiter(file, first, encoding):
    path = file(f"{first}\r\nprompt;answer\r\na, b;x\r\nc, d;y\r\n".encode(encoding), "a.csv")
    reading = read(path)
    assert pairs(reading) == [("a, b", "x"), ("c, d", "y")]
    assert [example.line for example in reading.examples] == [2, 3]  # Excel does not count it
    assert pairs(read(path, delimiter=";")) == pairs(reading)
    assert pairs(read(file("sep=\t\nprompt\tanswer\na;b\tx\n", "b.csv"))) == [("a;b", "x")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_title_above_the_header_is_passed_over_and_that_is_told(file, delimiter):
    title = f"List of claims{delimiter}{delimiter}\n\nall lines\n"
    path = file(title + table([("a", "x"), ("b", "y")], delimiter), "a.csv")
    reading = read(path)
    assert pairs(reading) == [("a", "x"), ("b", "y")] and reading.examples[0].line == 5
    assert "named in row 4" in reading.notes[-1] and "--header says otherwise" in reading.notes[-1]
    assert pairs(read(path, header=4)) == pairs(reading)
    assert "has no column “body”" in refused(path, prompt="body").problem
    assert "no row 17 with names of columns" in refused(path, header=17).problem


def test_a_row_with_the_names_below_the_header_is_not_taken_for_it(file):
    path = file("note,team\na,x\nprompt,answer\nb,y\n", "a.csv")
    assert "row 3, but row 1 above it" in refused(path).problem
    assert [example.prompt for example in read(path, "note", "team").examples] == ["a", "prompt", "b"]


ESCAPED = r"""prompt,answer
"He said \"hi\", then left",x
"C:\temp",y
"ends with \\",x
"two "" signs",y
"a \"",x
"""


def test_quotes_that_are_escaped(file):
    reading = read(file(ESCAPED, "a.csv"))
    assert [example.prompt for example in reading.examples] == [
        'He said "hi", then left',
        "C:\\temp",
        "ends with \\",
        'two " signs',
        'a "',
    ]
    assert "a backslash before quotes" in reading.notes[0]


def test_a_backslash_that_escapes_nothing_stays(file):
    reading = read(file('prompt,answer\n"C:\\temp\\",x\n"5\\"" pipe",y\n6\\" pipe,x\n', "a.csv"))
    assert [example.prompt for example in reading.examples] == ["C:\\temp\\", '5\\" pipe', '6\\" pipe']
    assert reading.notes == ()


def test_that_quotes_may_be_escaped_is_told_where_rows_fail(file):
    error = refused(file(ESCAPED + '"C:\\temp\\",x\n' * 3, "a.csv"))
    assert "may be escaped with a backslash" in error.problem and "twice" in error.remedy
    plain = refused(file('prompt,answer\n"a" b,x\n', "b.csv"))
    assert "escaped" not in str(plain)


def test_settings_that_a_source_has_no_use_for_are_told(file):
    path = file('{"prompt": "a", "answer": "x"}\n')
    notes = read(path, sheet="A", header=2, delimiter=";").notes
    assert len(notes) == 3 and all("is not used" in note for note in notes)


@pytest.mark.parametrize(
    "encoding", ["cp1252", "utf-16", "utf-8-sig", "mac_roman", "cp850", "utf-16-le", "utf-32"]
)
def test_the_encoding_is_found_out(file, encoding):
    rows = [(text.replace("€", "Euro"), label) for text, label in zip(GERMAN, "abc", strict=True)] * 5
    reading = read(file(table(rows).encode(encoding), "a.csv"))
    assert pairs(reading) == rows
    sure = encoding in ("utf-8-sig", "utf-16", "utf-32")
    assert bool(reading.notes) != sure and (sure or "--encoding" in reading.notes[0])


def test_a_wrong_guess_of_the_encoding_can_be_overridden(file):
    path = file("prompt,answer\n\u0142\u00f3d\u017a,x\n".encode("cp1250"), "a.csv")
    assert pairs(read(path, encoding="cp1250")) == [("łódź", "x")]
    with pytest.raises(SettingError, match="no encoding “klingon”"):
        read(path, encoding="klingon")


def test_mixed_encodings_cost_the_lines_that_are_otherwise(file):
    rows = [f"Größe {i},ja\n".encode() for i in range(60)]
    rows[20] = "Größe,nein\n".encode("cp1252")
    reading = read(file(b"prompt,answer\n" + b"".join(rows), "a.csv"))
    assert len(reading.examples) == 59
    (bad,) = reading.rejected
    assert (bad.line, bad.raw) == (22, "Gr\ufffd\ufffde,nein") and "byte 0xf6 is not UTF-8 text" in bad.reason


def test_nul_bytes_cost_their_line(file):
    rows = [f"text {i},ja\n" for i in range(60)]
    rows[5] = "te\0xt,ja\n"
    (bad,) = read(file("prompt,answer\n" + "".join(rows), "a.csv")).rejected
    assert bad.line == 7 and "NUL" in bad.reason
    assert "is not text" in refused(file(b"prompt,answer\n" + bytes(2000), "b.csv")).problem


def test_ten_thousand_broken_rows_among_good_ones(file):
    broken = ['a "quote,x,y,z\n', '"open,x\n', "one cell\n", '"a"b,c\n', "a,b,c\n"]
    rows = []
    for i in range(2_000):
        rows += [f'"good {i}, with ""quotes""\nand lines",x\n'] * 20 + broken
    reading = read(file("prompt,answer\n" + "".join(rows), "a.csv"), limits={"rejected": 0.3})
    assert len(reading.rejected) == 10_000 and len(reading.examples) == 40_000
    assert {example.prompt for example in reading.examples} == {
        f'good {i}, with "quotes"\nand lines' for i in range(2_000)
    }
    assert {row.raw for row in reading.rejected} == {text.strip() for text in broken}


def test_a_quote_that_is_never_closed_costs_one_line(file):
    rows = ["a,x\n"] * 30 + ['"b,x\n'] + ["c,x\n"] * 30
    reading = read(file("prompt,answer\n" + "".join(rows), "a.csv"))
    assert [(row.line, row.raw) for row in reading.rejected] == [(32, '"b,x')]
    assert "a quote is opened and not closed" in reading.rejected[0].reason
    assert len(reading.examples) == 60


def test_cells_too_many_are_forgiven_if_they_are_empty(file):
    assert pairs(read(file("prompt,answer\na,x,,\n", "a.csv"))) == [("a", "x")]


def test_old_line_ends(file):
    assert pairs(read(file("prompt,answer\ra,x\rb,y\r", "a.csv"))) == [("a", "x"), ("b", "y")]


def test_a_column_that_stands_twice_cannot_be_meant(file):
    path = file("prompt,answer,answer,note,note\na,x,y,1,2\n", "a.csv")
    assert "two columns “answer”" in refused(path).problem
    assert read(path, "prompt", "answer (2)").examples[0].answer == "y"


def test_a_line_too_long_costs_itself(file, longest_row):
    longest_row(1_000)
    rows = ["a,x\n"] * 40 + ["b" * 5_000 + ",x\n"] + ['"c\n' + "d" * 900 + '",x\n'] * 2
    reading = read(file("prompt,answer\n" + "".join(rows), "a.csv"))
    (bad,) = reading.rejected
    assert bad.line == 42 and "has 5,003 bytes, more than 1,000" in bad.reason
    assert len(bad.raw) == 200 and len(reading.examples) == 42
