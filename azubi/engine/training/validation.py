"""Whether training goes well: how good an epoch was, and whether the loss is healthy. Knows numbers only."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Validation:
    """How good the tail is on examples that it is not trained on."""

    loss: float
    accuracy: float
    examples: int
    loss_error: float = 0.0
    """Standard error of the loss."""

    def better_than(self, other: "Validation") -> bool:
        """Whether this is the better epoch: by the loss, unless the answers clearly say otherwise.

        The share of right answers is what counts, but on a hundred examples two epochs differ by a few
        points through chance; the loss also sees how sure each answer was.
        """
        noise = math.sqrt(other.accuracy * (1 - other.accuracy) / other.examples)
        gain = self.accuracy - other.accuracy
        return gain > noise or (gain >= -noise and self.loss < other.loss)


_FIRST = 16
"""Steps that show how bad the loss was in the beginning."""
_LATEST = 16
"""Steps that are judged."""
_BEFORE = 64
"""Steps before them that they are compared with."""
_WORSE_THAN_EVER = 2.0
"""Above this many times the worst of the first steps, less is known than before training."""
_SUDDENLY = 4.0
"""Above this many times the worst of the steps before, what was learned is being lost."""


class DivergenceDetector:
    """Notices when the loss explodes.

    The loss of single steps is noisy, more so the smaller the batch, and no fixed factor tells noise from an
    explosion. So steps are compared with the worst of other steps: where nothing has changed, it is next to
    impossible that the median of sixteen steps lies far above the largest of sixteen others.
    """

    def __init__(self, losses: Iterable[float] = ()) -> None:
        """Continue after `losses`, which another detector's `losses` returned."""
        every = list(losses)
        self._first = every[:_FIRST]
        self._recent = every[_FIRST:]

    @property
    def losses(self) -> list[float]:
        """The first losses and the latest ones."""
        return [*self._first, *self._recent]

    def is_healthy(self, loss: float) -> bool:
        """Take in a step's loss; returns whether training can go on from it."""
        if not math.isfinite(loss):
            return False
        (self._recent if len(self._first) >= _FIRST else self._first).append(loss)
        del self._recent[: -_LATEST - _BEFORE]
        latest = self._recent[-_LATEST:]
        return len(latest) < _LATEST or median(latest) <= self._limit(self._recent[:-_LATEST])

    @property
    def calm(self) -> bool:
        """Whether the latest loss is not suspicious, so that the weights are worth keeping."""
        return not self._recent or self._recent[-1] <= self._limit(self._recent[:-1][-_BEFORE:])

    def _limit(self, before: Sequence[float]) -> float:
        worst = _WORSE_THAN_EVER * max(self._first)
        return min(worst, _SUDDENLY * max(before)) if len(before) >= _BEFORE else worst
