"""What a tail made of a batch. Knows nothing of how."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Outcome:
    """Loss with its gradient, and plain counts."""

    loss: torch.Tensor
    """Mean cross-entropy in nats per target; a scalar that can be differentiated when training."""
    targets: int
    examples: int
    right: int
    """Examples whose every target was the likeliest, given the targets before it.

    For a greedy decoder that is exactly the number of answers it would write without a mistake.
    """
    losses: torch.Tensor | None = None
    """[examples]: each example's cross-entropy, summed over its targets, without gradient."""
