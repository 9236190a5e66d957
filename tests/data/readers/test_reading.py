"""What the reader takes, and how it refuses what it cannot take."""

import json

import pytest

from azubi.data.example import Turn
from azubi.data.readers.reading import read
from azubi.errors import SettingError
from tests.data.readers.writing import chat, lines, pairs, refused


def test_chat_form(file):
    rows = [
        chat(("user", "a"), ("assistant", "x ")),
        chat(("developer", "s"), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "y")),
        chat(("user", [{"type": "text", "text": "p"}, {"type": "text", "text": "q"}]), ("assistant", "z")),
    ]
    short, long, parts = read(file(lines(*rows))).examples
    assert (short.turns, short.answer, short.line) == ((Turn("user", "a"),), "x", 1)
    assert [turn.role for turn in long.turns] == ["system", "user", "assistant", "user"]
    assert (long.answer, long.line) == ("y", 2)
    assert parts.turns[0].content == "pq"


def test_columns_with_values_of_every_kind(file):
    answers = [{"größe": 3}, ["a"], 7, 1.5, True, "text"]
    reading = read(file(lines(*({"q": i, "a": answer} for i, answer in enumerate(answers)))), "q", "a")
    assert [e.answer for e in reading.examples] == ['{"größe": 3}', '["a"]', "7", "1.5", "true", "text"]
    assert reading.examples[2].turns[0].content == "2"


def test_line_separators_inside_json_do_not_end_a_line(file):
    text = "\ufeff" + '{"prompt": "a\u2028b\u0085c", "answer": "x"}\r\n\r\n{"prompt": "d", "answer": "y"}'
    reading = read(file(text))
    assert pairs(reading) == [("a\u2028b\u0085c", "x"), ("d", "y")]
    assert [example.line for example in reading.examples] == [1, 3]


def test_csv_keeps_values_as_they_are_written(file):
    text = '\ufeffid,text,label\r\n1,"a, ""b""\r\nc",007\r\n2,NA,1.50\r\n,,\r\n\r\n3,null,true\r\n'
    reading = read(file(text, "data.csv"), "text", "label")
    assert pairs(reading) == [('a, "b"\r\nc', "007"), ("NA", "1.50"), ("null", "true")]
    assert [example.line for example in reading.examples] == [2, 3, 6]
    assert reading.rejected == ()


def test_csv_columns_of_numbers_are_not_rewritten(file):
    text = "prompt,answer\n0071,1.50\n0082,2.00\n"
    assert pairs(read(file(text, "data.csv"))) == [("0071", "1.50"), ("0082", "2.00")]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_separators(file, separator):
    text = separator.join(("prompt", "answer")) + "\n" + separator.join(('"a,;\tb"', "x")) + "\n"
    assert pairs(read(file(text, "data.csv"))) == [("a,;\tb", "x")]


def test_huge_fields(file):
    big = "word " * 400_000
    assert read(file(f'prompt,answer\n"{big}",x\n', "a.csv")).examples[0].turns[0].content == big
    assert read(file(lines({"prompt": big, "answer": "x"}))).examples[0].turns[0].content == big


def test_unknown_suffix_is_told_by_content(file):
    assert pairs(read(file(lines({"prompt": "a", "answer": "x"}), "export.txt"))) == [("a", "x")]
    assert pairs(read(file("prompt,answer\na,x\n", "export"))) == [("a", "x")]
    assert pairs(read(file("[" + lines({"prompt": "a", "answer": "x"}) + "]", "export.json"))) == [("a", "x")]


def test_no_file(tmp_path):
    assert "no file" in refused(tmp_path / "none.csv").problem
    assert "folder" in refused(tmp_path).problem


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
@pytest.mark.parametrize("content", ["", " \n\r\n"])
def test_empty_file(file, name, content):
    assert "is empty" in refused(file(content, name)).problem


def test_header_alone(file):
    assert "no rows" in refused(file("prompt,answer\n", "a.csv")).problem


