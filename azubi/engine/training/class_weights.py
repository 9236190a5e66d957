"""How much each example counts: as its source says, and so that rare answers count as much as frequent ones.

Knows targets; nothing of what they mean.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from azubi.engine.model.batch import EncodedExample, Tokens
from azubi.errors import DataError


def scaled(examples: Sequence[EncodedExample]) -> list[EncodedExample]:
    """The same examples, without those that count nothing, weighted such that the mean weight is 1.

    So weights say what counts more than what, and leave the learning rate as it is.

    Raises:
        DataError: none counts.
    """
    counting = [example for example in examples if example.weight > 0]
    total = sum(example.weight for example in counting)
    if examples and not counting:
        raise DataError(
            f"The weight of all {len(examples):,} training examples is 0: there is nothing to learn from.",
            "Correct the column that --weight names, or leave it out.",
        )
    if all(example.weight == 1.0 for example in counting):
        return counting
    return [replace(example, weight=example.weight * len(counting) / total) for example in counting]


def balanced(examples: Sequence[EncodedExample]) -> list[EncodedExample]:
    """The same examples, weighted so that each answer counts the same in all; the mean weight stays."""
    totals: defaultdict[Tokens, float] = defaultdict(float)
    for example in examples:
        totals[example.answers[-1]] += example.weight
    share = sum(example.weight for example in examples) / len(totals)
    return [
        replace(example, weight=example.weight * share / totals[example.answers[-1]]) for example in examples
    ]
