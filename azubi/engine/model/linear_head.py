"""Linear heads on what an untouched encoder and a text's words give: what training has to beat.

Three are fitted: logistic regression on the encoder's vectors, on the words (`words`), and both scores added
up. Penalties and the weight of the words are chosen by cross-validation on the training examples, so that a
small validation set decides nothing. Knows vectors, texts and label numbers; nothing of networks.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import softmax

from azubi.engine.model import words
from azubi.events.figures import HeadScore

Kind = Literal["vectors", "words", "both"]
_KINDS: tuple[Kind, ...] = ("vectors", "words", "both")
"""The simplest first."""
Matrix = npt.NDArray[Any]
Folds = list[tuple[Matrix, Matrix]]
"""Indices of examples to fit on, and of those that are predicted."""
_INVERSE_PENALTIES = (1.0, 10.0, 100.0, 1000.0)
_WORD_SHARES = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5)
_FOLDS = 5
_HELD_OUT = 1_500
"""Training examples that are predicted unseen: where there are more, fewer folds are fitted."""
_UNSEEN_BIAS = -12.0
"""Of labels without a training example. The scores of the others sum to 0, so the highest is not negative."""


@dataclass(frozen=True)
class LinearHead:
    """The best of the linear heads, fitted on all examples."""

    centre: torch.Tensor
    """[hidden]: mean of the vectors; they are taken from there, and scaled to length 1 again."""
    rows: torch.Tensor
    """[labels, hidden]"""
    bias: torch.Tensor
    """[labels]"""
    words: torch.Tensor
    """[labels, words.BUCKETS]; zeros where words add nothing."""
    penalties: dict[Kind, float]
    """Inverse ones, of the regressions on vectors and on words."""
    share: float
    """How much the scores of words count beside those of vectors."""
    scores: tuple[HeadScore, ...]
    """Of all that were tried, one of them chosen."""


def fit(
    vectors: torch.Tensor, texts: Sequence[str], labels: torch.Tensor, weights: torch.Tensor, count: int
) -> LinearHead:
    """Fit all on `vectors` [examples, hidden] of length 1 and choose, for `count` labels.

    The best has the lowest quadratic loss (Brier, Monthly Weather Review 78, 1950), which no single sure
    mistake decides. A simpler one within a standard error of it, example by example, is preferred.
    """
    data = _data(vectors, texts, labels, weights, count)
    folds = _folds(data.labels)
    held_out = np.concatenate([test for _, test in folds])
    penalties, unseen = dict[Kind, float](), dict[Kind, Matrix]()
    for kind in _KINDS[:2]:
        penalties[kind], unseen[kind] = data.best_penalty(kind, folds, held_out)
    share, unseen["both"] = min(
        ((share, unseen["vectors"] + share * unseen["words"]) for share in _WORD_SHARES),
        key=lambda mixed: float(data.losses(mixed[1], held_out).mean()),
    )
    chosen = _simplest({kind: data.losses(unseen[kind], held_out) for kind in _KINDS})
    scores = tuple(data.score(kind, unseen[kind], held_out, chosen) for kind in _KINDS)
    if chosen != "both":
        penalties = {chosen: penalties[chosen]}
    return data.head(penalties, share if chosen == "both" else 1.0, scores)


def tolerance(labels: int) -> float:
    """The largest entry of the gradient at which scikit-learn's regression on so many labels has converged.

    Entries shrink as labels become more: with 150 balanced labels a fit ends where it begins at 0.001. Where
    labels are few, scikit-learn's own tolerance is the smaller one.
    """
    return min(1e-4, 0.01 / labels)


def refit(
    head: LinearHead,
    vectors: torch.Tensor,
    texts: Sequence[str],
    labels: torch.Tensor,
    weights: torch.Tensor,
) -> LinearHead:
    """The same head on other examples: what was chosen stays."""
    return _data(vectors, texts, labels, weights, len(head.bias)).head(
        head.penalties, head.share, head.scores
    )


@dataclass(frozen=True)
class _Data:
    """Examples as linear heads read them."""

    centre: torch.Tensor
    """[hidden]"""
    rarity: Matrix
    """[words.BUCKETS]: inverse document frequency."""
    vectors: Matrix
    """[examples, hidden]"""
    words: Any
    """[examples, words.BUCKETS], sparse."""
    labels: npt.NDArray[np.int64]
    weights: Matrix
    count: int
    """Of labels; some may have no example."""

    def head(self, penalties: dict[Kind, float], share: float, scores: tuple[HeadScore, ...]) -> LinearHead:
        """Fitted on all examples; what has no penalty is left out."""
        rows, bias = self.fit("vectors", penalties.get("vectors", 0.0))
        letters, offset = self.fit("words", penalties.get("words", 0.0))
        return LinearHead(
            self.centre,
            torch.from_numpy(rows).to(self.centre),
            torch.from_numpy(bias + share * offset).to(self.centre),
            torch.from_numpy(share * letters * self.rarity).to(self.centre),
            penalties,
            share,
            scores,
        )

    def fit(self, kind: Kind, inverse_penalty: float, train: Any = slice(None)) -> tuple[Matrix, Matrix]:
        """Rows [count, features] and biases [count] of scikit-learn's regression on the examples `train`.

        All zero for no `inverse_penalty`.
        """
        from sklearn.linear_model import LogisticRegression

        features, labels = (self.vectors if kind == "vectors" else self.words)[train], self.labels[train]
        rows = np.zeros((self.count, features.shape[1]), dtype=np.float32)
        bias = np.zeros(self.count, dtype=np.float32)
        if not inverse_penalty:
            return rows, bias
        known = np.unique(labels)
        bias[:] = _UNSEEN_BIAS
        if len(known) == 1:
            bias[known] = 0.0
            return rows, bias
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # too few steps to converge: it is measured as it is
            model = LogisticRegression(C=inverse_penalty, max_iter=300, tol=tolerance(len(known)))
            model.fit(features, labels, self.weights[train])
        coefficients, offsets = model.coef_, model.intercept_
        if len(coefficients) == 1:  # two labels: the score of the second against the first
            coefficients, offsets = (np.concatenate((-part, part)) / 2 for part in (coefficients, offsets))
        rows[known], bias[known] = coefficients, offsets
        return rows, bias

    def best_penalty(self, kind: Kind, folds: Folds, held_out: Matrix) -> tuple[float, Matrix]:
        """The inverse penalty with the lowest loss, and its scores [held_out, count] of unseen examples.

        Penalties are lowered as long as that helps.
        """
        best, scores, least = 0.0, np.zeros(0), math.inf
        for inverse_penalty in _INVERSE_PENALTIES:
            tried = np.concatenate([self._predict(kind, inverse_penalty, *fold) for fold in folds])
            loss = float(self.losses(tried, held_out).mean())
            if loss >= least:
                break
            best, scores, least = inverse_penalty, tried, loss
        return best, scores

    def _predict(self, kind: Kind, inverse_penalty: float, train: Matrix, test: Matrix) -> Matrix:
        rows, bias = self.fit(kind, inverse_penalty, train)
        features: Matrix = (self.vectors if kind == "vectors" else self.words)[test]
        return np.asarray(features @ rows.T + bias)

    def losses(self, scores: Matrix, held_out: Matrix) -> Matrix:
        """[held_out]: squared distance of the probabilities from what is right, times the weight."""
        probabilities: Matrix = softmax(scores, axis=1)
        probabilities[np.arange(len(held_out)), self.labels[held_out]] -= 1.0
        return np.asarray(self.weights[held_out] * (probabilities**2).sum(1))

    def score(self, kind: Kind, scores: Matrix, held_out: Matrix, chosen: Kind) -> HeadScore:
        """How many of the unseen examples are right."""
        right, count = float((scores.argmax(1) == self.labels[held_out]).mean()), len(held_out)
        error = math.sqrt(right * (1 - right) / count)
        return HeadScore(kind=kind, accuracy=right, error=error, examples=count, chosen=kind == chosen)


def _data(
    vectors: torch.Tensor, texts: Sequence[str], labels: torch.Tensor, weights: torch.Tensor, count: int
) -> _Data:
    centre, counted = vectors.mean(0), words.features(texts)
    rarity = words.rarity(counted)
    centred = torch.nn.functional.normalize(vectors - centre, dim=-1).cpu().numpy()
    rare = counted.multiply(rarity[None]).tocsr()
    return _Data(centre, rarity, centred, rare, labels.cpu().numpy(), weights.cpu().numpy(), count)


def _folds(labels: npt.NDArray[np.int64]) -> Folds:
    """Indices of (train, test), of each label about as many in each fold; as few folds as hold out enough."""
    shuffled = np.random.default_rng(0).permutation(len(labels))
    by_label = shuffled[np.argsort(labels[shuffled], kind="stable")]
    count = math.ceil(min(_FOLDS, _HELD_OUT * _FOLDS / len(labels)))
    fold = np.arange(len(labels)) % _FOLDS
    return [(by_label[fold != number], by_label[fold == number]) for number in range(count)]


def _simplest(losses: dict[Kind, Matrix]) -> Kind:
    """The first whose loss is within a standard error of the lowest."""
    best = min(losses.values(), key=lambda each: float(each.mean()))
    for kind, each in losses.items():
        excess = each - best
        if excess.mean() <= excess.std() / math.sqrt(len(excess)):
            return kind
    raise AssertionError("the best is within a standard error of itself")
