"""Fields of a record that are computed from its other fields, in an order in which each finds what it reads.

Takes them out of what is learned, puts them into what was answered, and says where examples contradict the
rules. Knows contracts; nothing of models or of how rules are found.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from azubi.data import schema, strict_json
from azubi.data.contract import Contract, parse_record
from azubi.data.example import Example, Turn
from azubi.data.finding import SHOWN, Case, Finding
from azubi.data.rules.columns import as_kind
from azubi.data.rules.formula import Formula, NotComputable
from azubi.data.strict_json import Record, same, shortly
from azubi.errors import DataError, SettingError

_TRIED = 2_000
"""Records that are enough to see that a rule cannot be meant."""
MOST_CONTRADICT = 0.5
"""If more of the records contradict a rule, the rule is taken to be wrong."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A record with its derived fields."""

    record: dict[str, Any]
    notes: tuple[str, ...] = ()
    """Which fields could not be computed, and why."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A field of an example that its rule computes differently."""

    line: int
    field: str
    text: str


class Derivation:
    """The rules of one contract, compiled."""

    def __init__(self, contract: Contract) -> None:
        """Compile the contract's rules.

        Raises:
            SettingError: a rule is no CEL, reads what is not there, or goes round in a circle; or no field
                is left to learn.
        """
        self._fields = contract.fields
        self._derived = frozenset(contract.derived)
        self._numbers = {name: schema.number_kind(contract.json_schema, name) for name in contract.fields}
        _check_fields(contract)
        formulas = {name: Formula(name, text, contract.fields) for name, text in contract.derived.items()}
        self._formulas = [formulas[name] for name in _ordered(formulas)]

    def complete(self, record: Record) -> Completed:
        """The record with every derived field at its place.

        A field that a rule reads may be missing from what a model wrote: then the derived field is missing,
        too; if it is null, and the rule says nothing about null, the derived field is null.
        """
        known = {
            name: self._number(name, value) for name, value in record.items() if name not in self._derived
        }
        found: dict[str, Any] = {}
        notes = []
        for formula in self._formulas:
            value = formula.value(known)
            if isinstance(value, NotComputable):
                notes.append(f"{formula.name} is {'null' if value.null else 'left out'}: {value.reason}.")
                if not value.null:
                    continue
                value = None
            known[formula.name] = found[formula.name] = self._number(formula.name, value)
        return Completed(self._placed(record, found), tuple(notes))

    def learned(self, answer: str) -> str:
        """What the model learns of an answer: its record without the derived fields."""
        record = parse_record(answer)
        if record is None:
            raise ValueError(f"no record: {answer[:60]!r}")
        return strict_json.write({name: value for name, value in record.items() if name not in self._derived})

    def taught(self, examples: Iterable[Example]) -> tuple[Example, ...]:
        """The examples as they are learned, earlier answers of theirs too where those are learned."""
        return tuple(
            replace(one, answer=self.learned(one.answer), turns=tuple(map(self._taught_turn, one.turns)))
            for one in examples
        )

    def _taught_turn(self, turn: Turn) -> Turn:
        if not turn.learned or parse_record(turn.content) is None:
            return turn
        return replace(turn, content=self.learned(turn.content))

    def contradictions(self, examples: Iterable[tuple[int, Record]]) -> Iterator[Contradiction]:
        """Where the records (each with its line) say otherwise than the rules, given what else they say."""
        for line, record in examples:
            for formula in self._formulas:
                value = formula.value(self._known(record))
                if text := _contradiction(formula.name, record, self._numbers[formula.name], value):
                    yield Contradiction(line, formula.name, text)

    def never_computable(self, records: Sequence[Record]) -> dict[str, NotComputable]:
        """Rules that give a value for none of the records, each with a reason."""
        found = {}
        for formula in self._formulas:
            values = [formula.value(self._known(record)) for record in records]
            lacks = [value for value in values if isinstance(value, NotComputable)]
            if values and len(lacks) == len(values):
                found[formula.name] = min(lacks, key=lambda lack: lack.null)
        return found

    def _known(self, record: Record) -> dict[str, Any]:
        return {name: self._number(name, value) for name, value in record.items()}

    def _placed(self, record: Record, found: Record) -> dict[str, Any]:
        every = {name: value for name, value in record.items() if name not in self._derived}
        every.update(found)
        order = [*self._fields, *(name for name in record if name not in self._fields)]
        return {name: every[name] for name in order if name in every}

    def _number(self, name: str, value: Any) -> Any:
        return as_kind(value, self._numbers.get(name))


