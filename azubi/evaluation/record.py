"""JSON records, compared key by key. Knows the answer contract, not where answers come from."""

from collections.abc import Callable
from dataclasses import dataclass

from azubi.data import strict_json
from azubi.data.contract import Contract
from azubi.data.record import same

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
