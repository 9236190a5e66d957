"""How long a run will still take, from planned work and what was measured on the way; and how fast it is.

Knows seconds and shares; nothing of what the work is.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

_SURE = 0.1
"""From this share of a stage on, what was measured in it counts alone."""
_TELLING = 20.0
"""Seconds from which on a stage says as much of the later ones as it ever does: half."""
_AT_ONCE = 1.01
"""Reports up to so many times the moment of the first came together with it: a batch ends all at once."""


@dataclass
class _Running:
    """A stage since its first report."""

    begun: float
    start: float
    """Share that was done then: read before, or trained before the run was stopped."""
    first: float = 0.0
    """Seconds until the first report that anything was done; 0 before it."""
    first_share: float = 0.0
    """Share that was done then."""

    def rest(self, share: float, spent: float) -> float:
        """Seconds that the rest takes, if it goes on as it went so far.

        What only the first batch takes (libraries are loaded, kernels are chosen) does not come again: once
        as much time has gone by since, the first batch is left out.
        """
        if not self.first or spent <= self.first * _AT_ONCE:
            self.first, self.first_share = self.first or spent, share
        since = spent - self.first
        steady = since >= self.first and share > self.first_share
        rate = since / (share - self.first_share) if steady else spent / (share - self.start)
        return rate * (1 - share)


class Eta:
    """Time left over all stages of a run."""

    def __init__(self, planned: Mapping[str, float]) -> None:
        """`planned`: seconds that each stage is expected to take, in order."""
        self._planned = dict(planned)
        self._running: dict[str, _Running] = {}
        self._done: set[str] = set()
        self._factor = 1.0

    def begin(self, stage: str, share: float = 0.0) -> None:
        """A stage begins, or goes on where `share` of it was done in an earlier context."""
        self._running[stage] = _Running(time.monotonic(), share)
        self._planned[stage] = self._planned.get(stage, 0.0) * (1 - share)

    def left(self, stage: str, share: float) -> float:
        """Seconds left in all, when `share` (0 to 1) of `stage` is done and later ones are still to come.

        A stage that was not begun begins with its first report.
        """
        now = time.monotonic()
        running = self._running.setdefault(stage, _Running(now, share))
        spent = now - running.begun
        rest = max(0.0, self._planned.get(stage, 0.0) * self._factor - spent)
        if share > running.start:
            trust = min(1.0, (share - running.start) / (1 - running.start) / _SURE)
            rest = trust * running.rest(share, spent) + (1 - trust) * rest
        if share >= 1:
            rest = 0.0
            if stage not in self._done:
                self._learn(stage, spent)
        return rest + self._factor * sum(self._later(stage))

    def _later(self, stage: str) -> list[float]:
        names = list(self._planned)
        after = names[names.index(stage) + 1 :] if stage in names else names
        return [self._planned[name] for name in after]

    def _learn(self, stage: str, spent: float) -> None:
        """A stage that took longer than planned makes the rest look longer too."""
        self._done.add(stage)
        planned = self._planned.get(stage, 0.0)
        if planned > 1 and spent > 1:
            trust = min(0.5, planned / _TELLING)
            self._factor = (1 - trust) * self._factor + trust * spent / planned


class Throughput:
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
