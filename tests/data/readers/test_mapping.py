"""Columns that a recipe names: templates, records, and what is said about a row."""

import json

import pytest

from azubi.data.readers.mapping import PromptTemplate
from azubi.data.readers.reading import read
from azubi.data.readers.value import moment, number
from azubi.errors import DataError, SettingError
from azubi.settings import Recipe
from tests.data.readers.writing import lines, pairs, refused

CLAIM = {
    "subject": "Hail",
    "body": "The roof.",
    "lob": "home",
    "amt": "1.234,50",
    "no": "C-1",
    "policy": "P1",
    "at": "3.2.2024",
    "count": 2,
}


def test_a_prompt_of_several_columns(file):
    reading = read(file(lines(CLAIM)), "{subject}\n{{{body}}}", "lob")
    assert pairs(reading) == [("Hail\n{The roof.}", "home")]


def test_a_template_can_do_nothing_but_name_columns(file):
    path = file(lines(CLAIM))
    for text in ("{subject.__class__}", "{subject[0]}", "{subject!r}", "{count:>10}", "{0}", "{__import__}"):
        error = refused(path, prompt=text, answer="lob")
        assert f"no column “{text[1:-1]}”" in error.problem
    odd = file(lines({"a.b": "x", "lob": "home"}), "odd.jsonl")
    assert pairs(read(odd, "{a.b}", "lob")) == [("x", "home")]


@pytest.mark.parametrize("text", ["{subject", "subject}", "{a}{", "{a{b}}}", "no column {{a}}"])
def test_templates_that_are_none(text):
    with pytest.raises(SettingError):
        PromptTemplate(text)


def test_a_template_whose_columns_are_all_empty_asks_nothing(file):
    rows = [CLAIM] * 30 + [{**CLAIM, "subject": " ", "body": None}]
    assert read(file(lines(*rows)), "Claim: {subject} {body}", "lob").rejected[0].reason == "no prompt"


def test_several_columns_make_a_record(file):
    mapping = {
        "line": "lob",
        "amount": {"column": "amt", "type": "number", "decimal": ","},
        "count": {"column": "count", "type": "string"},
        "empty": "none",
    }
    given = file(lines({**CLAIM, "none": ""}))
    for answer in (
        mapping,
        json.dumps(mapping),
        "{line: lob, amount: {column: amt, type: number, decimal: ','}, "
        "count: {column: count, type: string}, empty: none}",
    ):
        (example,) = read(given, "body", answer).examples
        assert example.answer == '{"line": "home", "amount": 1234.5, "count": "2", "empty": null}'


def test_a_value_that_is_not_of_its_type_is_left_out(file):
    rows = [{**CLAIM, "amt": "7"}] * 40 + [{**CLAIM, "amt": "about 7"}]
    reading = read(file(lines(*rows)), "body", {"amount": {"column": "amt", "type": "number"}})
    assert "the field “amount” is “about 7”, which is not a number" in reading.rejected[0].reason
    assert len(reading.examples) == 40


def test_mappings_that_are_none(file):
    for wrong in ("{a: ", {}, {"a": {"kolumn": "b"}}, {"a": {"column": "b", "type": "money"}}):
        with pytest.raises(SettingError, match="answer"):
            read(file(lines(CLAIM)), "body", wrong)
    assert Recipe.model_validate({"answer": "{a}"}).answer["a"].column == "a"


def test_a_mapping_survives_the_recipe_file():
    recipe = Recipe.model_validate({"answer": "{line: lob, sum: {column: amt, type: integer}}"})
    assert Recipe.model_validate(recipe.model_dump(mode="json")).answer == recipe.answer


def test_what_is_said_about_a_row(file):
    rows = [{**CLAIM, "w": "0.5"}, {**CLAIM, "w": ""}, {**CLAIM, "w": 3}]
    columns = {"id": "no", "group": "policy", "time": "at", "weight": "w"}
    first, second, third = read(file(lines(*rows)), "body", "lob", **columns).examples
    assert (first.key, first.group, first.time, first.weight) == ("C-1", "P1", "2024-02-03", 0.5)
    assert (second.weight, third.weight) == (1.0, 3.0)


@pytest.mark.parametrize("weight", ["-1", "nan", "inf", "much", "1e300"])
def test_weights_that_are_none(file, weight):
    assert (
        "no number from 0"
        in refused(file(lines({**CLAIM, "w": weight})), prompt="body", answer="lob", weight="w").problem
    )


def test_a_column_about_the_row_that_is_not_there(file):
    table = file("text,label\na,b\n", "a.csv")
    error = refused(table, prompt="text", answer="label", group="policy")
    assert "no column “policy”" in error.problem and "--group" in error.remedy
    with pytest.raises(DataError, match="no column “policy”"):
        read(file(lines({"prompt": "a", "answer": "b"})), group="policy")


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2024-02-03", "2024-02-03"),
        ("2024/02/03", "2024-02-03"),
        ("2024-02-03T04:05:06+02:00", "2024-02-03T02:05:06+00:00"),
        ("2024-02-03 04:05:06", "2024-02-03T04:05:06"),
        ("3.2.2024 4:05", "2024-02-03T04:05:00"),
        ("13/02/2024 4:05 pm", "2024-02-13T16:05:00"),
        ("13-02-2024, 12:05:09 Uhr", "2024-02-13T12:05:09"),
        ("03.02.2024", "2024-02-03"),
        ("", ""),
        (None, ""),
    ],
)
def test_moments(text, iso):
    assert moment(text) == iso


@pytest.mark.parametrize("text", ["31.2.2024", "3.2.24", "yesterday", 5, "99999-01-01"])
def test_no_moments(file, text):
    row = {**CLAIM, "at": text}
    assert "the time" in refused(file(lines(row)), prompt="body", answer="lob", time="at").problem


@pytest.mark.parametrize(
    ("text", "decimal", "value"),
    [
        ("7", None, 7),
        (" -7.50 ", None, -7.5),
        ("1e3", None, 1000.0),
        ("1,234", None, None),
        ("1,234.5", ".", 1234.5),
        ("1.234,5", ",", 1234.5),
        ("12.34,5", ",", None),
        ("1\u00a0234", ",", 1234),
        ("7,5", ".", None),
        ("٣", None, None),
        ("inf", None, None),
        (True, None, None),
        ("1" * 500, None, None),
    ],
)
def test_numbers(text, decimal, value):
    assert number(text, decimal) == value
