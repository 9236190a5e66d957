"""How a column writes its numbers, dates, and words for true and false: what all its values say together.

A style is shown every value, keeps the first row of each kind of evidence, and then either settles how the
column is read, with a row that shows it, or says what a person has to decide. Knows nothing of files.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from azubi.data.readers import value as values
from azubi.data.readers.row import Unusable, shortened
from azubi.settings import DateOrder, DecimalSign

_SIGN_NAMES: dict[str, str] = {",": "decimal comma", ".": "decimal point"}
_ORDER_NAMES: dict[str, str] = {"day-first": "the day first", "month-first": "the month first"}


@dataclass(frozen=True)
class Undecided:
    """What the values of a column leave open, and so nobody but a person can decide."""

    problem: str
    remedy: str
    count: int
    """Values that it is about."""
    cases: tuple[tuple[int, str], ...]
    """Rows and their values, such as show it."""


class _Evidence:
    """How often each kind of value occurs, and its first row."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first: dict[str, tuple[int, str]] = {}

    def add(self, kind: str, line: int, value: Any) -> None:
        self.counts[kind] += 1
        if kind not in self.first:
            self.first[kind] = line, str(value)

    def __contains__(self, kind: str) -> bool:
        return kind in self.first

    def quote(self, kind: str) -> str:
        line, text = self.first[kind]
        return f"row {line:,} “{shortened(text, 40)}”"

    def undecided(self, problem: str, remedy: str, *kinds: str) -> Undecided:
        """A question about the values of these kinds, with the first of each."""
        count = sum(self.counts[kind] for kind in kinds)
        cases = tuple((line, shortened(text, 40)) for line, text in map(self.first.__getitem__, kinds))
        return Undecided(problem[:1].upper() + problem[1:], remedy, count, cases)


class NumberStyle:
    """The decimal sign of a column's numbers, and the unit that stands beside them."""

    def __init__(self, name: str, column: str, given: DecimalSign | None) -> None:
        """`name` is what messages call the column; `given` the sign that a setting names."""
        self.name, self.column, self._given = name, column, given
        self._signs, self._units, self._numbers = _Evidence(), _Evidence(), 0

    def see(self, line: int, value: Any) -> None:
        """Take one value into account."""
        if isinstance(value, bool) or values.is_empty(value):
            return
        if not isinstance(value, str):
            self._units.add("", line, value)
            return
        readings = values.readings(value)
        if not readings:
            return
        self._numbers += 1
        reading = next(iter(readings.values()))
        self._units.add(reading.unit, line, value)
        if len(readings) == 1:
            self._signs.add(next(iter(readings)), line, value)
        elif len({number.value for number in readings.values()}) > 1:
            self._signs.add("either", line, value)
        if reading.accounting:
            self._signs.add("accounting", line, value)

    @property
    def decimal(self) -> DecimalSign | None:
        """The sign that is given or shown; None if there is none, or both are shown."""
        shown = [sign for sign in values.DECIMAL_SIGNS if sign in self._signs]
        return self._given or (shown[0] if len(shown) == 1 else None)

    def undecided(self) -> Iterator[Undecided]:
        """What keeps the column from being read."""
        signs = self._signs
        if self._given is not None:
            other = "." if self._given == "," else ","
            if other in signs and self._given not in signs and "either" in signs:
                yield signs.undecided(
                    f"{self.name} is to be read with a {_SIGN_NAMES[self._given]}, but {signs.quote(other)} "
                    f"has a {_SIGN_NAMES[other]}, and no row shows the former.",
                    f'Set decimal: "{other}", or correct that value.',
                    *(other, "either"),
                )
        elif "," in signs and "." in signs:
            yield signs.undecided(
                f"{self.name} has both a decimal comma ({signs.quote(',')}) and a decimal point "
                f"({signs.quote('.')}).",
                'Write all values alike; or set decimal: "," or decimal: ".", and rows with the other are '
                "left out.",
                *(",", "."),
            )
        elif self.decimal is None and "either" in signs:
            comma, point = (values.number(signs.first["either"][1], sign) for sign in values.DECIMAL_SIGNS)
            yield signs.undecided(
                f"{self.name}: {signs.counts['either']:,} of {self._numbers:,} values can be read in two "
                f"ways, such as {signs.quote('either')}: as {comma} or as {point}. No other value of the "
                "column decides.",
                f'Set decimal: "," if it is {comma}, decimal: "." if it is {point}: for all fields with '
                "--decimal, or for this one in the record.",
                "either",
            )
        yield from self._undecided_units()

    def _undecided_units(self) -> Iterator[Undecided]:
        units = self._units
        named = [unit for unit in units.first if unit]
        # Half of a column may lack its currency, but 0.12 beside 12 % is another number.
        if len(named) > 1 or (set(named) & {"%", "\u2030"} and "" in units):
            first, second = list(units.first)[:2] if len(named) < 2 else named[:2]
            yield units.undecided(
                f"{self.name} mixes units: {units.quote(first)} and {units.quote(second)}.",
                "Convert all values to one unit, and write it everywhere or nowhere.",
                *(first, second),
            )

    def remarks(self) -> Iterator[str]:
        """How the column is read."""
        if self._given is None and (sign := self.decimal) is not None:
            yield f"{_SIGN_NAMES[sign]}, as {self._signs.quote(sign)} shows"
        for unit in filter(None, self._units.first):
            yield f"the number without its {unit} ({self._units.quote(unit)})"
        if "accounting" in self._signs:
            yield f"brackets or a minus behind mean below zero ({self._signs.quote('accounting')})"


