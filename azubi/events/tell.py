"""Who hears how far a piece of work is. Knows nothing of azubi."""

from collections.abc import Callable

Tell = Callable[[int, int], None]
"""Hears how much of how much is done."""


def silent(done: int, total: int) -> None:
    """Tell nobody."""
