"""Whether a question is in scope: by the frozen trunk's activations, and by how sure the tail is.

The trunk's activations of a question, averaged over its tokens, are compared with those of the training
examples. Directions in which examples of one class differ among themselves say nothing about the scope, so
they are scaled down first: within-class covariance normalisation (Hatch et al. 2006), the metric of
Lee et al., arXiv 1807.03888. The likeness is the cosine to the nearest class mean (Dehak et al. 2011); unlike
the distance it does not depend on the vectors' length. The tail adds its evidence: a label head its energy
(Liu et al., arXiv 2010.03759), a decoder the mean log-probability of its answer's tokens. Both are
standardised on held-out questions in scope, and added.

No question out of scope is needed: the limit is set so that a wanted share of the held-out questions
lies above it (split conformal prediction: Papadopoulos et al. 2002).

Knows vectors; nothing of texts, models or how answers come about.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from azubi.errors import CorruptFile
from azubi.storage import files

Matrix = NDArray[np.float32]
Vector = NDArray[np.float32]
Floats = NDArray[np.float64]

RECALL = 0.95
"""Share of the questions of the job that have to count as in scope; it sets the limit."""
MOST = 20_000
"""Training examples that are used; more change class means and covariance by little."""
_WIDTH = 512
"""Wider activations are reduced to so many principal components first."""
_PER_CLUSTER, _CLUSTERS = 10, 256
"""Where answers are no labels, examples are clustered: so many in each, at most so many clusters."""
_SEED = 0


@dataclass(frozen=True)
class Likeness:
    """How like a question is to the training examples, by the trunk's activations."""

    centre: Vector
    """[hidden]: mean of the examples."""
    projection: Matrix
    """[hidden, width]: scales the spread within a class to 1 in every direction."""
    prototypes: Matrix
    """[classes, width]: directions of the class means, of length 1."""

    def __call__(self, vectors: Matrix) -> Floats:
        """Cosine of each of `vectors` [questions, hidden] to the nearest prototype, -1 to 1."""
        placed = unit((vectors - self.centre) @ self.projection)
        nearest: Floats = (placed @ self.prototypes.T).max(1).astype(np.float64)
        return nearest


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of a figure over held-out questions in scope."""

    mean: float
    spread: float

    def __call__(self, values: Floats) -> Floats:
        """`values` in standard deviations from the mean."""
        return (values - self.mean) / self.spread


@dataclass(frozen=True)
class Scope:
    """Scores questions; the higher, the more like the training examples."""

    likeness: Likeness
    likeness_scale: Scale
    evidence_scale: Scale | None
    """None where the tail's evidence is not used."""
    limit: float
    """A question that scores less is out of scope."""
    questions: int
    """Held-out questions that the limit was set with."""

    def scores(self, vectors: Matrix, evidence: Floats) -> Floats:
        """Scores of questions, from activations [questions, hidden] and the tail's evidence [questions]."""
        scores = self.likeness_scale(self.likeness(vectors))
        return scores if self.evidence_scale is None else scores + self.evidence_scale(evidence)

    def score(self, vector: Vector, evidence: float) -> float:
        """The same for one question."""
        return float(self.scores(vector[None], np.array([evidence]))[0])


def size(hidden: int, classes: int | None, examples: int) -> int:
    """About how many bytes `write` takes; without `classes`, of the groups that `fit` would make."""
    width = min(hidden, _WIDTH, examples) if hidden > _WIDTH else hidden
    return 4 * (hidden + hidden * width + (classes or _groups(examples)) * width)


def fit(vectors: Matrix, classes: Sequence[int] | None = None) -> Likeness:
    """Learn the likeness from training examples [examples, hidden].

    `classes` numbers the label of each; without, examples are grouped by likeness (k-means).
    """
    from sklearn.covariance import ledoit_wolf

    vectors = vectors.astype(np.float64)
    centre = vectors.mean(0)
    centred, axes = _narrowed(vectors - centre)
    groups = np.asarray(classes) if classes is not None else _clusters(centred)
    _, groups = np.unique(groups, return_inverse=True)
    means = np.stack([centred[groups == group].mean(0) for group in range(groups.max() + 1)])
    # Shrunk towards a multiple of the identity (Ledoit and Wolf 2004): there may be fewer examples than axes.
    within = ledoit_wolf(centred - means[groups], assume_centered=True)[0]
    sizes, directions = np.linalg.eigh(within)
    whitening = directions / np.sqrt(np.maximum(sizes, sizes[-1] * 1e-9 or 1.0))
    return Likeness(
        centre.astype(np.float32),
        (axes @ whitening).astype(np.float32),
        unit(means @ whitening).astype(np.float32),
    )


