"""One field as a function of others, written in CEL, the Common Expression Language.

Compiled once, computed per record. Beside CEL's own functions there are `date(text)`, `days(number)`,
`round(number, digits)`, `min` and `max`. The work of one computation is bounded: the text has a longest
length, at most two macros (`filter`, `map`, `all`, `exists`) go over lists, which are short, and nothing
can call out. Knows one record at a time; nothing of other fields' rules, files or models.
"""

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
"""With so many macros, the most items that stand in a formula and in what it reads: CEL takes time that grows
with the square of a list's length, 0.1 s for these, and with its cube for a list within a list."""
DIGITS = 12
"""Significant digits of a computed fraction, so that 0.1 + 0.2 is 0.3, as it is in the company's records."""

RECORD = "record"
"""The variable that holds the whole record, for fields whose names are no CEL names: record["claim no"]."""

_TEXT = re.compile(r'[rR]?(?:"""(?:.|\n)*?"""|\'\'\'(?:.|\n)*?\'\'\'|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\')')
_MACRO = re.compile(r"\.\s*(?:filter|map|all|exists|exists_one)\s*\(\s*([A-Za-z_]\w*)\s*,")
_WHOLE = re.compile(
    rf"\b{RECORD}\s*(?:\.\s*([A-Za-z_]\w*)|\[\s*(\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*')\s*\])?"
)


@dataclass(frozen=True, slots=True)
class NotComputable:
    """Why a formula has no value for a record."""

    reason: str
    null: bool = False
    """Whether that is because a field which it reads is null: then its value is null, too."""


class Formula:
    """A compiled expression over the fields of a record."""

    def __init__(self, name: str, text: str, fields: Collection[str]) -> None:
        """`name` is the field that it computes, `fields` are those that it may read.

        Raises:
            SettingError: it is not CEL, reads a field that is not there, or would take too long.
        """
        self.name, self.text = name, text
        self._room = _room(name, text)
        self._program = _compiled(name, text)
        self.inputs = _inputs(name, text, self._program, fields)
        """The fields that it reads, in the order of `fields`."""
        self._reads_record = RECORD not in fields and RECORD in self._program.variables()

    def value(self, record: Record) -> Any:
        """What the formula gives for `record`: a JSON value, or a `NotComputable`."""
        variables = {name: record[name] for name in self.inputs if name in record}
        if self._room is not None and sum(map(_items, variables.values())) > self._room:
            return NotComputable(f"the lists have more than {self._room:,} items, which would take long")
        if self._reads_record:
            variables[RECORD] = dict(record)
        try:
            found = self._program.execute(cel.Context(variables, _FUNCTIONS))
        except _FAILURES as error:
            return self._lack(record, error)
        return self._json(found)

    def _lack(self, record: Record, error: Exception) -> NotComputable:
        absent = [name for name in self.inputs if name not in record]
        if absent:
            return NotComputable(
                f"{_listed(absent)} is missing" if len(absent) == 1 else f"{_listed(absent)} are missing"
            )
        nulls = [name for name in self.inputs if record[name] is None]
        if nulls:
            return NotComputable(
                f"{_listed(nulls)} is null" if len(nulls) == 1 else f"{_listed(nulls)} are null", True
            )
        given = ", ".join(f"{name} = {_short(record[name])}" for name in self.inputs)
        return NotComputable(f"with {given} {_cause(error)}")

    def _json(self, found: Any) -> Any:
        if found is None or isinstance(found, bool | str | int):
            return found
        if isinstance(found, float):
            if not isfinite(found):
                return NotComputable("the result is not a finite number")
            return float(f"{found:.{DIGITS}g}")
        if isinstance(found, datetime):
            day = found.timetz().replace(tzinfo=None) == time()
            return found.date().isoformat() if day else found.isoformat()
        if isinstance(found, list | tuple):
            return self._all(list(found))
        if isinstance(found, dict):
            values = self._all(list(found.values()))
            return (
                values
                if isinstance(values, NotComputable)
                else dict(zip(map(str, found), values, strict=True))
            )
        if isinstance(found, timedelta):
            return NotComputable("the result is a span of time; add it to a date, or compare it")
        return NotComputable(f"the result is {type(found).__name__}, which JSON does not have")

    def _all(self, found: list[Any]) -> Any:
        values = [self._json(one) for one in found]
        return next((one for one in values if isinstance(one, NotComputable)), values)


def quoted(text: str) -> str:
    """Write a text as a CEL literal."""
    kept = "".join(
        _ESCAPES.get(one, one) if one.isprintable() or one in _ESCAPES else _code(one) for one in text
    )
    return f'"{kept}"'


def read(name: str) -> str:
    """Write the reading of a field: its name, or record["its name"]."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and name not in _RESERVED
    return name if plain else f"{RECORD}[{quoted(name)}]"


def literal(value: Any) -> str:
    """Write a JSON value in CEL."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{quoted(str(key))}: {literal(one)}" for key, one in value.items()) + "}"
    return "[" + ", ".join(map(literal, value)) + "]"


def mapped(entries: Mapping[Any, str]) -> str:
    """Write a map whose keys are JSON values and whose values are CEL already."""
    return "{" + ", ".join(f"{literal(key)}: {one}" for key, one in entries.items()) + "}"


# What a formula may say


