"""Test examples with both answers: which to show, and their records field by field.

Knows the answer contract, not where answers come from.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from azubi.data import strict_json
from azubi.data.contract import Contract
from azubi.data.strict_json import same

_ABSENT = object()

Record = dict[str, object]


def same_field(answer: Record | None, truth: Record | None, name: str) -> bool:
    """Whether a field is right: the same value, or left out by both. No record, nothing right."""
    if answer is None or truth is None:
        return False
    return same(answer.get(name, _ABSENT), truth.get(name, _ABSENT))


@dataclass(frozen=True, slots=True)
class Cell:
    """One field of one answer, ready to be shown."""

    text: str
    right: bool
    lacks: str = ""
    """Why there is no value: left out, or the whole answer is not a record; empty if there is one."""


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field: what is right, and what each said."""

    name: str
    truth: Cell
    base: Cell
    specialist: Cell


def field_rows(contract: Contract, truth: str, base: str, specialist: str) -> tuple[FieldRow, ...]:
    """Set three records side by side: the contract's fields, then any that an answer added."""
    right, old, new = (contract.parse(text) for text in (truth, base, specialist))
    names = dict.fromkeys([*contract.fields, *(right or {}), *(new or {}), *(old or {})])
    return tuple(_row(name, right, old, new) for name in names)


def shown(value: object) -> str:
    """Write a value as a person reads it: text without quotes, a list of texts with commas, else JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return _exactly(value)


def _row(name: str, truth: Record | None, base: Record | None, specialist: Record | None) -> FieldRow:
    write = _exactly if any(_alike(answer, truth, name) for answer in (base, specialist)) else shown
    right, old, new = (_cell(answer, truth, name, write) for answer in (truth, base, specialist))
    return FieldRow(name, right, old, new)


def _cell(answer: Record | None, truth: Record | None, name: str, write: Callable[[object], str]) -> Cell:
    right = same_field(answer, truth, name)
    if answer is None:
        return Cell("", right, lacks="unreadable")
    if name not in answer:
        return Cell("", right, lacks="left out")
    return Cell(write(answer[name]), right)


def _alike(answer: Record | None, truth: Record | None, name: str) -> bool:
    """Whether a wrong value looks like the right one when written for a person: "7" and 7."""
    if answer is None or truth is None or name not in answer or name not in truth:
        return False
    return not same(answer[name], truth[name]) and shown(answer[name]) == shown(truth[name])


def _exactly(value: object) -> str:
    return strict_json.write(value)


class Comparison(BaseModel, extra="forbid", frozen=True):
    """What was asked, what the untouched base said, what the specialist said, and what is right."""

    prompt: str
    base: str
    specialist: str
    truth: str
    base_right: bool
    specialist_right: bool


def compare_pick(comparisons: Sequence[Comparison], count: int = 3) -> tuple[Comparison, ...]:
    """Choose a few examples to show: what training changed, and, to be honest, what is still wrong.

    All but the last are ones that the specialist got right and the base wrong, with different right
    answers where there are; the last is one that the specialist got wrong, if there is any. Within
    each kind the first in the order given is taken, so nothing is picked for its looks. Where a kind
    has too few, others fill up.
    """
    mistakes = [c for c in comparisons if not c.specialist_right][:1]
    gains = _varied([c for c in comparisons if c.specialist_right and not c.base_right])
    rest = [c for c in comparisons if c.specialist_right and c.base_right]
    others = [c for c in comparisons if not c.specialist_right][1:]
    shown = (gains + rest + others)[: max(0, count - len(mistakes))]
    return tuple((shown + mistakes)[:count])


def _varied(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Put the first example of every right answer before the second of any."""
    seen: Counter[str] = Counter()
    ranked: list[tuple[int, Comparison]] = []
    for comparison in comparisons:
        ranked.append((seen[comparison.truth], comparison))
        seen[comparison.truth] += 1
    return [comparison for _, comparison in sorted(ranked, key=lambda pair: pair[0])]
