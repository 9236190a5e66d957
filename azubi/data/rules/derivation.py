"""Fields of a record that are computed from its other fields, in an order in which each finds what it reads.

Takes them out of what is learned, puts them into what was answered, and says where examples contradict the
rules. Knows contracts; nothing of models or of how rules are found.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np
import yaml

from azubi.data import schema, strict_json
from azubi.data.contract import Contract, parse_record
from azubi.data.example import Example, Turn
from azubi.data.finding import SHOWN, Case, Finding
from azubi.data.rules.cases import fit_table, fit_thresholds
from azubi.data.rules.formula import LONGEST, Formula, NotComputable
from azubi.data.rules.formulas import Columns, Ids, RuleCandidate, as_kind, fit_formula
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

    def without_derived(self, examples: Iterable[Example]) -> tuple[Example, ...]:
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


def contradictions(contract: Contract, records: Iterable[tuple[int, Record]]) -> Finding | None:
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


RIGHT = 0.99
"""Share of unseen records that a rule gets right."""
BETTER = 0.1
"""A rule makes at most this share of the mistakes that the most frequent value makes."""
FEWEST = 50
"""Records that rules are looked for in."""
MOST = 4_000
"""More records are not needed to find a rule; so many are taken, evenly from all."""
FOLDS = 5

Fit = Callable[[Columns, str, Sequence[str], Ids], RuleCandidate | None]
FITS: tuple[Fit, ...] = (fit_formula, fit_table, fit_thresholds)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A field that could be derived."""

    field: str
    rule: str
    """In CEL."""
    inputs: tuple[str, ...]
    right: float
    """Share of records that the rule got right without having seen them."""

    def __str__(self) -> str:
        share = "100 %" if self.right == 1 else f"{min(self.right, 0.9999):.2%}".replace("%", " %")
        return f"{self.field} follows from {' and '.join(self.inputs)} ({share} right): {self.rule}"


def propose(records: Sequence[Record], given: Sequence[str] = ()) -> list[Proposal]:
    """The rules that hold in `records`, in the order of their fields; those `given` have theirs already."""
    if len(records) < FEWEST:
        return []
    if len(records) > MOST:
        records = [records[round(at)] for at in np.linspace(0, len(records) - 1, MOST)]
    columns = Columns(records)
    proposals: dict[str, Proposal] = {}
    read: set[str] = set()
    # What stands first in a record is what a reader takes from the text; what follows from it comes later.
    for from_any_field in (False, True):
        for place, field in enumerate(columns.names):
            if field in proposals or field in given or field in read:
                continue
            names = columns.names if from_any_field else columns.names[:place]
            inputs = [name for name in names if name not in (field, *proposals, *given)]
            if proposal := _best(columns, field, inputs):
                proposals[field] = proposal
                read |= set(proposal.inputs)
    return [proposals[field] for field in columns.names if field in proposals]


def hidden_rules(proposals: Sequence[Proposal], against: Finding | None = None) -> Finding | None:
    """The proposals as a finding; `against` are the records that contradict them, if there are any."""
    if not proposals:
        return None
    follows = "field follows" if len(proposals) == 1 else "fields follow"
    title = f"{len(proposals):,} {follows} from other fields of the record: "
    title += f"{', '.join(proposal.field for proposal in proposals)}."
    if against is not None:
        records = "record says" if against.count == 1 else "records say"
        title += f" {against.count:,} {records} otherwise."
    contradicting = against.cases if against is not None else ()
    cases = [Case(lines=(), text=str(proposal)) for proposal in proposals[:SHOWN]]
    return Finding(
        kind="hidden_rules",
        level="note",
        title=title,
        count=len(proposals),
        cases=(*cases, *contradicting)[:SHOWN],
        why="Small models copy and name well but compare and calculate badly; a rule is always right.",
        remedy="Take the rules into the recipe with --accept-rules, or write them under `derive`.",
        details={
            "derive": {proposal.field: proposal.rule for proposal in proposals},
            "right": {proposal.field: proposal.right for proposal in proposals},
            "contradicting": [case.model_dump(mode="json") for case in contradicting],
        },
    )


def as_recipe(rules: Mapping[str, str]) -> str:
    """Rules by field as the part of a recipe that derives them, in YAML."""
    return yaml.safe_dump({"derive": dict(rules)}, allow_unicode=True, sort_keys=False, width=1_000_000)


def _best(columns: Columns, field: str, inputs: Sequence[str]) -> Proposal | None:
    counts = Counter(repr(value) for value in columns.column(field))
    unusual = 1 - max(counts.values()) / len(columns)
    if not inputs or not unusual:
        return None
    rows = np.arange(len(columns))
    candidates = [(fit(columns, field, inputs, rows), fit) for fit in FITS]
    usable = [(candidate, fit) for candidate, fit in candidates if candidate is not None]
    for candidate, fit in sorted(usable, key=lambda pair: pair[0].cost):
        if _wrong(columns, field, candidate, rows) > (1 - RIGHT) * len(rows):
            continue
        wrong = _wrong_unseen(columns, field, inputs, fit) / len(rows)
        if wrong <= 1 - RIGHT and wrong <= BETTER * unusual:
            return Proposal(field, candidate.text, candidate.inputs, 1 - wrong)
    return None


def _wrong_unseen(columns: Columns, field: str, inputs: Sequence[str], fit: Fit) -> int:
    """The mistakes of rules on records of one fold that were made from the other folds."""
    folds = np.random.default_rng(0).permutation(len(columns)) % FOLDS
    return sum(
        _wrong(
            columns,
            field,
            fit(columns, field, inputs, np.flatnonzero(folds != fold)),
            np.flatnonzero(folds == fold),
        )
        for fold in range(FOLDS)
    )


def _wrong(columns: Columns, field: str, candidate: RuleCandidate | None, rows: Ids) -> int:
    """The number of rows for which the rule, computed as it will be, gives something else."""
    if candidate is None or len(candidate.text) > LONGEST:
        return len(rows)
    try:
        formula = Formula(field, candidate.text, columns.names)
    except SettingError:
        return len(rows)
    kind = schema.number_kind(columns.schema, field)
    return sum(not _is_right(columns.records[row], field, formula, kind) for row in rows)


def _is_right(record: Record, field: str, formula: Formula, kind: type | None) -> bool:
    value = formula.value(record)
    if isinstance(value, NotComputable):
        return field not in record or (value.null and record[field] is None)
    return field in record and same(record[field], as_kind(value, kind))