class DateStyle:
    """Whether the dates of a column begin with day or month; those with dots do with the day, as a rule."""

    def __init__(self, name: str, column: str, given: DateOrder | None) -> None:
        """`name` is what messages call the column; `given` the order that a setting names."""
        self.name, self.column, self._given = name, column, given
        self._seen, self._dates = _Evidence(), 0

    def see(self, line: int, value: Any) -> None:
        """Take one value into account."""
        if values.is_empty(value):
            return
        self._dates += 1
        if isinstance(value, date):
            self._seen.add("cell", line, value)
        readings: dict[DateOrder, str] = {}
        for order in values.DATE_ORDERS:
            with contextlib.suppress(Unusable):
                readings[order] = values.moment(value, order)
        if not readings:
            return
        if "T" in (iso := next(iter(readings.values()))):
            self._seen.add("zone" if iso.endswith("+00:00") else "no zone", line, value)
        parts = values.DATE.fullmatch(value.strip()) if isinstance(value, str) else None
        if parts is None or len({*readings.values()}) < len(readings):
            return
        shown = next(iter(readings)) if len(readings) == 1 else "either"
        if shown != "either":
            self._seen.add(shown, line, value)
        # A date with dots says nothing of one with strokes: two programs wrote them.
        self._seen.add(f"{shown} {parts[2]}", line, value)

    @property
    def order(self) -> DateOrder | None:
        """What comes first; None where nothing but dots say so, or both orders occur."""
        if self._given is not None:
            return self._given
        if "month-first" in self._seen:
            return None if "day-first" in self._seen else "month-first"
        return "day-first" if {"day-first /", "day-first -"} & self._seen.first.keys() else None

    def undecided(self) -> Iterator[Undecided]:
        """What keeps the column from being read."""
        seen = self._seen
        either = [f"either {sign}" for sign in "/-" if f"either {sign}" in seen]
        day = "day-first" if "day-first" in seen else "either ."
        if (given := self._given) is not None:
            other = next(order for order in values.DATE_ORDERS if order != given)
            if other in seen and given not in seen and either:
                yield seen.undecided(
                    f"{self.name} is to be read with {_ORDER_NAMES[given]}, but {seen.quote(other)} has "
                    f"{_ORDER_NAMES[other]}, and no row shows the former.",
                    f"Set dates: {other}, or correct that value.",
                    *(other, either[0]),
                )
        elif "month-first" in seen and day in seen:
            yield seen.undecided(
                f"{self.name} has dates that begin with the day ({seen.quote(day)}) and with the month "
                f"({seen.quote('month-first')}).",
                "Write all dates alike, best as 2024-12-31; or set dates: day-first or dates: month-first, "
                "and rows that do not fit are left out.",
                *(day, "month-first"),
            )
        else:
            for kind in either:
                if not any(f"{order} {kind[-1]}" in seen for order in values.DATE_ORDERS):
                    yield self._two_ways(kind)

    def _two_ways(self, kind: str) -> Undecided:
        seen = self._seen
        day, month = (values.moment(seen.first[kind][1], order) for order in values.DATE_ORDERS)
        return seen.undecided(
            f"{self.name}: {seen.counts[kind]:,} of {self._dates:,} dates can be read in two ways, such as "
            f"{seen.quote(kind)}: as {day} or as {month}. No other date of the column decides.",
            f"Set dates: day-first (--dates day-first) if it is {day}, dates: month-first if it is {month}.",
            kind,
        )

    def remarks(self) -> Iterator[str]:
        """How the column is read."""
        seen = self._seen
        if self._given is None and self.order is not None:
            yield f"{_ORDER_NAMES[self.order]}, as {seen.quote(self.order)} shows"
        if "zone" in seen and "no zone" in seen:
            yield (
                f"as UTC where no time zone is named ({seen.quote('no zone')}; with one: "
                f"{seen.quote('zone')})"
            )
        strokes = next((kind for kind in seen.first if kind[-1] in "/-"), None)
        if "cell" in seen and strokes is not None:
            yield (
                f"text ({seen.quote(strokes)}) beside real dates ({seen.quote('cell')}), in which a "
                "spreadsheet with another language may have swapped day and month"
            )


