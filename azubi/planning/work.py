"""Floating-point work that a run cannot avoid, counted from parameters and tokens. Knows no model.

Products with weights alone are counted (2 operations per weight and token), not attention, norms or
losses, and of the last layer and the head only what every way of computing needs. So what is counted is
a floor: shares of the machine's peak that are made from it are never flattered.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """What a token costs in each half."""

    layer: int
    """Parameters of one layer, on average."""
    layers: int
    depth: int
    """Layers of the tail."""
    low_rank: bool
    head: int
    """Parameters of the language head; 0 for a label head, which is too small to count."""

    def trunk(self, tokens: int) -> float:
        """Operations to run the trunk over so many tokens."""
        return 2.0 * tokens * self.layer * (self.layers - self.depth)

    def look(self, tokens: int, targets: int, prime: int) -> float:
        """Operations to measure the tail on so many tokens: forward only."""
        everywhere = self.depth - 1 if self.head and self.depth else self.depth
        through, last = (tokens + prime) * everywhere, targets if self.head and self.depth else 0
        return 2.0 * (self.layer * (through + last) + targets * self.head)

    def step(self, tokens: int, targets: int, prime: int) -> float:
        """Operations of one training step; `prime`: tokens of the prime, which goes through it once.

        Forward, gradients of states, and gradients of weights unless those are frozen under factors. The
        tail's first layer owes no gradient to anything below it. A decoder's last layer and its head have to
        be right at the targets only, and a target that is mastered sends no gradient back from the head.
        """
        if self.depth == 0:
            return 0.0
        each = 4 if self.low_rank else 6
        everywhere = self.depth - 1 if self.head else self.depth
        through = (tokens + prime) * (each * everywhere - (2 if everywhere else 0))
        last = each * targets if self.head else 0
        return float(self.layer * (through + last) + 2 * targets * self.head)
