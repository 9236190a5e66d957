"""The budget of time: what is left of it, and what things will take, corrected by what they took.

Knows seconds and names; nothing of what the work is.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], float]

_FADING = 0.9
"""Weight of what was learned before, each time that something new is learned: speeds change."""
_DOUBT = 4.0
"""Until so many seconds of a kind were met, the rest of them is taken to go as planned: one slow moment is no
slow machine."""
_STRANGE = 3.0
"""A kind of work that was not met is expected to be at most so much slower than planned."""


@dataclass
class _Met:
    """How long one kind of work took, against what was planned."""

    planned: float = 0.0
    took: float = 0.0
    lately_planned: float = 0.0
    lately_took: float = 0.0

    def add(self, planned: float, took: float) -> None:
        self.planned, self.took = self.planned + planned, self.took + took
        self.lately_planned = _FADING * self.lately_planned + planned
        self.lately_took = _FADING * self.lately_took + took

    @property
    def factor(self) -> float:
        """Over all, or lately if that was worse: a promise is kept by those who expect the worse."""
        return max(_ratio(self.took, self.planned), _ratio(self.lately_took, self.lately_planned))


def _ratio(took: float, planned: float) -> float:
    doubt = max(0.0, _DOUBT - took)
    return (took + doubt) / (planned + doubt)


class TimeBudget:
    """Time until a deadline."""

    def __init__(self, deadline: float, clock: Clock = time.monotonic) -> None:
        """`deadline` on the clock's own scale, in seconds."""
        self.clock = clock
        self._deadline = deadline
        self._met: dict[str, _Met] = {}

    def left(self) -> float:
        """Seconds until the deadline; below 0 behind it."""
        return self._deadline - self.clock()

    def expect(self, work: str, planned: float) -> float:
        """How long `work` that was planned so will take, from what was learned so far.

        A kind that was not met yet is expected to be as much slower than planned as the slowest that was, up
        to three times: small work can be slow for reasons that are none for large work.
        """
        known = {name: one.factor for name, one in self._met.items() if one.planned > 0}
        return planned * known.get(work, min(_STRANGE, max([1.0, *known.values()])))

    def met(self, work: str) -> tuple[float, float] | None:
        """What was planned for a kind of work so far, and what it took; None if it was not met."""
        known = self._met.get(work)
        return (known.planned, known.took) if known is not None and known.planned > 0 else None

    def learn(self, work: str, planned: float, took: float) -> None:
        """Take in how long a piece of work took."""
        self._met.setdefault(work, _Met()).add(planned, took)
