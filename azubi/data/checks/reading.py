"""What reading the source shows: rows that cannot be used. The reader says why a row is unusable."""

from collections.abc import Iterator

from azubi.data import strict_json
from azubi.data.checks.check_input import CheckInput
from azubi.data.checks.ingest import Refusals
from azubi.data.finding import SHOWN, Case, Finding, share, some


def rejected_rows(check_input: CheckInput) -> Iterator[Finding]:
    """Rows without a prompt or an answer, and what could not be read at all."""
    yield from _rejected(check_input.refusals, len(check_input.data), "")
    if check_input.test is not None:
        yield from _rejected(check_input.test_refusals, len(check_input.test), "test ")


def _rejected(bad: Refusals, good: int, side: str) -> Iterator[Finding]:
    if not bad.count:
        return
    rows = bad.count + good
    too_many = bad.count > bad.most * rows
    mendable = sum(count for reason, count in bad.reasons.items() if strict_json.REPAIR in reason)
    limit = f", more than the {share(bad.most)} that are let pass" if too_many else ""
    yield Finding(
        kind="rejected_test_rows" if side else "rejected_rows",
        level="error" if too_many else "warning",
        title=f"{some(bad.count, f'{side}row')} of {rows:,} cannot be used "
        f"({share(bad.count / rows)}{limit}).",
        count=bad.count,
        cases=tuple(Case(lines=(line,), text=reason) for line, reason in bad.first[:SHOWN]),
        why="What cannot be read is not learned, and what fails often has mostly one cause in the export.",
        remedy="Each one stands with its line and reason in rejected.jsonl. Correct them in the source, or "
        "leave them out; the others go on."
        + (f" --repair mends {mendable:,} of them." if mendable else "")
        + (" Training waits until fewer fail." if too_many else ""),
        details={
            "splits": ["test"] if side else [],
            "rows": rows,
            "most": bad.most,
            "reasons": dict(bad.reasons),
        },
    )
