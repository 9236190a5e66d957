"""Finds a field that is a formula of others.

It is a copy, a number from one or two numbers, a date some days after another, or a list without what another
list has. The constant of a formula (a sum, a share, days, a list) may differ by category. Knows nothing of
how well a rule does on records that it was not made from.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import combinations, permutations
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from azubi.data import schema as schemas
from azubi.data.rules.formula import literal, mapped, read
from azubi.data.strict_json import Record

Ids = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]

MOST_VALUES = 60
"""A field with more distinct values is no category: it names things instead of sorting them."""
FEWEST_EACH = 3
"""How often a category's values occur on average."""
FEWEST_NUMBERS = 8
"""A field with fewer distinct numbers is compared value by value, not by size."""
NOTHING = -1
"""The id of what is null or missing."""
_LARGEST = 1e15
"""The last digits of a larger number would be lost in a calculation."""


@dataclass(frozen=True)
class Codes:
    """Values as numbers: `values[id]` is the value of a row; `NOTHING` says that it has none."""

    ids: Ids
    values: tuple[Any, ...]


class Columns:
    """The fields of some records, by kind."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.schema = schemas.infer(records)
        self.names = tuple(dict.fromkeys(name for record in records for name in record))
        kinds = {name: schemas.number_kind(self.schema, name) for name in self.names}
        self.records = [
            {name: as_kind(value, kinds[name]) for name, value in record.items()} for record in records
        ]
        """With numbers as the schema says, so that CEL can calculate with them."""
        self.categories: dict[str, Codes] = {}
        self.numbers: dict[str, Numbers] = {}
        """Not a number (NaN) where there is none."""
        self.dates: dict[str, Numbers] = {}
        """Days since the year 1."""
        self.lists: dict[str, list[list[str] | None]] = {}
        for name in self.names:
            self._sort(name)

    def __len__(self) -> int:
        return len(self.records)

    def column(self, name: str) -> list[Any]:
        """A field's values; null where it is missing."""
        return [record.get(name) for record in self.records]

    def nullable(self, name: str) -> bool:
        """Whether a field is null in some record."""
        return any(name in record and record[name] is None for record in self.records)

    def whole(self, name: str) -> bool:
        """Whether a field's numbers are whole ones in CEL."""
        return schemas.number_kind(self.schema, name) is not float

    def identifies(self, name: str) -> bool:
        """Whether a number names its row: a running one, or one of a fixed length that no other row has."""
        numbers = self.numbers[name][~np.isnan(self.numbers[name])]
        if len(np.unique(numbers)) < len(numbers) or (numbers % 1 != 0).any():
            return False
        long = numbers.min() >= 10_000 and len(str(int(numbers.min()))) == len(str(int(numbers.max())))
        return bool(long or np.ptp(numbers) < 4 * len(numbers))

    def classes(self, name: str) -> Codes | None:
        """A field's values as classes, null among them; None if there are too many of them, or only one."""
        texts = [
            json.dumps(record[name], sort_keys=True) if name in record else None for record in self.records
        ]
        codes = _codes(texts)
        return codes and Codes(codes.ids, tuple(map(json.loads, codes.values)))

    def _sort(self, name: str) -> None:
        """Say what kind of field it is. A few values of another kind are faults: they count as none."""
        values = self.column(name)
        there = sum(value is not None for value in values)
        for kind in ("list", "number", "text", "truth"):
            known = [value if _kind(value) == kind else None for value in values]
            if there and sum(value is not None for value in known) >= (1 - schemas.RARE) * there:
                self._add(name, kind, known)
                return

    def _add(self, name: str, kind: str, values: list[Any]) -> None:
        if kind == "list":
            self.lists[name] = values
            return
        if kind == "number" and len({value for value in values if value is not None}) >= FEWEST_NUMBERS:
            self.numbers[name] = np.array([np.nan if value is None else value for value in values], float)
            return
        if kind == "number" and any(isinstance(value, float) for value in values):
            return
        if kind == "text":
            days = np.array(list(map(_day, values)))
            if np.isfinite(days).sum() >= (1 - schemas.RARE) * sum(value is not None for value in values):
                self.dates[name] = days
                return
        if (codes := _codes(values)) is not None:
            self.categories[name] = codes


def _codes(values: Sequence[Any]) -> Codes | None:
    """Values of few kinds as ids; None stands for no value."""
    counts = Counter(value for value in values if value is not None)
    if not 2 <= len(counts) <= MOST_VALUES or counts.total() < FEWEST_EACH * len(counts):
        return None
    ids = {value: number for number, value in enumerate(sorted(counts))}
    return Codes(
        np.array([NOTHING if value is None else ids[value] for value in values], np.int64), tuple(ids)
    )