def calibrated(likeness: Likeness, vectors: Matrix, evidence: Floats | None, recall: float = RECALL) -> Scope:
    """Set scales and limit with held-out questions in scope.

    A further question in scope lies above the limit with a probability of at least `recall`, if there were
    1 / (1 - recall) - 1 questions or more; with fewer the lowest of them is the limit.
    """
    alike = likeness(vectors)
    scales = _scale(alike), None if evidence is None else _scale(evidence)
    unlimited = Scope(likeness, *scales, limit=-np.inf, questions=len(vectors))
    scores = np.sort(unlimited.scores(vectors, evidence if evidence is not None else alike))
    below = max(1, int(np.floor((1 - recall) * (len(scores) + 1) + 1e-9)))
    return Scope(likeness, *scales, limit=float(scores[below - 1]), questions=len(vectors))


def write(scope: Scope, path: Path) -> None:
    """Write as safetensors, whole or not at all."""
    from safetensors.numpy import save_file

    evidence = scope.evidence_scale or Scale(np.nan, np.nan)
    figures = (
        *(scope.likeness_scale.mean, scope.likeness_scale.spread, evidence.mean, evidence.spread),
        *(scope.limit, float(scope.questions)),
    )
    likeness = scope.likeness
    with files.new_file(path) as scratch:
        save_file(
            {
                "centre": likeness.centre,
                "projection": np.ascontiguousarray(likeness.projection),
                "prototypes": np.ascontiguousarray(likeness.prototypes),
                "figures": np.array(figures, dtype=np.float64),
            },
            scratch,
        )


def read(path: Path) -> Scope:
    """Read what `write` wrote; raises CorruptFile if the file is missing or damaged."""
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
        figures = [float(figure) for figure in tensors["figures"]]
        likeness = Likeness(tensors["centre"], tensors["projection"], tensors["prototypes"])
        first, second, limit, questions = Scale(*figures[:2]), Scale(*figures[2:4]), *figures[4:]
    except Exception as error:  # safetensors raises its own kind, which is not exported
        raise CorruptFile(
            f"{path} cannot be read: {error}.", "Train the specialist again: `azubi tune recipe.yaml`."
        ) from error
    return Scope(likeness, first, None if np.isnan(second.mean) else second, limit, int(questions))


def _narrowed(centred: Floats) -> tuple[Floats, Floats]:
    """The vectors along their principal axes, and those axes [hidden, width]; as they are if not wide."""
    hidden = centred.shape[1]
    if hidden <= _WIDTH:
        return centred, np.eye(hidden)
    from sklearn.decomposition import PCA

    pca = PCA(min(_WIDTH, *centred.shape), svd_solver="randomized", random_state=_SEED).fit(centred)
    axes: Floats = pca.components_.T
    return centred @ axes, axes


def _groups(examples: int) -> int:
    return min(_CLUSTERS, max(2, examples // _PER_CLUSTER))


def _clusters(centred: Floats) -> NDArray[np.int64]:
    from sklearn.cluster import KMeans

    count = min(_groups(len(centred)), len(np.unique(centred, axis=0)))
    kmeans = KMeans(count, n_init=1, max_iter=50, random_state=_SEED)
    clusters: NDArray[np.int64] = kmeans.fit_predict(unit(centred)).astype(np.int64)
    return clusters


def _scale(values: Floats) -> Scale:
    return Scale(float(values.mean()), float(values.std()) or 1.0)


def unit(rows: NDArray[Any]) -> NDArray[Any]:
    """The rows of a matrix, each scaled to length 1; zeros stay."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: NDArray[Any] = rows / np.maximum(lengths, 1e-12)
    return scaled
