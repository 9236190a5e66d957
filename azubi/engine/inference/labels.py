"""Answers that are one of a closed set: chosen by a label head, or as the tokens that a decoder would write.

`LabelTree` says how likely each label is from one pass over the tokens that several labels share; `LabelTrie`
walks down token by token, for families that cannot read several continuations side by side. Knows token ids;
nothing of text, files or training.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import softplus

from azubi.engine.cache.filling import view
from azubi.engine.model.label_tail import InferenceLabelTail
from azubi.engine.model.trunk import NO_INSTRUCTION, Trunk

_CHOICES = 32
"""Texts that are labelled together."""
Tokens = tuple[int, ...]
Vector = NDArray[np.float32]
"""[hidden]: the trunk's activations of a question at the cut, averaged over its tokens."""


def averaged(states: torch.Tensor) -> Vector:
    """Mean of states [tokens, hidden] over the tokens."""
    mean: Vector = states.float().mean(0).cpu().numpy()
    return mean


class LabelTree:
    """The beginnings that several labels share, each a node; node 0 is what all of them begin with.

    The probability of a label is the product over its tokens, each among those with which some label goes on
    there. Where only one label is left the rest is certain, so it need not be read.
    """

    def __init__(self, labels: Sequence[Tokens], end: int) -> None:
        """`labels` are token ids without the end token."""
        self.labels = tuple(dict.fromkeys(map(tuple, labels)))
        paths = [(*label, end) for label in self.labels]
        shared = Counter(path[:size] for path in paths for size in range(len(path)))
        forks = [path for path, count in shared.items() if count > 1]
        begins = [path for path in forks if shared[path] == len(paths)]
        self.stem: Tokens = max(begins, key=len) if begins else self.labels[0]
        """The tokens with which all labels begin."""
        nodes = sorted(path for path in forks if len(path) > len(self.stem))
        numbers = {self.stem: 0} | {path: number for number, path in enumerate(nodes, start=1)}
        self.tokens: Tokens = tuple(path[-1] for path in nodes)
        """The last token of each node but the first."""
        self.parents: Tokens = tuple(numbers[path[:-1]] for path in nodes)
        """The node that each of these goes on from; it stands before them."""
        steps = [
            (label, numbers[path[:size]], path[size])
            for label, path in enumerate(paths)
            for size in range(len(self.stem), len(path))
            if path[:size] in numbers and len(paths) > 1
        ]
        self.columns: Tokens = tuple(sorted({token for _, _, token in steps}))
        """The tokens that have to be scored."""
        self._steps = [(label, node, self.columns.index(token)) for label, node, token in steps]
        self._first = {label: column for label, node, column in self._steps if node == 0}
        self.whole = False
        """Whether the probabilities of all labels are wanted, not of the likeliest alone."""
        self._top = [0] * (1 + len(nodes))
        for label, node, _ in self._steps:
            self._top[node] = self._first[label]

    def open_nodes(self, first: Sequence[float]) -> Tokens:
        """The nodes below the first that decide which label is likeliest; may be none.

        `first` are the labels' log-probabilities by their first token behind the stem alone. Of the labels
        that share a first token one has at least the mean of their probabilities, so a first token with less
        than the best such mean is out.
        """
        if self.whole or not self.parents:
            return tuple(range(1, len(self._top)))
        sharing = Counter(self._first.values())
        least = max(first[label] - math.log(sharing[column]) for label, column in self._first.items())
        kept = {column for label, column in self._first.items() if first[label] >= least}
        return tuple(node for node in range(1, len(self._top)) if self._top[node] in kept)

    def branches(self, nodes: Sequence[int]) -> tuple[Tokens, Tokens]:
        """The tokens of `nodes`, and for each the place among them of the one that it goes on from.

        That is -1 for what goes on from the first node.
        """
        places = {node: place for place, node in enumerate(nodes)}
        return (
            tuple(self.tokens[node - 1] for node in nodes),
            tuple(places.get(self.parents[node - 1], -1) for node in nodes),
        )

    def log_probabilities(self, scores: torch.Tensor, nodes: Sequence[int]) -> torch.Tensor:
        """What the steps from `nodes` add to each label's log-probability, [batch, labels].

        `scores` [batch, nodes, columns] are those of `columns` behind each of `nodes`.
        """
        places = {node: place for place, node in enumerate(nodes)}
        steps = torch.tensor(
            [(label, places[node], column) for label, node, column in self._steps if node in places]
        )
        gains = scores.new_zeros(len(scores), len(self.labels))
        if len(steps):
            labels, rows, columns = steps.unbind(1)
            allowed = torch.zeros(scores.shape[1:], dtype=torch.bool)
            allowed[rows, columns] = True
            shares = scores.masked_fill(~allowed, -math.inf).log_softmax(-1)
            gains.index_add_(1, labels, shares[:, rows, columns])
        return gains


