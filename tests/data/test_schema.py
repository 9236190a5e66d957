"""The schema of records: told from them in spite of a few faults, given, and checked against."""

import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azubi.data import schema
from azubi.errors import DataError


def record(number, **other):
    return {
        "line": ("motor", "pet", "travel")[number % 3],
        "date": f"2026-03-{1 + number % 28:02d}",
        "amount": number if number % 5 else None,
        "share": number / 4,
        "name": f"customer {number}",
        "missing": ["bill", "photos"][: number % 3],
        "payer": {"iban": f"DE{number}", "own": number % 2 == 0},
        "ok": True,
    } | other


RECORDS = [record(number) for number in range(200)]


def inferred(records=RECORDS):
    return schema.infer(records)["properties"]


def test_types_enums_formats_lists_and_objects_are_told():
    assert inferred() == {
        "line": {"type": "string", "enum": ["motor", "pet", "travel"]},
        "date": {"type": "string", "format": "date"},
        "amount": {"type": ["integer", "null"]},
        "share": {"type": "number"},
        "name": {"type": "string"},
        "missing": {"type": "array", "items": {"type": "string", "enum": ["bill", "photos"]}},
        "payer": {
            "type": "object",
            "properties": {"iban": {"type": "string"}, "own": {"type": "boolean"}},
            "required": ["iban", "own"],
            "additionalProperties": False,
        },
        "ok": {"type": "boolean"},
    }
    jsonschema.Draft202012Validator.check_schema(schema.infer(RECORDS))


def test_a_field_that_many_records_lack_is_not_required():
    records = [
        record(n) if n % 2 else {k: v for k, v in record(n).items() if k != "name"} for n in range(200)
    ]
    assert "name" not in schema.infer(records)["required"]
    assert "name" in schema.infer(records)["properties"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"amount": "1.200"}, 'amount is "1.200", not integer or null'),
        ({"line": "moter"}, 'line is "moter", which is none of its 3 values'),
        ({"date": "14.03.2026"}, 'date is "14.03.2026", not a date such as 2026-03-14'),
        ({"date": "2026-02-30"}, 'date is "2026-02-30", not a date'),
        ({"ammount": 3}, "ammount is a field that no other record has"),
        ({"missing": ["bil"]}, 'missing[0] is "bil", which is none of its 2 values'),
        ({"payer": {"iban": 3, "own": True}}, "payer.iban is 3, not string"),
        ({"payer": {"iban": "3"}}, "payer lacks own"),
        ({"ok": 1}, "ok is 1, not boolean"),
        ({"share": None}, "share is null, not number"),
    ],
)
def test_the_few_that_do_otherwise_are_found_although_they_helped_to_tell(change, words):
    rows = [(line, entry) for line, entry in enumerate([*RECORDS, record(7, **change)], start=1)]
    finding = schema.finding(schema.infer(entry for _, entry in rows), rows)
    assert finding is not None
    assert (finding.kind, finding.count) == ("breaks_schema", 1)
    assert finding.cases[0].lines == (201,)
    assert words in finding.cases[0].text


def test_a_lacking_field_is_found_and_good_records_are_not():
    rows = [(1, {"line": "pet"})]
    finding = schema.finding(schema.infer(RECORDS), rows)
    assert finding is not None
    assert "date is missing; amount is missing" in finding.cases[0].text
    assert schema.finding(schema.infer(RECORDS), list(enumerate(RECORDS))) is None
    assert schema.finding({}, rows) is None


def test_a_few_round_sums_do_not_make_money_whole():
    assert inferred([{"a": n + (0.5 if n in (3, 9) else 0)} for n in range(500)])["a"] == {"type": "number"}
    assert inferred([{"a": n + (0.5 if n == 3 else 0)} for n in range(500)])["a"] == {"type": "integer"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
RECORD = st.dictionaries(st.text(max_size=3), JSON, max_size=4)


@given(st.lists(RECORD, min_size=1, max_size=5))
def test_any_records_have_a_valid_schema_and_equal_ones_follow_it(records):
    inferred_schema = schema.infer(records)
    jsonschema.Draft202012Validator.check_schema(inferred_schema)
    schema.Checker(inferred_schema).faults(records[0])
    same = [records[0]] * 3
    assert schema.finding(schema.infer(same), [(1, records[0])]) is None


@given(RECORD, st.lists(RECORD, min_size=1, max_size=5))
def test_the_quick_checker_agrees_with_jsonschema(instance, records):
    inferred_schema = schema.infer(records)
    checker = jsonschema.FormatChecker(formats=("date",))
    assert bool(schema.Checker(inferred_schema).faults(instance)) == bool(
        list(jsonschema.Draft202012Validator(inferred_schema, format_checker=checker).iter_errors(instance))
    )


def test_a_given_schema_may_use_all_of_json_schema(tmp_path):
    path = tmp_path / "s.json"
    given = {
        "type": "object",
        "$defs": {"money": {"type": "number", "minimum": 0}},
        "properties": {"amount": {"$ref": "#/$defs/money"}, "line": {"pattern": "^[a-z]+$"}},
        "required": ["amount"],
    }
    path.write_text(json.dumps(given), encoding="utf-8")
    finding = schema.finding(schema.load(path), [(1, {"amount": 1}), (2, {"amount": -1}), (3, {"line": "A"})])
    assert finding is not None
    assert [case.lines for case in finding.cases] == [(2,), (3,)]
    assert "-1 is less than the minimum" in finding.cases[0].text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ("{", "not JSON"),
        ('{"type": "strange"}', "no JSON schema"),
        ('{"type": "array"}', "not one of a JSON object"),
        ("[]", "no JSON schema|not one of"),
        ('{"$ref": "https://example.org/s.json"}', "never fetched"),
        ('{"properties": {"a": {"$ref": "other.json"}}}', "never fetched"),
    ],
)
def test_a_schema_that_cannot_be_used_is_explained(tmp_path, content, words):
    path = tmp_path / "s.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=words):
        schema.load(path)


def test_numbers_of_a_field_are_whole_or_not():
    inferred_schema = schema.infer(RECORDS)
    assert [schema.number_kind(inferred_schema, name) for name in ("amount", "share", "name", "x")] == [
        int, float, None, None,
    ]  # fmt: skip
