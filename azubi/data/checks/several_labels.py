"""Answers that hold several labels in one text: `urgent, liability` and `liability, urgent`.

Does not know what a label means.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from azubi.data.checks.check_input import CheckInput
from azubi.data.checks.formatting import excerpt, some
from azubi.data.checks.labels import closed_fields, lines_of
from azubi.data.contract import LONGEST_LABEL
from azubi.data.finding import SHOWN, Case, Finding

_SEPARATORS = (";", "|", ",", "/", "+", "&", "\n")
_RECURRING = 0.8
"""Share of the parts that stand in more than one combination, if the parts are labels."""


@dataclass(frozen=True)
class Parted:
    """Answers taken apart."""

    separator: str
    parts: dict[str, tuple[str, ...]]
    """The labels of each answer, in its order."""

    @property
    def labels(self) -> frozenset[str]:
        """All labels."""
        return frozenset(label for parts in self.parts.values() for label in parts)

    @property
    def combined(self) -> list[str]:
        """The answers with several labels."""
        return [answer for answer, parts in self.parts.items() if len(parts) > 1]

    @property
    def same(self) -> list[list[str]]:
        """Answers that differ in the order of their labels alone, together."""
        groups: dict[frozenset[str], list[str]] = {}
        for answer, parts in self.parts.items():
            groups.setdefault(frozenset(parts), []).append(answer)
        return [group for group in groups.values() if len(group) > 1]

    @property
    def likely(self) -> bool:
        """Whether the parts are labels: most recur, and some stand alone or in more than one place."""
        if len(self.combined) < 2 or max(map(len, self.labels)) > LONGEST_LABEL:
            return False
        sets = {frozenset(parts) for parts in self.parts.values()}
        uses = Counter(label for labels in sets for label in labels)
        inside = {label for answer in self.combined for label in self.parts[answer]}
        places: dict[str, set[int]] = {}
        for parts in self.parts.values():
            for place, label in enumerate(parts):
                places.setdefault(label, set()).add(place if len(parts) > 1 else -1)
        recurring = sum(uses[label] > 1 for label in inside)
        moving = any(len(places[label]) > 1 for label in inside)
        return moving and recurring >= _RECURRING * len(inside) and len(self.labels) < len(self.parts)


def several_labels(subject: CheckInput) -> Iterator[Finding]:
    """Answers, or values of a record's field, that are lists of labels written as one text."""
    if subject.kind == "json":
        for name, counts in closed_fields(subject).items():
            if parted := _parted(counts):
                yield _finding(subject, parted, counts, name)
    elif parted := _parted(subject.tally.answers):
        yield _finding(subject, parted, subject.tally.answers)


def _parted(counts: Mapping[str, int]) -> Parted | None:
    for separator in _SEPARATORS:
        if any(separator in answer for answer in counts):
            found = Parted(separator, {answer: _parts(answer, separator) for answer in counts})
            if found.likely:
                return found
    return None


def _parts(answer: str, separator: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part for each in answer.split(separator) if (part := each.strip())))


def _finding(subject: CheckInput, parted: Parted, counts: Mapping[str, int], field: str = "") -> Finding:
    combined, same = parted.combined, parted.same
    shown = (same or [[answer] for answer in combined])[:SHOWN]
    lines = lines_of(subject, [answer for group in shown for answer in group], field)
    holds = some(sum(counts[answer] for answer in combined), "answer holds", "answers hold")
    where = f" in {excerpt(field, 40)}" if field else ""
    alike = f"; {some(len(same), 'differs', 'differ')} in order alone" if same else ""
    return Finding(
        kind=f"several_labels:{field}" if field else "several_labels",
        level="warning",
        title=f"{holds} several labels{where}: {len(counts):,} combinations of {len(parted.labels):,} "
        f"labels, parted by “{_shown(parted.separator)}”{alike}.",
        count=len(same) or len(combined),
        cases=tuple(
            Case(
                lines=tuple(sorted(line for answer in group for line in lines[answer][:1])),
                text=" = ".join(f"{excerpt(answer, 60)} ({counts[answer]:,} ×)" for answer in group),
            )
            for group in shown
        ),
        why="Each combination counts as an answer of its own: one that stands in no example can never be "
        "given, and the same labels in another order count as wrong.",
        remedy=_remedy(subject, parted, field),
        details={"separator": parted.separator, "labels": sorted(parted.labels)},
    )


def _remedy(subject: CheckInput, parted: Parted, field: str) -> str:
    """The setting that makes lists of the texts; where a record is no matter of columns, how to write it."""
    answer = subject.answer
    if isinstance(answer, str) and field:
        return f"Write lists in the records, always in one order: {json.dumps(sorted(parted.labels)[:2])}."
    column = answer if isinstance(answer, str) else answer[field].column
    sign = _shown(parted.separator)
    made = f'{_name(field or column)}: {{column: {_name(column)}, separator: "{sign}"}}'
    setting = (
        f"for this field set {made}."
        if field
        else f"--answer '{{{made}}}' (in a recipe, answer: {{{made}}})."
    )
    return f"Read them as a list: {setting} The labels are then in alphabetical order, each once."


def _name(name: str) -> str:
    """A name as YAML reads it; quoted where it could be anything else."""
    plain = re.fullmatch(r"[^\W\d]\w{3,}", name) and name.lower() not in ("true", "false", "null")
    return name if plain else json.dumps(name, ensure_ascii=False)


def _shown(separator: str) -> str:
    return separator.replace("\n", "\\n")
