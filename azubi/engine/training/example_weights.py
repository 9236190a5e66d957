"""How much each example, and each target in it, counts in the loss. Knows token ids alone.

In a record the names of the fields, the quotation marks and the colons follow from what stands before
them; so do the later tokens of a long label. A tail learns them from a few dozen examples, yet each would
cost as much as any other, most of all in the language head. So most examples leave them out of the loss.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from azubi.engine.model.batch import EncodedExample, Tokens
from azubi.errors import DataError

_CONTEXT = 4
"""Answer tokens from which the next one must follow."""
_MIN_COUNT = 64
"""How often a context must occur, always with the same token after it."""
_UNMASKED_EVERY = 4
"""One example in so many keeps all its targets."""


def scaled(examples: Sequence[EncodedExample]) -> list[EncodedExample]:
    """The examples with a weight above 0, scaled to a mean weight of 1; raises DataError if there is none.

    So weights say what counts more than what, and leave the learning rate as it is.
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


def mask_boilerplate(encoded: Sequence[EncodedExample]) -> list[EncodedExample]:
    """The same examples, most of them without the targets that follow from the tokens before them.

    A target follows if the `_CONTEXT` answer tokens before it always have it after them. Which examples keep
    all targets depends on their order alone.
    """
    next_tokens: dict[Tokens, tuple[int, int]] = {}  # a context's one next token (else -1), and its count
    for example in encoded:
        for answer in example.answers:
            for index, token in enumerate(answer):
                context = _context(answer, index)
                known, count = next_tokens.get(context, (token, 0))
                next_tokens[context] = (token if token == known else -1, count + 1)
    return [
        example
        if number % _UNMASKED_EVERY == 0
        else replace(example, masked_targets=_masked(example, next_tokens))
        for number, example in enumerate(encoded)
    ]


def _masked(example: EncodedExample, next_tokens: dict[Tokens, tuple[int, int]]) -> frozenset[int]:
    masked: set[int] = set()
    first = 0
    for answer in example.answers:
        # Where an answer ends is always learned, so that no example is without a target.
        for index, token in enumerate(answer[:-1]):
            known, count = next_tokens[_context(answer, index)]
            if known == token and count >= _MIN_COUNT:
                masked.add(first + index)
        first += len(answer)
    return frozenset(masked)


def _context(targets: Tokens, index: int) -> Tokens:
    # At the beginning of an answer, where fewer tokens stand before it, its position is part of the context.
    return targets[index - _CONTEXT : index] if index >= _CONTEXT else (-1 - index, *targets[:index])


_GAIN = 2
"""Validation examples that training has to get right beyond what needs no training."""


@dataclass(frozen=True)
class Validation:
    """How good the tail is on examples that it is not trained on."""

    loss: float
    accuracy: float
    examples: int
    loss_error: float = 0.0
    """Standard error of the loss."""
    losses: tuple[float, ...] = ()
    """Of each example, to compare with others of the same examples; not stored."""
    rights: tuple[bool, ...] = ()
    """Which examples are right; for the same purpose."""
    gains: bool = True
    """Whether it is better than the weights that need no training."""

    def better_than(self, other: "Validation") -> bool:
        """Whether this is the better epoch: by the loss, unless the answers clearly say otherwise.

        The share of right answers is what counts, but on a hundred examples two epochs differ by a few
        points through chance; the loss also sees how sure each answer was. On twenty the observed share says
        little of that chance, so a right and a wrong one are added (Laplace's rule of succession).
        """
        share = (other.accuracy * other.examples + 1) / (other.examples + 2)
        noise = math.sqrt(share * (1 - share) / other.examples)
        gain = self.accuracy - other.accuracy
        return gain > noise or (gain >= -noise and self.loss < other.loss)

    def gains_over(self, other: "Validation") -> bool:
        """Whether this is better than weights that need no training: two examples more are right, at least.

        One may be chance, where there are twenty. A standard error would be too much to ask for: validation
        sets this small cannot show it, and it turns down what helps (docs/defaults.md, Which head).
        """
        return sum(self.rights) - sum(other.rights) >= _GAIN


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
