"""How findings quote and count: excerpts of texts, shares, places. Knows nothing of HTML and terminals."""

from collections.abc import Sequence

from azubi.data.finding import Case, Finding

EXCERPT = 110
"""Characters of a text that a finding quotes."""
_BEFORE = 30
"""Characters that are shown in front of the first difference of two texts."""


def excerpt(text: str, most: int = EXCERPT) -> str:
    """The beginning of a text, on one line and in quotes."""
    return f"“{_cut(' '.join(text.split()), most)}”"


def differing(one: str, other: str, most: int = 90) -> tuple[str, str]:
    """Two texts that are much alike, each on one line, in quotes, and from shortly before they differ."""
    first, second = " ".join(one.split()), " ".join(other.split())
    same = next((i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), 0)
    if max(len(first), len(second)) <= most or same <= _BEFORE:
        return excerpt(first, most), excerpt(second, most)
    begin = first.rfind(" ", 0, same - _BEFORE) + 1
    head = "…" if begin else ""
    texts = (f"“{head}{_cut(text[begin:], most - len(head))}”" for text in (first, second))
    return next(texts), next(texts)


def share(value: float) -> str:
    """A share as a percentage that never says 0 % or 100 % unless it is."""
    if value in (0.0, 1.0):
        return f"{value:.0%}".replace("%", " %")
    fine = value < 0.1 or value > 0.99
    return f"{min(max(value * 100, 0.1), 99.9):.1f} %" if fine else f"{value * 100:.0f} %"


def some(count: int, one: str, many: str = "") -> str:
    """A count with its noun: 1 row, 1,200 rows."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def where(finding: Finding, case: Case) -> str:
    """Where a case stands: line 3; lines 3 and 17; line 3, test line 8."""
    if finding.details.get("sides"):
        named = zip(finding.details["sides"], case.lines, strict=False)
        return ", ".join(f"{'test ' if side == 'test' else ''}line {line:,}" for side, line in named)
    lines = [f"{line:,}" for line in case.lines]
    if len(lines) < 2:
        return f"line {lines[0]}" if lines else ""
    return f"lines {', '.join(lines[:-1])} and {lines[-1]}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """Names in a row, the first ones if there are many."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
