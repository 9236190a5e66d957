"""The shortest number between two others: limits that people set are round. Knows no data."""

from decimal import ROUND_FLOOR, Decimal


def shortest(low: float, high: float, *, low_counts: bool = False) -> float:
    """The number above `low` and at most `high` with the fewest digits; a 5 at its end counts as rounder.

    With `low_counts` it may equal `low`, but has to be below `high`.
    """
    below, above = Decimal(repr(float(low))), Decimal(repr(float(high)))
    middle = (below + above) / 2
    for power in range(18, -18, -1):
        step = Decimal(10) ** power
        found = _multiples(below, above, step, low_counts)
        if found:
            fives = [one for one in found if one % (5 * step) == 0]
            return float(min(fives or found, key=lambda one: (abs(one - middle), one)))
    return float(low if low_counts else high)


def _multiples(low: Decimal, high: Decimal, step: Decimal, low_counts: bool) -> list[Decimal]:
    """Multiples of `step` between the two; there are at most a few, since a larger step had none."""
    first = (low / step).to_integral_value(ROUND_FLOOR) * step
    candidates = [first + number * step for number in range(13)]
    if low_counts:
        return [one for one in candidates if low <= one < high]
    return [one for one in candidates if low < one <= high]
