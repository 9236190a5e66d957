"""What was planted in the inbox beside what a check found of it.

Knows the list that `faults.py` leaves and the kinds of findings; checks nothing itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from faults import OLD, PERSONAL, Planted
from rich.table import Table
from rich.text import Text

from azubi.data.checks.check import Check
from azubi.data.finding import Finding

KINDS: dict[str, tuple[str, ...]] = {
    "no_answer": ("rejected_rows",),
    "broken_encoding": ("rejected_rows",),
    "broken_row": ("rejected_rows",),
    "no_number": ("rejected_rows",),
    "exact_duplicate": ("repeated_examples",),
    "near_duplicate": ("near_duplicates",),
    "contradiction": ("contradictions", "near_contradictions"),
    "label_case": ("label_variants:team", "breaks_schema"),
    "label_typo": ("label_variants:team", "breaks_schema"),
    "rare_label": ("rare_labels", "breaks_schema"),
    "schema_break": ("breaks_schema",),
    "rule_break": ("hidden_rules", "contradicts_rule"),
    "wrong_answer": ("likely_wrong",),
    "too_long": ("too_long",),
    "other_language": ("languages",),
    "leak_near_equal": ("leak_near_prompts",),
    "leak_group": ("leak_groups",),
    "leak_answer_in_prompt": ("leak_answers",),
    "leak_time": ("leak_time",),
    **{f"personal_{kind}": ("personal_data",) for kind in PERSONAL},
}
"""Findings in which a planted fault shows; those of a field have it behind a colon."""


@dataclass(frozen=True)
class Outcome:
    """What became of a planted fault."""

    planted: Planted
    finding: Finding | None
    """The one that names its line, else the first of its kinds with more cases than it shows; or None."""
    named: bool
    """Whether its line is among the cases that are shown."""


def outcomes(planted: Sequence[Planted], check: Check) -> list[Outcome]:
    """Each planted fault with what was found of it."""
    return [_outcome(one, check.findings) for one in planted]


def _outcome(one: Planted, findings: Sequence[Finding]) -> Outcome:
    fitting = [found for found in findings if _fits(found, KINDS[one.fault])]
    lines = {line for _, line in one.places}
    for found in fitting:
        if any(lines & set(case.lines) for case in found.cases):
            return Outcome(one, found, True)
    return Outcome(one, next((found for found in fitting if 0 < len(found.cases) < found.count), None), False)


def _fits(found: Finding, kinds: Sequence[str]) -> bool:
    return found.kind in kinds or found.kind.split(":")[0] in kinds


def table(found: Sequence[Outcome]) -> Table:
    """One planted fault per row: what, where, and the finding in which it shows."""
    drawn = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("", "planted", "line", "found as"):
        drawn.add_column(Text(heading, style="dim"), justify="right" if heading == "line" else "left")
    for one in found:
        drawn.add_row(*map(Text, _cells(one)))
    return drawn


def _cells(one: Outcome) -> Iterator[str]:
    name, line = one.planted.places[-1]
    yield "✗" if one.finding is None else "✓"
    yield one.planted.what
    yield f"{line}" if name == OLD else f"test {line}"
    if one.finding is None:
        yield "not found"
    else:
        yield one.finding.kind.replace("_", " ") + ("" if one.named else f", among {one.finding.count:,}")
