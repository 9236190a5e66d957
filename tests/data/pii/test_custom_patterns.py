"""The company's custom patterns are tried before they are used, and cannot hang a run."""

import time

import pytest

from azubi.data.pii import custom_patterns
from azubi.errors import DataError, SettingError


def test_a_pattern_finds_what_it_says():
    (policy,) = custom_patterns.compiled({"policy": r"P-\d{8}"})
    assert [(span.start, span.end) for span in policy.find("P-12345678, P-1 P-87654321")] == [
        (0, 10),
        (16, 26),
    ]


@pytest.mark.parametrize(
    ("name", "pattern", "told"),
    [
        ("policy", "P-(", "no regular expression: missing )"),
        ("policy", r"\d*", "matches an empty text"),
        ("Police", r"\d", "'Police'"),
        ("iban", r"\d", "a kind that azubi knows"),
        ("policy", "a" * 501, "501 characters"),
        ("policy", "(a+)+$", "takes too long"),
        ("policy", r"(\d|\d\d)+x", "takes too long"),
        ("policy", r"(?:a|a)*b", "takes too long"),
        ("policy", r"([A-Z0-9]+-?)+!", "takes too long"),
        ("policy", r"(\w+\s?)+:", "takes too long"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_name(name, pattern, told):
    begun = time.monotonic()
    with pytest.raises(SettingError) as caught:
        custom_patterns.compiled({name: pattern})
    assert told in caught.value.problem and caught.value.remedy
    assert time.monotonic() - begun < 5


def test_too_many_are_refused():
    with pytest.raises(SettingError, match="51 patterns"):
        custom_patterns.compiled({f"p{number}": "x" for number in range(51)})


def test_a_search_that_takes_too_long_is_an_error_not_a_text_without_findings(monkeypatch):
    monkeypatch.setattr(custom_patterns, "_try_out", lambda *given: None)
    monkeypatch.setattr(custom_patterns, "_SECONDS", 0.2)
    (slow,) = custom_patterns.compiled({"slow": r"(q|qq)+z"})
    with pytest.raises(DataError) as caught:
        list(slow.find("q" * 5000))
    assert "`slow`" in caught.value.problem and "repetitions" in caught.value.remedy


@pytest.mark.parametrize(
    "pattern", [r"P-\d{8}", r"[A-Z]{2}\d{6,10}", r"(?:KS|HR)\d+", r"\bVN[ -]?\d{3}(?: \d{3})*\b"]
)
def test_ordinary_patterns_pass(pattern):
    assert custom_patterns.compiled({"ok": pattern})