def _room(name: str, text: str) -> int | None:
    """How many items the formula may read; None if it goes over no list.

    Raises:
        SettingError: it could take long.
    """
    if len(text) > LONGEST:
        raise SettingError(
            f"The rule for {name} has {len(text):,} characters; {LONGEST:,} is the most.",
            "Shorten it, or let the field be learned.",
        )
    macros = len(_MACRO.findall(_bare(text)))
    if macros > MOST_MACROS:
        raise SettingError(
            f"The rule for {name} goes over lists {macros} times (filter, map, all, exists); "
            f"{MOST_MACROS} is the most, so that it can never take long.",
            "Split it into two derived fields.",
        )
    room, own = MOST_ITEMS[macros], _bare(text).count(",")
    if macros and own >= room:
        raise SettingError(
            f"The rule for {name} goes over lists and has {own:,} items itself; {room:,} is the most, "
            "so that it can never take long.",
            "Split it into two derived fields, or let the field be learned.",
        )
    return room - own if macros else None


def _compiled(name: str, text: str) -> cel.Program:
    try:
        return cel.compile(text)
    except ValueError as error:
        found = re.search(r"<input>:(\d+):(\d+): (?:Syntax error: )?([^\n]*)", str(error))
        cause = f"{_plain(found[3])} (line {found[1]}, column {found[2]})" if found else "it cannot be parsed"
        raise SettingError(
            f"The rule for {name} is not a CEL expression: {cause}. It reads: {_short(text)}",
            'Write it like this: amount > 5000 ? "S7" : "K3"',
        ) from error


def _plain(cause: str) -> str:
    """The parser's message without its list of everything that could have stood there."""
    return cause.split(" expecting ")[0].split(" { ")[0].strip()


def _inputs(name: str, text: str, program: cel.Program, fields: Collection[str]) -> tuple[str, ...]:
    told = program.references()
    bare, own = _bare(text), set(_MACRO.findall(_bare(text)))
    unknown = [one for one in told["functions"] if re.fullmatch(r"[A-Za-z]\w*", one) and one not in _KNOWN]
    if unknown:
        near = get_close_matches(unknown[0], _KNOWN, n=1)
        raise SettingError(
            f"The rule for {name} uses {unknown[0]}(), which does not exist.",
            f"Did you mean {near[0]}()?" if near else f"There are {', '.join(sorted(_KNOWN))}.",
        )
    read = {one for one in told["variables"] if one not in own and (one != RECORD or RECORD in fields)}
    if RECORD in told["variables"] and RECORD not in fields:
        read |= _through_record(name, text, bare)
    for one in sorted(read):
        if one not in fields:
            _refuse(name, one, fields)
    return tuple(one for one in fields if one in read)


def _through_record(name: str, text: str, bare: str) -> set[str]:
    """Fields that are read as record.x or record["x"]."""
    found = set()
    strings = [(match.start(), match.end()) for match in _TEXT.finditer(text)]
    for match in _WHOLE.finditer(text):
        if any(start <= match.start() < end for start, end in strings):
            continue
        if match[1] is None and match[2] is None:
            raise SettingError(
                f"The rule for {name} reads {RECORD} in a way that does not say which field.",
                f'Write {RECORD}.field or {RECORD}["field"].',
            )
        found.add(match[1] or str(cel.evaluate(match[2])))
    return found


def _refuse(name: str, read: str, fields: Collection[str]) -> None:
    near = get_close_matches(read, fields, n=1, cutoff=0.5)
    there = ", ".join(fields)
    raise SettingError(
        f"The rule for {name} reads “{read}”, which is no field of the record.",
        f"Did you mean “{near[0]}”? Text stands in quotes." if near else f"The fields are {there}.",
    )


def _bare(text: str) -> str:
    """The expression with its strings emptied."""
    return _TEXT.sub('""', text)


# What CEL says, in plain words


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
    if isinstance(value, list):
        return 1 + sum(map(_items, value))
    return 1 + sum(map(_items, value.values())) if isinstance(value, dict) else 1


def _listed(names: list[str]) -> str:
    return " and ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} and {names[-1]}"


def _short(value: Any) -> str:
    text = literal(value) if not isinstance(value, str) else f"“{value}”"
    return text if len(text) <= 80 else text[:79] + "…"


# Functions that dates and money need. They give null where CEL would have to raise.


def _date(text: Any) -> datetime | None:
    if isinstance(text, datetime):
        return text
    try:
        found = datetime.fromisoformat(text)
    except (ValueError, TypeError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _days(number: Any) -> timedelta | None:
    if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) <= _MOST_DAYS:
        return None
    return timedelta(days=number)


def _round(number: Any, digits: Any = 0) -> float | None:
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    if not isinstance(digits, int) or abs(digits) > 15:
        return None
    return float(round(number, digits))


def _least(*numbers: Any) -> Any:
    return min(numbers) if _are_numbers(numbers) else None


def _greatest(*numbers: Any) -> Any:
    return max(numbers) if _are_numbers(numbers) else None


def _are_numbers(values: tuple[Any, ...]) -> bool:
    return bool(values) and all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)


_MOST_DAYS = 1_000_000
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "date": _date,
    "days": _days,
    "round": _round,
    "min": _least,
    "max": _greatest,
}
_OWN = (
    "size contains startsWith endsWith matches int uint double string bytes timestamp duration type dyn has"
)
_OF_TIMES = (
    "getFullYear getMonth getDate getDayOfMonth getDayOfYear getDayOfWeek getHours getMinutes getSeconds "
    "getMilliseconds"
)
_KNOWN = frozenset([*_FUNCTIONS, *_OWN.split(), *_OF_TIMES.split()])
_FAILURES = (TypeError, ValueError, KeyError, IndexError, RuntimeError, ArithmeticError)
_WORDS = "true false null in as break const continue else for function if import let loop package namespace"
_RESERVED = frozenset([*_WORDS.split(), "return", "var", "void", "while"])
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _code(one: str) -> str:
    return f"\\u{ord(one):04x}" if ord(one) <= 0xFFFF else f"\\U{ord(one):08x}"