class LabelTrie:
    """The answer is one of a closed set; its tokens form a tree that is walked down."""

    def __init__(self, answers: Sequence[Tokens], end: int) -> None:
        """`answers` are token ids without the end token."""
        self._left = [tuple(answer) for answer in answers]
        self._end = end
        self._depth = 0

    def allowed(self) -> Sequence[int]:
        """Next tokens of the answers that are still possible."""
        return sorted({(*answer, self._end)[self._depth] for answer in self._left})

    def take(self, token: int) -> None:
        """Keep the answers that go on with `token`."""
        self._left = [answer for answer in self._left if answer[self._depth : self._depth + 1] == (token,)]
        self._depth += 1

    def settled(self) -> Tokens | None:
        """The rest of the answer, if only one is left."""
        return self._left[0][self._depth :] if len(self._left) == 1 else None

    def forced(self) -> Tokens:
        """What all answers that are still possible go on with."""
        columns = zip(*((*answer[self._depth :], self._end) for answer in self._left), strict=False)
        return tuple(nexts[0] for nexts in takewhile(lambda nexts: len({*nexts}) == 1, columns))

    def ending(self) -> Tokens:
        """The rest of the shortest answer that is still possible."""
        return min(self._left, key=len)[self._depth :]


@dataclass(frozen=True)
class Completion:
    """One answer."""

    tokens: Tokens
    """Without the end token."""
    confidence: float
    """Probability of the answer: the product over its tokens, each among those that were allowed."""
    ended: bool
    """False if the answer was cut at the longest length; a constraint may still have closed it in form."""
    vector: Vector | None = field(default=None, repr=False, compare=False)
    """Of the prompt without the instruction, from the pass that answered it."""
    probabilities: Vector | None = field(default=None, repr=False, compare=False)
    """[labels]: of every label, where one was chosen and all were wanted."""


@dataclass(frozen=True)
class Choice:
    """One label."""

    label: int
    confidence: float
    """The label's probability among all labels."""
    energy: float = 0.0
    """Logarithm of the summed exponentials of all scores: how much speaks for any label at all. Of several
    labels the sum over them, each against its absence (Wang et al., arXiv 2011.14485)."""
    vector: Vector | None = field(default=None, repr=False, compare=False)
    """Of the text, from the pass that labelled it."""
    probabilities: Vector | None = field(default=None, repr=False, compare=False)
    """[labels]: of every label."""


class Classifier:
    """Chooses labels with a label head."""

    def __init__(
        self, trunk: Trunk, tail: InferenceLabelTail, kept: str = "states", multi: bool = False
    ) -> None:
        """`kept` is what the cache keeps of a text, see `cache.filling.view`.

        With `multi` a text has any number of labels: each has a probability of its own.
        """
        self._multi = multi
        self._trunk = trunk
        self._tail = tail
        self._kept = kept

    @torch.inference_mode()
    def choose(self, encoded: Sequence[Tokens], texts: Sequence[str]) -> Iterator[tuple[int, Choice]]:
        """Label each of `texts`, `encoded` as token ids; yields (number of the text, label) as it goes."""
        (cut,) = self._trunk.shell.cuts
        order = sorted(range(len(texts)), key=lambda number: len(encoded[number]))
        left = iter(order)
        starts = range(0, len(order), _CHOICES)
        batches = ([encoded[number] for number in order[start : start + _CHOICES]] for start in starts)
        for progress in self._trunk.run(batches, NO_INSTRUCTION):
            for batch, states in progress.done:
                numbers = list(islice(left, len(batch)))
                scores = self._tail.scores(states[cut], [texts[number] for number in numbers])
                probabilities = scores.sigmoid() if self._multi else scores.softmax(-1)
                best, label = probabilities.max(-1)
                energy = softplus(scores).sum(-1) if self._multi else scores.logsumexp(-1)
                for place, number in enumerate(numbers):
                    vector = averaged(view(states[cut][place], self._kept))
                    chances = probabilities[place].cpu().numpy()
                    yield (
                        number,
                        Choice(int(label[place]), float(best[place]), float(energy[place]), vector, chances),
                    )
