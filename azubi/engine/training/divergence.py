"""Whether the loss of a training run is healthy. Knows numbers only.

The loss of single steps is noisy, more so the smaller the batch, and no fixed factor tells noise from
an explosion. So steps are compared with the *worst* of other steps: where nothing has changed, it is
next to impossible that the median of sixteen steps lies far above the largest of sixteen others,
whatever the noise looks like.
"""

import math
from collections.abc import Iterable, Sequence
from statistics import median

_FIRST = 16
"""Steps that say how bad the loss was in the beginning."""
_LATEST = 16
"""Steps that are judged."""
_BEFORE = 64
"""Steps before them that they are compared with."""
_WORSE_THAN_EVER = 2.0
"""Above this many times the worst of the first steps, less is known than before training."""
_SUDDENLY = 4.0
"""Above this many times the worst of the steps before, what was learned is being lost."""


class DivergenceDetector:
    """The losses so far, as far as they are needed to judge the next ones."""

    def __init__(self, losses: Iterable[float] = ()) -> None:
        """`losses`: what `losses` gave, to go on where another left off."""
        every = list(losses)
        self._first = every[:_FIRST]
        self._recent = every[_FIRST:]

    @property
    def losses(self) -> list[float]:
        """The first losses and the latest ones."""
        return [*self._first, *self._recent]

    def is_healthy(self, loss: float) -> bool:
        """Take in a step's loss; says whether training can go on from it."""
        if not math.isfinite(loss):
            return False
        (self._recent if len(self._first) >= _FIRST else self._first).append(loss)
        del self._recent[: -_LATEST - _BEFORE]
        return not self._exploding(self._recent[-_LATEST:])

    @property
    def calm(self) -> bool:
        """Whether the latest step gives no reason to suspect the weights, so that they are worth keeping."""
        return not self._recent or self._recent[-1] <= self._limit(self._recent[:-1][-_BEFORE:])

    def _exploding(self, latest: Sequence[float]) -> bool:
        if len(latest) < _LATEST:
            return False
        return median(latest) > self._limit(self._recent[:-_LATEST])

    def _limit(self, before: Sequence[float]) -> float:
        worst = _WORSE_THAN_EVER * max(self._first)
        return min(worst, _SUDDENLY * max(before)) if len(before) >= _BEFORE else worst