class BooleanStyle:
    """The words of a column for true and false, and what an empty cell means beside them."""

    def __init__(self, name: str, column: str, given: bool | str | None) -> None:
        """`name` is what messages call the column; `given` what a setting says of empty cells."""
        self.name, self.column, self._given = name, column, given
        self._words, self._truths, self._empty = _Evidence(), set[bool](), _Evidence()

    def see(self, line: int, value: Any) -> None:
        """Take one value into account."""
        if values.is_empty(value):
            self._empty.add("empty", line, "")
        elif isinstance(value, bool):
            self._truths |= {True, False}  # who writes these has a word for nothing, too
        elif isinstance(value, str | int | float) and (known := values.WORDS.get(values.word(value))):
            self._truths.add(known[0])
            self._words.add(known[1], line, value)

    def undecided(self) -> Iterator[Undecided]:
        """What keeps the column from being read."""
        words, empty = self._words, self._empty
        others = [word for word in words.first if word != "x"]
        if "x" in words and others:
            yield words.undecided(
                f"{self.name} has {words.quote('x')} and also {words.quote(others[0])}, so x may be yes or "
                "no.",
                "Write yes or no instead.",
                *("x", others[0]),
            )
        elif len(self._truths) == 1 and self._given is None and "empty" in empty:
            shown = next(iter(words.first))
            opposite = "false" if True in self._truths else "true"
            count, cells = empty.counts["empty"], empty.counts["empty"] + words.counts.total()
            line = empty.first["empty"][0]
            question = words.undecided(
                f"{self.name} is {words.quote(shown)} or empty ({count:,} of {cells:,} cells, as in row "
                f"{line:,}): empty may mean {opposite} or not known.",
                f"Set empty: {opposite}, or empty: unknown, for this field of the record.",
                shown,
            )
            yield Undecided(question.problem, question.remedy, count, (*question.cases, (line, "")))

    def remarks(self) -> Iterator[str]:
        """How the column is read."""
        if len(self._words.first) > 1:
            yield f"several words for yes and no ({', '.join(map(self._words.quote, self._words.first))})"


Style = NumberStyle | DateStyle | BooleanStyle
"""What is known of one column."""
