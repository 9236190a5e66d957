"""A row of a data set: an example, and the setting that named its source.

A row's id is its own key if the company gave it one, else the hash of its content. The name of a data version
follows from its rows, in any order.
"""

import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from hashlib import blake2b
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from azubi.data.example import Example, Part, SplitName, Turn
from azubi.data.finding import Finding, Level
from azubi.data.instruction import strip_system
from azubi.data.splits.splitting import Split, question
from azubi.settings import SplitSettings


@dataclass(frozen=True, slots=True)
class Row:
    """An example and where it was given."""

    example: Example
    part: Part = "data"

    @property
    def id(self) -> str:
        """The company's own key, else the hash of the content."""
        return self.example.name

    @property
    def plain(self) -> Example:
        """The example without a system message, as the trunk sees it if all rows share one."""
        return strip_system([self.example])[0]

    @property
    def questions(self) -> tuple[str, ...]:
        """Names of the question, with and without that system message."""
        return tuple(dict.fromkeys(question(example.prompt) for example in (self.example, self.plain)))

    @property
    def ids(self) -> frozenset[str]:
        """All ids that it has had; also that from before its beginning became a system message."""
        first, *rest = self.example.turns
        whole = [replace(turn, content=first.content + turn.content) for turn in rest[:1]] + rest[1:]
        before = replace(self.example, turns=tuple(whole)).id if first.role == "system" and rest else ""
        return frozenset(filter(None, (self.example.key, self.example.id, before)))


def rows_of(parts: Mapping[Part, Sequence[Example] | None]) -> tuple[Row, ...]:
    """The rows of a data set, part after part."""
    return tuple(Row(example, part) for part, examples in parts.items() for example in examples or ())


def version_of(rows: Iterable[Row]) -> str:
    """The name of a state of the data, 16 hexadecimal digits; neither order nor lines matter."""
    digests = sorted(blake2b(content(row).encode(), digest_size=16).digest() for row in rows)
    return blake2b(b"".join(digests), digest_size=8).hexdigest()


def to_json(row: Row) -> str:
    """A row as one line."""
    return json.dumps({"part": row.part, **asdict(row.example)}, ensure_ascii=False)


def from_json(line: str) -> Row:
    """The row that `to_json` wrote."""
    fields = json.loads(line)
    part: Part = fields.pop("part")
    return Row(Example(**fields | {"turns": tuple(Turn(**turn) for turn in fields["turns"])}), part)


def content(row: Row) -> str:
    """All of a row but its line, as one text."""
    example = row.example
    turns = [[turn.role, turn.content, turn.learned] for turn in example.turns]
    fields = [row.part, turns, example.answer, example.key, example.group, example.time, example.weight]
    return json.dumps(fields, ensure_ascii=False)


# Comparing two states


@dataclass(frozen=True, slots=True)
class Change:
    """A row that is in both states, but not the same."""

    before: Row
    after: Row

    @property
    def what(self) -> str:
        """What differs, such as "question and answer"."""
        old, new = self.before.example, self.after.example
        differences = {
            "question": old.turns != new.turns,
            "answer": old.answer != new.answer,
            "group": old.group != new.group,
            "time": old.time != new.time,
            "weight": old.weight != new.weight,
            "part": self.before.part != self.after.part,
        }
        return " and ".join(name for name, differs in differences.items() if differs)


@dataclass(frozen=True, slots=True)
class Difference:
    """What two states of the data do not have in common."""

    added: tuple[Row, ...]
    removed: tuple[Row, ...]
    changed: tuple[Change, ...]
    same: int


def difference(before: Sequence[Row], after: Sequence[Row]) -> Difference:
    """Compare two states of the data, each in the order of its source."""
    equal, old, new = _match(before, after, content)
    # By their keys; then, of those without a key, by their questions.
    keyed, old, new = _match(old, new, lambda row: row.example.key)
    asked, old, new = _match(old, new, lambda row: "" if row.example.key else question(row.example.prompt))
    changed = tuple(Change(*pair) for pair in (*keyed, *asked))
    return Difference(tuple(new), tuple(old), changed, len(equal))


def _match(
    old: Sequence[Row], new: Sequence[Row], name: Callable[[Row], str]
) -> tuple[list[tuple[Row, Row]], list[Row], list[Row]]:
    """Pairs of rows with the same name, each row once, and the rows left over. An empty name has no pair."""
    waiting: dict[str, deque[Row]] = defaultdict(deque)
    for row in old:
        waiting[name(row)].append(row)
    pairs, rest = [], []
    for row in new:
        if name(row) and waiting[name(row)]:
            pairs.append((waiting[name(row)].popleft(), row))
        else:
            rest.append(row)
    paired = {id(row) for row, _ in pairs}
    return pairs, [row for row in old if id(row) not in paired], rest


_CONFIG = ConfigDict(extra="forbid", frozen=True)


class FindingNote(BaseModel):
    """A finding without its cases, which would quote rows."""

    model_config = _CONFIG

    kind: str
    level: Level
    count: int


class SplitNote(BaseModel):
    """One way in which the rows were split. Which row is in which split is stored apart, encrypted."""

    model_config = _CONFIG

    name: str
    """Follows from settings, seed and which splits were given."""
    settings: SplitSettings
    seed: int
    given: tuple[SplitName, ...]
    follows: str = ""
    """The earlier version whose cut-offs it keeps; empty if none."""
    counts: dict[SplitName, int]
    """Before any limit."""
    duplicates: int
    overlapping: int
    moved: int
    validation_from: str = ""
    test_from: str = ""


class Manifest(BaseModel):
    """A data version: where it came from, what is in it, how it was split."""

    model_config = _CONFIG

    format: Literal[1] = 1
    version: str
    """Hash of the content: the same rows in any order have the same one."""
    created: datetime
    source: dict[str, str]
    """SHA-256 of each data file, by its name."""
    mapping: dict[str, Any]
    """The settings by which sources became rows."""
    counts: dict[str, int]
    """Rows by the setting that named them: data, test_data, validation_data."""
    findings: tuple[FindingNote, ...] = ()
    splits: tuple[SplitNote, ...] = ()
    erased: int = 0
    """Rows that were erased since; the name stays what it was."""
    generation: int = 1
    """Counts how often the rows were written anew under a new key."""

    @property
    def rows(self) -> int:
        """How many it holds now."""
        return sum(self.counts.values())

    def split(self, name: str) -> SplitNote | None:
        """The split of that name."""
        return next((note for note in self.splits if note.name == name), None)


def split_name(settings: SplitSettings, seed: int, given: tuple[SplitName, ...]) -> str:
    """The name of a way to split rows: 16 hexadecimal digits."""
    text = f"{settings.model_dump_json()} {seed} {' '.join(sorted(given))}"
    return blake2b(text.encode(), digest_size=8).hexdigest()


def split_note(
    split: Split, settings: SplitSettings, seed: int, given: tuple[SplitName, ...], follows: str = ""
) -> SplitNote:
    """What the manifest keeps of a split."""
    return SplitNote(
        name=split_name(settings, seed, given),
        settings=settings,
        seed=seed,
        given=given,
        follows=follows,
        counts=dict(split.whole),
        duplicates=split.duplicates,
        overlapping=split.overlapping,
        moved=split.moved,
        validation_from=split.state.validation_from,
        test_from=split.state.test_from,
    )


def notes(findings: tuple[Finding, ...]) -> tuple[FindingNote, ...]:
    """What the manifest keeps of findings."""
    return tuple(
        FindingNote(kind=finding.kind, level=finding.level, count=finding.count) for finding in findings
    )
