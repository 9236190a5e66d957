"""JSON: what is strict, what is nearly so, and what goes out."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from azubi.data import strict_json
from azubi.data.strict_json import NotJson

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def values(leaves):
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4)
    )


JSON = values(st.none() | st.booleans() | st.integers() | FLOATS | TEXT)
ANYTHING = values(st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()))


def strictly(text):
    """Read by a parser of another maker, which refuses what RFC 8259 does."""
    return from_json(text, allow_inf_nan=False)


@given(ANYTHING)
def test_whatever_is_written_any_strict_parser_reads(value):
    text = strict_json.write(value)
    strictly(text.encode())
    assert strict_json.parse(text) == strictly(text)


@given(JSON)
def test_what_is_written_says_what_was_given(value):
    assert strict_json.parse(strict_json.write(value)) == value
    assert strict_json.parse(strict_json.write(value, indent=1, ensure_ascii=True)) == value


def test_what_json_lacks_is_written_as_null():
    odd = {"a": [math.nan, math.inf, 1.5], math.nan: "\ud800", "b": -math.inf}
    assert strict_json.write(odd) == '{"a": [null, null, 1.5], "NaN": "?", "b": null}'


@given(st.text(st.sampled_from(list("{}[]\":,.\\ud8c0NaInfity-+eE19\n'#/ "))))
def test_what_is_read_a_strict_parser_reads_too(text):
    try:
        value = strict_json.parse(text)
    except NotJson as error:
        assert str(error)
    else:
        assert value == strictly(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": NaN}', "NaN is no JSON value"),
        ('{"a": [1, -Infinity]}', "-Infinity is no JSON value"),
        ('{"a": {"b": 1, "b": 1}}', "the key “b” occurs twice in one object"),
        ('{"a": "x\\ud83d"}', r"\\ud83d is half a character"),
        ('{"\\udc00": 1}', r"\\udc00 is half a character"),
        ('{"a": "\ud83d"}', r"\\ud83d is half a character"),
        ('{"a": 1e999}', "the number 1e999 is out of range"),
        (f'{{"a": -{"9" * 5_000}}}', "a number has 5,001 digits"),
        ("[" * 101 + "]" * 101, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"a": 1', "Expecting ',' delimiter at column 8"),
        ('{"a":\n "x" 1}', "at line 2, column 6"),
        ('{"a": 1} {"b": 2}', "Extra data at column 10"),
        ("", "Expecting value"),
    ],
)
def test_what_is_not_strict_is_refused_with_its_cause(text, words):
    with pytest.raises(NotJson, match=words):
        strict_json.parse(text)


def test_what_is_large_deep_or_odd_and_still_json_is_read():
    deep = "[" * 100 + "]" * 100
    assert strict_json.write(strict_json.parse(deep)) == deep
    assert strict_json.parse(f"-{'9' * 300}") == -int("9" * 300)
    assert strict_json.parse('["\\ud83d\\ude00", 1e-999, "[{[{' + "[" * 300 + '"]') == [
        "😀",
        0.0,
        "[{[{" + "[" * 300,
    ]


# What is nearly JSON


@pytest.mark.parametrize(
    ("text", "value", "faults"),
    [
        ("{'a': None}", {"a": None}, ["single quotes, as in a Python dict", "None"]),
        ("{\"a\": True, 'it''s': 1}", None, []),
        ("{'a': \"it's\", 'b': 'say \\'x\\' \\x41\\u00e4'}", {"a": "it's", "b": "say 'x' Aä"}, None),
        ('{"a": [1, 2,], }', {"a": [1, 2]}, ["a comma before the closing bracket"]),
        ('{"a": 1 /* one */, // so\n"b": 2 # two\n}', {"a": 1, "b": 2}, ["a comment"]),
        ('{"url": "http://x#y", b: nan}', {"url": "http://x#y", "b": None}, ["keys without quotes", "nan"]),
        ('{"a": NaN}', {"a": None}, ["NaN"]),
        ('{"a": undefined}', {"a": None}, ["undefined"]),
        ('{"a": "x\ny\t"}', {"a": "x\ny\t"}, ["a line break or tab within a text"]),
        ('{"a": "\\x41"}', {"a": "A"}, ["an escape that JSON does not have"]),
        ('{"a": "\\d"}', None, []),
        ('{"a": Infinity}', None, []),
        ("{'a': 1, 'a': 2}", None, []),
        ("{'a': 1 2}", None, []),
        ("{'a': 'it's'}", None, []),
        ("{'a': (1, 2)}", None, []),
        ("{'a': Decimal('1.2')}", None, []),
        ("{1: 'a'}", None, []),
        ("{'a': 01}", None, []),
        ("{'a': yes}", None, []),
        ("{,}", None, []),
        ("{'a': 1,,}", None, []),
        ("{'a' 'b': 1}", None, []),
        ("{'a': 1 # so }", None, []),
        ('{"a": 1}', None, []),
    ],
)
def test_what_can_be_meant_in_one_way_is_mended_and_named(text, value, faults):
    mended = strict_json.repair(text)
    assert (mended.value if mended else None) == value
    if faults is not None:
        assert list(mended.faults if mended else ()) == faults


@given(st.dictionaries(TEXT, JSON, min_size=1))
def test_every_python_dict_is_mended_to_what_it_says(value):
    text = repr(value)
    mended = strict_json.repair(text)
    read = mended.value if mended else strict_json.parse(text)
    assert read == value
    assert json.dumps(read) == json.dumps(value)  # 1 is not True


@given(st.dictionaries(TEXT, JSON, min_size=1), st.data())
def test_what_breaks_off_is_never_mended(value, data):
    text = repr(value)
    assert strict_json.repair(text[: data.draw(st.integers(0, len(text) - 1))]) is None


@given(JSON)
def test_what_is_json_needs_no_mending(value):
    assert strict_json.repair(strict_json.write(value)) is None
