"""How long pieces of work took against what was planned for them, and what follows for the rest.

Knows names and seconds; nothing of what the work is.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["trunk", "tail", "validation", "reading", "writing", "keeping"]
"""What a run spends its time on: the frozen layers; steps; looks at the validation lessons; questions that
are read and answers that are written; and checkpoints."""
_LIKE: dict[Kind, tuple[Kind, ...]] = {
    "trunk": ("reading", "validation"),
    "tail": ("validation", "trunk"),
    "validation": ("tail", "trunk"),
    "reading": ("trunk", "validation"),
    "writing": ("reading",),
    "keeping": (),
}
"""What a kind that was not observed goes like; the first of them that was."""


@dataclass(frozen=True)
class Observation:
    """A piece of work."""

    kind: Kind
    planned: float
    """Seconds that `load` expects of it."""
    took: float


@dataclass(frozen=True)
class Timings:
    """What a rehearsal found; empty where there was none."""

    pieces: tuple[Observation, ...] = ()
    written: float | None = None
    """Tokens that the untouched base writes, on average; None where that is not known."""
    together: int | None = None
    """Answers that are written side by side."""
    peaks: dict[str, int] = field(default_factory=dict)
    """Most bytes of memory in each stage, as `room` projects them from the rehearsal."""
    seconds: float = 0.0
    """What the rehearsal took."""
    step: float | None = None
    """Seconds that one more token of all answers takes, however many they are: all weights are read for it.
    None where that was not seen."""
    row: float | None = None
    """Seconds that it takes for each answer beside that, as `Workload.written` weighs it."""

    def factor(self, kind: Kind) -> float:
        """How many times longer than planned `kind` takes; 1 if nothing is known of it or its like."""
        for like in (kind, *_LIKE[kind]):
            planned, took = _sums(one for one in self.pieces if one.kind == like)
            if planned > 0:
                return took / planned
        return 1.0


def writing_pace(few: tuple[float, float, float], many: tuple[float, float, float]) -> tuple[float, float]:
    """Seconds for each pass and for each token, from two times (passes, tokens, seconds) of answers, of which
    `many` were more at once."""
    (passes, tokens, took), (more_passes, more_tokens, more_took) = few, many
    small, large = tokens / passes, more_tokens / more_passes
    row = max(0.0, more_took / more_passes - took / passes) / (large - small) if large > small else 0.0
    step = more_took / more_passes - large * row
    return (step, row) if step >= 0 else (0.0, more_took / more_tokens)


def _sums(pieces: Iterable[Observation]) -> tuple[float, float]:
    found = list(pieces)
    return sum(one.planned for one in found), sum(one.took for one in found)
