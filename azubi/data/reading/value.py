"""Values as numbers, truth, moments and weights. Knows nothing of rows."""

import math
import re
from datetime import UTC, date, datetime
from typing import Any

from azubi.data.reading.row import Unusable, plain, written
from azubi.settings import RecordField

_GERMAN = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})(?:[ T,]+(\d{1,2}):(\d{2})(?::(\d{2}))?)?")
_TRUTH = {
    **dict.fromkeys(("true", "yes", "1", "ja", "wahr"), True),
    **dict.fromkeys(("false", "no", "0", "nein", "falsch"), False),
}
_PLAIN = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?")
_LONGEST = 400
"""Characters of a number."""
_HEAVIEST = 1_000_000


def field(name: str, value: Any, told: RecordField) -> Any:
    """A value as a field of a record; nothing and empty text are None.

    Raises:
        Unusable: it is not of the type that was told.
    """
    value = plain(value)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        raise Unusable(f"the field “{name}” is {value}, which JSON cannot say")
    made = _made(value, told)
    if made is None:
        raise Unusable(f"the field “{name}” is “{written(value)[:60]}”, which is not {_NAMES[told.type]}")
    return made


_NAMES = {
    None: "a value",
    "string": "text",
    "number": 'a number (set decimal: "," for 1.234,56)',
    "integer": "a whole number",
    "boolean": "true or false",
}


def _made(value: Any, told: RecordField) -> Any:
    match told.type:
        case "string":
            return written(value).strip()
        case "number":
            return number(value, told.decimal)
        case "integer":
            found = number(value, told.decimal)
            whole = found is not None and (isinstance(found, int) or found.is_integer())
            return int(found) if found is not None and whole else None
        case "boolean":
            return value if isinstance(value, bool) else _TRUTH.get(written(value).strip().lower())
    return value.strip() if isinstance(value, str) else value


def number(value: Any, decimal: str | None = None) -> int | float | None:
    """A number out of a number, or of text with that decimal sign; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if not isinstance(value, str):
        return value
    text = value.strip().replace("\u2212", "-")
    if len(text) > _LONGEST:
        return None
    if decimal is not None:
        other = "." if decimal == "," else ","
        whole, _, rest = text.partition(decimal)
        groups = re.split(rf"[{re.escape(other)}' \u00a0\u202f\u2019]", whole)
        if len(groups) > 1 and not all(len(group) == 3 for group in groups[1:]):
            return None
        text = "".join(groups) + (f".{rest}" if rest else "")
    if not _PLAIN.fullmatch(text) or not text.isascii():
        return None
    found = float(text)
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    return found if math.isfinite(found) else None


def moment(value: Any) -> str:
    """A moment as ISO 8601; with a time zone, in UTC, so that texts order as moments do. Nothing is "".

    Raises:
        Unusable: it is no date that can be told.
    """
    if isinstance(value, str):
        value = _parsed(value.strip())
    if value is None or value == "":
        return ""
    if isinstance(value, datetime):
        try:
            return (value.astimezone(UTC) if value.tzinfo is not None else value).isoformat()
        except (OverflowError, ValueError):
            raise Unusable(f"the time {value} lies outside of the calendar") from None
    if isinstance(value, date):
        return value.isoformat()
    raise Unusable(f"the time {written(value)[:60]} is no date; write ISO 8601 or 31.12.2024")


def _parsed(text: str) -> Any:
    if not text:
        return ""
    try:
        if found := _GERMAN.fullmatch(text):
            day, month, year, *clock = (int(part) if part else None for part in found.groups())
            if clock[0] is None:
                return date(year or 0, month or 0, day or 0)
            return datetime(year or 0, month or 0, day or 0, clock[0], clock[1] or 0, clock[2] or 0)
        told = text.replace("/", "-") if re.match(r"\d{4}/\d", text) else text
        return date.fromisoformat(told) if len(told) <= 10 else datetime.fromisoformat(told)
    except (ValueError, OverflowError):
        raise Unusable(f"the time “{text[:60]}” is no date; write ISO 8601 or 31.12.2024") from None


def weight(value: Any) -> float:
    """How much a row counts: 0 or more; 1 for nothing.

    Raises:
        Unusable: it is no such number.
    """
    value = plain(value)
    if value is None or (isinstance(value, str) and not value.strip()):
        return 1.0
    found = number(value)
    if found is None or not 0 <= found <= _HEAVIEST:
        raise Unusable(f"the weight “{written(value)[:60]}” is no number from 0 to {_HEAVIEST:,}")
    return float(found)
