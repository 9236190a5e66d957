"""Finds a field that depends on where a number stands between thresholds, each category having its own.

Companies write such rules as a list of cases: below the deductible of the line the desk for small claims,
from its large-loss limit on another team, else the peril's own. The search adds one case at a time, the one
that makes the whole rule cheapest. Knows nothing of how well a rule does on records that it was not made
from.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

import numpy as np

from azubi.data.rules.columns import NOTHING, Codes, Columns, Ids, Numbers
from azubi.data.rules.formula import literal, mapped, read
from azubi.data.rules.formulas import (
    ERROR,
    FEWEST_EACH,
    LIMIT,
    STEP,
    Key,
    RuleCandidate,
    Table,
    best_table,
    cheapest,
    keys_of,
)

_MOST_CASES = 5
_BEAM = 3
"""So many beginnings of a list are continued."""
_TRIED = 8
"""Cases with which a list is tried to be continued."""
_PENALTY = 8
"""A threshold that takes in one wrong record has to take in so many right ones for it."""


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
class _List:
    """Some cases, and the records that are left."""

    cases: tuple[_Case, ...]
    left: Ids
    rest: Table
    empty: Table | None
    """For records without a number, if they have a table of their own."""

    @property
    def wrong(self) -> Ids:
        """The rows that are left and that the tables get wrong."""
        return np.union1d(self.rest.wrong, self.empty.wrong) if self.empty else self.rest.wrong

    @property
    def cost(self) -> float:
        tables = self.rest.cost + (self.empty.cost + STEP if self.empty else 0)
        return sum(case.cost for case in self.cases) + tables


def fit_thresholds(columns: Columns, target: str, inputs: Sequence[str], rows: Ids) -> RuleCandidate | None:
    """The cheapest list of cases over one number among the inputs."""
    classes = columns.classes(target)
    if classes is None:
        return None
    numbers = [name for name in inputs if name in columns.numbers and not columns.identifies(name)]
    searches = (_Search(columns, classes, number, keys_of(columns, inputs)) for number in numbers)
    return cheapest(found for search in searches if (found := search.run(rows)) is not None)


@dataclass(frozen=True)
class _Search:
    """The search for a list of cases over one number."""

    columns: Columns
    classes: Codes
    number: str
    keys: Sequence[Key]

    def run(self, rows: Ids) -> RuleCandidate | None:
        """The cheapest list; None if no case makes a table cheaper."""
        start = self._list((), rows)
        if start is None:
            return None
        best, beam = start, [start]
        for _ in range(_MOST_CASES):
            longer = [
                self._list((*shorter.cases, case), np.setdiff1d(shorter.left, case.taken))
                for shorter in beam
                for case in _worth_trying(shorter, self._cases(shorter))
            ]
            beam = sorted((one for one in longer if one is not None), key=lambda one: one.cost)[:_BEAM]
            if not beam or beam[0].cost >= best.cost:
                break
            best = beam[0]
        if not best.cases:
            return None
        used = {self.number, *(case.key for case in best.cases), *best.rest.key}
        used |= set(best.empty.key) if best.empty else set()
        inputs = tuple(name for name in self.columns.names if name in used)
        return RuleCandidate(self._text(best), inputs, best.cost)

    def _list(self, cases: tuple[_Case, ...], left: Ids) -> _List | None:
        """The list with the best table for what is left, or two: one for records without a number."""
        whole = best_table(self.columns, self.classes, left, self.keys)
        if whole is None:
            return None
        plain = _List(cases, left, whole, None)
        null = np.isnan(self.columns.numbers[self.number][left])
        known, empty = (
            best_table(self.columns, self.classes, left[part], self.keys) for part in (~null, null)
        )
        if known is None or empty is None:
            return plain
        return min(plain, _List(cases, left, known, empty), key=lambda one: one.cost)

    def _cases(self, current: _List) -> Iterator[_Case]:
        """Every case that takes rows which the list gets wrong."""
        numbers, categories = self.columns.numbers[self.number], self.columns.categories
        rows = current.left[~np.isnan(numbers[current.left])]
        wrong = self.classes.ids[np.intersect1d(current.wrong, rows)]
        kinds = [int(id) for id in np.unique(wrong[wrong != NOTHING]) if (wrong == id).sum() >= FEWEST_EACH]
        if not kinds:
            return
        names = [key[0] for key in self.keys if len(key) == 1 and True not in categories[key[0]].values]
        for key in ("", *names):
            ids = categories[key].ids if key else np.zeros(len(self.columns), dtype=np.int64)
            for below in (True, False):
                groups = list(_groups(numbers, ids, rows, below))
                for kind in kinds:
                    if (case := _case(numbers, self.classes, groups, kind, key, below)) is not None:
                        yield case

    # As CEL

    def _text(self, found: _List) -> str:
        name = read(self.number)
        nullable = found.empty is None and self.columns.nullable(self.number)
        text = "".join(
            f"{self._condition(case, nullable)} ? {literal(self.classes.values[case.kind])} : "
            for case in found.cases
        )
        text += found.rest.text(self.columns, self.classes)
        if found.empty is None:
            return text
        # What has no number comes first, so that no case has to speak of it.
        empty = found.empty.text(self.columns, self.classes)
        return f"{name} == null ? {f'({empty})' if ' ? ' in empty else empty} : {text}"

    def _condition(self, case: _Case, nullable: bool) -> str:
        name, whole = read(self.number), self.columns.whole(self.number)
        known = f"{name} != null && " if nullable else ""
        sign, limits = _limits(case)
        texts = {at: literal(int(one) if whole and one == int(one) else one) for at, one in limits.items()}
        if not case.key:
            return f"{known}{name} {sign} {texts[0]}"
        codes, key = self.columns.categories[case.key], read(case.key)
        by_value = {codes.values[at]: text for at, text in texts.items()}
        if len(by_value) == 1:
            ((only, text),) = by_value.items()
            return f"{known}{key} == {literal(only)} && {name} {sign} {text}"
        if len(by_value) < len(codes.values):
            known += f"{key} in {literal(list(by_value))} && "
        return f"{known}{name} {sign} {mapped(by_value)}[{key}]"


def _worth_trying(current: _List, cases: Iterable[_Case]) -> list[_Case]:
    """Those that would put most of the list's mistakes right."""
    gains = [(ERROR * np.isin(case.taken, current.wrong).sum() - case.cost, case) for case in cases]
    ranked = sorted((pair for pair in gains if pair[0] > 0), key=lambda pair: -pair[0])
    return [case for _, case in ranked[:_TRIED]]


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
    """The thresholds as round numbers, and how a number is compared with them."""
    upper = {at: shortest(low, high) for at, (low, high) in case.gaps.items()}
    lower = {at: shortest(low, high, low_counts=True) for at, (low, high) in case.gaps.items()}
    if _digits(lower) < _digits(upper):
        return ("<=" if case.below else ">"), lower
    return ("<" if case.below else ">="), upper


def _digits(limits: dict[int, float]) -> int:
    return sum(len(f"{limit:.15g}".replace(".", "").strip("0")) for limit in limits.values())


def shortest(low: float, high: float, *, low_counts: bool = False) -> float:
    """The number above `low` and at most `high` with the fewest digits; a 5 at its end counts as rounder.

    With `low_counts` it may equal `low`, but has to be below `high`.
    """
    below, above = Decimal(repr(float(low))), Decimal(repr(float(high)))
    middle = (below + above) / 2
    for power in range(18, -18, -1):
        step = Decimal(10) ** power
        if multiples := _multiples(below, above, step, low_counts):
            fives = [number for number in multiples if number % (5 * step) == 0]
            return float(min(fives or multiples, key=lambda number: (abs(number - middle), number)))
    return float(low if low_counts else high)


def _multiples(low: Decimal, high: Decimal, step: Decimal, low_counts: bool) -> list[Decimal]:
    """Multiples of `step` between the two; there are at most a few, since a larger step had none."""
    first = (low / step).to_integral_value(ROUND_FLOOR) * step
    candidates = [first + count * step for count in range(13)]
    if low_counts:
        return [number for number in candidates if low <= number < high]
    return [number for number in candidates if low < number <= high]
