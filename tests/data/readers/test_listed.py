"""One JSON list."""

import json

import pytest

from azubi.data.readers import text
from azubi.data.readers.reading import read
from tests.data.readers.writing import pairs, refused

ROWS = [{"prompt": f"größe {i} ]}}, {{", "answer": "x" * (i % 3 + 1)} for i in range(500)]
WANT = [(row["prompt"], row["answer"]) for row in ROWS]


@pytest.mark.parametrize("indent", [None, 2])
def test_elements_in_one_line_or_in_many(file, indent):
    reading = read(file(" \n" + json.dumps(ROWS, indent=indent, ensure_ascii=False) + "\n", "a.json"))
    assert pairs(reading) == WANT
    assert [example.line for example in reading.examples[:2]] == ([2, 2] if indent is None else [3, 7])


def test_broken_elements_cost_themselves(file):
    parts = [json.dumps(row) for row in ROWS[:60]]
    parts[5] = '{"prompt": "a", "answer": }'
    parts[9] = '{"prompt": "a" "answer": "b"}'
    parts[20] = "7"
    parts[59] = '{"prompt" "a"}'
    reading = read(file("[\n" + ",\n".join(parts) + "\n]", "a.json"), limits={"rejected": 0.1})
    assert [row.line for row in reading.rejected] == [7, 11, 22, 61]
    assert "is not JSON: Expecting value in line 7" in reading.rejected[0].reason
    assert "not an object" in reading.rejected[2].reason
    assert len(reading.examples) == 56


def test_a_list_that_breaks_off(file):
    assert "breaks off" in refused(file(json.dumps(ROWS)[:-1], "a.json")).problem
    assert "breaks off" in refused(file('[{"prompt": "a', "b.json")).problem
    assert "no rows" in refused(file("[]", "c.json")).problem


def test_a_list_that_is_too_large(file, monkeypatch):
    monkeypatch.setattr(text, "_LARGEST_WHOLE", 1_000)
    error = refused(file(json.dumps(ROWS), "a.json"))
    assert "one list of more than 1,000 bytes" in error.problem and "JSON lines" in error.remedy


def test_elements_that_are_too_long(file, longest_row):
    longest_row(1_000)
    rows = [*ROWS[:40], {"prompt": "y" * 3_000, "answer": "x"}, *ROWS[40:80]]
    reading = read(file(json.dumps(rows), "a.json"))
    assert len(reading.examples) == 80
    assert "characters, more than 1,000" in reading.rejected[0].reason


def test_bytes_in_another_encoding(file):
    content = (
        json.dumps(ROWS[:60], ensure_ascii=False)
        .encode()
        .replace("größe 7".encode(), "größe 7".encode("cp1252"))
    )
    (bad,) = read(file(content, "a.json")).rejected
    assert "not UTF-8 text" in bad.reason
