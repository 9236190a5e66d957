"""A label head for texts with any number of labels: each label is decided on its own, by a sigmoid.

Targets are 0 or 1 for each label, [examples, labels]. The loss is binary cross-entropy; summed over labels it
is minus the log-probability of an example's set, if labels are independent. A threshold per label says from
which probability on the label is given: F1 is often best away from 0.5 (Lipton et al., arXiv 1402.1892), but
one that is fitted to few positives is worse than 0.5 (Fan and Lin 2007; docs/defaults.md).

Knows tensors and numbers; nothing of texts, files or models.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from azubi.engine.model.batch import Batch, Outcome
from azubi.events.figures import HeadScore

HALF = 0.5
_INVERSE_PENALTIES = (1.0, 10.0, 100.0, 1000.0)
"""Of the logistic regressions; for vectors of length 1."""
_FOLDS = 5
_FEWEST = 5
"""Validation examples of a label with which it gets a threshold of its own."""

Floats = NDArray[np.float64]


def losses(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """[examples]: summed over the labels, from scores and targets [examples, labels]."""
    each = nn.functional.binary_cross_entropy_with_logits(scores, targets.to(scores.dtype), reduction="none")
    return each.sum(-1)


def outcome(scores: torch.Tensor, batch: Batch) -> Outcome:
    """Loss and counts of a batch, from scores [examples, labels]; a set is right if every label is."""
    targets = batch.targets.view(scores.shape)
    each = losses(scores, targets)
    weighted = each if batch.weights is None else each * batch.weights.view(scores.shape)[:, 0]
    rights = ((scores > 0) == (targets > 0)).all(-1)
    mean = weighted.mean() / scores.shape[1]
    return Outcome(mean, targets.numel(), len(targets), int(rights.sum()), each.detach(), rights)


@dataclass(frozen=True)
class Examples:
    """Examples as a linear head sees them."""

    vectors: torch.Tensor
    """[examples, hidden]"""
    targets: torch.Tensor
    """[examples, labels]"""
    weights: torch.Tensor
    """[examples]"""

    @classmethod
    def of(cls, vectors: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> "Examples":
        """From targets and weights as batches have them: those of all labels, example after example."""
        shape = len(vectors), -1
        return cls(vectors, targets.view(shape), weights.view(shape)[:, 0])

    def __getitem__(self, numbers: torch.Tensor) -> "Examples":
        """Some of them."""
        return Examples(self.vectors[numbers], self.targets[numbers], self.weights[numbers])


def best_regression(examples: Examples) -> tuple[torch.Tensor, torch.Tensor, HeadScore]:
    """Rows and biases of the regressions with the best penalty by cross-validation, and how good they are.

    The penalty is lowered tenfold as long as the loss on examples that were not fitted falls.
    """
    fold = torch.from_numpy(np.random.default_rng(0).permutation(len(examples.targets)) % _FOLDS)
    best, least, rights = 0.0, math.inf, torch.zeros(0)
    for inverse_penalty in _INVERSE_PENALTIES:
        loss, right = 0.0, []
        for number in range(_FOLDS):
            held_out = examples[fold == number]
            scores = nn.functional.linear(
                held_out.vectors, *regression(examples[fold != number], inverse_penalty)
            )
            loss += float((held_out.weights * losses(scores, held_out.targets)).sum())
            right.append(((scores > 0) == (held_out.targets > 0)).all(-1))
        if loss >= least:
            break
        best, least, rights = inverse_penalty, loss, torch.cat(right).float()
    accuracy = float(rights.mean())
    error = math.sqrt(accuracy * (1 - accuracy) / len(rights))
    score = HeadScore(kind="vectors", accuracy=accuracy, error=error, examples=len(rights), chosen=True)
    return *regression(examples, best), score


def regression(examples: Examples, inverse_penalty: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows [labels, hidden] and biases [labels] of one logistic regression per label against the rest.

    A label that all examples have, or none, gets no direction, and the bias of that share with one example
    more on either side.
    """
    from sklearn.linear_model import LogisticRegression

    vectors, targets = examples.vectors, examples.targets
    texts, weights = vectors.cpu().numpy(), examples.weights.cpu().numpy()
    rows, bias = vectors.new_zeros(targets.shape[1], vectors.shape[1]), vectors.new_zeros(targets.shape[1])
    for label, truth in enumerate(targets.T.cpu().numpy()):
        if len(set(truth.tolist())) == 1:
            bias[label] = np.log((truth.sum() + 1) / ((1 - truth).sum() + 1))
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # too few steps to converge: it is measured as it is
            model = LogisticRegression(C=inverse_penalty, max_iter=1_000).fit(texts, truth, weights)
        rows[label], bias[label] = torch.as_tensor(model.coef_[0]), float(model.intercept_[0])
    return rows, bias


def thresholds(probabilities: Floats, truths: Floats) -> tuple[float, ...]:
    """From which probability on each label is given, by F1 on validation examples [examples, labels].

    A label's is half way between the one that is best for it and the one that is best for all together (micro
    F1); with few examples there, it is the latter.
    """
    common = _best(probabilities.ravel(), truths.ravel())
    return tuple(
        (_best(column, truth) + common) / 2 if truth.sum() >= _FEWEST else common
        for column, truth in zip(probabilities.T, truths.T, strict=True)
    )


def _best(probabilities: Floats, truths: Floats) -> float:
    """A threshold at which F1 is best, between two probabilities; of several the one nearest to 0.5."""
    order = np.argsort(-probabilities, kind="stable")
    descending = probabilities[order]
    given = np.arange(1, len(order) + 1)
    f1 = 2 * np.cumsum(truths[order]) / (given + truths.sum())
    next_lower = np.append(descending[1:], 0.0)
    cuts = np.flatnonzero(descending > next_lower)
    if not truths.sum() or not len(cuts):
        return HALF
    best = cuts[f1[cuts] >= f1[cuts].max() - 1e-12]
    high, low = descending[best], next_lower[best]
    cut = np.where((low < HALF) & (high >= HALF), HALF, (low + high) / 2)
    return float(cut[np.abs(cut - HALF).argmin()])


def chosen(probabilities: Sequence[float], limits: Sequence[float], empty: bool) -> tuple[int, ...]:
    """The labels that are given; if there are none and a set may not be `empty`, the nearest to its limit."""
    given = tuple(
        n for n, (chance, limit) in enumerate(zip(probabilities, limits, strict=True)) if chance >= limit
    )
    if given or empty:
        return given
    return (max(range(len(limits)), key=lambda n: probabilities[n] - limits[n]),)
