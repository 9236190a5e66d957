"""Finds fields of records that follow from other fields, and proposes their rules.

Every kind of rule is made from four fifths of the records and tried on the fifth that it has not seen, five
times; what is proposed gets at least 99 in 100 right there. Only a set of rules is proposed that can hold
together: no rule reads a field that is derived itself. Knows records; nothing of prompts or models, nor
whether a rule is what the company means.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from azubi.data import schema
from azubi.data.finding import SHOWN, Case, Finding
from azubi.data.rules.columns import Columns, Ids, as_kind
from azubi.data.rules.formula import LONGEST, Formula, NotComputable
from azubi.data.rules.formulas import RuleCandidate, fit_date, fit_list, fit_number, fit_same, fit_table
from azubi.data.rules.thresholds import fit_thresholds
from azubi.data.rules.tree import fit_tree
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
KINDS: Mapping[str, Fit] = {
    "same": fit_same,
    "number": fit_number,
    "date": fit_date,
    "list": fit_list,
    "table": fit_table,
    "thresholds": fit_thresholds,
    "tree": fit_tree,
}


@dataclass(frozen=True, slots=True)
class Proposal:
    """A field that could be derived."""

    field: str
    rule: str
    """In CEL."""
    inputs: tuple[str, ...]
    kind: str
    right: float
    """Share of records that the rule got right without having seen them."""


def propose(records: Sequence[Record], given: Sequence[str] = ()) -> list[Proposal]:
    """The rules that hold in `records`, in the order of their fields; those `given` have theirs already."""
    if len(records) < FEWEST:
        return []
    columns = Columns(_some(records))
    found: dict[str, Proposal] = {}
    read: set[str] = set()
    # What stands first in a record is what a reader takes from the text; what follows from it comes later.
    for backwards in (False, True):
        for at, field in enumerate(columns.names):
            if field in found or field in given or field in read:
                continue
            before = columns.names if backwards else columns.names[:at]
            inputs = [name for name in before if name != field and name not in found and name not in given]
            proposal = _best(columns, field, inputs)
            if proposal is not None:
                found[field] = proposal
                read |= set(proposal.inputs)
    return [found[field] for field in columns.names if field in found]


def finding(proposals: Sequence[Proposal], against: Finding | None = None) -> Finding | None:
    """The proposals as a finding; `against` are the records that contradict them, if there are any."""
    if not proposals:
        return None
    named = ", ".join(one.field for one in proposals)
    follows = "field follows" if len(proposals) == 1 else "fields follow"
    less = ""
    if against is not None:
        say = "record says" if against.count == 1 else "records say"
        less = f" {against.count:,} {say} otherwise."
    return Finding(
        kind="hidden_rules",
        level="note",
        title=f"{len(proposals):,} {follows} from other fields of the record: {named}.{less}",
        count=len(proposals),
        cases=(
            *(Case(lines=(), text=told(one)) for one in proposals[:SHOWN]),
            *(against.cases if against is not None else ()),
        )[:SHOWN],
        why="Small models copy and name well but compare and calculate badly; a rule is always right.",
        remedy="Take the rules into the recipe with --accept-rules, or write them under `derive`.",
        details={
            "derive": {one.field: one.rule for one in proposals},
            "right": {one.field: one.right for one in proposals},
            "contradicting": against.model_dump(mode="json")["cases"] if against is not None else [],
        },
    )


def as_recipe(rules: Mapping[str, str]) -> str:
    """Rules by field as the part of a recipe that derives them, in YAML."""
    import yaml

    return yaml.safe_dump({"derive": dict(rules)}, allow_unicode=True, sort_keys=False, width=1_000_000)


def told(proposal: Proposal) -> str:
    """A proposal in one line."""
    inputs = " and ".join(proposal.inputs)
    return f"{proposal.field} follows from {inputs} ({_percent(proposal.right)} right): {proposal.rule}"


def _percent(share: float) -> str:
    return "100 %" if share == 1 else f"{min(share, 0.9999):.2%}".replace("%", " %")


def _some(records: Sequence[Record]) -> Sequence[Record]:
    if len(records) <= MOST:
        return records
    return [records[round(at)] for at in np.linspace(0, len(records) - 1, MOST)]


def _best(columns: Columns, field: str, inputs: Sequence[str]) -> Proposal | None:
    usual = _usual(columns, field)
    if not inputs or usual == 1.0:
        return None
    rows = np.arange(len(columns))
    drafts = [
        (draft.cost, kind, draft)
        for kind, fit in KINDS.items()
        if (draft := _usable(fit(columns, field, inputs, rows))) is not None
    ]
    for _, kind, draft in sorted(drafts, key=lambda one: one[0]):
        wrong = _wrong(columns, field, draft, rows)
        if len(wrong) > (1 - RIGHT) * len(rows):
            continue
        right = 1 - _mistakes(columns, field, inputs, kind) / len(rows)
        if right >= RIGHT and 1 - right <= BETTER * (1 - usual):
            return Proposal(field, draft.text, draft.inputs, kind, right)
    return None


def _usable(draft: RuleCandidate | None) -> RuleCandidate | None:
    return draft if draft is not None and len(draft.text) <= LONGEST else None


def _usual(columns: Columns, field: str) -> float:
    """Share of records that have the field's most frequent value."""
    counts: dict[str, int] = {}
    for record in columns.records:
        text = repr(record.get(field))
        counts[text] = counts.get(text, 0) + 1
    return max(counts.values()) / len(columns)


def _mistakes(columns: Columns, field: str, inputs: Sequence[str], kind: str) -> int:
    """Of rules that were made from the other folds."""
    folds = np.random.default_rng(0).permutation(len(columns)) % FOLDS
    mistakes = 0
    for fold in range(FOLDS):
        held = np.flatnonzero(folds == fold)
        draft = _usable(KINDS[kind](columns, field, inputs, np.flatnonzero(folds != fold)))
        mistakes += len(held) if draft is None else len(_wrong(columns, field, draft, held))
    return mistakes


def _wrong(columns: Columns, field: str, draft: RuleCandidate, rows: Ids) -> Ids:
    """The rows for which the rule, computed as it will be, gives something else."""
    try:
        formula = Formula(field, draft.text, columns.names)
    except SettingError:
        return rows
    kind = schema.number_kind(columns.schema, field)
    return np.array(
        [row for row in rows if not _right(columns.records[row], field, formula, kind)], dtype=int
    )


def _right(record: Record, field: str, formula: Formula, kind: type | None) -> bool:
    value = formula.value(record)
    if isinstance(value, NotComputable):
        return field not in record or (value.null and record[field] is None)
    return field in record and same(record[field], as_kind(value, kind))
