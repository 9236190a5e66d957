"""What was planted in the inbox beside what a check found of it.

Knows the list that `faults.py` leaves and the kinds of findings; checks nothing itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from faults import OLD, Planted
from faults_text import ENGLISH
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
    **{f"personal_{kind}": ("personal_data",) for kind in ENGLISH.personal},
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
    return [_outcome(fault, check.findings) for fault in planted]


def _outcome(fault: Planted, findings: Sequence[Finding]) -> Outcome:
    fitting = [finding for finding in findings if _fits(finding, KINDS[fault.fault])]
    lines = {line for _, line in fault.places}
    for finding in fitting:
        if any(lines & set(case.lines) for case in finding.cases):
            return Outcome(fault, finding, True)
    return Outcome(
        fault, next((finding for finding in fitting if 0 < len(finding.cases) < finding.count), None), False
    )


def _fits(finding: Finding, kinds: Sequence[str]) -> bool:
    return finding.kind in kinds or finding.kind.split(":")[0] in kinds


def table(outcomes: Sequence[Outcome]) -> Table:
    """One planted fault per row: what, where, and the finding in which it shows."""
    drawn = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("", "planted", "line", "found as"):
        drawn.add_column(Text(heading, style="dim"), justify="right" if heading == "line" else "left")
    for outcome in outcomes:
        drawn.add_row(*map(Text, _cells(outcome)))
    return drawn


def _cells(outcome: Outcome) -> Iterator[str]:
    name, line = outcome.planted.places[-1]
    yield "✗" if outcome.finding is None else "✓"
    yield outcome.planted.what
    yield f"{line}" if name == OLD else f"test {line}"
    if outcome.finding is None:
        yield "not found"
    else:
        yield outcome.finding.kind.replace("_", " ") + (
            "" if outcome.named else f", among {outcome.finding.count:,}"
        )
