"""How two states of the data differ: rows that came, rows that went, answers and questions that changed.

Rows are the same if they have the same key. Those without one are told apart by their content, so there a
changed answer is known by its question. Knows nothing of where rows lie.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from azubi.data.datasets.row import Row, content
from azubi.data.splits.split_assignment import question


@dataclass(frozen=True, slots=True)
class Change:
    """A row that is in both, but not the same."""

    before: Row
    after: Row

    @property
    def what(self) -> str:
        """What of it is another one."""
        one, other = self.before.example, self.after.example
        told = {
            "question": one.turns != other.turns,
            "answer": one.answer != other.answer,
            "group": one.group != other.group,
            "time": one.time != other.time,
            "weight": one.weight != other.weight,
            "part": self.before.part != self.after.part,
        }
        return " and ".join(name for name, differs in told.items() if differs)


@dataclass(frozen=True, slots=True)
class Difference:
    """What is in one of two states alone, and what is another in them."""

    added: tuple[Row, ...]
    removed: tuple[Row, ...]
    changed: tuple[Change, ...]
    same: int


def difference(before: Sequence[Row], after: Sequence[Row]) -> Difference:
    """Compare two states of the data; each list is in the order of its source."""
    equal, old, new = _matched(before, after, content)
    # By their own keys; then, of those without one, by what they ask.
    keyed, old, new = _matched(old, new, lambda row: row.example.key)
    asked, old, new = _matched(old, new, lambda row: "" if row.example.key else question(row.example.prompt))
    changed = tuple(Change(*pair) for pair in (*keyed, *asked))
    return Difference(tuple(new), tuple(old), changed, len(equal))


def _matched(
    old: Sequence[Row], new: Sequence[Row], name: Callable[[Row], str]
) -> tuple[list[tuple[Row, Row]], list[Row], list[Row]]:
    """Pairs of rows with the same name (each row once), and those left over; an empty name has no pair."""
    waiting: dict[str, deque[Row]] = defaultdict(deque)
    for row in old:
        waiting[name(row)].append(row)
    pairs, alone = [], []
    for row in new:
        there = waiting.get(name(row)) if name(row) else None
        if there:
            pairs.append((there.popleft(), row))
        else:
            alone.append(row)
    paired = {id(one) for one, _ in pairs}
    return pairs, [row for row in old if id(row) not in paired], alone
