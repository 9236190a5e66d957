"""The roundest number between two others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azubi.data.rules.cases import shortest


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (294, 306, 300),
        (2_410, 2_720, 2_500),
        (1_720, 1_880, 1_800),
        (9_999, 10_000, 10_000),
        (299, 301, 300),
        (300, 301, 301),
        (0.05, 0.12, 0.1),
        (-7, 3, 0),
        (4_000.5, 4_000.75, 4_000.6),
    ],
)
def test_the_fewest_digits_win(low, high, expected):
    assert shortest(low, high) == expected


def test_either_end_may_count():
    assert shortest(300, 310) == 310
    assert shortest(300, 310, low_counts=True) == 300


NUMBERS = st.floats(-1e9, 1e9).map(lambda number: round(number, 3))


@given(NUMBERS, NUMBERS, st.booleans())
def test_it_always_separates(first, other, low_counts):
    low, high = sorted((first, other))
    if low == high:
        return
    limit = shortest(low, high, low_counts=low_counts)
    assert (low <= limit < high) if low_counts else (low < limit <= high)
