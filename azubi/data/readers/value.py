"""Values as numbers, truth, moments and weights, once it is known how their column writes them.

What can be read in two ways is read in none: `styles` finds out from the whole column. Knows nothing of rows.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from azubi.data.contract import written_labels
from azubi.data.readers.row import Unusable, plain, written
from azubi.settings import DateOrder, DecimalSign, RecordField

_LONGEST_NUMBER = 400
"""Characters."""
_LARGEST_WEIGHT = 1_000_000
_KINDS = {
    None: "a value",
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
}
_SIGN_NAMES: dict[str | None, str] = {",": " with a decimal comma", ".": " with a decimal point"}


def field(name: str, value: Any, spec: RecordField) -> Any:
    """A value as a field of a record; nothing and empty text are None, or what `spec.empty` says.

    Raises:
        Unusable: it is not of the type that the field has.
    """
    value = plain(value)
    if is_empty(value):
        return spec.empty if spec.type == "boolean" and isinstance(spec.empty, bool) else None
    if isinstance(value, float) and not math.isfinite(value):
        raise Unusable(f"the field “{name}” is {value}, which JSON cannot say")
    if spec.separator is not None:
        return _texts(value, spec.separator)
    typed = _typed(value, spec)
    if typed is None:
        kind = _KINDS[spec.type] + _SIGN_NAMES.get(spec.decimal if spec.type == "number" else None, "")
        raise Unusable(f"the field “{name}” is “{written(value)[:60]}”, which is not {kind}")
    return typed


def labels(value: Any, spec: RecordField) -> str:
    """A value as a label, or with a separator as a set of labels; empty if there is none."""
    value = plain(value)
    if is_empty(value):
        return ""
    return written(value).strip() if spec.separator is None else written_labels(_texts(value, spec.separator))


def _texts(value: Any, separator: str) -> list[str]:
    """The texts of a cell (or a list), each once and in alphabetical order: theirs says nothing."""
    parts = value if isinstance(value, list) else written(value).split(separator)
    texts = {text for part in parts if (text := written(part).strip())}
    return sorted(texts, key=lambda text: (text.casefold(), text))


def is_empty(value: Any) -> bool:
    """Whether a cell holds nothing."""
    return value is None or (isinstance(value, str) and not value.strip())


def _typed(value: Any, spec: RecordField) -> Any:
    match spec.type:
        case "string":
            return written(value).strip()
        case "number":
            return number(value, spec.decimal)
        case "integer":
            parsed = number(value, spec.decimal)
            # Beyond that, a float has already lost the last digits.
            exact = isinstance(parsed, float) and parsed.is_integer() and abs(parsed) < 2**53
            return int(parsed) if parsed is not None and (exact or isinstance(parsed, int)) else None
        case "boolean":
            return value if isinstance(value, bool) else WORDS.get(word(value), (None,))[0]
    return value.strip() if isinstance(value, str) else value


# Truth

_PAIRS = (
    *(("true", "false"), ("wahr", "falsch"), ("yes", "no"), ("ja", "nein"), ("1", "0"), ("j y", "n")),
    *(("x", ""), ("\u2713 \u2714 \u2611 \u2705", "\u2717 \u2718 \u2610 \u274c")),
)
WORDS = {
    text: (truth, pair[0])
    for pair in _PAIRS
    for truth, texts in zip((True, False), pair, strict=True)
    for text in texts.split()
}
"""Words for true and false, with the word that names their pair."""


def word(value: Any) -> str:
    """A value as one of `WORDS`, if it is one; 1.0 is 1."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return written(value).replace("\ufe0f", "").strip().lower()


# Numbers


class Number(NamedTuple):
    """A number as it is read from a text."""

    value: int | float
    unit: str
    """A currency such as EUR, or %; not part of the value."""
    accounting: bool
    """Whether brackets or a minus behind it say that it is negative."""


DECIMAL_SIGNS: tuple[DecimalSign, ...] = (",", ".")
_SPACES, _APOSTROPHES, _DASHES = "\u00a0\u2009\u202f", "\u2019\u00b4`", "\u2212\u2013\u2014"
_TIDY = str.maketrans(_SPACES + _APOSTROPHES + _DASHES, "   '''---")
_UNIT = (
    r"[%\u2030$\u00a3\u20ac\u00a5\u20a4\u20ba\u20bd]"
    r"|(?:euros?|s?fr\.?|z\u0142|k\u010d|kr|eur|chf|usd|gbp|jpy|cny|dkk|nok|sek|isk|pln|czk|huf|ron|bgn"
    r"|try|rub|uah|aud|cad|nzd|inr|brl|zar|dem)(?![a-z])"
)
_SAME_UNIT = {"\u20ac": "EUR", "EURO": "EUR", "EUROS": "EUR", "$": "USD", "\u00a3": "GBP"}
_SAME_UNIT |= dict.fromkeys(("FR", "FR.", "SFR", "SFR."), "CHF")
_DRESSED = re.compile(
    rf"(?P<before>(?:{_UNIT}|[-+( ])*)"
    r"(?P<bare>[.,]?[0-9](?:[0-9., ']*[0-9])?(?:e[+-]?[0-9]{1,3})?)(?P<whole>[.,]--?)?"
    rf"(?P<after>(?:{_UNIT}|[-) ])*)",
    re.IGNORECASE,
)
_MARK = re.compile(rf"{_UNIT}|[-+()]", re.IGNORECASE)
_BARE = {
    sign: re.compile(
        rf"((?:[1-9]\d{{0,2}}([{other} '])\d{{3}}(?:\2\d{{3}})*|\d+)?)(\{sign}\d+)?(e[+-]?\d+)?",
        re.IGNORECASE,
    )
    for sign, other in ((",", "."), (".", ","))
}


