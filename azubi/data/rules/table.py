"""A field that is looked up by one or two categories: the team by peril, the code by line and peril.

Knows columns and classes; nothing of numbers' sizes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from azubi.data.rules.columns import NOTHING, Codes, Columns, Ids
from azubi.data.rules.draft import ENTRY, ERROR, RuleCandidate
from azubi.data.rules.formula import literal, mapped, read

FEWEST = 3
"""Records behind an entry of a table; fewer are no rule."""
FEW_VALUES = 3
"""A table of so many values is written as cases: peril in ["teeth"] ? "none" : "full"."""

Key = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """The most frequent class of each combination of categories."""

    key: Key
    entries: dict[tuple[int, ...], int]
    """Class by the ids of the categories."""
    wrong: Ids
    """The rows that it was made from and yet gets wrong."""
    cost: float

    def text(self, columns: Columns, classes: Codes) -> str:
        """As CEL."""
        values = {where: literal(classes.values[one]) for where, one in self.entries.items()}
        if not self.key:
            return values[()]
        named = [columns.categories[name] for name in self.key]
        if len(self.key) == 1:
            (codes,) = named
            return _looked_up(read(self.key[0]), {codes.values[at]: one for (at,), one in values.items()})
        outer, inner = named
        nested: dict[object, dict[object, str]] = {}
        for (first, second), one in values.items():
            nested.setdefault(outer.values[first], {})[inner.values[second]] = one
        maps = mapped({first: mapped(rest) for first, rest in nested.items()})
        return f"{maps}[{read(self.key[0])}][{read(self.key[1])}]"


def fit(columns: Columns, target: str, inputs: Sequence[str], rows: Ids) -> RuleCandidate | None:
    """The cheapest table for a field by one or two of the inputs."""
    classes = columns.classes(target)
    if classes is None:
        return None
    keys = [key for key in keys_of(columns, inputs) if key]
    found = best(columns, classes, rows, keys)
    if found is None or not found.key:
        return None
    return RuleCandidate(found.text(columns, classes), found.key, found.cost)


def keys_of(columns: Columns, inputs: Sequence[str]) -> list[Key]:
    """No category, each, and each pair of them."""
    names = [name for name in inputs if name in columns.categories]
    pairs = [
        pair
        for pair in combinations(names, 2)
        if np.prod([len(columns.categories[name].values) for name in pair]) <= _MOST_PAIRS
    ]
    return [(), *((name,) for name in names), *pairs]


def best(columns: Columns, classes: Codes, rows: Ids, keys: Sequence[Key]) -> Table | None:
    """The cheapest table for `rows` by one of `keys`; None if there are no rows."""
    found = [table for key in keys if (table := _made(columns, classes, rows, key)) is not None]
    return min(found, key=lambda table: table.cost, default=None)


def _made(columns: Columns, classes: Codes, rows: Ids, key: Key) -> Table | None:
    if not len(rows):
        return None
    kinds = len(classes.values)
    place = np.zeros(len(rows), dtype=np.int64)
    known = classes.ids[rows] != NOTHING
    sizes = []
    for name in key:
        ids = columns.categories[name].ids[rows]
        known &= ids != NOTHING
        sizes.append(len(columns.categories[name].values))
        place = place * sizes[-1] + ids
    groups = int(np.prod(sizes)) if sizes else 1
    counts = np.bincount(place[known] * kinds + classes.ids[rows][known], minlength=groups * kinds)
    counts = counts.reshape(groups, kinds)
    seen = counts.sum(axis=1)
    kept = np.flatnonzero(seen >= (FEWEST if key else 1))
    if not len(kept):
        return None
    told = np.full(groups, NOTHING)
    told[kept] = counts[kept].argmax(axis=1)
    wrong = rows[~known | (told[np.where(known, place, 0)] != classes.ids[rows])]
    entries = {_ids(int(at), sizes): int(told[at]) for at in kept}
    cost = ERROR * len(wrong) + ENTRY * (len(entries) if len(set(entries.values())) > 1 else 1)
    return Table(key, entries, wrong, cost)


def _ids(place: int, sizes: Sequence[int]) -> tuple[int, ...]:
    found = []
    for size in reversed(sizes):
        place, at = divmod(place, size)
        found.append(at)
    return tuple(reversed(found))


def _looked_up(name: str, values: dict[object, str]) -> str:
    """A map, or cases where a few values say it shorter; the most frequent one is what is left."""
    by_value: dict[str, list[object]] = {}
    for where, one in values.items():
        by_value.setdefault(one, []).append(where)
    if len(by_value) == 1:
        return next(iter(by_value))
    ranked = sorted(by_value, key=lambda one: len(by_value[one]))
    if len(ranked) > FEW_VALUES or len(values) == len(ranked) > 2:
        return f"{mapped(values)}[{name}]"
    cases = "".join(f"{_is_one_of(name, by_value[one])} ? {one} : " for one in ranked[:-1])
    return cases + ranked[-1]


def _is_one_of(name: str, values: Sequence[object]) -> str:
    return f"{name} == {literal(values[0])}" if len(values) == 1 else f"{name} in {literal(list(values))}"


_MOST_PAIRS = 2_000
"""Combinations of two categories that are counted."""
