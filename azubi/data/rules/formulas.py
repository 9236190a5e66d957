"""Finds a field that is a formula of others.

It is the same as another field, a number from numbers (a sum, a difference, a product, a share), a date some
days after another, a value looked up by one or two categories, or a list without what another list has. A
constant of a formula may differ by category. Knows nothing of how well a rule does on records that it was not
made from.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, permutations
from typing import TypeAlias

import numpy as np

from azubi.data.rules.columns import NOTHING, Codes, Columns, Ids, Numbers
from azubi.data.rules.formula import literal, mapped, read

ERROR, LIMIT, ENTRY, STEP = 15.0, 10.0, 4.0, 8.0
"""What a rule costs, in bits more or less: a record that it gets wrong, a limit, an entry of a table, a case.
The cheapest of several rules says most with least; a rule with many limits has to earn them."""

FEWEST_NUMBERS = 20
"""Records with numbers that a rule is made from."""
FEWEST_EACH = 3
"""Records behind an entry of a table, or behind an item of a list; fewer are no rule."""
_RARE = 0.02
"""Share of the records that a formula may get wrong."""
_MOST_NUMBERS = 12
"""Fields that are tried in pairs and triples."""
_MOST_ITEMS = 40
_MOST_PAIRS = 2_000
"""Combinations of two categories that are counted."""
_FEW_VALUES = 3
"""A table of so many values is written as cases: peril in ["teeth"] ? "none" : "full"."""
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
    pairs = [
        pair
        for pair in combinations(names, 2)
        if np.prod([len(columns.categories[name].values) for name in pair]) <= _MOST_PAIRS
    ]
    return [(), *((name,) for name in names), *pairs]


def fit_same(columns: Columns, target: str, inputs: Sequence[str], rows: Ids) -> RuleCandidate | None:
    """Another field that says the same."""
    values = columns.column(target)
    for name in inputs:
        other = columns.column(name)
        errors = sum(values[at] != other[at] or type(values[at]) is not type(other[at]) for at in rows)
        if errors <= _RARE * len(rows) and len({repr(values[at]) for at in rows}) > 1:
            return RuleCandidate(read(name), (name,), STEP + ERROR * errors)
    return None


# Numbers and dates


def fit_number(columns: Columns, target: str, inputs: Sequence[str], rows: Ids) -> RuleCandidate | None:
    """The cheapest sum, difference, product or share for a number."""
    if target not in columns.numbers:
        return None
    values = columns.numbers[target]
    rows = rows[~np.isnan(values[rows])]
    if len(rows) < FEWEST_NUMBERS or len(np.unique(values[rows])) < FEWEST_NUMBERS // 2:
        return None
    names = [name for name in inputs if name in columns.numbers][:_MOST_NUMBERS]
    scaled = (one for name in names for one in _scaled(columns, target, name, inputs, rows))
    return cheapest([*_combined(columns, target, names, rows), *scaled])


def fit_date(columns: Columns, target: str, inputs: Sequence[str], rows: Ids) -> RuleCandidate | None:
    """A date that is a number of days after another: always so many, as a number says, or by a category."""
    if target not in columns.dates:
        return None
    candidates = []
    for name in (name for name in inputs if name in columns.dates):
        gap = columns.dates[target] - columns.dates[name]
        known = rows[~np.isnan(gap[rows])]
        if len(known) < FEWEST_NUMBERS:
            continue
        start = f"date({read(name)})"
        for number in (number for number in inputs if number in columns.numbers):
            errors = int((gap[known] != columns.numbers[number][known]).sum())
            text = f"{start} + days({read(number)})"
            candidates.append(RuleCandidate(text, (name, number), ERROR * errors + 2 * STEP))
        for days in _constants(columns, gap, inputs, known, 0.0):
            text = read(name) if days.is_zero else f"{start} + days({days.text(columns, whole=True)})"
            cost = ERROR * days.errors + STEP + ENTRY * len(days.entries)
            candidates.append(RuleCandidate(text, (name, *days.key), cost))
    return cheapest(candidates)


def _combined(columns: Columns, target: str, names: Sequence[str], rows: Ids) -> Iterator[RuleCandidate]:
    """Sums, differences and products of two numbers, and sums of three."""
    value = columns.numbers
    computed = [
        *(((a, b), " + ", value[a] + value[b]) for a, b in combinations(names, 2)),
        *(((a, b), " * ", value[a] * value[b]) for a, b in combinations(names, 2)),
        *(((a, b), " - ", value[a] - value[b]) for a, b in permutations(names, 2)),
        *(((a, b, c), " + ", value[a] + value[b] + value[c]) for a, b, c in combinations(names, 3)),
    ]
    for used, sign, results in computed:
        errors = _errors(columns.numbers[target][rows], results[rows], _CENT)
        if errors <= _RARE * len(rows):
            whole = all(columns.whole(name) for name in used)
            text = sign.join(_term(columns, name, whole) for name in used)
            if not whole and (sign == " * " or errors):
                text = f"round({text}, {_decimals(columns.numbers[target][rows])})"
            yield RuleCandidate(text, used, STEP * len(used) + ERROR * errors)


def _scaled(
    columns: Columns, target: str, name: str, inputs: Sequence[str], rows: Ids
) -> Iterator[RuleCandidate]:
    """A number plus or minus a constant, or times a rate; constant and rate may differ by category."""
    values, given = columns.numbers[target], columns.numbers[name]
    known = rows[~np.isnan(given[rows])]
    if len(known) < FEWEST_NUMBERS:
        return
    whole = columns.whole(name) and columns.whole(target)
    for gap in _constants(columns, values - given, inputs, known, _CENT):
        if not gap.is_zero:
            cost = 2 * STEP + ENTRY * len(gap.entries) + ERROR * gap.errors
            text = _plus(_term(columns, name, whole), gap, columns, whole)
            yield RuleCandidate(text, (name, *gap.key), cost)
    known = known[given[known] != 0]
    if len(known) < FEWEST_NUMBERS:
        return
    decimals = _decimals(values[known])
    if rate := _rate(columns, values, given, inputs, known, decimals):
        whole = whole and all(share % 1 == 0 for share in rate.entries.values())
        text = f"{_term(columns, name, whole)} * {rate.text(columns, whole)}"
        cost = 2 * STEP + ENTRY * len(rate.entries) + ERROR * rate.errors
        yield RuleCandidate(text if whole else f"round({text}, {decimals})", (name, *rate.key), cost)


@dataclass(frozen=True)
class _Constant:
    """What is always the same, or is within each value of a category."""

    key: Key
    entries: dict[Place, float]
    errors: int

    @property
    def is_zero(self) -> bool:
        return set(self.entries.values()) == {0.0}

    def text(self, columns: Columns, whole: bool) -> str:
        numbers = {at: literal(int(value) if whole else value) for at, value in self.entries.items()}
        return _lookup(columns, self.key, numbers)


def _plus(term: str, gap: _Constant, columns: Columns, whole: bool) -> str:
    """Add a constant; what is never positive is subtracted instead."""
    if all(value <= 0 for value in gap.entries.values()):
        less = replace(gap, entries={at: -value + 0.0 for at, value in gap.entries.items()})
        return f"{term} - {less.text(columns, whole)}"
    return f"{term} + {gap.text(columns, whole)}"


def _term(columns: Columns, name: str, whole: bool) -> str:
    return read(name) if whole or not columns.whole(name) else f"double({read(name)})"


def _by_category(
    columns: Columns, inputs: Sequence[str], rows: Ids
) -> Iterator[tuple[Key, dict[Place, Ids]]]:
    """The rows together, then the rows of each value of each category."""
    yield (), {(): rows}
    for name in (name for name in inputs if name in columns.categories):
        ids = columns.categories[name].ids[rows]
        yield (name,), {(int(at),): rows[ids == at] for at in np.unique(ids) if at != NOTHING}


def _constants(
    columns: Columns, gap: Numbers, inputs: Sequence[str], rows: Ids, tolerance: float
) -> Iterator[_Constant]:
    """The gap if it is always the same; else by each category within which it is."""
    for key, groups in _by_category(columns, inputs, rows):
        entries: dict[Place, float] = {}
        errors = len(rows) - sum(map(len, groups.values()))
        for at, group in groups.items():
            rounded = np.round(gap[group], 2)
            values, counts = np.unique(rounded, return_counts=True)
            entries[at] = float(values[counts.argmax()])
            errors += _errors(rounded, entries[at], tolerance)
        if errors <= _RARE * len(rows):
            yield _Constant(key, entries, errors)
            if not key:
                return


def _rate(
    columns: Columns, values: Numbers, given: Numbers, inputs: Sequence[str], rows: Ids, decimals: int
) -> _Constant | None:
    """A share of a number: a tax, a commission."""
    half = 0.5 * 10.0**-decimals * 1.02 + 1e-9
    for key, groups in _by_category(columns, inputs, rows):
        rates = {at: _short_rate(values[group], given[group]) for at, group in groups.items()}
        errors = len(rows) - sum(map(len, groups.values()))
        errors += sum(_errors(values[group], rates[at] * given[group], half) for at, group in groups.items())
        short = all(len(f"{rate:.6g}".lstrip("-0.").replace(".", "")) <= 5 for rate in rates.values())
        if errors <= _RARE * len(rows) and short and not set(rates.values()) <= {1.0}:
            return _Constant(key, rates, errors)
    return None


def _short_rate(values: Numbers, given: Numbers) -> float:
    """The rate with the fewest digits that fits. The largest numbers show it best."""
    largest = np.abs(given).argsort()[-25:]
    rate = float(np.median(values[largest] / given[largest]))
    for digits in range(1, 6):
        short = float(f"{rate:.{digits}g}")
        if np.abs(short * given[largest] - values[largest]).max(initial=0) <= 0.51:
            fits = np.abs(short * given - values) <= _CENT + 0.5 * (values % 1 == 0).all()
            if fits.mean() > 0.98:
                return short
    return rate


def _errors(values: Numbers, computed: Numbers | float, tolerance: float) -> int:
    return int((~(np.abs(values - computed) <= tolerance)).sum())


def _decimals(values: Numbers) -> int:
    """Decimal places with which nearly all values are written."""
    for places in range(5):
        if (np.abs(values - np.round(values, places)) < 1e-9).mean() > 0.99:
            return places
    return 6


# Lookups


@dataclass(frozen=True)
class Table:
    """The most frequent class of each combination of categories."""

    key: Key
    entries: dict[Place, int]
    wrong: Ids
    """The rows that it was made from and yet gets wrong."""
    cost: float

    def text(self, columns: Columns, classes: Codes) -> str:
        """As CEL: a map, or cases where few values make these shorter; the most frequent comes last."""
        values = {at: literal(classes.values[id]) for at, id in self.entries.items()}
        if len(self.key) != 1:
            return _lookup(columns, self.key, values)
        name, codes = read(self.key[0]), columns.categories[self.key[0]].values
        by_value: dict[str, list[object]] = defaultdict(list)
        for (at,), value in values.items():
            by_value[value].append(codes[at])
        ranked = sorted(by_value, key=lambda value: len(by_value[value]))
        if len(ranked) > _FEW_VALUES or len(values) == len(ranked) > 2:
            return _lookup(columns, self.key, values)
        return "".join(f"{_is_in(name, by_value[value])} ? {value} : " for value in ranked[:-1]) + ranked[-1]


def fit_table(columns: Columns, target: str, inputs: Sequence[str], rows: Ids) -> RuleCandidate | None:
    """The cheapest table for a field by one or two of the inputs."""
    classes = columns.classes(target)
    if classes is None:
        return None
    table = best_table(columns, classes, rows, [key for key in keys_of(columns, inputs) if key])
    return None if table is None else RuleCandidate(table.text(columns, classes), table.key, table.cost)


def best_table(columns: Columns, classes: Codes, rows: Ids, keys: Sequence[Key]) -> Table | None:
    """The cheapest table for `rows` by one of `keys`; None if there are no rows."""
    tables = [table for key in keys if (table := _table(columns, classes, rows, key)) is not None]
    return min(tables, key=lambda table: table.cost, default=None)


def _table(columns: Columns, classes: Codes, rows: Ids, key: Key) -> Table | None:
    if not len(rows):
        return None
    kinds = len(classes.values)
    place = np.zeros(len(rows), dtype=np.int64)
    known = classes.ids[rows] != NOTHING
    sizes = tuple(len(columns.categories[name].values) for name in key)
    for name, size in zip(key, sizes, strict=True):
        ids = columns.categories[name].ids[rows]
        known &= ids != NOTHING
        place = place * size + ids
    groups = int(np.prod(sizes)) if sizes else 1
    counts = np.bincount(place[known] * kinds + classes.ids[rows][known], minlength=groups * kinds)
    counts = counts.reshape(groups, kinds)
    kept = np.flatnonzero(counts.sum(axis=1) >= (FEWEST_EACH if key else 1))
    if not len(kept):
        return None
    usual = np.full(groups, NOTHING)
    usual[kept] = counts[kept].argmax(axis=1)
    wrong = rows[~known | (usual[np.where(known, place, 0)] != classes.ids[rows])]
    entries = {tuple(map(int, np.unravel_index(at, sizes))) if key else (): int(usual[at]) for at in kept}
    cost = ERROR * len(wrong) + ENTRY * (len(entries) if len(set(entries.values())) > 1 else 1)
    return Table(key, entries, wrong, cost)


def _lookup(columns: Columns, key: Key, entries: Mapping[Place, str]) -> str:
    """CEL for a map, nested for two categories, from their values to CEL."""
    if not key:
        return entries[()]
    outer = columns.categories[key[0]].values
    if len(key) == 1:
        return f"{mapped({outer[at]: text for (at,), text in entries.items()})}[{read(key[0])}]"
    inner = columns.categories[key[1]].values
    nested: dict[object, dict[object, str]] = defaultdict(dict)
    for (first, second), text in entries.items():
        nested[outer[first]][inner[second]] = text
    maps = mapped({value: mapped(texts) for value, texts in nested.items()})
    return f"{maps}[{read(key[0])}][{read(key[1])}]"


def _is_in(name: str, values: Sequence[object]) -> str:
    return f"{name} == {literal(values[0])}" if len(values) == 1 else f"{name} in {literal(list(values))}"


# Lists


def fit_list(columns: Columns, target: str, inputs: Sequence[str], rows: Ids) -> RuleCandidate | None:
    """What a category asks for without what another list has: the documents that are still missing."""
    if target not in columns.lists:
        return None
    return cheapest(
        candidate
        for other in inputs
        if other in columns.lists
        for key in keys_of(columns, inputs)
        if (candidate := _without(columns, target, other, key, rows)) is not None
    )


def _without(columns: Columns, target: str, other: str, key: Key, rows: Ids) -> RuleCandidate | None:
    lists, others = columns.lists[target], columns.lists[other]
    ids = [columns.categories[name].ids for name in key]
    groups: dict[Place, list[int]] = defaultdict(list)
    errors = 0
    for row in rows:
        place = tuple(int(column[row]) for column in ids)
        if NOTHING in place or lists[row] is None or others[row] is None:
            errors += 1
        else:
            groups[place].append(int(row))
    wanted: dict[Place, list[str]] = {}
    for place, group in sorted(groups.items()):
        wanted[place] = _asked_for([lists[row] or [] for row in group])
        for row in group:
            errors += [item for item in wanted[place] if item not in (others[row] or ())] != lists[row]
    if errors > _RARE * len(rows) or not any(wanted.values()):
        return None
    items = {item for some in wanted.values() for item in some}
    if not any(items & set(some or ()) for some in others):
        return None  # the other list takes nothing away: a table says the same
    looked_up = _lookup(columns, key, {place: literal(some) for place, some in wanted.items()})
    text = f"{looked_up}.filter(one, !(one in {read(other)}))"
    return RuleCandidate(text, (*key, other), ERROR * errors + STEP + ENTRY * sum(map(len, wanted.values())))


def _asked_for(lists: Sequence[Sequence[str]]) -> list[str]:
    """Every item that is not there by mistake, in the order in which lists have them."""
    counts = Counter(item for some in lists for item in some)
    items = [item for item, count in counts.items() if count >= FEWEST_EACH][:_MOST_ITEMS]
    before: Counter[tuple[str, str]] = Counter()
    for some in lists:
        before.update((item, later) for at, item in enumerate(some) for later in some[at + 1 :])
    wins = {item: sum(before[item, other] > before[other, item] for other in items) for item in items}
    return sorted(items, key=lambda item: (-wins[item], item))
