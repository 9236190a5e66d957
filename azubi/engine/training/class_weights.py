"""How much each lesson counts: as its source says, and so that rare answers count as much as frequent ones.

Knows targets; nothing of what they mean.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from azubi.engine.model.batch import EncodedExample, Tokens
from azubi.errors import DataError


def scaled(lessons: Sequence[EncodedExample]) -> list[EncodedExample]:
    """The same lessons, without those that count nothing, weighted such that the mean weight is 1.

    So weights say what counts more than what, and leave the learning rate as it is.

    Raises:
        DataError: none counts.
    """
    counting = [lesson for lesson in lessons if lesson.weight > 0]
    total = sum(lesson.weight for lesson in counting)
    if lessons and not counting:
        raise DataError(
            f"The weight of all {len(lessons):,} training examples is 0: there is nothing to learn from.",
            "Correct the column that --weight names, or leave it out.",
        )
    if all(lesson.weight == 1.0 for lesson in counting):
        return counting
    return [replace(lesson, weight=lesson.weight * len(counting) / total) for lesson in counting]


def balanced(lessons: Sequence[EncodedExample]) -> list[EncodedExample]:
    """The same lessons, weighted so that each answer counts the same in all; the mean weight stays."""
    often: defaultdict[Tokens, float] = defaultdict(float)
    for lesson in lessons:
        often[lesson.answers[-1]] += lesson.weight
    share = sum(lesson.weight for lesson in lessons) / len(often)
    return [replace(lesson, weight=lesson.weight * share / often[lesson.answers[-1]]) for lesson in lessons]
