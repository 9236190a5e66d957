"""The budget of time: what is left of it, and what things will take, corrected by what they took.

Knows seconds and names; nothing of what the work is.
"""

import time
from collections import defaultdict
from collections.abc import Callable

Clock = Callable[[], float]


class Allowance:
    """Time until a deadline."""

    def __init__(self, deadline: float, clock: Clock = time.monotonic) -> None:
        """`deadline` on the clock's own scale, in seconds."""
        self.clock = clock
        self._deadline = deadline
        self._planned: defaultdict[str, float] = defaultdict(float)
        self._took: defaultdict[str, float] = defaultdict(float)

    def left(self) -> float:
        """Seconds until the deadline; below 0 behind it."""
        return self._deadline - self.clock()

    def expect(self, work: str, planned: float) -> float:
        """How long `work` that was planned so will take, as far as its kind was met before."""
        return planned * self.factor(work)

    def factor(self, work: str) -> float:
        """How much longer than planned this kind of work took so far; 1 where nothing is known."""
        return self._took[work] / self._planned[work] if self._planned[work] > 0 else 1.0

    def learn(self, work: str, planned: float, took: float) -> None:
        """Take in how long a piece of work took."""
        self._planned[work] += planned
        self._took[work] += took
