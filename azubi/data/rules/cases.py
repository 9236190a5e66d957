"""Finds a field that a table gives, or a list of cases: numbers below or from a threshold, then a table.

Companies write rules like this: below the deductible of the line the desk for small claims, from its
large-loss limit on another team, else the peril's own. Each category may have thresholds of its own. The
search adds one case at a time, the one that makes the whole rule cheapest. Knows nothing of how well a rule
does on records that it was not made from.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

import numpy as np

from azubi.data.rules.formula import literal, mapped, read
from azubi.data.rules.formulas import (
    ENTRY,
    ERROR,
    FEWEST_EACH,
    LIMIT,
    NOTHING,
    STEP,
    Codes,
    Columns,
    Ids,
    Key,
    Numbers,
    Place,
    RuleCandidate,
    cheapest,
    keys_of,
    lookup_text,
)

_MOST_CASES = 5
_TRIED = 8
"""Cases with which a list is tried to be continued."""
_PENALTY = 8
"""A threshold that takes in one wrong record has to take in so many right ones for it."""
_FEW_VALUES = 3
"""A table of so many values is written as cases: peril in ["teeth"] ? "none" : "full"."""


def fit_table(columns: Columns, target: str, inputs: Sequence[str], rows: Ids) -> RuleCandidate | None:
    """The cheapest table by one or two categories."""
    classes = columns.classes(target)
    if classes is None:
        return None
    table = _best_table(columns, classes, rows, [key for key in keys_of(columns, inputs) if key])
    return None if table is None else RuleCandidate(table.text(columns, classes), table.key, table.cost)


def fit_thresholds(columns: Columns, target: str, inputs: Sequence[str], rows: Ids) -> RuleCandidate | None:
    """The cheapest list of cases over one number."""
    classes = columns.classes(target)
    if classes is None:
        return None
    numbers = [name for name in inputs if name in columns.numbers and not columns.identifies(name)]
    searches = (_Search(columns, classes, number, keys_of(columns, inputs)) for number in numbers)
    return cheapest(candidate for search in searches if (candidate := search.run(rows)) is not None)


# Tables


@dataclass(frozen=True)
class _Table:
    """The most frequent class of each combination of categories."""

    key: Key
    entries: dict[Place, int]
    wrong: Ids
    """The rows that it was made from and yet gets wrong."""
    cost: float

    def text(self, columns: Columns, classes: Codes) -> str:
        """As CEL: a map, or cases where few values make these shorter; the most frequent comes last."""
        values = {at: literal(classes.values[id]) for at, id in self.entries.items()}
        if len(self.key) == 1:
            name, codes = read(self.key[0]), columns.categories[self.key[0]].values
            by_value: dict[str, list[object]] = defaultdict(list)
            for (at,), value in values.items():
                by_value[value].append(codes[at])
            if len(by_value) <= _FEW_VALUES and not len(values) == len(by_value) > 2:
                *others, last = sorted(by_value, key=lambda value: len(by_value[value]))
                return "".join(f"{_is_in(name, by_value[value])} ? {value} : " for value in others) + last
        return lookup_text(columns, self.key, values)


def _is_in(name: str, values: Sequence[object]) -> str:
    return f"{name} == {literal(values[0])}" if len(values) == 1 else f"{name} in {literal(values)}"


def _best_table(columns: Columns, classes: Codes, rows: Ids, keys: Sequence[Key]) -> _Table | None:
    tables = (table for key in keys if (table := _table(columns, classes, rows, key)) is not None)
    return min(tables, key=lambda table: table.cost, default=None)


def _table(columns: Columns, classes: Codes, rows: Ids, key: Key) -> _Table | None:
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
    return _Table(key, entries, wrong, cost)


# Cases


@dataclass(frozen=True)
class _Case:
    """Below (or from) the threshold, the field has this class."""

    below: bool
    kind: int
    key: str
    """The category by which thresholds differ; empty if there is one for all."""
    gaps: dict[int, tuple[float, float]]
    """By category: the threshold lies between these numbers."""
    taken: Ids
    cost: float


@dataclass(frozen=True)
class _Rule:
    """Some cases, and a table for the records that none of them takes."""

    cases: tuple[_Case, ...]
    left: Ids
    rest: _Table
    null: int | None
    """The class of records without a number, if they have one of their own."""
    cost: float


@dataclass(frozen=True)
class _Search:
    """The search for a list of cases over one number."""

    columns: Columns
    classes: Codes
    number: str
    keys: Sequence[Key]

    def run(self, rows: Ids) -> RuleCandidate | None:
        """The cheapest list; None if no case makes a table cheaper."""
        start = self._start(rows)
        rule, best = start, start
        while rule is not None and len(rule.cases) < _MOST_CASES:
            longer = [self._longer(rule, case) for case in self._worth_trying(rule)]
            rule = min((r for r in longer if r is not None), key=lambda r: r.cost, default=None)
            if rule is None or best is None or rule.cost >= best.cost:
                break
            best = rule
        if best is None or not best.cases:
            return None
        used = {self.number, *(case.key for case in best.cases), *best.rest.key}
        inputs = tuple(name for name in self.columns.names if name in used)
        return RuleCandidate(self._text(best), inputs, best.cost)

    def _start(self, rows: Ids) -> _Rule | None:
        """A table for all records, or a class for those without a number and a table for the others."""
        rules = []
        null = np.isnan(self.columns.numbers[self.number][rows])
        if (table := self._table(rows)) is not None:
            rules.append(_Rule((), rows, table, None, table.cost))
        of_null = _table(self.columns, self.classes, rows[null], ())
        if of_null is not None and (table := self._table(rows[~null])) is not None:
            cost = table.cost + of_null.cost + STEP
            rules.append(_Rule((), rows[~null], table, of_null.entries[()], cost))
        return min(rules, key=lambda rule: rule.cost, default=None)

    def _longer(self, rule: _Rule, case: _Case) -> _Rule | None:
        left = np.setdiff1d(rule.left, case.taken)
        table = self._table(left)
        if table is None:
            return None
        cost = rule.cost - rule.rest.cost + case.cost + table.cost
        return _Rule((*rule.cases, case), left, table, rule.null, cost)

    def _table(self, rows: Ids) -> _Table | None:
        return _best_table(self.columns, self.classes, rows, self.keys)

    def _worth_trying(self, rule: _Rule) -> list[_Case]:
        """The cases that would put most of the rule's mistakes right."""
        gains = [
            (ERROR * np.isin(case.taken, rule.rest.wrong).sum() - case.cost, case)
            for case in self._cases(rule)
        ]
        ranked = sorted((pair for pair in gains if pair[0] > 0), key=lambda pair: -pair[0])
        return [case for _, case in ranked[:_TRIED]]

    def _cases(self, rule: _Rule) -> Iterator[_Case]:
        """Every case that takes rows which the rule gets wrong."""
        numbers, categories = self.columns.numbers[self.number], self.columns.categories
        rows = rule.left[~np.isnan(numbers[rule.left])]
        kinds, counts = np.unique(self.classes.ids[np.intersect1d(rule.rest.wrong, rows)], return_counts=True)
        kinds = kinds[(counts >= FEWEST_EACH) & (kinds != NOTHING)]
        names = [key[0] for key in self.keys if len(key) == 1 and True not in categories[key[0]].values]
        for key in ("", *names) if len(kinds) else ():
            ids = categories[key].ids if key else np.zeros(len(self.columns), dtype=np.int64)
            for below in (True, False):
                groups = list(_groups(numbers, ids, rows, below))
                for kind in kinds.tolist():
                    if (case := _case(numbers, self.classes, groups, kind, key, below)) is not None:
                        yield case

    def _text(self, rule: _Rule) -> str:
        """As CEL. What has no number comes first, if it has a class, so that no case has to speak of it."""
        values, name = self.classes.values, read(self.number)
        known = f"{name} != null && " if rule.null is None and self.columns.nullable(self.number) else ""
        text = "" if rule.null is None else f"{name} == null ? {literal(values[rule.null])} : "
        for case in rule.cases:
            text += f"{known}{self._condition(case)} ? {literal(values[case.kind])} : "
        return text + rule.rest.text(self.columns, self.classes)

    def _condition(self, case: _Case) -> str:
        name, whole = read(self.number), self.columns.whole(self.number)
        sign, limits = _limits(case)
        texts = {at: literal(int(n) if whole and n == int(n) else n) for at, n in limits.items()}
        if not case.key:
            return f"{name} {sign} {texts[0]}"
        codes, key = self.columns.categories[case.key].values, read(case.key)
        by_value = {codes[at]: text for at, text in texts.items()}
        if len(by_value) == 1:
            ((only, text),) = by_value.items()
            return f"{key} == {literal(only)} && {name} {sign} {text}"
        listed = f"{key} in {literal(list(by_value))} && " if len(by_value) < len(codes) else ""
        return f"{listed}{name} {sign} {mapped(by_value)}[{key}]"


