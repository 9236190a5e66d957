"""A row of a source, before it is known what it means; and a row that cannot be used.

Knows nothing of files or of what columns mean.
"""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from azubi.data import strict_json
from azubi.data.example import Turn

LONGEST_RAW = 200
"""Characters of a rejected row that are kept."""


EMPTY = "is empty"
"""Why a row that holds nothing is rejected; no example is lost with it, but it has its place among rows."""


class Unusable(Exception):
    """Says why a row cannot be used. Never leaves this package: it becomes a `Rejected`."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a value that its source holds, but that cannot be read: rows that use it are rejected."""

    reason: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its place, its values by column, and how it stood in the source."""

    line: int
    """1-based line of a text file; row of a sheet, table or result."""
    values: Mapping[str, Any]
    raw: str = ""
    """Its text, as far as it is at hand; made from the values when it is needed otherwise."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot be used, and why."""

    line: int
    reason: str
    raw: str = ""
    """How it begins in the source."""

    @property
    def empty(self) -> bool:
        """Whether nothing stands in it."""
        return self.reason == EMPTY

    def as_json(self, **more: str) -> str:
        """Its line in rejected.jsonl, with whatever else is to be said."""
        told = {**more, "line": self.line, "reason": self.reason, "raw": self.raw}
        return strict_json.write(told)


@dataclass(frozen=True, slots=True)
class Asked:
    """A row that is to be answered: its question, or why it cannot be asked."""

    line: int
    """As in `Row`; in one JSON list, the element's number."""
    values: Mapping[str, Any]
    """By column; nothing where the row could not be read."""
    turns: tuple[Turn, ...] = ()
    """What training would have made of the row, up to the answer."""
    fault: str = ""
    """Empty if it can be asked."""
    notes: tuple[str, ...] = ()
    """What whoever asks should know of it: that parts of a document were not read."""


def unasked(row: Rejected, values: Mapping[str, Any] | None = None) -> Asked:
    """A row that cannot be asked, with the reason as a sentence."""
    reason = row.reason if row.line else f"{row.reason}: {row.raw}"
    states = reason.startswith(("is ", "has ", "holds ", "names "))
    return Asked(row.line, values or {}, fault=f"The row {reason}." if states else f"Not asked: {reason}.")


def rejected(row: Row, reason: str) -> Rejected:
    """Leave out a row."""
    raw = row.raw or strict_json.write(dict(row.values), default=str)
    return Rejected(row.line, reason, shortened(raw))


def shortened(text: str, most: int = LONGEST_RAW) -> str:
    """The beginning of a text, such that it can be written as UTF-8."""
    text = text.rstrip("\r\n")
    kept = text if len(text) <= most else text[: most - 1] + "…"
    return kept.encode(errors="backslashreplace").decode()


def written(value: object) -> str:
    """A value as the text that the model reads or writes; nothing is the empty text."""
    if isinstance(value, str):
        return value
    value = plain(value)
    if value is None:
        return ""
    if isinstance(value, bool | dict | list):
        return strict_json.write(value)
    return str(value)


def plain(value: object) -> Any:
    """A value of any source as JSON has it: dates become ISO 8601, decimals numbers, not-a-number nothing.

    Raises:
        Unusable: it is bytes, or of a kind that has no text; or a record or list in which NaN or Infinity is.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {written(name): _inner(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_inner(one) for one in value]
    return _rare(value)


def _inner(value: object) -> Any:
    """A value within a record or a list, where NaN may not stand for a cell that is empty."""
    if isinstance(value, float | Decimal) and not math.isfinite(value):
        raise Unusable(f"a record or list holds {value}, which JSON does not have")
    return plain(value)


_MOST_WHOLE = 10**80
"""Whole decimals up to this are whole numbers; no database has longer ones."""


def _number(value: Decimal) -> Any:
    if value.is_nan():
        return None
    if value == value.to_integral_value() and abs(value) < _MOST_WHOLE:
        return int(value)
    # What a float would round stays text, digit by digit.
    return float(value) if Decimal(repr(float(value))) == value else str(value)


def _rare(value: object) -> Any:
    if isinstance(value, Unreadable):
        raise Unusable(value.reason)
    if isinstance(value, UUID | timedelta):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        start = base64.b16encode(bytes(value)[:8]).decode()
        raise Unusable(f"a value is {len(bytes(value)):,} bytes of binary data ({start}…), not text")
    raise Unusable(f"a value is of the kind {type(value).__name__}, which has no text")
