"""Encoded examples, how they are put into batches, and what a tail returns for a batch.

Knows token ids and activations; nothing of text, caches on disk or models.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from azubi.engine.base.hardware import on_device
from azubi.engine.model.two_cuts import Shapes

Tokens = tuple[int, ...]
Reader = Callable[[Tokens], Any]
"""Returns the activations [tokens, hidden] of a sequence; of the instruction, for the empty sequence."""

_WINDOW = 8
"""Batches whose examples are sorted by length together; more saves padding, fewer mixes better."""


@dataclass(frozen=True, slots=True)
class EncodedExample:
    """An example as token ids and targets."""

    tokens: Tokens
    """What the trunk reads: prompt and answer without its last token, or the text to be labelled."""
    targets: Tokens
    """Token ids of the answer with the end token, after those of earlier answers; or one label's number."""
    masked_targets: frozenset[int] = frozenset()
    """Indices of `targets` that are left out of the loss (see `training.example_weights`)."""
    weight: float = 1.0
    """How much it counts in the loss."""
    target_positions: Tokens | None = None
    """Where in `tokens` each target is predicted; None if at the end, one after the other."""
    question: str = ""
    """Name of the question that it was made from, so that its activations can be erased."""
    text: str = ""
    """What is to be labelled, for a label head that reads words, too."""

    @property
    def answers(self) -> list[Tokens]:
        """The targets of each answer; several if earlier answers are learned too."""
        positions = self.target_positions
        if positions is None:
            return [self.targets]
        starts = [at for at in range(len(positions)) if not at or positions[at] != positions[at - 1] + 1]
        ends = [*starts[1:], len(positions)]
        return [self.targets[start:end] for start, end in zip(starts, ends, strict=True)]

    @property
    def last_answer_only(self) -> "EncodedExample":
        """The last answer alone with weight 1: what is measured, whatever is trained."""
        if self.target_positions is None and self.weight == 1.0:
            return self
        return EncodedExample(self.tokens, self.answers[-1], question=self.question, text=self.text)

    @property
    def length(self) -> int:
        """Tokens that the tail has to read."""
        return len(self.tokens)


@dataclass(frozen=True)
class ReadPrompt:
    """What the base made of an example, where the tail has two cuts."""

    keys: torch.Tensor
    """Keys and values of instruction and prompt in the tail's lower layers, [tokens, columns]."""
    shapes: Shapes
    """How they lie in the columns."""
    prompt: torch.Tensor | None
    """The prompt's states at the upper cut, [tokens, hidden]; None if no layer of the tail reads it."""
    answer: torch.Tensor
    """Activations of invocation and answer at the lower cut, [tokens, hidden]."""
    mean: torch.Tensor
    """Of the prompt's activations at the lower cut, [1, hidden]: what tells whether it is in scope."""
    states: tuple[torch.Tensor, ...] = ()
    """Windows and running states at the prompt's end, layer by layer, where layers keep those."""


@dataclass(frozen=True)
class Batch:
    """Several examples as tensors; positions beyond an example's length are padding."""

    states: torch.Tensor
    """Activations [batch, longest, hidden], zeros on the right."""
    lengths: torch.Tensor
    """[batch]"""
    rows: torch.Tensor
    """[targets]: positions, counted through the flattened batch, that predict a target."""
    targets: torch.Tensor
    """[targets]: token ids or label numbers."""
    owners: torch.Tensor
    """[targets]: which example of the batch a target belongs to."""
    masked: int = 0
    """How many targets of the examples are left out of `targets`."""
    weights: torch.Tensor | None = None
    """[targets]: how much each counts in the loss; None if all count the same."""
    prompts: tuple[ReadPrompt, ...] = ()
    """Of a tail with two cuts. `states` are then those of invocations and answers alone."""
    texts: tuple[str, ...] = ()
    """What is to be labelled."""


def collate(encoded: Sequence[EncodedExample], read: Reader) -> Batch:
    """Read the examples' activations and put them side by side."""
    readings = [read(example.tokens) for example in encoded]
    prompts = tuple(reading for reading in readings if isinstance(reading, ReadPrompt))
    states = [reading.answer if isinstance(reading, ReadPrompt) else reading for reading in readings]
    lengths = [len(state) for state in states]
    longest = max(lengths)
    rows: list[int] = []
    targets: list[int] = []
    owners: list[int] = []
    for number, example in enumerate(encoded):
        # Without positions the last len(targets) positions predict the targets.
        first = lengths[number] - len(example.targets)
        positions = example.target_positions or range(first, lengths[number])
        for index, (position, target) in enumerate(zip(positions, example.targets, strict=True)):
            if index not in example.masked_targets:
                rows.append(number * longest + position)
                targets.append(target)
                owners.append(number)
    weighted = any(example.weight != 1.0 for example in encoded)
    return Batch(
        on_device(torch.nn.utils.rnn.pad_sequence(states, batch_first=True)),
        torch.tensor(lengths),
        torch.tensor(rows),
        torch.tensor(targets),
        torch.tensor(owners),
        sum(len(example.masked_targets) for example in encoded),
        torch.tensor([encoded[owner].weight for owner in owners]) if weighted else None,
        prompts,
        tuple(example.text for example in encoded),
    )


def order(encoded: Sequence[EncodedExample], size: int, seed: int, epoch: int) -> list[list[EncodedExample]]:
    """The batches of one epoch: shuffled, yet with examples of like length together. Deterministic."""
    generator = random.Random(f"{seed}/{epoch}")
    shuffled = list(encoded)
    generator.shuffle(shuffled)
    window = size * _WINDOW
    batches: list[list[EncodedExample]] = []
    for start in range(0, len(shuffled), window):
        batches.extend(by_length(shuffled[start : start + window], size))
    generator.shuffle(batches)
    return batches


def by_length(encoded: Sequence[EncodedExample], size: int) -> Iterator[list[EncodedExample]]:
    """Batches in the order of length."""
    ordered = sorted(encoded, key=lambda example: example.length)
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


@dataclass(frozen=True)
class Outcome:
    """Loss with its gradient, and plain counts."""

    loss: torch.Tensor
    """Mean cross-entropy in nats per target; a scalar that can be differentiated when training."""
    targets: int
    examples: int
    right: int
    """Examples whose every target was the likeliest, given the targets before it: the number of answers
    that a greedy decoder would write without a mistake."""
    losses: torch.Tensor | None = None
    """[examples]: each example's cross-entropy, summed over its targets, without gradient."""
    rights: torch.Tensor | None = None
    """[examples]: which of them are counted in `right`; a label head alone says so."""
