"""One field as a function of others, written in CEL, the Common Expression Language.

A formula is compiled once and computed per record. Beside CEL's own functions there are `date(text)`,
`days(number)`, `round(number, digits)`, `min` and `max`. One computation is bounded: the text has a longest
length, at most two macros (`filter`, `map`, `all`, `exists`) go over lists, which are short, and nothing can
call out. Knows one record at a time; nothing of other fields' rules, files or models.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from difflib import get_close_matches
from math import isfinite
from typing import Any

import cel

from azubi.data.strict_json import Record
from azubi.errors import SettingError

LONGEST = 20_000
"""Characters of a formula."""
MOST_MACROS = 2
"""Macros over lists in one formula: each one inside another multiplies the work."""
MOST_ITEMS = (0, 1_000, 100)
"""With so many macros, the most items in a formula and in what it reads. CEL takes time that grows with the
square of a list's length (0.1 s for these), and with its cube for a list within a list."""
DIGITS = 12
"""Significant digits of a computed fraction, so that 0.1 + 0.2 is 0.3, as in the company's records."""
RECORD = "record"
"""The variable that holds the whole record, for fields whose names are no CEL names: record["claim no"]."""

_TEXT = re.compile(r'[rR]?(?:"""(?:.|\n)*?"""|\'\'\'(?:.|\n)*?\'\'\'|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\')')
_MACRO = re.compile(r"\.\s*(?:filter|map|all|exists|exists_one)\s*\(\s*([A-Za-z_]\w*)\s*,")
_READS_RECORD = re.compile(
    rf"\b{RECORD}\s*(?:\.\s*([A-Za-z_]\w*)|\[\s*(\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*')\s*\])?"
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FAILURES = (TypeError, ValueError, KeyError, IndexError, RuntimeError, ArithmeticError)


@dataclass(frozen=True, slots=True)
class NotComputable:
    """Why a formula has no value for a record."""

    reason: str
    null: bool = False
    """Whether the reason is that a field which it reads is null: then its value is null, too."""


class Formula:
    """A compiled expression over the fields of a record."""

    def __init__(self, name: str, text: str, fields: Collection[str]) -> None:
        """`name` is the field that it computes, `fields` are those that it may read.

        Raises:
            SettingError: it is not CEL, reads a field that is not there, or could take long.
        """
        self.name, self.text = name, text
        self._most_items = _most_items(name, text)
        self._program = _compile(name, text)
        self.inputs = _inputs(name, text, self._program, fields)
        """The fields that it reads, in the order of `fields`."""
        self._reads_record = RECORD not in fields and RECORD in self._program.variables()

    def value(self, record: Record) -> Any:
        """What the formula gives for `record`: a JSON value, or a `NotComputable`."""
        variables = {name: record[name] for name in self.inputs if name in record}
        if self._most_items is not None and sum(map(_items, variables.values())) > self._most_items:
            return NotComputable(
                f"the lists have more than {self._most_items:,} items, which would take long"
            )
        if self._reads_record:
            variables[RECORD] = dict(record)
        try:
            return _as_json(self._program.execute(cel.Context(variables, _FUNCTIONS)))
        except _FAILURES as error:
            return self._why_not(record, error)

    def _why_not(self, record: Record, error: Exception) -> NotComputable:
        absent = [name for name in self.inputs if name not in record]
        nulls = [name for name in self.inputs if name in record and record[name] is None]
        if names := absent or nulls:
            named = " and ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} and {names[-1]}"
            verb = "is" if len(names) == 1 else "are"
            return NotComputable(f"{named} {verb} {'missing' if absent else 'null'}", null=not absent)
        values = ", ".join(f"{name} = {_short(record[name])}" for name in self.inputs)
        return NotComputable(f"with {values} {_cause(error)}")


# Writing CEL


def literal(value: Any) -> str:
    """Write a JSON value in CEL, which has the literals of JSON."""
    return json.dumps(value, ensure_ascii=False)


def read(name: str) -> str:
    """Write the reading of a field: its name, or record["its name"]."""
    plain = _NAME.fullmatch(name) and name not in _RESERVED
    return name if plain else f"{RECORD}[{literal(name)}]"


def mapped(entries: Mapping[Any, str]) -> str:
    """Write a map whose keys are JSON values and whose values are CEL already."""
    return "{" + ", ".join(f"{literal(key)}: {value}" for key, value in entries.items()) + "}"


_WORDS = "true false null in as break const continue else for function if import let loop package namespace"
_RESERVED = frozenset([*_WORDS.split(), "return", "var", "void", "while"])


# What a formula may say


def _most_items(name: str, text: str) -> int | None:
    """How many items the formula may read; None if it goes over no list. Refuses what could take long."""
    problem, remedy = "", "Split it into two derived fields, or let the field be learned."
    without_texts = _without_texts(text)
    macros, items = len(_MACRO.findall(without_texts)), without_texts.count(",")
    if len(text) > LONGEST:
        problem = f"has {len(text):,} characters; {LONGEST:,} is the most"
    elif macros > MOST_MACROS:
        problem = (
            f"goes over lists {macros} times (filter, map, all, exists); {MOST_MACROS} is the most, "
            "so that it can never take long"
        )
    elif macros and items >= MOST_ITEMS[macros]:
        problem = (
            f"goes over lists and has {items:,} items itself; {MOST_ITEMS[macros]:,} is the most, "
            "so that it can never take long"
        )
    if problem:
        raise SettingError(f"The rule for {name} {problem}.", remedy)
    return MOST_ITEMS[macros] - items if macros else None


def _compile(name: str, text: str) -> cel.Program:
    try:
        return cel.compile(text)
    except ValueError as error:
        match = re.search(r"<input>:(\d+):(\d+): (?:Syntax error: )?([^\n]*)", str(error))
        cause = "it cannot be parsed"
        if match:
            # Without the parser's list of everything that could have stood there.
            said = match[3].split(" expecting ")[0].split(" { ")[0].strip()
            cause = f"{said} (line {match[1]}, column {match[2]})"
        raise SettingError(
            f"The rule for {name} is not a CEL expression: {cause}. It reads: {_short(text)}",
            'Write it like this: amount > 5000 ? "S7" : "K3"',
        ) from error


def _inputs(name: str, text: str, program: cel.Program, fields: Collection[str]) -> tuple[str, ...]:
    references = program.references()
    for function in references["functions"]:
        if re.fullmatch(r"[A-Za-z]\w*", function) and function not in _KNOWN:
            near = get_close_matches(function, _KNOWN, n=1)
            raise SettingError(
                f"The rule for {name} uses {function}(), which does not exist.",
                f"Did you mean {near[0]}()?" if near else f"There are {', '.join(sorted(_KNOWN))}.",
            )
    inputs = set(references["variables"]) - set(_MACRO.findall(_without_texts(text)))
    if RECORD in inputs and RECORD not in fields:
        inputs = (inputs - {RECORD}) | _read_through_record(name, text)
    for unknown in sorted(inputs - set(fields)):
        near = get_close_matches(unknown, fields, n=1, cutoff=0.5)
        raise SettingError(
            f"The rule for {name} reads “{unknown}”, which is no field of the record.",
            f"Did you mean “{near[0]}”? Text stands in quotes."
            if near
            else f"The fields are {', '.join(fields)}.",
        )
    return tuple(field for field in fields if field in inputs)


def _read_through_record(name: str, text: str) -> set[str]:
    """Fields that are read as record.x or record["x"]."""
    texts = [match.span() for match in _TEXT.finditer(text)]
    names = set()
    for match in _READS_RECORD.finditer(text):
        if any(start <= match.start() < end for start, end in texts):
            continue
        if match[1] is None and match[2] is None:
            raise SettingError(
                f"The rule for {name} reads {RECORD} in a way that does not say which field.",
                f'Write {RECORD}.field or {RECORD}["field"].',
            )
        names.add(match[1] or str(cel.evaluate(match[2])))
    return names


def _without_texts(text: str) -> str:
    return _TEXT.sub('""', text)


# What CEL gives and says


def _as_json(value: Any) -> Any:
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        if not isfinite(value):
            return NotComputable("the result is not a finite number")
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, datetime):
        is_day = value.timetz().replace(tzinfo=None) == time()
        return value.date().isoformat() if is_day else value.isoformat()
    if isinstance(value, list | tuple):
        items = [_as_json(item) for item in value]
        return next((item for item in items if isinstance(item, NotComputable)), items)
    if isinstance(value, dict):
        values = _as_json(list(value.values()))
        if isinstance(values, NotComputable):
            return values
        return dict(zip(map(str, value), values, strict=True))
    if isinstance(value, timedelta):
        return NotComputable("the result is a span of time; add it to a date, or compare it")
    return NotComputable(f"the result is {type(value).__name__}, which JSON does not have")


