"""A field that depends on where a number stands between limits, each category having its own.

The form in which companies write such rules: below the deductible of the line the desk for small claims, from
its large-loss limit on another team, else the peril's own. Such a list is found by taking one case off at a
time, the one that makes the whole rule cheapest. Knows columns and classes; nothing of how well a rule will
do on records that it was not made from.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from azubi.data.rules import table
from azubi.data.rules.columns import NOTHING, Codes, Columns, Ids, Numbers
from azubi.data.rules.draft import ERROR, LIMIT, STEP, RuleCandidate
from azubi.data.rules.formula import literal, mapped, read
from azubi.data.rules.shortest import shortest

MOST_CASES = 5
BEAM = 3
"""So many beginnings of a list are gone on with."""
FEWEST = 3
"""Records behind a limit."""
_TRIED = 8
"""Cases with which a list is tried to be gone on with."""
_PENALTY = 8
"""A limit that takes in one wrong record has to take in so many right ones for it."""


@dataclass(frozen=True)
class _Case:
    """Below (or from) the limit, the field has this class."""

    below: bool
    kind: int
    key: str
    """The category by which limits differ; empty if there is one limit for all."""
    gaps: dict[int, tuple[float, float]]
    """By category: the limit lies between these numbers."""
    taken: Ids
    cost: float


@dataclass(frozen=True)
class _List:
    """Some cases, and the records that are left."""

    cases: tuple[_Case, ...]
    left: Ids
    cost: float
    rest: table.Table
    empty: table.Table | None
    """For records without a number, if they have a table of their own."""

    @property
    def wrong(self) -> Ids:
        """The rows that are left and that the tables get wrong."""
        return np.union1d(self.rest.wrong, self.empty.wrong) if self.empty else self.rest.wrong

    @property
    def total(self) -> float:
        return self.cost + self.rest.cost + (self.empty.cost + STEP if self.empty else 0)


def fit(columns: Columns, target: str, inputs: Sequence[str], rows: Ids) -> RuleCandidate | None:
    """The cheapest list of cases over one number among the inputs."""
    classes = columns.classes(target)
    if classes is None:
        return None
    found = [
        draft
        for number in inputs
        if number in columns.numbers and not columns.identifies(number)
        if (draft := _over(columns, classes, number, inputs, rows)) is not None
    ]
    return min(found, key=lambda draft: draft.cost, default=None)


def _over(
    columns: Columns, classes: Codes, number: str, inputs: Sequence[str], rows: Ids
) -> RuleCandidate | None:
    keys = table.keys_of(columns, inputs)
    start = _ended(columns, classes, number, keys, (), rows, 0.0)
    if start is None:
        return None
    best, beam = start, [start]
    for _ in range(MOST_CASES):
        grown = [
            longer
            for one in beam
            for case in _worth_trying(one, _cases(columns, classes, number, keys, one))
            if (
                longer := _ended(
                    columns,
                    classes,
                    number,
                    keys,
                    (*one.cases, case),
                    np.setdiff1d(one.left, case.taken),
                    one.cost + case.cost,
                )
            )
            is not None
        ]
        beam = sorted(grown, key=lambda one: one.total)[:BEAM]
        if not beam or beam[0].total >= best.total:
            break
        best = beam[0]
    if not best.cases:
        return None
    used = {number, *(case.key for case in best.cases if case.key), *best.rest.key}
    used |= set(best.empty.key) if best.empty else set()
    text = _text(columns, classes, number, best)
    return RuleCandidate(text, tuple(name for name in columns.names if name in used), best.total)


def _ended(
    columns: Columns,
    classes: Codes,
    number: str,
    keys: Sequence[table.Key],
    cases: tuple[_Case, ...],
    left: Ids,
    cost: float,
) -> _List | None:
    """The list with the best table for what is left, or two: one for records without a number."""
    whole = table.best(columns, classes, left, keys)
    if whole is None:
        return None
    plain = _List(cases, left, cost, whole, None)
    null = np.isnan(columns.numbers[number][left])
    there, empty = (table.best(columns, classes, left[part], keys) for part in (~null, null))
    if there is None or empty is None:
        return plain
    return min(plain, _List(cases, left, cost, there, empty), key=lambda one: one.total)


def _worth_trying(found: _List, cases: Iterable[_Case]) -> list[_Case]:
    """Those that would put most of the list's mistakes right."""
    gains = [(ERROR * np.isin(case.taken, found.wrong).sum() - case.cost, case) for case in cases]
    ranked = sorted((pair for pair in gains if pair[0] > 0), key=lambda pair: -pair[0])
    return [case for _, case in ranked[:_TRIED]]


