"""A number that is computed from others, and a date that is some days after another.

Sums, differences and products of two or three numbers, a number times or plus one that is always the same (or
the same within a category: a deductible by line), rounded as the records are. Knows columns; nothing of how
well a rule will do on records that it was not made from.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, permutations
from typing import Any

import numpy as np

from azubi.data.rules.columns import NOTHING, Columns, Ids, Numbers
from azubi.data.rules.draft import ENTRY, ERROR, STEP, RuleCandidate
from azubi.data.rules.formula import literal, mapped, read

FEWEST = 20
"""Records with numbers that a rule is made from."""
MOST_NUMBERS = 12
"""Fields that are tried in pairs and triples."""
_CENT = 0.005 + 1e-9
_DECIMALS = (0, 1, 2, 3, 4)


def fit_number(columns: Columns, target: str, inputs: Sequence[str], rows: Ids) -> RuleCandidate | None:
    """The cheapest sum, difference or product for a number."""
    if target not in columns.numbers:
        return None
    values = columns.numbers[target]
    there = rows[~np.isnan(values[rows])]
    if len(there) < FEWEST or len(np.unique(values[there])) < FEWEST // 2:
        return None
    names = [name for name in inputs if name in columns.numbers][:MOST_NUMBERS]
    found = [*_combined(columns, target, names, there), *_scaled(columns, target, names, inputs, there)]
    return min(found, key=lambda draft: draft.cost, default=None)


def fit_date(columns: Columns, target: str, inputs: Sequence[str], rows: Ids) -> RuleCandidate | None:
    """A date that is a number of days after another: always so many, as a number says, or by a category."""
    if target not in columns.dates:
        return None
    days = columns.dates[target]
    found = []
    for name in (name for name in inputs if name in columns.dates):
        gap = days - columns.dates[name]
        known = rows[~np.isnan(gap[rows])]
        if len(known) < FEWEST:
            continue
        start = f"date({read(name)})"
        for number in (one for one in inputs if one in columns.numbers):
            errors = int((gap[known] != columns.numbers[number][known]).sum())
            text = f"{start} + days({read(number)})"
            found.append(RuleCandidate(text, (name, number), ERROR * errors + 2 * STEP))
        for one in _gaps(columns, gap, inputs, known, 0.0):
            always = set(one.entries.values()) == {0.0}
            text = read(name) if always else f"{start} + days({one.text(whole=True)})"
            cost = ERROR * one.errors + STEP + ENTRY * len(one.entries)
            found.append(RuleCandidate(text, (name, *one.used), cost))
    return min(found, key=lambda draft: draft.cost, default=None)


def fit_same(columns: Columns, target: str, inputs: Sequence[str], rows: Ids) -> RuleCandidate | None:
    """Another field that says the same."""
    values = columns.column(target)
    for name in inputs:
        other = columns.column(name)
        errors = sum(values[at] != other[at] or type(values[at]) is not type(other[at]) for at in rows)
        if errors <= 0.02 * len(rows) and len({repr(values[at]) for at in rows}) > 1:
            return RuleCandidate(read(name), (name,), STEP + ERROR * errors)
    return None


def _combined(columns: Columns, target: str, names: Sequence[str], rows: Ids) -> Iterator[RuleCandidate]:
    value = columns.numbers
    for one, other in combinations(names, 2):
        yield from _judged(columns, target, (one, other), " + ", value[one] + value[other], rows)
        yield from _judged(columns, target, (one, other), " * ", value[one] * value[other], rows)
    for one, other in permutations(names, 2):
        yield from _judged(columns, target, (one, other), " - ", value[one] - value[other], rows)
    for three in combinations(names, 3):
        yield from _judged(columns, target, three, " + ", np.sum([value[one] for one in three], axis=0), rows)


def _judged(
    columns: Columns, target: str, names: Sequence[str], sign: str, found: Numbers, rows: Ids
) -> Iterator[RuleCandidate]:
    errors = _errors(columns.numbers[target], found, rows, _CENT)
    if errors <= 0.02 * len(rows):
        whole = all(columns.whole(name) for name in names)
        terms = [
            read(name) if whole or not columns.whole(name) else f"double({read(name)})" for name in names
        ]
        text = sign.join(terms)
        if not whole and (sign == " * " or errors):
            text = _rounded(text, columns.numbers[target][rows])
        yield RuleCandidate(text, tuple(names), STEP * len(names) + ERROR * errors)


def _scaled(
    columns: Columns, target: str, names: Sequence[str], inputs: Sequence[str], rows: Ids
) -> Iterator[RuleCandidate]:
    values = columns.numbers[target]
    for name in names:
        given = columns.numbers[name]
        known = rows[~np.isnan(given[rows])]
        if len(known) < FEWEST:
            continue
        whole = columns.whole(name) and columns.whole(target)
        for gap in _gaps(columns, values - given, inputs, known, _CENT):
            if set(gap.entries.values()) != {0.0}:
                term = read(name) if whole or not columns.whole(name) else f"double({read(name)})"
                cost = 2 * STEP + ENTRY * len(gap.entries) + ERROR * gap.errors
                yield RuleCandidate(_plus(term, gap, whole), (name, *gap.used), cost)
        yield from _rate(columns, target, name, inputs, known)


@dataclass(frozen=True)
class _Gap:
    """What is always between two fields, or is within each value of a category."""

    category: str
    """Empty if it is always the same."""
    entries: dict[Any, float]
    """By value of the category."""
    errors: int

    @property
    def used(self) -> tuple[str, ...]:
        return (self.category,) if self.category else ()

    def text(self, whole: bool) -> str:
        told = {value: literal(int(one) if whole else one) for value, one in self.entries.items()}
        return f"{mapped(told)}[{read(self.category)}]" if self.category else told[None]


def _plus(term: str, gap: _Gap, whole: bool) -> str:
    """Add a constant or a map of them; what is never positive is taken away instead."""
    if all(one <= 0 for one in gap.entries.values()):
        less = replace(gap, entries={value: -one + 0.0 for value, one in gap.entries.items()})
        return f"{term} - {less.text(whole)}"
    return f"{term} + {gap.text(whole)}"


def _rate(
    columns: Columns, target: str, name: str, inputs: Sequence[str], rows: Ids
) -> Iterator[RuleCandidate]:
    """A share of a number: a tax, a commission. The largest numbers tell the rate best."""
    values, given = columns.numbers[target], columns.numbers[name]
    known = rows[given[rows] != 0]
    if len(known) < FEWEST:
        return
    places = _places(values[known])
    half = 0.5 * 10.0**-places * 1.02 + 1e-9
    for key in ("", *(one for one in inputs if one in columns.categories)):
        rates: dict[int, float] = {}
        ids = columns.categories[key].ids if key else np.zeros(len(columns), dtype=np.int64)
        for at in np.unique(ids[known]):
            if at == NOTHING:
                continue
            group = known[ids[known] == at]
            rates[int(at)] = _told_rate(values[group], given[group])
        found = np.array([rates.get(int(ids[row]), np.nan) * given[row] for row in known])
        errors = int((~(np.abs(values[known] - found) <= half)).sum())
        if errors > 0.02 * len(known) or set(rates.values()) <= {1.0} or not _short_rates(rates.values()):
            continue
        whole = (
            columns.whole(target) and columns.whole(name) and all(rate % 1 == 0 for rate in rates.values())
        )
        told = {at: literal(int(rate) if whole else float(rate)) for at, rate in rates.items()}
        codes = columns.categories[key].values if key else ()
        rate = f"{mapped({codes[at]: one for at, one in told.items()})}[{read(key)}]" if key else told[0]
        term = read(name) if whole or not columns.whole(name) else f"double({read(name)})"
        text = f"{term} * {rate}" if whole else f"round({term} * {rate}, {places})"
        used = (name, key) if key else (name,)
        yield RuleCandidate(text, used, 2 * STEP + ENTRY * len(rates) + ERROR * errors)
        return


def _told_rate(values: Numbers, given: Numbers) -> float:
    largest = np.abs(given).argsort()[-25:]
    rate = float(np.median(values[largest] / given[largest]))
    for digits in range(1, 6):
        short = float(f"{rate:.{digits}g}")
        if np.abs(short * given[largest] - values[largest]).max(initial=0) <= 0.51:
            fits = np.abs(short * given - values) <= _CENT + 0.5 * (values % 1 == 0).all()
            if fits.mean() > 0.98:
                return short
    return rate


def _short_rates(rates: Iterable[float]) -> bool:
    return all(len(f"{rate:.6g}".lstrip("-0.").replace(".", "")) <= 5 for rate in rates)


def _gaps(columns: Columns, gap: Numbers, inputs: Sequence[str], rows: Ids, tolerance: float) -> list[_Gap]:
    """The gap if it is always the same; else all categories within which it is."""
    found = []
    for key in ("", *(name for name in inputs if name in columns.categories)):
        ids = columns.categories[key].ids if key else np.zeros(len(columns), dtype=np.int64)
        entries: dict[Any, float] = {}
        errors = int((ids[rows] == NOTHING).sum())
        for at in np.unique(ids[rows]):
            if at == NOTHING:
                continue
            here = np.round(gap[rows[ids[rows] == at]], 2)
            values, counts = np.unique(here, return_counts=True)
            usual = float(values[counts.argmax()])
            entries[columns.categories[key].values[at] if key else None] = usual
            errors += int((~(np.abs(here - usual) <= tolerance)).sum())
        if errors <= 0.02 * len(rows):
            found.append(_Gap(key, entries, errors))
            if not key:
                break
    return found


def _errors(values: Numbers, found: Numbers, rows: Ids, tolerance: float) -> int:
    return int((~(np.abs(values[rows] - found[rows]) <= tolerance)).sum())


def _rounded(text: str, values: Numbers) -> str:
    return f"round({text}, {_places(values)})"


def _places(values: Numbers) -> int:
    """Decimal places with which nearly all values are written."""
    for places in _DECIMALS:
        if (np.abs(values - np.round(values, places)) < 1e-9).mean() > 0.99:
            return places
    return 6
