"""A curve in one line of text. Knows numbers only."""

from collections.abc import Sequence
from itertools import pairwise

_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int = 48) -> str:
    """Draw values from left to right; where there are more than `width`, each bar is the mean of some."""
    if not values:
        return ""
    count = min(width, len(values))
    edges = [round(number * len(values) / count) for number in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    top = len(_BARS) - 1
    return "".join(_BARS[round((mean - low) / (high - low) * top) if high > low else 0] for mean in means)