def _cause(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"a map has no {error}"
    if isinstance(error, ZeroDivisionError):
        return "it divides by zero"
    if isinstance(error, OverflowError):
        return "a whole number gets too large"
    if isinstance(error, TypeError):
        return (
            "it mixes kinds of values: CEL compares and calculates with values of one kind only. Write "
            "double(x) for numbers with fractions (and 2.0, not 2, beside them), int(x) for whole ones, "
            "string(x) for text"
        )
    return f"CEL says: {_short(str(error).split('. ')[0])}"


def _items(value: Any) -> int:
    """How many values stand in a value."""
    if isinstance(value, dict):
        return 1 + sum(map(_items, value.values()))
    return 1 + sum(map(_items, value)) if isinstance(value, list) else 1


def _short(value: Any) -> str:
    text = f"“{value}”" if isinstance(value, str) else literal(value)
    return text if len(text) <= 80 else text[:79] + "…"


# Functions that dates and money need. They give null where CEL would have to raise.


def _date(text: Any) -> datetime | None:
    if isinstance(text, datetime):
        return text
    try:
        moment = datetime.fromisoformat(text)
    except (ValueError, TypeError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _days(number: Any) -> timedelta | None:
    return timedelta(days=number) if _are_numbers(number) and abs(number) <= 1_000_000 else None


def _round(number: Any, digits: Any = 0) -> float | None:
    if not _are_numbers(number) or not isinstance(digits, int) or abs(digits) > 15:
        return None
    return float(round(number, digits))


def _min(*numbers: Any) -> Any:
    return min(numbers) if _are_numbers(*numbers) else None


def _max(*numbers: Any) -> Any:
    return max(numbers) if _are_numbers(*numbers) else None


def _are_numbers(*values: Any) -> bool:
    return bool(values) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    )


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "date": _date, "days": _days, "round": _round, "min": _min, "max": _max,
}  # fmt: skip
_OF_CEL = (
    "size contains startsWith endsWith matches int uint double string bytes timestamp duration type dyn has "
    "getFullYear getMonth getDate getDayOfMonth getDayOfYear getDayOfWeek getHours getMinutes getSeconds "
    "getMilliseconds"
)
_KNOWN = frozenset([*_FUNCTIONS, *_OF_CEL.split()])
