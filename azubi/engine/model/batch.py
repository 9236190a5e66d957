"""Examples as the tail reads them, how they are put into batches, and what a tail makes of a batch.

Knows token ids and activations; nothing of text, caches on disk or models.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from azubi.engine.base.hardware import on_device

Tokens = tuple[int, ...]
Reader = Callable[[Tokens], torch.Tensor]
"""Gives the activations [tokens, hidden] of a sequence; of the instruction, for the empty sequence."""

_WINDOW = 8
"""Batches whose examples are sorted by length together; more saves padding, fewer mixes better."""


@dataclass(frozen=True, slots=True)
class EncodedExample:
    """One example for the tail."""

    tokens: Tokens
    """What the trunk read: prompt and answer without its last token, or the text to be labelled."""
    targets: Tokens
    """The answer's token ids with the end token, or one label's number; those of earlier answers before."""
    masked_targets: frozenset[int] = frozenset()
    """Places in `targets` that are left out of the loss (see `form`)."""
    weight: float = 1.0
    """How much it counts in the loss (see `balance`)."""
    target_positions: Tokens | None = None
    """Where in `tokens` each target is predicted; None if at the end, one after the other."""
    question: str = ""
    """Name of the question that it was made from, so that what is kept of it can be erased."""

    @property
    def answers(self) -> list[Tokens]:
        """The targets of each answer: of one alone, unless earlier ones are learned too."""
        if self.target_positions is None:
            return [self.targets]
        starts = [
            at
            for at in range(len(self.target_positions))
            if not at or self.target_positions[at] != self.target_positions[at - 1] + 1
        ]
        ends = [*starts[1:], len(self.target_positions)]
        return [self.targets[start:end] for start, end in zip(starts, ends, strict=True)]

    @property
    def last_answer_only(self) -> "EncodedExample":
        """The last answer alone, counting once: what is measured, whatever is taught."""
        if self.target_positions is None and self.weight == 1.0:
            return self
        return EncodedExample(self.tokens, self.answers[-1], question=self.question)

    @property
    def length(self) -> int:
        """Tokens that the tail has to read."""
        return len(self.tokens)


@dataclass(frozen=True)
class Batch:
    """Several lessons as tensors; positions beyond a lesson's length are padding."""

    states: torch.Tensor
    """Activations [batch, longest, hidden], zeros on the right."""
    lengths: torch.Tensor
    """[batch]"""
    rows: torch.Tensor
    """[targets]: positions, counted through the flattened batch, that predict a target."""
    targets: torch.Tensor
    """[targets]: token ids or label numbers."""
    owners: torch.Tensor
    """[targets]: which lesson of the batch a target belongs to."""
    masked: int = 0
    """How many targets the lessons have beyond these, left out since nothing is to be learned from them."""
    weights: torch.Tensor | None = None
    """[targets]: how much each counts in the loss; None if all count the same."""


def collate(encoded: Sequence[EncodedExample], read: Reader) -> Batch:
    """Read the lessons' activations and put them side by side."""
    states = [read(lesson.tokens) for lesson in encoded]
    longest = max(len(one) for one in states)
    rows: list[int] = []
    targets: list[int] = []
    owners: list[int] = []
    for number, (lesson, one) in enumerate(zip(encoded, states, strict=True)):
        kept = [place for place in range(len(lesson.targets)) if place not in lesson.masked_targets]
        if lesson.target_positions is None:
            # The last len(targets) positions predict them, each the next token.
            first = number * longest + len(one) - len(lesson.targets)
            rows.extend(first + place for place in kept)
        else:
            rows.extend(number * longest + lesson.target_positions[place] for place in kept)
        targets.extend(lesson.targets[place] for place in kept)
        owners.extend([number] * len(kept))
    return Batch(
        on_device(torch.nn.utils.rnn.pad_sequence(states, batch_first=True)),
        torch.tensor([len(one) for one in states]),
        torch.tensor(rows),
        torch.tensor(targets),
        torch.tensor(owners),
        sum(len(lesson.masked_targets) for lesson in encoded),
        _weights(encoded, owners),
    )


def _weights(encoded: Sequence[EncodedExample], owners: Sequence[int]) -> torch.Tensor | None:
    if all(lesson.weight == 1.0 for lesson in encoded):
        return None
    return torch.tensor([encoded[owner].weight for owner in owners])


def order(encoded: Sequence[EncodedExample], size: int, seed: int, epoch: int) -> list[list[EncodedExample]]:
    """The batches of one epoch: shuffled, yet with neighbours of like length. Follows from the arguments."""
    dice = random.Random(f"{seed}/{epoch}")
    mixed = list(encoded)
    dice.shuffle(mixed)
    window = size * _WINDOW
    groups: list[list[EncodedExample]] = []
    for start in range(0, len(mixed), window):
        near = sorted(mixed[start : start + window], key=lambda lesson: lesson.length)
        groups.extend(_slices(near, size))
    dice.shuffle(groups)
    return groups


def by_length(encoded: Sequence[EncodedExample], size: int) -> Iterator[list[EncodedExample]]:
    """Batches in the order of length, for measuring."""
    return _slices(sorted(encoded, key=lambda lesson: lesson.length), size)


def _slices(encoded: Sequence[EncodedExample], size: int) -> Iterator[list[EncodedExample]]:
    for start in range(0, len(encoded), size):
        yield list(encoded[start : start + size])


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
