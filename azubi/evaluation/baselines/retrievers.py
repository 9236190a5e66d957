"""Finding the training examples that are most like a question.

By words (BM25, Robertson and Zaragoza 2009, as bm25s computes it), by vectors of a small frozen encoder, or
by both, put together by reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009). Knows texts;
nothing of answers or models that talk.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Vectors = Callable[[Sequence[str]], npt.NDArray[np.float32]]
Ranks = npt.NDArray[np.int64]

DEEP = 50
"""Examples that each finder ranks; what stands behind them is not asked for."""
_FUSION = 60.0
"""The constant k of reciprocal rank fusion, as in the paper."""


class Finder(Protocol):
    """Ranks the training examples for questions."""

    name: str

    def find(self, questions: Sequence[str]) -> Ranks:
        """[questions, up to DEEP]: numbers of the examples, the most like first."""


class Words:
    """BM25 over words."""

    name = "bm25"

    def __init__(self, texts: Sequence[str]) -> None:
        """Index the training prompts."""
        import bm25s

        self._count = len(texts)
        self._index: Any = bm25s.BM25()
        # No stop words: they would be those of one language.
        self._index.index(_words(texts), show_progress=False)

    def find(self, questions: Sequence[str]) -> Ranks:
        """Of examples with equal scores the earlier comes first; those without a common word at the end."""
        words = _words(questions, as_ids=False)
        return np.array(
            [_best(self._index.get_scores(one) if one else np.zeros(self._count)) for one in words]
        )


class Meaning:
    """Cosine similarity of frozen features."""

    name = "dense"

    def __init__(self, texts: Sequence[str], vectors: Vectors) -> None:
        """`vectors` gives vectors of length 1; training prompts are read when the first question comes."""
        self._vectors, self._texts = vectors, texts

    def find(self, questions: Sequence[str]) -> Ranks:
        """The nearest first."""
        known = self._vectors(self._texts)
        return np.array([_best(known @ one) for one in self._vectors(questions)])


class Both:
    """Reciprocal rank fusion of several finders."""

    name = "both"

    def __init__(self, finders: Sequence[Finder]) -> None:
        """Each finder counts alike."""
        self._finders = finders

    def find(self, questions: Sequence[str]) -> Ranks:
        """Those first that stand in front by several ways."""
        ways = [one.find(questions) for one in self._finders]
        return np.array([_fused([way[place] for way in ways]) for place in range(len(questions))])


def _fused(ranked: Sequence[Ranks]) -> Ranks:
    merits: dict[int, float] = {}
    for numbers in ranked:
        for rank, number in enumerate(numbers.tolist(), start=1):
            merits[number] = merits.get(number, 0.0) + 1 / (_FUSION + rank)
    best = sorted(merits, key=lambda number: (-merits[number], number))
    return np.array(best[: len(ranked[0])], dtype=np.int64)


def _best(scores: npt.NDArray[Any]) -> Ranks:
    return np.argsort(-scores, kind="stable")[:DEEP].astype(np.int64)


def _words(texts: Sequence[str], *, as_ids: bool = True) -> Any:
    import bm25s

    # Single characters count: claim numbers and amounts are parted at their dots.
    pattern = r"(?u)\b\w+\b"
    return bm25s.tokenize(
        list(texts), stopwords=None, token_pattern=pattern, show_progress=False, return_ids=as_ids
    )
