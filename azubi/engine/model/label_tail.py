"""A tail with a label head: the last k layers of a base, pooled, and one score per label.

The head reads pooled states, scaled to length 1. Its rows start as the mean direction of each label's
training examples, so that training begins at a nearest-centroid classifier. What training makes of it is
compared with linear heads on the untouched layers (`linear_head`), which are no better place to begin. They
alone take the states from their centre and read the text's words: a trained tail is better without.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from azubi.engine.model import label_sets, linear_head, weights, words
from azubi.engine.model.batch import Batch, EncodedExample, Outcome, Reader, by_length, collate
from azubi.engine.model.cut import TailShell
from azubi.engine.model.linear_head import LinearHead
from azubi.events.figures import HeadScore

SHARPNESS = 16.0
"""Length of the head's rows at the start: how decided the first probabilities are."""
FITTED = ("centre", "words")
"""Weights of the tail that are fitted, never trained in steps."""
_HEAD_RATE = 10.0
"""The head is new and learns faster than the layers, which start from a good place."""


@dataclass(frozen=True)
class Start:
    """What needs no training in steps, and is therefore what training has to beat."""

    state: weights.State
    """The tail's weights with the best linear head, above the base's own layers."""
    refitted: weights.State
    """The same, but for a head that was fitted on the validation examples, too: what is kept of it."""
    scores: tuple[HeadScore, ...]
    """Of all linear heads."""


