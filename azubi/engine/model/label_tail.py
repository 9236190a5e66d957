"""A tail with a label head: the last k layers of a base, pooled, and one score per label.

The head reads pooled states scaled to length 1. Its rows start as the mean direction of each
label's training examples, so that training begins at a nearest-centroid classifier. What training makes
of it is compared with a logistic regression, which is no better place to begin (docs/defaults.md).
"""

import copy
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from azubi.engine.model import weights
from azubi.engine.model.batch import Batch, EncodedExample, Outcome, Reader, by_length, collate
from azubi.engine.model.cut import TailShell

SHARPNESS = 16.0
"""Length of the head's rows at the start: how decided the first probabilities are."""
_HEAD_RATE = 10.0
"""The head is new and learns faster than the layers, which start from a good place."""
_INVERSE_PENALTIES = (1.0, 10.0, 100.0, 1000.0)
"""Of the logistic regressions; for vectors of length 1."""
_UNSEEN_BIAS = -12.0
"""Of labels without a training example. The scores of the others sum to 0, so the highest is not negative."""


class LabelTail(nn.Module):
    """The trained half of a classifier."""

    def __init__(self, model: Any, k: int, rank: int, seed: int, labels: int, pooling: str) -> None:
        """Copy the last `k` layers of `model` (without a language head); k = 0 trains the head alone.

        `pooling` says how a text's states become one: mean, cls or last.
        """
        super().__init__()
        self.pooling = pooling
        self.shell = TailShell(model, k, own=True) if k else None
        if self.shell is not None:
            weights.set_trainable(self.shell.layers, self.shell, rank, seed)
        self.head = nn.Linear(model.config.get_text_config().hidden_size, labels)

    def forward(self, batch: Batch, instruction: torch.Tensor | None = None) -> Outcome:
        """Loss and counts of a batch; a label head takes no instruction."""
        assert instruction is None, "a label head takes no instruction"
        scores = self.scores(batch.states, batch.lengths)
        losses = nn.functional.cross_entropy(scores, batch.targets, reduction="none")
        weighted = losses if batch.weights is None else losses * batch.weights
        rights, count = scores.argmax(-1) == batch.targets, len(batch.targets)
        return Outcome(weighted.mean(), count, count, int(rights.sum()), losses.detach(), rights)

    def scores(self, states: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Scores [batch, labels] in float32 for padded activations [batch, longest, hidden]."""
        return self.head(self.pooled(states, lengths)).float()  # type: ignore[no-any-return]

    def pooled(self, states: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """One vector of length 1 per text, [batch, hidden], float32."""
        mask = torch.arange(states.shape[1])[None] < lengths[:, None]
        if self.shell is not None:
            states = self.shell(states, attention_mask=mask.long())
        return nn.functional.normalize(pool(states, mask, self.pooling), dim=-1)

    @torch.no_grad()
    def start_from_means(
        self,
        encoded: Sequence[EncodedExample],
        read: Reader,
        size: int,
        validation: Sequence[EncodedExample] = (),
    ) -> weights.State | None:
        """Set the head's rows to the direction of each label's mean, its biases to 0.

        Returns the trained weights as they are now, but with a logistic regression as the head, whose penalty
        is lowered tenfold while the loss on `validation` falls by over a standard error. None without
        `validation`, or if the examples have one label alone.
        """
        vectors, labels, example_weights = self._features(encoded, read, size)
        self.start_from(torch.zeros_like(self.head.weight).index_add_(0, labels, vectors))
        if not validation or len(labels.unique()) < 2:
            return None
        checks, truths, check_weights = self._features(validation, read, size)
        best: weights.State = {}
        least = torch.full((len(truths),), math.inf)
        for inverse_penalty in _INVERSE_PENALTIES:
            rows, bias = _regression(vectors, labels, example_weights, inverse_penalty, len(self.head.bias))
            scores = nn.functional.linear(checks, rows, bias)
            losses = check_weights * nn.functional.cross_entropy(scores, truths, reduction="none")
            gains = least - losses
            if best and not gains.mean() > gains.std() / math.sqrt(len(gains)):
                break  # the next ones fit the training examples even closer
            least, best = losses, {"head.weight": rows, "head.bias": bias}
        return weights.kept(self) | best

    def _features(
        self, encoded: Sequence[EncodedExample], read: Reader, size: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Pooled vectors [examples, hidden], labels [examples] and weights [examples], in one order."""
        self.eval()
        parts = []
        for examples in by_length(encoded, size):
            batch = collate(examples, read)
            vectors = self.pooled(batch.states, batch.lengths)
            equal = torch.ones(len(vectors))
            parts.append((vectors, batch.targets, equal if batch.weights is None else batch.weights))
        vectors, labels, example_weights = (torch.cat(part) for part in zip(*parts, strict=True))
        return vectors, labels, example_weights

    @torch.no_grad()
    def start_from(self, directions: torch.Tensor) -> None:
        """Set the head's rows to `directions` [labels, hidden], scaled to `SHARPNESS`."""
        self.head.weight.copy_(nn.functional.normalize(directions, dim=-1) * SHARPNESS)
        self.head.bias.zero_()

    def groups(self) -> Iterator[tuple[nn.Parameter, float]]:
        """Trained weights, each with its factor on the learning rate."""
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                yield parameter, _HEAD_RATE if name.startswith("head.") else 1.0


def _regression(
    vectors: torch.Tensor,
    labels: torch.Tensor,
    example_weights: torch.Tensor,
    inverse_penalty: float,
    count: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows [count, hidden] and biases [count] of a head that is scikit-learn's logistic regression."""
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # too few steps to converge: it is measured as it is
        model = LogisticRegression(C=inverse_penalty, max_iter=1_000).fit(
            vectors.cpu().numpy(), labels.cpu().numpy(), example_weights.cpu().numpy()
        )
    coefficients, offsets = torch.as_tensor(model.coef_), torch.as_tensor(model.intercept_)
    if len(coefficients) == 1:  # two labels: the score of the second against the first
        coefficients, offsets = (torch.cat((-part, part)) / 2 for part in (coefficients, offsets))
    rows, bias = vectors.new_zeros(count, vectors.shape[1]), vectors.new_full((count,), _UNSEEN_BIAS)
    rows[model.classes_], bias[model.classes_] = coefficients.to(rows), offsets.to(bias)
    return rows, bias


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
    """A copy of a tail that gives the labels' scores, with factors merged."""

    def __init__(self, tail: LabelTail) -> None:
        """Copy `tail`, which can be trained on."""
        self._tail = copy.deepcopy(tail).eval().requires_grad_(False)
        if self._tail.shell is not None:
            weights.merge(self._tail.shell.layers)

    @torch.inference_mode()
    def scores(self, states: Sequence[torch.Tensor]) -> torch.Tensor:
        """[batch, labels], for each text's activations [tokens, hidden]; softmax makes them probabilities."""
        lengths = torch.tensor([len(state) for state in states])
        padded = torch.nn.utils.rnn.pad_sequence(list(states), batch_first=True)
        return self._tail.scores(padded, lengths)