@dataclass(frozen=True)
class _Group:
    """The rows of one category in order of their numbers, from the end at which a case may begin."""

    at: int
    rows: Ids
    ends: Ids
    """Where a threshold may lie behind: equal numbers stay together, and something is left."""


def _groups(numbers: Numbers, ids: Ids, rows: Ids, below: bool) -> Iterator[_Group]:
    rows = rows[ids[rows] != NOTHING]
    rows = rows[np.lexsort((numbers[rows] if below else -numbers[rows], ids[rows]))]
    for group in np.split(rows, np.flatnonzero(np.diff(ids[rows])) + 1):
        ends = np.flatnonzero(np.diff(numbers[group]) != 0)
        if len(ends) and ends[-1] + 1 >= FEWEST_EACH:
            yield _Group(int(ids[group[0]]), group, ends)


def _case(
    numbers: Numbers, classes: Codes, groups: Sequence[_Group], kind: int, key: str, below: bool
) -> _Case | None:
    gaps: dict[int, tuple[float, float]] = {}
    taken = []
    for group in groups:
        gain = np.where(classes.ids[group.rows] == kind, 1, -_PENALTY).cumsum()[group.ends]
        best = int(gain.argmax())
        if gain[best] < FEWEST_EACH:
            continue
        end = int(group.ends[best])
        inside, outside = float(numbers[group.rows[end]]), float(numbers[group.rows[end + 1]])
        gaps[group.at] = (inside, outside) if below else (outside, inside)
        taken.append(group.rows[: end + 1])
    if not gaps:
        return None
    rows = np.concatenate(taken)
    errors = int((classes.ids[rows] != kind).sum())
    return _Case(below, kind, key, gaps, rows, STEP + LIMIT * len(gaps) + ERROR * errors)