class LabelTail(nn.Module):
    """The trained half of a classifier."""

    def __init__(
        self, model: Any, k: int, rank: int, seed: int, labels: int, pooling: str, multi: bool = False
    ) -> None:
        """Copy the last `k` layers of `model` (without a language head); k = 0 trains the head alone.

        `pooling` says how a text's states become one: mean, cls or last. With `multi` a text has a set of
        labels (see `label_sets`).
        """
        super().__init__()
        self.pooling, self.multi = pooling, multi
        self.shell = TailShell(model, k, own=True) if k else None
        if self.shell is not None:
            weights.set_trainable(self.shell.layers, self.shell, rank, seed)
        hidden = model.config.get_text_config().hidden_size
        self.head = nn.Linear(hidden, labels)
        # These two are fitted, never trained in steps: they are read without gradient, and in no group. Only
        # linear heads have them (words), and those of sets of labels (the centre).
        self.centre = nn.Parameter(torch.zeros(hidden))
        self.words = nn.Parameter(torch.zeros(labels, words.BUCKETS))

    def forward(self, batch: Batch, instruction: torch.Tensor | None = None) -> Outcome:
        """Loss and counts of a batch; a label head takes no instruction."""
        assert instruction is None, "a label head takes no instruction"
        # Scores of words are sure on examples that they were fitted on: training would learn nothing beside.
        scores = self.scores(batch.states, batch.lengths, () if self.training else batch.texts)
        if self.multi:
            return label_sets.outcome(scores, batch)
        losses = nn.functional.cross_entropy(scores, batch.targets, reduction="none")
        weighted = losses if batch.weights is None else losses * batch.weights
        rights, count = scores.argmax(-1) == batch.targets, len(batch.targets)
        return Outcome(weighted.mean(), count, count, int(rights.sum()), losses.detach(), rights)

    def scores(self, states: torch.Tensor, lengths: torch.Tensor, texts: Sequence[str] = ()) -> torch.Tensor:
        """Scores [batch, labels] in float32 for padded activations [batch, longest, hidden].

        Those of the words of `texts` are added, one text for each; without texts the encoder's alone.
        """
        scores: torch.Tensor = self.head(self.pooled(states, lengths)).float()
        read_words = bool(texts) and bool(self.words.any())
        return scores + words.scores(texts, self.words.detach()) if read_words else scores

    def pooled(self, states: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """One vector of length 1 per text, [batch, hidden], float32."""
        mask = torch.arange(states.shape[1])[None] < lengths[:, None]
        if self.shell is not None:
            states = self.shell(states, attention_mask=mask.long())
        vectors = nn.functional.normalize(pool(states, mask, self.pooling), dim=-1)
        return nn.functional.normalize(vectors - self.centre.detach(), dim=-1)

    @property
    def head_parameters(self) -> int:
        """What is new above the base: the head, its centre, and the scores of words."""
        return self.centre.numel() + self.words.numel() + weights.parameter_count(self.head)

    @torch.no_grad()
    def start_from_means(
        self,
        encoded: Sequence[EncodedExample],
        read: Reader,
        size: int,
        validation: Sequence[EncodedExample] = (),
    ) -> Start | None:
        """Set the head's rows to the direction of each label's mean, its biases to 0.

        What is returned has the best linear head; None if the examples have one label alone.
        """
        if self.multi:
            return self._start_from_sets(encoded, read, size)
        self.centre.zero_()
        vectors, texts, labels, example_weights = features = self._features(encoded, read, size)
        self.start_from(torch.zeros_like(self.head.weight).index_add_(0, labels, vectors))
        if len(labels.unique()) == 1:
            return None
        linear = refitted = linear_head.fit(*features, len(self.head.bias))
        if validation:
            more_vectors, more_texts, more_labels, more_weights = self._features(validation, read, size)
            refitted = linear_head.refit(
                linear,
                torch.cat((vectors, more_vectors)),
                [*texts, *more_texts],
                torch.cat((labels, more_labels)),
                torch.cat((example_weights, more_weights)),
            )
        return Start(self._with(linear), self._with(refitted), linear.scores)

    def _with(self, linear: LinearHead) -> weights.State:
        return weights.kept(self) | {
            "head.weight": linear.rows,
            "head.bias": linear.bias,
            "centre": linear.centre,
            "words": linear.words,
        }

    def _start_from_sets(self, encoded: Sequence[EncodedExample], read: Reader, size: int) -> Start:
        """`start_from_means` for sets of labels; its linear head is a logistic regression for each label."""
        self.centre.zero_()
        vectors, _, targets, example_weights = self._features(encoded, read, size)
        self.centre.copy_(vectors.mean(0))
        vectors = nn.functional.normalize(vectors - self.centre, dim=-1)
        examples = label_sets.Examples.of(vectors, targets, example_weights)
        self.start_from(examples.targets.to(vectors.dtype).T @ vectors)
        rows, bias, score = label_sets.best_regression(examples)
        # Not fitted on validation examples, too: thresholds are read off those.
        state = weights.kept(self) | {"head.weight": rows, "head.bias": bias}
        return Start(state, state, (score,))

    def _features(
        self, encoded: Sequence[EncodedExample], read: Reader, size: int
    ) -> tuple[torch.Tensor, list[str], torch.Tensor, torch.Tensor]:
        """Pooled vectors [examples, hidden], texts, labels and weights [examples], in one order."""
        self.eval()
        parts, texts = [], list[str]()
        for examples in by_length(encoded, size):
            batch = collate(examples, read)
            vectors = self.pooled(batch.states, batch.lengths)
            equal = torch.ones(len(batch.targets))
            parts.append((vectors, batch.targets, equal if batch.weights is None else batch.weights))
            texts += batch.texts
        vectors, labels, example_weights = (torch.cat(part) for part in zip(*parts, strict=True))
        return vectors, texts, labels, example_weights

    @torch.no_grad()
    def start_from(self, directions: torch.Tensor) -> None:
        """Set the head's rows to `directions` [labels, hidden], scaled to `SHARPNESS`."""
        self.head.weight.copy_(nn.functional.normalize(directions, dim=-1) * SHARPNESS)
        self.head.bias.zero_()

    def groups(self) -> Iterator[tuple[nn.Parameter, float]]:
        """Trained weights, each with its factor on the learning rate."""
        for name, parameter in self.named_parameters():
            if parameter.requires_grad and name not in FITTED:
                yield parameter, _HEAD_RATE if name.startswith("head.") else 1.0


def pool(states: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """States [batch, longest, hidden] to [batch, hidden], float32; `mask` marks real tokens."""
    states = states.float()
    if pooling == "cls":
        return states[:, 0]
    if pooling == "last":
        return states[torch.arange(len(states)), mask.sum(1) - 1]
    real = mask[..., None].float()
    return (states * real).sum(1) / real.sum(1)


class InferenceLabelTail:
    """A tail that gives the labels' scores, with factors merged."""

    def __init__(self, tail: LabelTail, own: bool = True) -> None:
        """Copy `tail`, which can be trained on; if not `own`, take it as it is: nobody trains it then."""
        self._tail = (copy.deepcopy(tail) if own else tail).eval().requires_grad_(False)
        if self._tail.shell is not None:
            weights.merge(self._tail.shell.layers)
        self.head_parameters = tail.head_parameters
        self.nbytes = sum(weight.nbytes for weight in self._tail.parameters())
        """Of its weights."""

    @torch.inference_mode()
    def scores(self, states: Sequence[torch.Tensor], texts: Sequence[str]) -> torch.Tensor:
        """[batch, labels] of texts with their activations [tokens, hidden]; softmax gives probabilities."""
        lengths = torch.tensor([len(state) for state in states])
        padded = torch.nn.utils.rnn.pad_sequence(list(states), batch_first=True)
        return self._tail.scores(padded, lengths, texts)
