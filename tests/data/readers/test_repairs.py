"""What is nearly JSON among the rows: named, or mended and counted."""

import json
import math

import pyarrow
import pytest
from pyarrow import parquet

from azubi.data.readers.reading import read
from tests.data.readers.writing import chat, refused

GOOD = [{"prompt": f"q{n}", "answer": f"a{n}"} for n in range(40)]
LENIENT = {
    "{'prompt': 'q', 'answer': 'a'}": "single quotes, as in a Python dict",
    '{"prompt": "q", "answer": "a", "sum": NaN}': "NaN",
    '{"prompt": "q", "answer": "a",}': "a comma before the closing bracket",
    '{"prompt": "q", "answer": "a"} // checked': "a comment",
    '{prompt: "q", "answer": "a"}': "keys without quotes",
}
BEYOND = {
    '{"prompt": "q", "answer": "a", "answer": "b"}': "the key “answer” occurs twice",
    '{"prompt": "q", "answer": "a", "sum": Infinity}': "Infinity is no JSON value",
    '{"prompt": "q", "answer": "a\\ud83d"}': "half a character",
    '{"prompt": "q", "answer": 1e999}': "out of range",
    '{"prompt": "q", "answer": "a"': "delimiter",
}


def lines(*more):
    return "".join(f"{line}\n" for line in (*map(json.dumps, GOOD), *more))


def listed(*more):
    return "[" + ",\n".join((*map(json.dumps, GOOD[:20]), *more, *map(json.dumps, GOOD[20:]))) + "]"


def written(layout, text, file):
    return file(layout(text), "a.jsonl" if layout is lines else "a.json")


@pytest.mark.parametrize("layout", [lines, listed])
@pytest.mark.parametrize("text", LENIENT)
def test_a_lenient_row_is_named_and_mended_only_if_that_is_asked_for(layout, text, file):
    if layout is listed and "//" in text:
        pytest.skip("a comment is no part of an element")
    path = written(layout, text, file)
    (bad,) = read(path).rejected
    assert bad.reason == f"is not JSON, but --repair mends it: {LENIENT[text]}"
    assert bad.line == (41 if layout is lines else 21)
    reading = read(path, repair=True)
    assert not reading.rejected and len(reading.examples) == 41
    (note,) = reading.notes
    assert f"1 row was mended (--repair): {LENIENT[text]} (1). Line {bad.line}: " in note
    assert "was read as {" in note


@pytest.mark.parametrize("layout", [lines, listed])
@pytest.mark.parametrize("text", BEYOND)
def test_what_has_two_readings_or_none_is_never_mended(layout, text, file):
    if layout is listed and text.endswith('"a"'):
        pytest.skip("in a list, an element that breaks off takes the next one with it")
    for repair in (False, True):
        reading = read(written(layout, text, file), repair=repair)
        (bad,) = reading.rejected
        assert (len(reading.examples), reading.notes) == (40, ())
        assert bad.reason.startswith("is not JSON: ") and BEYOND[text] in bad.reason


def test_a_faulty_element_of_a_list_takes_nothing_of_its_inside_for_a_row(file):
    inner = '{"prompt": "q", "answer": "a", "more": [{"x": NaN}, {"prompt": "in", "answer": "side"}]}'
    reading = read(written(listed, inner, file))
    assert len(reading.examples) == 40 and len(reading.rejected) == 1


def test_answers_are_mended_where_they_are_meant_to_be_records(file):
    rows = [{"prompt": f"q{n}", "answer": str({"line": "home", "sum": None})} for n in range(9)]
    path = file("".join(json.dumps(row) + "\n" for row in rows))
    reading = read(path, repair=True)
    assert {example.answer for example in reading.examples} == {'{"line": "home", "sum": null}'}
    assert (
        "9 rows were mended (--repair): single quotes, as in a Python dict (9); None (9)." in reading.notes[0]
    )
    for settings in ({}, {"repair": True, "task": "text"}):
        assert read(path, **settings).examples[0].answer == "{'line': 'home', 'sum': None}"


def test_conversations_in_cells_are_mended_too(file):
    talk = chat(("user", "It's a leak."), ("assistant", "home"))["messages"]
    cell = str(talk).replace('"', '""')
    path = file("messages\n" + f'"{cell}"\n' * 3, "a.csv")
    assert "“messages” is not JSON, but --repair mends it: single quotes" in refused(path).problem
    assert "--repair" in refused(path).remedy
    reading = read(path, repair=True)
    assert [(example.prompt, example.answer) for example in reading.examples] == [
        ("It's a leak.", "home")
    ] * 3
    assert "3 rows were mended" in reading.notes[0]


def test_nan_in_a_column_is_read_as_empty_and_told(tmp_path):
    path = tmp_path / "a.parquet"
    table = {"q": ["a", "b", "c"], "sum": [1.5, math.nan, math.nan], "not_asked": [math.nan] * 3}
    parquet.write_table(pyarrow.table(table), path)
    reading = read(path, "q", {"line": "q", "sum": "sum"})
    assert reading.examples[1].answer == '{"line": "b", "sum": null}'
    assert reading.notes == (
        f"{path}: values that are NaN (not a number) were read as empty, the first in line 2: “sum” (2).",
    )


def test_a_number_without_end_in_a_column_rejects_its_row(tmp_path):
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"prompt": ["q"] * 31, "answer": [1.5] * 30 + [math.inf]}), path)
    (bad,) = read(path).rejected
    assert (bad.line, bad.reason) == (31, "“answer” is inf, which JSON does not have")


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_what_json_lacks_within_a_record_of_a_column_rejects_its_row(odd, tmp_path):
    path = tmp_path / "a.parquet"
    records = [{"sum": 1.0}] * 30 + [{"sum": odd}]
    parquet.write_table(pyarrow.table({"prompt": ["q"] * 31, "answer": records}), path)
    (bad,) = read(path).rejected
    assert (bad.line, bad.reason) == (31, f"a record or list holds {odd}, which JSON does not have")