# Thresholds that people set are round


def _limits(case: _Case) -> tuple[str, dict[int, float]]:
    """How a number is compared with the thresholds, and these as round numbers."""
    upper = {at: shortest(low, high) for at, (low, high) in case.gaps.items()}
    lower = {at: shortest(low, high, low_counts=True) for at, (low, high) in case.gaps.items()}
    if _digits(lower) < _digits(upper):
        return ("<=" if case.below else ">"), lower
    return ("<" if case.below else ">="), upper


def _digits(limits: Mapping[int, float]) -> int:
    return sum(len(f"{limit:.15g}".replace(".", "").strip("0")) for limit in limits.values())


def shortest(low: float, high: float, *, low_counts: bool = False) -> float:
    """The number above `low` and at most `high` with the fewest digits; a 5 at its end counts as rounder.

    With `low_counts` it may equal `low`, but has to be below `high`.
    """
    below, above = Decimal(repr(float(low))), Decimal(repr(float(high)))
    middle = (below + above) / 2
    for power in range(18, -18, -1):
        step = Decimal(10) ** power
        # There are at most a few multiples between the two, since a larger step had none.
        first = (below / step).to_integral_value(ROUND_FLOOR) * step
        numbers = [first + count * step for count in range(13)]
        numbers = [n for n in numbers if (below <= n < above if low_counts else below < n <= above)]
        if numbers:
            fives = [number for number in numbers if number % (5 * step) == 0]
            return float(min(fives or numbers, key=lambda number: (abs(number - middle), number)))
    return float(low if low_counts else high)
