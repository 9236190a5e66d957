"""How long a run will still take, from planned work and what was measured on the way; and how fast it is.

Knows seconds and shares; nothing of what the work is.
"""

import time
from collections.abc import Mapping


class Outlook:
    """Time left over all stages of a run."""

    def __init__(self, planned: Mapping[str, float]) -> None:
        """`planned`: seconds that each stage is expected to take, in order."""
        self._planned = dict(planned)
        self._begun: dict[str, float] = {}
        self._done: set[str] = set()
        self._factor = 1.0

    def left(self, stage: str, share: float) -> float:
        """Seconds left in all, when `share` (0 to 1) of `stage` is done and later ones are still to come."""
        begun = self._begun.setdefault(stage, time.monotonic())
        spent = time.monotonic() - begun
        expected = self._planned.get(stage, 0.0) * self._factor
        if share > 0:
            # The first moments of a stage say little; trust grows with what is done.
            trust = min(1.0, share * 10)
            expected = trust * spent / share + (1 - trust) * expected
        now = max(0.0, expected - spent)
        if share >= 1 and stage not in self._done:
            self._learn(stage, spent)
        return now + self._factor * sum(self._later(stage))

    def _later(self, stage: str) -> list[float]:
        names = list(self._planned)
        after = names[names.index(stage) + 1 :] if stage in names else names
        return [self._planned[name] for name in after]

    def _learn(self, stage: str, spent: float) -> None:
        """A stage that took longer than planned makes the rest look longer too."""
        self._done.add(stage)
        planned = self._planned.get(stage, 0.0)
        if planned > 1 and spent > 1:
            self._factor = 0.5 * self._factor + 0.5 * spent / planned


class Pace:
    """How fast a stage goes: what was done in the seconds that were spent on it."""

    def __init__(self, gflops: float) -> None:
        """`gflops`: the machine's measured matmul speed, 1e9 floating-point operations per second."""
        self._peak = gflops * 1e9
        self._tokens = 0
        self._work = 0.0
        self._seconds = 0.0

    def add(self, tokens: int, work: float, seconds: float) -> None:
        """Count tokens, floating-point operations and the time that both took."""
        self._tokens += tokens
        self._work += work
        self._seconds += seconds

    @property
    def throughput(self) -> float | None:
        """Tokens per second; None before anything was done."""
        return self._tokens / self._seconds if self._tokens and self._seconds else None

    @property
    def peak(self) -> float | None:
        """Share of the machine's speed that went into counted work; None where none was counted."""
        return self._work / self._seconds / self._peak if self._work and self._seconds else None
