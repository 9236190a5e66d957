"""A time left that runs down evenly, though the estimates that feed it jump. Knows nothing of runs."""

from math import exp

SETTLING = 8.0
"""Seconds after which a new estimate counts for most of what is shown."""


class Countdown:
    """Keeps the moment at which the run is expected to end."""

    def __init__(self) -> None:
        self._end: float | None = None
        self._heard = 0.0

    def handle(self, left: float | None, now: float) -> None:
        """Take in an estimate, the more readily the longer ago the last one was."""
        if left is None:
            return
        if self._end is None:
            self._end = now + left
        else:
            self._end += (1 - exp((self._heard - now) / SETTLING)) * (now + left - self._end)
        self._heard = now

    def left(self, now: float) -> float | None:
        """Give the seconds left, or None while nothing was measured yet."""
        return None if self._end is None else max(0.0, self._end - now)
