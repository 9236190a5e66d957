"""What an epoch was worth, and which of two is better. Knows figures only."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Validation:
    """How well the tail does on examples that it is not trained on."""

    loss: float
    accuracy: float
    examples: int
    loss_error: float = 0.0
    """Standard error of the loss."""

    def better_than(self, other: "Validation") -> bool:
        """Whether this is the better epoch: by the loss, unless the answers clearly say otherwise.

        The share of right answers is what counts, but on a hundred examples two epochs differ by a few
        points through luck; the loss sees how sure each answer was, and so tells more.
        """
        noise = math.sqrt(other.accuracy * (1 - other.accuracy) / other.examples)
        gained = self.accuracy - other.accuracy
        return gained > noise or (gained >= -noise and self.loss < other.loss)
