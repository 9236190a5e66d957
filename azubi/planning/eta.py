"""How long a run will still take, and how fast it is: the clock beside the cost model."""

import time
from collections.abc import Mapping

from azubi.planning.cost_model import CostModel


class Eta:
    """Time left over all stages of a run."""

    def __init__(self, planned: Mapping[str, float]) -> None:
        """`planned`: seconds that each stage is expected to take, in order."""
        self._costs = CostModel(planned)
        self._stage = ""

    def begin(self, stage: str, share: float = 0.0) -> None:
        """A stage begins, or goes on where `share` of it was done in an earlier session."""
        if stage != self._stage:
            self._costs.finish(self._stage)
        self._stage, self._start, self._share = stage, share, share
        self._reported = time.monotonic()
        self._costs.skip(stage, share)

    def left(self, stage: str, share: float) -> float:
        """Seconds left in all, when `share` (0 to 1) of `stage` is done and later ones are still to come.

        A stage that was not begun begins with its first report.
        """
        if stage != self._stage:
            self.begin(stage, share)
        now = time.monotonic()
        if share > self._share:
            done = (share - self._share) / (1 - self._start) * self._costs.planned(stage)
            self._costs.observe(stage, done, now - self._reported)
            self._share, self._reported = share, now
        if share >= 1:
            self._costs.finish(stage)
            return self._costs.left()
        return max(0.0, self._costs.left() - (now - self._reported))


class Throughput:
    """How fast a stage goes."""

    def __init__(self, gflops: float) -> None:
        """`gflops`: the machine's measured speed of matrix products, 1e9 floating-point operations per
        second."""
        self._machine_speed = gflops * 1e9
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
        return self._work / self._seconds / self._machine_speed if self._work and self._seconds else None
