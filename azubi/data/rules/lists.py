"""A list of what a category asks for without what another list has: the documents that are still missing.

Knows columns; nothing of how well a rule will do on records that it was not made from.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

from azubi.data.rules.columns import NOTHING, Columns, Ids
from azubi.data.rules.draft import ENTRY, ERROR, STEP, RuleCandidate
from azubi.data.rules.formula import literal, mapped, read
from azubi.data.rules.table import Key, keys_of

FEWEST = 3
"""Records that have to show an item before it is one that is asked for."""
MOST_ITEMS = 40

Wanted = dict[tuple[int, ...], list[str]]


def fit(columns: Columns, target: str, inputs: Sequence[str], rows: Ids) -> RuleCandidate | None:
    """The cheapest such rule for a list, or None."""
    if target not in columns.lists:
        return None
    found = [
        draft
        for other in inputs
        if other in columns.lists
        for key in keys_of(columns, inputs)
        if (draft := _without(columns, target, other, key, rows)) is not None
    ]
    return min(found, key=lambda draft: draft.cost, default=None)


def _without(columns: Columns, target: str, other: str, key: Key, rows: Ids) -> RuleCandidate | None:
    lists, theirs = columns.lists[target], columns.lists[other]
    ids = [columns.categories[name].ids for name in key]
    places: dict[tuple[int, ...], list[int]] = defaultdict(list)
    errors = 0
    for row in rows:
        place = tuple(int(one[row]) for one in ids)
        if NOTHING in place or lists[row] is None or theirs[row] is None:
            errors += 1
        else:
            places[place].append(int(row))
    wanted: Wanted = {}
    for place, here in places.items():
        wanted[place] = _asked_for([lists[row] or [] for row in here])
        for row in here:
            expected = [item for item in wanted[place] if item not in (theirs[row] or ())]
            errors += expected != lists[row]
    if errors > 0.02 * len(rows) or not any(wanted.values()):
        return None
    items = {item for some in wanted.values() for item in some}
    if not any(items & set(some or ()) for some in theirs):
        return None  # the other list takes nothing away: the rule would be a table with a flourish
    text = f"{_looked_up(columns, key, wanted)}.filter(one, !(one in {read(other)}))"
    cost = ERROR * errors + STEP + ENTRY * sum(map(len, wanted.values()))
    return RuleCandidate(text, (*key, other), cost)


def _asked_for(lists: Sequence[Sequence[str]]) -> list[str]:
    """Every item that is not there by mistake, in the order in which lists have them."""
    counts = Counter(item for some in lists for item in some)
    items = [item for item, count in counts.items() if count >= FEWEST][:MOST_ITEMS]
    before: Counter[tuple[str, str]] = Counter()
    for some in lists:
        before.update((one, other) for at, one in enumerate(some) for other in some[at + 1 :])
    wins = {one: sum(before[one, other] > before[other, one] for other in items) for one in items}
    return sorted(items, key=lambda one: (-wins[one], one))


def _looked_up(columns: Columns, key: Key, wanted: Wanted) -> str:
    if not key:
        return literal(wanted[()])
    nested: dict[object, str] = {}
    if len(key) == 1:
        nested = {columns.categories[key[0]].values[at]: literal(some) for (at,), some in wanted.items()}
        return f"{mapped(nested)}[{read(key[0])}]"
    outer, inner = (columns.categories[name].values for name in key)
    by_outer: dict[object, dict[object, str]] = defaultdict(dict)
    for (first, second), some in sorted(wanted.items()):
        by_outer[outer[first]][inner[second]] = literal(some)
    nested = {first: mapped(rest) for first, rest in by_outer.items()}
    return f"{mapped(nested)}[{read(key[0])}][{read(key[1])}]"
