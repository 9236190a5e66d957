"""What is asked is what was trained: one reader, one result per row, in every form."""

import io
import json
import re
import sys
from pathlib import Path

import pytest

from azubi.data import readers as reading
from azubi.data.example import Turn
from azubi.data.readers.opening import STDIN
from azubi.data.readers.reading import read_asked, read_source, source_from_settings
from azubi.errors import DataError
from tests.data.readers.formats import FORMS, jsonl
from tests.data.readers.writing import chat, lines

PROMPTS = [f"Die Tür, „Nr. {number}“; sie klemmt\nund quietscht" for number in range(6)]
ANSWERS = [f"Antwort {number}" for number in range(6)]


def opened(settings, **more):
    given = {"prompt": "prompt", "answer": "answer", **settings, **more}
    return source_from_settings(given.pop("data", None), **given)


def asked(settings, **more):
    return list(opened(settings, **more).asked())


def test_no_reader_is_forgotten():
    """A module that reads rows has a form in the list that all tests of sources go through."""
    folder = Path(reading.__file__).parent
    readers = {
        path.stem
        for path in folder.glob("*.py")
        if re.search(r"^( {4})?def (line_|list_|workbook_|parquet_)?rows\(", path.read_text(), re.M)
    }
    assert readers == {file_format.reader for file_format in FORMS.values()}


@pytest.mark.parametrize("name", FORMS)
def test_a_row_is_asked_as_it_is_learned(name, tmp_path):
    learned = [tmp_path / "learned", tmp_path / "new"]
    for folder in learned:
        folder.mkdir()
    trained = FORMS[name].write(learned[0], PROMPTS, ANSWERS)
    examples = read_source(opened(trained)).examples
    assert [example.answer for example in examples] == ANSWERS
    assert [prompt.turns[-1].content.split() for prompt in examples] == [prompt.split() for prompt in PROMPTS]
    for settings in (FORMS[name].write(learned[1], PROMPTS, None), trained):
        rows = read_asked(opened(settings))
        assert [row.turns for row in rows] == [example.turns for example in examples]
        assert not any(row.fault for row in rows)


@pytest.mark.parametrize("file_format", ["jsonl", "csv"])
def test_standard_input_is_read_as_a_file_is(file_format, tmp_path, monkeypatch):
    content = FORMS[file_format].write(tmp_path, PROMPTS, None)["data"].read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert [example.turns[0].content for example in asked({"data": STDIN})] == PROMPTS


def test_the_whole_conversation_is_asked(file):
    turns = [("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c")]
    (example,) = read_source(opened({"data": file(lines(chat(*turns, ("assistant", "x"))))})).examples
    row, known = asked({"data": file(lines(chat(*turns), chat(*turns, ("assistant", "x"))))})
    assert row.turns == known.turns == example.turns == tuple(Turn(*turn) for turn in turns)


def test_a_conversation_with_its_answer_is_asked_up_to_it_and_that_is_told(file):
    known = opened({"data": file(lines(chat(("user", "a"), ("assistant", "x")), chat(("user", "b"))))})
    assert [example.turns[-1].content for example in known.asked()] == ["a", "b"]
    assert "1 of its conversations end with an answer" in known.notes[-1]


# One result per row


def test_each_row_has_its_place_whatever_is_wrong_with_it(file, longest_row):
    longest_row(100)
    text = '{"prompt": "a"}\n{"prompt": " "}\n{oops\n[1]\n{"other": 1}\n\n' + lines({"prompt": "z" * 200})
    rows = asked({"data": file(text + '{"prompt": "b"}\n')})
    assert [row.line for row in rows] == [1, 2, 3, 4, 5, 7, 8]
    assert [bool(example.turns) for example in rows] == [True, False, False, False, False, False, True]
    assert [not row.fault for row in rows] == [bool(example.turns) for example in rows]
    reasons = ["no prompt", "is not JSON", "not an object", "no column", "more than 100"]
    for row, words in zip(rows[1:-1], reasons, strict=True):
        assert words in row.fault and row.fault.endswith(".")


def test_empty_rows_of_tables_count_but_at_the_end(file, tmp_path):
    rows = asked({"data": file("prompt;x\na;1\n;\n\nb;2\n;\n", "a.csv")})
    assert [(row.line, row.fault) for row in rows] == [(2, ""), (3, "The row is empty."), (5, "")]
    rows = asked({"data": file('prompt\na\n""\n\nb\n\n', "b.csv")})
    assert [(row.line, bool(row.fault)) for row in rows] == [(2, False), (3, True), (4, True), (5, False)]
    settings = FORMS["xlsx"].write(tmp_path, ["a", "", "b", ""], None)
    assert [(row.line, bool(row.fault)) for row in asked(settings)] == [(2, False), (3, True), (4, False)]