@lru_cache(1 << 14)
def readings(text: str) -> Mapping[DecimalSign, Number]:
    """What a text is as a number, by the decimal signs with which it is one."""
    parts = _DRESSED.fullmatch(text.translate(_TIDY).strip()) if len(text) <= _LONGEST_NUMBER else None
    if parts is None:
        return {}
    marks = [mark.upper() for mark in _MARK.findall(parts["before"] + parts["after"])]
    units = [_SAME_UNIT.get(mark, mark) for mark in marks if mark not in "-+()"]
    signs = "".join(mark for mark in marks if mark in "-+()")
    if len(units) > 1 or signs not in ("", "+", "-", "()"):
        return {}
    accounting = signs == "()" or (signs == "-" and "-" in parts["after"])
    values = {sign: _bare(parts["bare"], parts["whole"], sign) for sign in DECIMAL_SIGNS}
    return {
        sign: Number(-value if signs in ("-", "()") else value, "".join(units), accounting)
        for sign, value in values.items()
        if value is not None
    }


def _bare(text: str, whole: str | None, sign: DecimalSign) -> int | float | None:
    parts = _BARE[sign].fullmatch(text)
    if parts is None or (whole and (parts[3] or parts[4] or whole[0] != sign)):
        return None
    digits = re.sub(r"\D", "", parts[1])
    if not parts[3] and not parts[4]:
        return int(digits)
    value = float(digits + (parts[3] or "").replace(sign, ".") + (parts[4] or ""))
    return value if math.isfinite(value) else None


def number(value: Any, decimal: DecimalSign | None = None) -> int | float | None:
    """A number out of a number, or of text with that decimal sign; without one, if only one reading is left.

    None if it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if not isinstance(value, str):
        return value
    values = {reading.value for sign, reading in readings(value).items() if decimal in (None, sign)}
    return values.pop() if len(values) == 1 else None


# Moments

DATE = re.compile(r"([0-9]{1,2})([./-])([0-9]{1,2})\2([0-9]{4}|[0-9]{2})(?:[ T,]+(.+))?")
"""A date that begins with day or month: first, separator, second, year, and the clock."""
DATE_ORDERS: tuple[DateOrder, ...] = ("day-first", "month-first")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?(?: ?([ap])\.?m\.?)?(?: ?Uhr)?", re.IGNORECASE | re.ASCII)
_WRITE = "write ISO 8601 (2024-12-31) or 31.12.2024"


def moment(value: Any, order: DateOrder | None = None) -> str:
    """A moment as ISO 8601; with a time zone, in UTC, so that texts order as moments do. Nothing is "".

    Without `order`, dots mean that the day comes first, and of other dates those are read that can be read in
    one way only.

    Raises:
        Unusable: it is no date, or can be read in two ways.
    """
    if is_empty(value):
        return ""
    if isinstance(value, str):
        value = _parse_moment(value.strip(), order)
    if isinstance(value, datetime):
        try:
            return (value.astimezone(UTC) if value.tzinfo is not None else value).isoformat()
        except (OverflowError, ValueError):
            raise Unusable(f"the time {value} lies outside of the calendar") from None
    if isinstance(value, date):
        return value.isoformat()
    raise Unusable(f"the time {written(value)[:60]} is no date; {_WRITE}")


def _parse_moment(text: str, order: DateOrder | None) -> date:
    try:
        if parts := DATE.fullmatch(text):
            return _ordered(text, parts, order)
        iso = text.replace("/", "-") if re.match(r"\d{4}/\d", text) else text
        return date.fromisoformat(iso) if len(iso) <= 10 else datetime.fromisoformat(iso)
    except (ValueError, OverflowError):
        raise Unusable(f"the time “{text[:60]}” is no date; {_WRITE}") from None


def _ordered(text: str, parts: re.Match[str], order: DateOrder | None) -> date:
    first, second, year = int(parts[1]), int(parts[3]), int(parts[4])
    if len(parts[4]) == 2:
        raise Unusable(f"the time “{text[:60]}” has a year of two digits; write all four of them")
    if order is None and parts[2] != ".":
        if first <= 12 and second <= 12 and first != second:
            raise Unusable(f"the time “{text[:60]}” may begin with the day or with the month; set dates")
        order = "month-first" if second > 12 else "day-first"
    day, month = (second, first) if order == "month-first" else (first, second)
    if parts[5] is None:
        return date(year, month, day)
    return datetime(year, month, day, *_clock(parts[5].strip()))


def _clock(text: str) -> tuple[int, int, int]:
    parts = _CLOCK.fullmatch(text)
    if parts is None:
        raise ValueError(text)
    hour, minute, second, half = int(parts[1]), int(parts[2]), int(parts[3] or 0), (parts[4] or "").lower()
    if half and not 1 <= hour <= 12:
        raise ValueError(text)
    return (hour % 12 + 12 * (half == "p") if half else hour), minute, second


def weight(value: Any, decimal: DecimalSign | None = None) -> float:
    """How much a row counts: 0 or more; 1 for nothing. `decimal` as for `number`.

    Raises:
        Unusable: it is no such number.
    """
    value = plain(value)
    if is_empty(value):
        return 1.0
    parsed = number(value, decimal)
    if parsed is None or not 0 <= parsed <= _LARGEST_WEIGHT:
        raise Unusable(f"the weight “{written(value)[:60]}” is no number from 0 to {_LARGEST_WEIGHT:,}")
    return float(parsed)
