"""A row of a data set: an example, and for which split it was given.

A row has a stable id: its own key if the company gave it one, else the hash of its content. What a state
of the data is called follows from its rows in any order. Knows nothing of files.
"""

import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from hashlib import blake2b

from azubi.data.example import Example, Part, Turn
from azubi.data.instruction import strip_system
from azubi.data.splits.split_assignment import question

_TURN = tuple(field.name for field in fields(Turn))
_EXAMPLE = tuple(field.name for field in fields(Example))


@dataclass(frozen=True, slots=True)
class Row:
    """An example and where it was given."""

    example: Example
    part: Part = "data"

    @property
    def id(self) -> str:
        """The company's own key, else the hash of its content."""
        return self.example.name

    @property
    def plain(self) -> Example:
        """The example without a system message, as the trunk sees it if all rows share one."""
        return strip_system([self.example])[0]

    @property
    def questions(self) -> tuple[str, ...]:
        """Names of what it asks, with and without that system message."""
        return tuple(dict.fromkeys(question(one.prompt) for one in (self.example, self.plain)))

    @property
    def ids(self) -> frozenset[str]:
        """All that it can be called by: by its content also as it was before its beginning became a system
        message."""
        first, *rest = self.example.turns
        whole = [replace(turn, content=first.content + turn.content) for turn in rest[:1]] + rest[1:]
        before = replace(self.example, turns=tuple(whole)).id if first.role == "system" and rest else ""
        return frozenset(filter(None, (self.example.key, self.example.id, before)))


def rows_of(parts: Mapping[Part, Sequence[Example] | None]) -> tuple[Row, ...]:
    """The rows of a data set, part after part."""
    return tuple(Row(one, part) for part, examples in parts.items() for one in examples or ())


def version_of(rows: Iterable[Row]) -> str:
    """The name of a state of the data, 16 hexadecimal digits; neither order nor lines matter."""
    digests = sorted(blake2b(content(row).encode(), digest_size=16).digest() for row in rows)
    return blake2b(b"".join(digests), digest_size=8).hexdigest()


def to_json(row: Row) -> str:
    """A row as one line."""
    told = {name: getattr(row.example, name) for name in _EXAMPLE}
    told["turns"] = [{name: getattr(turn, name) for name in _TURN} for turn in row.example.turns]
    return json.dumps({"part": row.part, **told}, ensure_ascii=False)


def from_json(line: str) -> Row:
    """The row that `to_json` wrote."""
    told = json.loads(line)
    part: Part = told.pop("part")
    return Row(Example(**told | {"turns": tuple(Turn(**turn) for turn in told["turns"])}), part)


def content(row: Row) -> str:
    """All of a row but the line on which it stood, as one text."""
    one = row.example
    turns = [[getattr(turn, name) for name in _TURN] for turn in one.turns]
    told = [row.part, turns, one.answer, one.key, one.group, one.time, one.weight]
    return json.dumps(told, ensure_ascii=False)


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