def test_elements_of_a_list_are_counted(file):
    rows = asked({"data": file('[{"prompt": "a"}, 7, {"prompt": "b"}]', "a.json")})
    assert [(row.line, bool(row.fault)) for row in rows] == [(1, False), (2, True), (3, False)]


def test_a_broken_line_is_one_row(file):
    rows = asked({"data": file("prompt;x\na;1\nb\nc;2\n", "a.csv"), "delimiter": ";"})
    assert [row.fault.split(",")[0] for row in rows] == ["", "The row has 1 cell", ""]


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        ("text;x\na;1\n", "a.csv", "has no column “prompt”; it has “text”, “x”"),
        ("prompt\n", "a.csv", "has no rows"),
        ("", "a.csv", "is empty"),
        ('{"text": "a"}\n', "a.jsonl", "none of its 1 rows can be asked; row 1: The row has no column"),
    ],
)
def test_a_source_without_anything_to_ask_is_refused(content, name, words, file):
    with pytest.raises(DataError) as caught:
        read_asked(opened({"data": file(content, name)}))
    assert words in caught.value.problem and caught.value.remedy


# Plain text


def test_plain_text_is_asked_line_by_line(file):
    text = file("\ufeffone\u2028still one\r\n\r\ntwo; and\t, more\r\n\r\n", "p.txt")
    known = opened({"data": text}, prompt="{note}")
    rows = list(known.asked())
    assert [(row.line, row.values.get("note")) for row in rows] == [
        (1, "one\u2028still one"),
        (2, None),
        (3, "two; and\t, more"),
    ]
    assert "one prompt per line" in known.notes[0] and "“note”" in known.notes[0]


def test_a_line_cannot_stand_for_several_columns(file):
    with pytest.raises(DataError, match="has no column “subject”"):
        asked({"data": file("one\ntwo\n", "p.txt")}, prompt="{subject}: {body}")


def test_plain_text_is_no_example(file):
    with pytest.raises(DataError, match="has no column"):
        read_source(opened({"data": file("one\ntwo\n", "p.txt")}))


# What was usual for the examples


def test_another_file_may_be_written_otherwise(file):
    """Encoding, delimiter and sheet of the examples hold where nothing speaks against them."""
    usual = frozenset(("encoding", "delimiter", "sheet"))
    settings = {"encoding": "cp1252", "delimiter": "|", "sheet": "Rows"}
    for number, content in enumerate(["prompt|x\nTür|1\n", "x;prompt\n1;Tür\n", "prompt\nTür\n"]):
        for encoding in ("utf-8", "cp1252"):
            known = opened({"data": file(content.encode(encoding), f"{number}.csv")} | settings)
            known.usual = usual
            assert [example.turns[0].content for example in known.asked()] == ["Tür"], (content, encoding)
            assert [note for note in known.notes if "is UTF-8" not in note] == []
    known = opened({"data": file("x;prompt\n1;a\n", "a.csv"), "delimiter": "|"})
    with pytest.raises(DataError, match="no column"):
        list(known.asked())


def test_parts_of_a_document_that_were_not_read_are_told_with_its_row(tmp_path):
    mail = "Subject: Hail\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\nThe roof leaks.\n"
    picture = "--x\nContent-Type: image/png\nContent-Disposition: attachment; filename=roof.png\n\nx\n--x--\n"
    (tmp_path / "a.txt").write_text("A fox.")
    (tmp_path / "b.eml").write_text(mail + picture)
    first, second = read_asked(opened({"data": tmp_path}))
    assert first.notes == () and second.notes == ("Not read of b.eml: 1 picture.",)


def test_values_stand_beside_the_question(tmp_path):
    path = jsonl(tmp_path, ["a"], ["x"])["data"]
    path.write_text(json.dumps({"number": 7, "prompt": "a", "sum": [1]}) + "\n")
    (row,) = asked({"data": path})
    assert row.values == {"number": 7, "prompt": "a", "sum": [1]}


@pytest.mark.parametrize("sign", [",", ";", "|"])
def test_a_table_of_one_column_is_parted_by_nothing(sign, file):
    known = opened({"data": file(f"prompt\none{sign} two{sign} three\nfour\n", "a.csv")})
    assert [example.turns[0].content for example in known.asked()] == [f"one{sign} two{sign} three", "four"]
