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


class Derivation:
    """The rules of one contract, compiled."""

    def __init__(self, contract: Contract) -> None:
        """Compile the contract's rules.

        Raises:
            SettingError: a rule is no CEL, reads what is not there, or goes round in a circle; or no field
                is left to learn.
        """
        self._fields, self._derived = contract.fields, frozenset(contract.derived)
        self._kinds = {name: schema.number_kind(contract.json_schema, name) for name in contract.fields}
        _check_fields(contract)
        formulas = {name: Formula(name, text, contract.fields) for name, text in contract.derived.items()}
        self._formulas = [formulas[name] for name in _ordered(formulas)]

    def complete(self, record: Record) -> Completed:
        """The record with every derived field at its place.

        A field that a rule reads may be missing from what a model wrote: then the derived field is missing,
        too; if it is null, and the rule says nothing about null, the derived field is null.
        """
        inputs = self._typed({name: value for name, value in record.items() if name not in self._derived})
        values = {name: value for name, value in record.items() if name not in self._derived}
        notes = []
        for formula in self._formulas:
            value = formula.value(inputs)
            if isinstance(value, NotComputable):
                notes.append(f"{formula.name} is {'null' if value.null else 'left out'}: {value.reason}.")
                if not value.null:
                    continue
                value = None
            inputs[formula.name] = values[formula.name] = as_kind(value, self._kinds[formula.name])
        order = dict.fromkeys([*self._fields, *record])
        return Completed({name: values[name] for name in order if name in values}, tuple(notes))

    def learned(self, answer: str) -> str:
        """What the model learns of an answer: its record without the derived fields."""
        record = parse_record(answer)
        if record is None:
            raise ValueError(f"no record: {answer[:60]!r}")
        return strict_json.write({name: value for name, value in record.items() if name not in self._derived})

    def taught(self, examples: Iterable[Example]) -> tuple[Example, ...]:
        """The examples as they are learned; so are earlier answers in them that are learned."""

        def without_derived(turn: Turn) -> Turn:
            if not turn.learned or parse_record(turn.content) is None:
                return turn
            return replace(turn, content=self.learned(turn.content))

        return tuple(
            replace(
                example, answer=self.learned(example.answer), turns=tuple(map(without_derived, example.turns))
            )
            for example in examples
        )

    def contradictions(self, record: Record) -> Iterator[tuple[str, str]]:
        """The fields of an example's record that their rules compute differently, each with what differs."""
        inputs = self._typed(record)
        for formula in self._formulas:
            name, value = formula.name, formula.value(inputs)
            stands = f"{name} is {shortly(record[name])}" if name in record else f"{name} is missing"
            if isinstance(value, NotComputable) and not value.null:
                if name in record:
                    yield name, f"{stands}, but the rule gives nothing: {value.reason}"
                continue
            computed = None if isinstance(value, NotComputable) else as_kind(value, self._kinds[name])
            if name not in record or not same(record[name], computed):
                yield name, f"{stands}, but the rule gives {shortly(computed)}"

    def check_possible(self, records: Sequence[Record]) -> None:
        """Raise DataError if a rule gives a value for no record, or another than most records have."""
        records = records[:_TRIED]
        for formula in self._formulas:
            values = [formula.value(self._typed(record)) for record in records]
            reasons = [value for value in values if isinstance(value, NotComputable)]
            if values and len(reasons) == len(values):
                raise DataError(
                    f"The rule for {formula.name} gives a value for none of {len(records):,} records: "
                    f"{min(reasons, key=lambda reason: reason.null).reason}.",
                    "Correct it under `derive`.",
                )
        contradictions = [pair for record in records for pair in self.contradictions(record)]
        for name, count in Counter(name for name, _ in contradictions).items():
            if count > MOST_CONTRADICT * len(records):
                raise DataError(
                    f"{count:,} of {len(records):,} records contradict the rule for {name}: "
                    f"{dict(reversed(contradictions))[name]}.",
                    "Correct it under `derive`, or let the field be learned.",
                )

    def _typed(self, record: Record) -> dict[str, Any]:
        """The record with its numbers as the schema has them."""
        return {name: as_kind(value, self._kinds.get(name)) for name, value in record.items()}


def finding(contract: Contract, records: Iterable[tuple[int, Record]]) -> Finding | None:
    """The records (each with its line) that contradict the contract's rules; None if none does."""
    if not contract.derived:
        return None
    derivation = Derivation(contract)
    rows = count = 0
    fields: Counter[str] = Counter()
    cases: list[Case] = []
    for line, record in records:
        rows += 1
        contradictions = list(derivation.contradictions(record))
        count += bool(contradictions)
        fields.update(name for name, _ in contradictions)
        cases += [Case(lines=(line,), text=text) for _, text in contradictions[: SHOWN - len(cases)]]
    if not count:
        return None
    return Finding(
        kind="contradicts_rule",
        level="warning",
        title=f"{count:,} of {rows:,} records contradict{'s' if count == 1 else ''} the rule "
        f"for {', '.join(fields)}.",
        count=count,
        cases=tuple(cases),
        why="A derived field is computed, not learned: in these records the rule or the record is wrong.",
        remedy="Correct the records, or the rule under `derive` in the recipe.",
        details={"fields": dict(fields)},
    )


def _check_fields(contract: Contract) -> None:
    fields = ", ".join(contract.fields)
    if contract.derived and contract.task != "json":
        raise SettingError(
            f"derive names {', '.join(contract.derived)}, but the answers are not JSON records.",
            "Leave derive out: only fields of records can be derived.",
        )
    for name in contract.derived:
        if name not in contract.fields:
            raise SettingError(
                f"derive names “{name}”, which is no field of the records.", f"The fields are {fields}."
            )
    if contract.derived and not contract.learned:
        raise SettingError(
            "derive names every field of the records: nothing is left to learn.",
            "Take one of them out of derive.",
        )


def _ordered(formulas: Mapping[str, Formula]) -> list[str]:
    needs = {name: [n for n in formula.inputs if n in formulas] for name, formula in formulas.items()}
    try:
        return list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        raise SettingError(
            f"The rules under derive go round in a circle: {circle}.", "Let one of these fields be learned."
        ) from error