def _kind(value: Any) -> str | None:
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int | float):
        return "number" if abs(value) < _LARGEST else None
    if isinstance(value, list):
        return "list" if all(isinstance(item, str) for item in value) else None
    return "text" if isinstance(value, str) else None


def _day(text: str | None) -> float:
    try:
        return float(date.fromisoformat(text).toordinal()) if text and len(text) == 10 else np.nan
    except ValueError:
        return np.nan


def as_kind(value: Any, kind: type | None) -> Any:
    """A number as the field's numbers are: CEL does not mix whole ones and fractions."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    try:
        if kind is float:
            return float(value)
    except OverflowError:
        return value
    return int(value) if kind is int and isinstance(value, float) and value.is_integer() else value


ERROR, LIMIT, ENTRY, STEP = 15.0, 10.0, 4.0, 8.0
"""What a rule costs, in bits more or less: a record that it gets wrong, a limit, an entry of a table, a case.
The cheapest of several rules says most with least; a rule with many limits has to earn them."""

_FEWEST_NUMBERS = 20
"""Records with numbers that a rule is made from."""
_RARE = 0.02
"""Share of the records that a formula may get wrong."""
_MOST_NUMBERS = 12
"""Fields that are tried in pairs."""
_MOST_ITEMS = 40
_MOST_PAIRS = 2_000
"""Combinations of two categories that are counted."""
_CENT = 0.005 + 1e-9

Key: TypeAlias = tuple[str, ...]
"""No category, one, or two."""
Place: TypeAlias = tuple[int, ...]
"""A value of each of them, by its id."""


@dataclass(frozen=True, slots=True)
class RuleCandidate:
    """An expression for a field, and how much it says, before anybody has judged it."""

    text: str
    inputs: tuple[str, ...]
    cost: float
    """Of its length and of the records that it was made from and yet gets wrong."""


def cheapest(candidates: Iterable[RuleCandidate]) -> RuleCandidate | None:
    """The candidate that costs least; None if there is none."""
    return min(candidates, key=lambda candidate: candidate.cost, default=None)


def keys_of(columns: Columns, inputs: Sequence[str]) -> list[Key]:
    """No category, each, and each pair of them."""
    names = [name for name in inputs if name in columns.categories]
    sizes = {name: len(columns.categories[name].values) for name in names}
    pairs = [(a, b) for a, b in combinations(names, 2) if sizes[a] * sizes[b] <= _MOST_PAIRS]
    return [(), *((name,) for name in names), *pairs]


def lookup_text(columns: Columns, key: Key, entries: Mapping[Place, str]) -> str:
    """CEL for a map from the values of categories to CEL, nested for two categories."""
    if not key:
        return entries[()]
    outer = columns.categories[key[0]].values
    if len(key) == 1:
        return f"{mapped({outer[at]: text for (at,), text in entries.items()})}[{read(key[0])}]"
    inner = columns.categories[key[1]].values
    nested: dict[Any, dict[Any, str]] = defaultdict(dict)
    for (first, second), text in entries.items():
        nested[outer[first]][inner[second]] = text
    maps = mapped({value: mapped(texts) for value, texts in nested.items()})
    return f"{maps}[{read(key[0])}][{read(key[1])}]"


def fit_formula(columns: Columns, target: str, inputs: Sequence[str], rows: Ids) -> RuleCandidate | None:
    """The cheapest formula for a field; `rows` are the records that it is made from."""
    fits = (_copies, _numbers, _dates, _lists)
    return cheapest(candidate for fit in fits for candidate in fit(columns, target, inputs, rows))


def _copies(columns: Columns, target: str, inputs: Sequence[str], rows: Ids) -> Iterator[RuleCandidate]:
    values = columns.column(target)
    if len({repr(values[row]) for row in rows}) < 2:
        return
    for name in inputs:
        other = columns.column(name)
        errors = sum(values[row] != other[row] or type(values[row]) is not type(other[row]) for row in rows)
        if errors <= _RARE * len(rows):
            yield RuleCandidate(read(name), (name,), STEP + ERROR * errors)


# A constant for all rows, or for those of each value of a category


@dataclass(frozen=True)
class _Constant:
    """A number or a list that belongs to each value of some categories."""

    key: Key
    entries: dict[Place, Any]
    errors: int

    @property
    def cost(self) -> float:
        return STEP + ENTRY * len(self.entries) + ERROR * self.errors

    def text(self, columns: Columns, whole: bool = False) -> str:
        values = {place: int(value) if whole else value for place, value in self.entries.items()}
        return lookup_text(columns, self.key, {place: literal(value) for place, value in values.items()})

    def only(self, value: float) -> bool:
        return set(self.entries.values()) == {value}


def _constants(
    columns: Columns,
    keys: Sequence[Key],
    rows: Ids,
    estimate: Callable[[Ids], Any],
    is_right: Callable[[Ids, Any], npt.NDArray[np.bool_]],
) -> Iterator[_Constant]:
    """The constant that `estimate` makes of rows, where nearly all are right with it; one for all rows, or
    else one by each of the keys."""
    for key in keys:
        entries, errors = dict[Place, Any](), len(rows)
        for place, group in _groups(columns, key, rows):
            entries[place] = estimate(group)
            errors -= int(is_right(group, entries[place]).sum())
        if errors <= _RARE * len(rows):
            yield _Constant(key, entries, errors)
            if not key:
                return


def _groups(columns: Columns, key: Key, rows: Ids) -> Iterator[tuple[Place, Ids]]:
    if not key:
        yield (), rows
        return
    ids = np.stack([columns.categories[name].ids[rows] for name in key], axis=1)
    known = (ids != NOTHING).all(axis=1)
    places, which = np.unique(ids[known], axis=0, return_inverse=True)
    for number, place in enumerate(places.tolist()):
        yield tuple(place), rows[known][which.reshape(-1) == number]


def _gaps(columns: Columns, gap: Numbers, inputs: Sequence[str], rows: Ids) -> Iterator[_Constant]:
    """What has to be added to one column to give another: the most frequent difference."""
    gap = np.round(gap, 2)

    def most_frequent(group: Ids) -> float:
        values, counts = np.unique(gap[group], return_counts=True)
        return float(values[counts.argmax()])

    keys = [key for key in keys_of(columns, inputs) if len(key) < 2]
    yield from _constants(
        columns, keys, rows, most_frequent, lambda group, value: np.abs(gap[group] - value) <= _CENT
    )


# Numbers and dates


def _numbers(columns: Columns, target: str, inputs: Sequence[str], rows: Ids) -> Iterator[RuleCandidate]:
    if target not in columns.numbers:
        return
    values = columns.numbers[target]
    rows = rows[~np.isnan(values[rows])]
    if len(rows) < _FEWEST_NUMBERS or len(np.unique(values[rows])) < _FEWEST_NUMBERS // 2:
        return
    names = [name for name in inputs if name in columns.numbers][:_MOST_NUMBERS]
    yield from _pairs(columns, target, names, rows)
    for name in names:
        known = rows[~np.isnan(columns.numbers[name][rows])]
        if len(known) >= _FEWEST_NUMBERS:
            yield from _shifted(columns, target, name, inputs, known)
            yield from _scaled(columns, target, name, inputs, known)


def _pairs(columns: Columns, target: str, names: Sequence[str], rows: Ids) -> Iterator[RuleCandidate]:
    """Sums, products and differences of two numbers."""
    numbers = columns.numbers
    computed = [
        *((pair, " + ", numbers[pair[0]] + numbers[pair[1]]) for pair in combinations(names, 2)),
        *((pair, " * ", numbers[pair[0]] * numbers[pair[1]]) for pair in combinations(names, 2)),
        *((pair, " - ", numbers[pair[0]] - numbers[pair[1]]) for pair in permutations(names, 2)),
    ]
    for pair, sign, results in computed:
        errors = int((~(np.abs(numbers[target][rows] - results[rows]) <= _CENT)).sum())
        if errors <= _RARE * len(rows):
            whole = all(map(columns.whole, pair))
            text = sign.join(_term(columns, name, whole) for name in pair)
            if not whole and (sign == " * " or errors):
                text = f"round({text}, {_decimals(numbers[target][rows])})"
            yield RuleCandidate(text, pair, 2 * STEP + ERROR * errors)


def _shifted(
    columns: Columns, target: str, name: str, inputs: Sequence[str], rows: Ids
) -> Iterator[RuleCandidate]:
    """A number plus or minus a constant."""
    whole = columns.whole(name) and columns.whole(target)
    for constant in _gaps(columns, columns.numbers[target] - columns.numbers[name], inputs, rows):
        if constant.only(0.0):
            continue
        sign = "-" if max(constant.entries.values()) <= 0 else "+"
        entries = {place: abs(v) if sign == "-" else v for place, v in constant.entries.items()}
        text = (
            f"{_term(columns, name, whole)} {sign} {replace(constant, entries=entries).text(columns, whole)}"
        )
        yield RuleCandidate(text, (name, *constant.key), STEP + constant.cost)


def _scaled(
    columns: Columns, target: str, name: str, inputs: Sequence[str], rows: Ids
) -> Iterator[RuleCandidate]:
    """A number times a rate: a tax, a commission."""
    values, numbers = columns.numbers[target], columns.numbers[name]
    rows = rows[numbers[rows] != 0]
    if len(rows) < _FEWEST_NUMBERS:
        return
    decimals = _decimals(values[rows])
    half = 0.5 * 10.0**-decimals * 1.02 + 1e-9

    def is_right(group: Ids, rate: float) -> npt.NDArray[np.bool_]:
        short = len(f"{rate:.6g}".lstrip("-0.").replace(".", "")) <= 5
        return (np.abs(values[group] - rate * numbers[group]) <= half) & short

    keys = [key for key in keys_of(columns, inputs) if len(key) < 2]
    rates = _constants(columns, keys, rows, lambda group: _rate(values[group], numbers[group]), is_right)
    for constant in rates:
        if constant.only(1.0):
            continue
        whole = columns.whole(name) and columns.whole(target)
        whole = whole and all(rate % 1 == 0 for rate in constant.entries.values())
        text = f"{_term(columns, name, whole)} * {constant.text(columns, whole)}"
        text = text if whole else f"round({text}, {decimals})"
        yield RuleCandidate(text, (name, *constant.key), STEP + constant.cost)


def _rate(values: Numbers, numbers: Numbers) -> float:
    """The rate with the fewest digits that fits. The largest numbers show it best."""
    largest = np.abs(numbers).argsort()[-25:]
    rate = float(np.median(values[largest] / numbers[largest]))
    for digits in range(1, 6):
        short = float(f"{rate:.{digits}g}")
        if np.abs(short * numbers[largest] - values[largest]).max(initial=0) <= 0.51:
            fits = np.abs(short * numbers - values) <= _CENT + 0.5 * (values % 1 == 0).all()
            if fits.mean() > 0.98:
                return short
    return rate


def _dates(columns: Columns, target: str, inputs: Sequence[str], rows: Ids) -> Iterator[RuleCandidate]:
    """A date that is some days after another."""
    if target not in columns.dates:
        return
    for name in (name for name in inputs if name in columns.dates):
        gap = columns.dates[target] - columns.dates[name]
        known = rows[~np.isnan(gap[rows])]
        if len(known) < _FEWEST_NUMBERS:
            continue
        for days in _gaps(columns, gap, inputs, known):
            text = f"date({read(name)}) + days({days.text(columns, whole=True)})"
            yield RuleCandidate(text, (name, *days.key), days.cost)


def _term(columns: Columns, name: str, whole: bool) -> str:
    return read(name) if whole or not columns.whole(name) else f"double({read(name)})"


def _decimals(values: Numbers) -> int:
    """Decimal places with which nearly all values are written."""
    for places in range(5):
        if (np.abs(values - np.round(values, places)) < 1e-9).mean() > 0.99:
            return places
    return 6


# Lists


def _lists(columns: Columns, target: str, inputs: Sequence[str], rows: Ids) -> Iterator[RuleCandidate]:
    """What a category asks for without what another list has: the documents that are still missing."""
    if target not in columns.lists:
        return
    for other in (name for name in inputs if name in columns.lists):
        lists, others = columns.lists[target], columns.lists[other]
        known = np.array([r for r in rows if lists[r] is not None and others[r] is not None], dtype=np.int64)
        if len(rows) - len(known) > _RARE * len(rows):
            continue
        items_of_other = {item for items in others for item in items or ()}
        for wanted in _wanted(columns, lists, others, keys_of(columns, inputs), known):
            sizes = [len(items) for items in wanted.entries.values()]
            # If the other list takes nothing away, a table says the same.
            if any(items_of_other.intersection(items) for items in wanted.entries.values()):
                text = f"{wanted.text(columns)}.filter(one, !(one in {read(other)}))"
                cost = ERROR * wanted.errors + STEP + ENTRY * sum(sizes)
                yield RuleCandidate(text, (*wanted.key, other), cost)


def _wanted(
    columns: Columns, lists: Sequence[Any], others: Sequence[Any], keys: Sequence[Key], rows: Ids
) -> Iterator[_Constant]:
    def is_right(group: Ids, wanted: list[str]) -> npt.NDArray[np.bool_]:
        missing = ([item for item in wanted if item not in others[row]] for row in group)
        return np.array([items == lists[row] for items, row in zip(missing, group, strict=True)])

    return _constants(columns, keys, rows, lambda group: _ordered([lists[row] for row in group]), is_right)


def _ordered(lists: Sequence[Sequence[str]]) -> list[str]:
    """Every item that is not there by mistake, in the order in which lists have them."""
    counts = Counter(item for items in lists for item in items)
    items = [item for item, count in counts.items() if count >= FEWEST_EACH][:_MOST_ITEMS]
    before = Counter(pair for items in lists for pair in combinations(items, 2))
    wins = {item: sum(before[item, other] > before[other, item] for other in items) for item in items}
    return sorted(items, key=lambda item: (-wins[item], item))