@dataclass(frozen=True)
class _Group:
    """The rows of one category in order of their numbers, from the end at which a case may begin."""

    at: int
    rows: Ids
    ends: Ids
    """Where a limit may lie behind: equal numbers stand on one side, and something is left on the other."""


def _cases(
    columns: Columns, classes: Codes, number: str, keys: Sequence[table.Key], found: _List
) -> Iterator[_Case]:
    """Every case that takes rows which the list gets wrong."""
    numbers = columns.numbers[number]
    here = found.left[~np.isnan(numbers[found.left])]
    wrong = classes.ids[np.intersect1d(found.wrong, here)]
    kinds = [int(kind) for kind in np.unique(wrong[wrong != NOTHING]) if (wrong == kind).sum() >= FEWEST]
    if not kinds:
        return
    by = [key[0] for key in keys if len(key) == 1 and True not in columns.categories[key[0]].values]
    for key in ("", *by):
        ids = columns.categories[key].ids if key else np.zeros(len(columns), dtype=np.int64)
        for below in (True, False):
            groups = list(_groups(numbers, ids, here, below))
            for kind in kinds:
                if (case := _case(numbers, classes, groups, kind, key, below)) is not None:
                    yield case


def _groups(numbers: Numbers, ids: Ids, here: Ids, below: bool) -> Iterator[_Group]:
    at = here[ids[here] != NOTHING]
    at = at[np.lexsort((numbers[at] if below else -numbers[at], ids[at]))]
    for rows in np.split(at, np.flatnonzero(np.diff(ids[at])) + 1):
        ends = np.flatnonzero(np.diff(numbers[rows]) != 0)
        if len(ends) and ends[-1] + 1 >= FEWEST:
            yield _Group(int(ids[rows[0]]), rows, ends)


def _case(
    numbers: Numbers, classes: Codes, groups: Sequence[_Group], kind: int, key: str, below: bool
) -> _Case | None:
    gaps: dict[int, tuple[float, float]] = {}
    taken = []
    for group in groups:
        hit = classes.ids[group.rows] == kind
        gain = np.where(hit, 1, -_PENALTY).cumsum()[group.ends]
        best = int(gain.argmax())
        if gain[best] < FEWEST:
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


def _text(columns: Columns, classes: Codes, number: str, found: _List) -> str:
    name = read(number)
    nullable = found.empty is None and columns.nullable(number)
    told = "".join(
        f"{_condition(columns, number, case, nullable)} ? {literal(classes.values[case.kind])} : "
        for case in found.cases
    )
    rest = found.rest.text(columns, classes)
    if found.empty is None:
        return told + rest
    # What has no number comes first, so that no case has to speak of it.
    return f"{name} == null ? {_in_brackets(found.empty.text(columns, classes))} : {told}{rest}"


def _in_brackets(text: str) -> str:
    return f"({text})" if " ? " in text else text


def _condition(columns: Columns, number: str, case: _Case, nullable: bool) -> str:
    name, known = read(number), ""
    whole = columns.whole(number)
    sign, limits = _limits(case)
    if nullable:
        known = f"{name} != null && "
    values = {at: literal(int(one) if whole and one == int(one) else one) for at, one in limits.items()}
    if not case.key:
        return f"{known}{name} {sign} {values[0]}"
    codes = columns.categories[case.key]
    by_value = {codes.values[at]: one for at, one in values.items()}
    if len(by_value) == 1:
        ((only, limit),) = by_value.items()
        return f"{known}{read(case.key)} == {literal(only)} && {name} {sign} {limit}"
    if len(by_value) < len(codes.values):
        known += f"{read(case.key)} in {literal(list(by_value))} && "
    return f"{known}{name} {sign} {mapped(by_value)}[{read(case.key)}]"


def _limits(case: _Case) -> tuple[str, dict[int, float]]:
    """The limits as round numbers, and whether a number that equals one is on its lower or upper side."""
    upper = {at: shortest(low, high) for at, (low, high) in case.gaps.items()}
    lower = {at: shortest(low, high, low_counts=True) for at, (low, high) in case.gaps.items()}
    if _digits(lower) < _digits(upper):
        return ("<=" if case.below else ">"), lower
    return ("<" if case.below else ">="), upper


def _digits(limits: dict[int, float]) -> int:
    return sum(len(f"{one:.15g}".replace(".", "").strip("0")) for one in limits.values())
