"""What a check found: how many, where, why it matters, what to do; and how findings quote and count.

Knows nothing of how things are found or shown.
"""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Level = Literal["error", "warning", "note"]
"""An error keeps azubi from training; a warning costs quality or trust; a note is good to know."""

SHOWN = 5
"""How many cases of a finding are kept, the first ones."""


class Case(BaseModel):
    """One of the places where something was found."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lines: tuple[int, ...]
    """Lines (rows) of the source; two for a pair."""
    text: str
    """What stands there, shortened, or what is wrong with it."""


class Finding(BaseModel):
    """One kind of fault (or fact) in a data set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    """Its stable name, such as near_duplicates."""
    level: Level
    title: str
    """One sentence with the number in it."""
    count: int
    cases: tuple[Case, ...] = ()
    """The first five."""
    why: str
    remedy: str
    routine: bool = False
    """Whether it is a fact that is given of any data, where nothing stands out."""
    details: dict[str, Any] = Field(default_factory=dict)
    """Numbers behind it, as JSON, for programs and charts."""


EXCERPT = 110
"""Characters of a text that a finding quotes."""
_BEFORE = 30
"""Characters that are shown in front of the first difference of two texts."""


def excerpt(text: str, most: int = EXCERPT) -> str:
    """The beginning of a text, on one line and in quotes."""
    return f"“{_cut(' '.join(text.split()), most)}”"


def differing(first_text: str, second_text: str, most: int = 90) -> tuple[str, str]:
    """Two texts that are much alike, each on one line, in quotes, and from shortly before they differ."""
    first, second = " ".join(first_text.split()), " ".join(second_text.split())
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


def some(count: int, singular: str, plural: str = "") -> str:
    """A count with its noun: 1 row, 1,200 rows."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def where(finding: Finding, case: Case) -> str:
    """Where a case stands: line 3; lines 3 and 17; line 3, test line 8."""
    if finding.details.get("splits"):
        named = zip(finding.details["splits"], case.lines, strict=False)
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