def test_unreadable_encodings(file):
    error = refused(file("prompt,answer\na,b\nä,b\n".encode("latin-1"), "a.csv"), encoding="utf-8")
    assert "line 3: byte 0xe4 is not UTF-8" in error.problem and "--encoding" in error.remedy
    assert "Excel" in refused(file(b"PK\x03\x04...", "a.csv")).problem
    assert "\\ud83d is half a character" in refused(file('{"prompt": "\\ud83d", "answer": "x"}')).problem


def test_missing_columns_are_named_with_those_that_exist(file):
    for path in (file("text,category\na,b\n", "a.csv"), file(lines({"text": "a", "category": "b"}))):
        error = refused(path)
        assert "“prompt”" in error.problem and "“text”, “category”" in error.problem
        assert "--prompt" in error.remedy
        error = refused(path, prompt="text")
        assert "“answer”" in error.problem and "--answer" in error.remedy
    with pytest.raises(SettingError, match="both as prompt and as answer"):
        read(path, "text", "text")


def test_lines_that_are_not_json(file):
    good = lines({"prompt": "a", "answer": "x"})
    error = refused(file(good + "not json\n"))
    assert "line 2 is not JSON: Expecting value" in error.problem and "“not json”" in error.problem
    assert "line 2 is JSON, but not an object" in refused(file(good + "[1]\n")).problem
    assert "line 1 is not JSON" in refused(file("[" * 100_000)).problem


def test_rows_with_neither_messages_nor_prompt(file):
    error = refused(file(lines({"prompt": "a", "answer": "x"}, {"other": 1})))
    assert "line 2 has no column “prompt”; it has “other”" in error.problem


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (chat(("user", "a")), "ends with a message of the user"),
        (chat(("assistant", "a")), "no message of the user"),
        (chat(("system", "s"), ("assistant", "a")), "no message of the user"),
        (chat(("tool", "a"), ("assistant", "b")), 'role "tool"'),
        (chat(("user", [{"type": "image_url"}]), ("assistant", "b")), "image_url"),
        (chat(("user", 3), ("assistant", "b")), "message 1 is not text"),
        ({"messages": []}, "messages"),
        ({"messages": ["a"]}, "message 1 has the role null"),
    ],
)
def test_conversations_that_cannot_be_learned(file, row, said):
    good = chat(("user", "a"), ("assistant", "x"))
    error = refused(file(lines(good, row)))
    assert "line 2" in error.problem and said in error.problem


def test_few_empty_rows_are_skipped_and_told(file):
    rows = [{"prompt": f"p{i}", "answer": "x"} for i in range(40)]
    rows[3]["answer"], rows[5]["prompt"] = "  ", ""
    reading = read(file(lines(*rows)))
    assert [(row.line, row.reason) for row in reading.rejected] == [(4, "no answer"), (6, "no prompt")]
    assert json.loads(reading.rejected[0].as_json()) == {
        "line": 4,
        "reason": "no answer",
        "raw": '{"prompt": "p3", "answer": "  "}',
    }
    assert len(reading.examples) == 38


def test_many_empty_rows_are_refused(file):
    rows = [{"prompt": f"p{i}", "answer": None if i < 3 else "x"} for i in range(40)]
    error = refused(file(lines(*rows)))
    assert (
        "3 of 40 rows" in error.problem
        and "line 1: no answer" in error.problem
        and "line 3: no answer" in error.problem
    )


def test_all_empty(file):
    error = refused(file("prompt,answer\na,\nb,\n", "a.csv"))
    assert "all 2 rows have no answer" in error.problem and "--answer" in error.remedy
    error = refused(file("prompt,answer\n,a\n,b\n", "a.csv"))
    assert "all 2 rows have no prompt" in error.problem and "--prompt" in error.remedy


def test_malformed_csv(file):
    error = refused(file("prompt,answer\na,b,c\n", "a.csv"))
    assert "line 2 has 3 cells, but the header has 2" in error.problem and "--delimiter" in error.remedy
    assert "cannot be read as CSV" in refused(file('prompt,answer\n"a,b\nc,d\n', "a.csv")).problem