def finding(contract: Contract, records: Iterable[tuple[int, Record]]) -> Finding | None:
    """The records (each with its line) that contradict the contract's rules; None if none does."""
    if not contract.derived:
        return None
    derivation = Derivation(contract)
    rows = count = 0
    often: Counter[str] = Counter()
    cases: list[Case] = []
    for line, record in records:
        rows += 1
        found = list(derivation.contradictions([(line, record)]))
        count += bool(found)
        often.update(one.field for one in found)
        cases += [Case(lines=(line,), text=one.text) for one in found[: SHOWN - len(cases)]]
    if not count:
        return None
    return Finding(
        kind="contradicts_rule",
        level="warning",
        title=f"{count:,} of {rows:,} records contradict{'s' if count == 1 else ''} the rule "
        f"for {', '.join(often)}.",
        count=count,
        cases=tuple(cases),
        why="A derived field is computed, not learned: in these records the rule or the record is wrong.",
        remedy="Correct the records, or the rule under `derive` in the recipe.",
        details={"fields": dict(often)},
    )


def check_possible(contract: Contract, records: Sequence[Record]) -> None:
    """Raise DataError if a rule gives a value for no record, or another than most records have."""
    if not contract.derived or not records:
        return
    derivation, records = Derivation(contract), records[:_TRIED]
    for name, lack in derivation.never_computable(records).items():
        raise DataError(
            f"The rule for {name} gives a value for none of {len(records):,} records: {lack.reason}.",
            "Correct it under `derive`.",
        )
    found = list(derivation.contradictions(enumerate(records)))
    often = Counter(one.field for one in found)
    for name, count in often.items():
        if count > MOST_CONTRADICT * len(records):
            first = next(one.text for one in found if one.field == name)
            raise DataError(
                f"{count:,} of {len(records):,} records contradict the rule for {name}: {first}.",
                "Correct it under `derive`, or let the field be learned.",
            )


def _contradiction(name: str, record: Record, kind: type | None, value: Any) -> str:
    if isinstance(value, NotComputable) and not value.null:
        return (
            f"{name} is {shortly(record[name])}, but the rule gives nothing: {value.reason}"
            if name in record
            else ""
        )
    computed = None if isinstance(value, NotComputable) else as_kind(value, kind)
    if name not in record:
        return f"{name} is missing, but the rule gives {shortly(computed)}"
    if same(record[name], computed):
        return ""
    return f"{name} is {shortly(record[name])}, but the rule gives {shortly(computed)}"


def _check_fields(contract: Contract) -> None:
    if not contract.derived:
        return
    if contract.task != "json":
        raise SettingError(
            f"derive names {', '.join(contract.derived)}, but the answers are not JSON records.",
            "Leave derive out: only fields of records can be derived.",
        )
    for name in contract.derived:
        if name not in contract.fields:
            raise SettingError(
                f"derive names “{name}”, which is no field of the records.",
                f"The fields are {', '.join(contract.fields)}.",
            )
    if not contract.learned:
        raise SettingError(
            "derive names every field of the records: nothing is left to learn.",
            "Take one of them out of derive.",
        )


def _ordered(formulas: Mapping[str, Formula]) -> list[str]:
    needs = {name: [one for one in formula.inputs if one in formulas] for name, formula in formulas.items()}
    try:
        return list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        raise SettingError(
            f"The rules under derive go round in a circle: {circle}.", "Let one of these fields be learned."
        ) from error
