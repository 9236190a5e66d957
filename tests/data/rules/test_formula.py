"""One field as a CEL expression: what it gives, when it gives nothing, and what is refused."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azubi.data.rules.formula import LONGEST, Formula, NotComputable, literal, read
from azubi.errors import SettingError

FIELDS = ("line", "amount", "fee", "date", "docs", "claim no")


def value(text, **record):
    return Formula("team", text, FIELDS).value(record)


@pytest.mark.parametrize(
    ("text", "record", "expected"),
    [
        ('amount > 5000 ? "S7" : "K3"', {"amount": 5001}, "S7"),
        ('amount > 5000 ? "S7" : "K3"', {"amount": 5000.0}, "K3"),
        ("amount + fee", {"amount": 0.1, "fee": 0.2}, 0.3),
        ("round(amount * 0.19, 2)", {"amount": 10.5}, 2.0),
        ("max(0, amount - 300)", {"amount": 200}, 0),
        ("min(amount, 1500)", {"amount": 200}, 200),
        ("date(date) + days(14)", {"date": "2026-02-20"}, "2026-03-06"),
        ('date(date) + duration("90m")', {"date": "2026-02-20"}, "2026-02-20T01:30:00+00:00"),
        ('{"motor": {"KS41": 1}}[line]', {"line": "motor"}, {"KS41": 1}),
        ('["quote", "bill"].filter(d, !(d in docs))', {"docs": ["bill"]}, ["quote"]),
        ('has(record.amount) ? "some" : "none"', {}, "none"),
        ("amount == null ? null : amount", {"amount": None}, None),
    ],
)
def test_gives_json(text, record, expected):
    assert value(text, **record) == expected


def test_fields_with_other_names_are_read_through_the_record():
    formula = Formula("team", 'record["claim no"] + "-" + record.line', FIELDS)
    assert formula.inputs == ("line", "claim no")
    assert formula.value({"line": "pet", "claim no": "7"}) == "7-pet"
    assert formula.value({"line": "pet"}) == NotComputable("claim no is missing")


def test_only_what_is_read_counts_as_missing():
    formula = Formula("team", 'line == "pet" ? "R" : amount > 5 ? "S" : "T"', FIELDS)
    assert formula.value({"line": "pet"}) == "R"
    assert formula.value({"line": "car"}) == NotComputable("amount is missing")
    assert formula.value({"line": "car", "amount": None}) == NotComputable("amount is null", null=True)


@pytest.mark.parametrize(
    ("text", "record", "words"),
    [
        ("amount * 2", {"amount": 1.5}, "mixes kinds.*double"),
        ("amount > 5", {"amount": "many"}, "amount = “many” it mixes kinds"),
        ("amount / 0", {"amount": 1}, "divides by zero"),
        ("amount * amount", {"amount": 2**62}, "too large"),
        ('{"pet": 1}[line]', {"line": "car"}, "no 'car'"),
        ("date(date) - date(date)", {"date": "2026-01-01"}, "span of time"),
        ("date(date) + days(1)", {"date": "soon"}, "mixes kinds"),
        ("1.0 / amount", {"amount": 0.0}, "not a finite number"),
        ('b"x"', {}, "bytes"),
        ("docs[3]", {"docs": []}, "docs"),
    ],
)
def test_what_cannot_be_computed_is_a_lack_with_its_reason(text, record, words):
    lack = value(text, **record)
    assert isinstance(lack, NotComputable)
    assert not lack.null
    assert re.search(words, lack.reason), lack.reason


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("amount >", "not a CEL expression.*line 1, column"),
        ("amout > 5", "“amout”.*Did you mean “amount”"),
        ("Motor", "no field.*fields are line, amount"),
        ("amounts(5)", r"amounts\(\), which does not exist"),
        ("eval(line)", r"eval\(\), which does not exist"),
        ("record[line]", "does not say which field"),
        ('record.line + record["claim number"]', "“claim number”.*Did you mean “claim no”"),
        (" " * LONGEST + "1", "20,001 characters"),
        ("docs.map(a, docs.map(b, docs.map(c, a + b + c)))", "3 times"),
        ("docs.map(a, docs.map(b, a + b)) == [" + "1, " * 100 + "1]", "102 items itself; 100 is the most"),
        ("[" + "1, " * 1_000 + "1].filter(a, a > amount)", "1,001 items itself"),
        ("(" * 200 + "1" + ")" * 200, "not a CEL expression"),
    ],
)
def test_what_is_refused_names_value_and_remedy(text, words):
    with pytest.raises(SettingError, match=words):
        Formula("team", text, FIELDS)


def test_long_lists_are_not_gone_over():
    once = Formula("team", "docs.filter(a, a == line)", FIELDS)
    assert once.value({"docs": ["x"] * 900, "line": "x"}) == ["x"] * 900
    lack = once.value({"docs": [["x"] * 100] * 10, "line": "x"})
    assert lack == NotComputable("the lists have more than 999 items, which would take long")
    twice = Formula("team", "docs.map(a, docs.map(b, a + b)).size()", FIELDS)
    assert twice.value({"docs": ["x"] * 90}) == 90
    assert isinstance(twice.value({"docs": ["x"] * 100}), NotComputable)
    assert Formula("team", "docs.size()", FIELDS).value({"docs": ["x"] * 5_000}) == 5_000


def test_text_that_looks_like_a_field_or_a_macro_is_text():
    assert Formula("team", '"amout .map(x, y) .map(x, y) .map(x, y) record[z]" + line', FIELDS).inputs == (
        "line",
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_any_value_can_be_written_as_a_literal(anything):
    assert Formula("team", literal(anything), ()).value({}) == anything


@given(st.text(), st.text())
def test_any_field_can_be_read_and_any_text_quoted(name, text):
    formula = Formula("team", f"{read(name)} == {literal(text)}", [name])
    assert formula.inputs == (name,)
    assert formula.value({name: text}) is True


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_no_record_breaks_a_rule(record):
    text = 'line == "a" ? amount + fee : docs.filter(d, d != date)'
    result = Formula("team", text, FIELDS).value(record)
    assert isinstance(result, NotComputable) or json.dumps(result)
