"""Finds fields of records that follow from other fields, and proposes their rules.

Every kind of rule is made from four fifths of the records and tried on the fifth that it has not seen, five
times; what is proposed gets at least 99 in 100 right there. The proposed rules can hold together: none reads
a field that is derived itself. Knows records; nothing of prompts or models, nor whether a rule is what the
company means.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import yaml

from azubi.data import schema
from azubi.data.finding import SHOWN, Case, Finding
from azubi.data.rules.cases import fit_table, fit_thresholds
from azubi.data.rules.columns import Columns, Ids, as_kind
from azubi.data.rules.formula import LONGEST, Formula, NotComputable
from azubi.data.rules.formulas import RuleCandidate, fit_formula
from azubi.data.strict_json import Record, same
from azubi.errors import SettingError

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


def finding(proposals: Sequence[Proposal], against: Finding | None = None) -> Finding | None:
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
