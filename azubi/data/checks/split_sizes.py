"""The split that a run would make of these data: its sizes, and sides too small to say anything.

Knows nothing of how the split is made.
"""

from collections.abc import Iterator

from azubi.data.checks.check_input import CheckInput
from azubi.data.checks.formatting import some
from azubi.data.finding import Finding
from azubi.data.splits.split_name import SIDES
from azubi.data.splits.splitting import HANDFUL, remedy
from azubi.errors import UsageError

_WHY = {
    "validation": "The best epoch is chosen by it; with so few, by chance.",
    "test": "What is measured with so few may be off by ten percentage points and more.",
}


def small_sides(subject: CheckInput) -> Iterator[Finding]:
    """Sides of the split that are empty, hold a handful, or one label only."""
    try:
        parts = subject.parts
    except UsageError as error:
        yield Finding(
            kind="split",
            level="error",
            title=error.problem,
            count=1,
            why="azubi learns from one side, chooses the best epoch with another, and measures with a third.",
            remedy=error.remedy,
        )
        return
    for side, why in _WHY.items():
        examples = getattr(parts, side)
        lone = subject.kind == "labels" and len({one.answer for one in examples}) < 2
        if len(examples) < HANDFUL or lone:
            yield Finding(
                kind=f"small_{side}",
                level="warning",
                title=f"The {side} side of the split gets {some(len(examples), 'example')}"
                f"{', all with the same label' if lone else ''}.",
                count=len(examples),
                why=why,
                remedy=f"Bring a larger file for the {side}."
                if f"{side}_data" in subject.sources
                else remedy(parts, subject.split, len(subject.data)),
                details={name: len(getattr(parts, name)) for name in SIDES},
            )
