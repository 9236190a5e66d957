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
class Observed:
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

    def factor(self, kind: Kind) -> float:
        """How many times longer than planned `kind` takes; 1 if nothing is known of it or its like."""
        for like in (kind, *_LIKE[kind]):
            planned, took = _sums(one for one in self.pieces if one.kind == like)
            if planned > 0:
                return took / planned
        return 1.0


def _sums(pieces: Iterable[Observation]) -> tuple[float, float]:
    found = list(pieces)
    return sum(one.planned for one in found), sum(one.took for one in found)
