"""What a label head reads beside the encoder's vector: the letters of a text's words.

A text is the set of its character n-grams within words, each hashed to one of `BUCKETS` numbers, as in
scikit-learn's `char_wb` and in feature hashing (Weinberger et al., arXiv 0902.2206). Nothing is learned here,
so the same text has the same features everywhere.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_matrix

BUCKETS = 1 << 14
_LONGEST = 5
"""Letters of an n-gram at most, and two at least; the spaces around a word count."""
_SPACE = ord(" ")
_ROLL, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
"""Odd numbers of well-spread bits: of a polynomial hash, and of what brings its upper bits together."""
_SHIFT = np.uint64(64 - (BUCKETS - 1).bit_length())


def features(texts: Sequence[str]) -> csr_matrix:
    """[texts, BUCKETS], float32: 1 + log(count) of each n-gram, scaled so that a row has length 1."""
    rows = [_row(text) for text in texts]
    ends = np.cumsum([0, *(len(buckets) for buckets, _ in rows)])
    columns = np.concatenate([buckets for buckets, _ in rows])
    return csr_matrix((np.concatenate([values for _, values in rows]), columns, ends), (len(rows), BUCKETS))


def rarity(counted: csr_matrix) -> npt.NDArray[np.float32]:
    """[BUCKETS]: inverse document frequency of each n-gram in `features` of texts, smoothed."""
    inverse = np.log((1 + counted.shape[0]) / (1 + counted.getnnz(0))) + 1
    return np.asarray(inverse, dtype=np.float32)


def scores(texts: Sequence[str], rows: torch.Tensor) -> torch.Tensor:
    """Products of the texts' features with `rows` [labels, BUCKETS], as [texts, labels]."""
    products = []
    for text in texts:
        buckets, values = _row(text)
        products.append(rows[:, torch.from_numpy(buckets)] @ torch.from_numpy(values).to(rows))
    return torch.stack(products)


def _row(text: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """The buckets of a text's n-grams, in order, and their values."""
    spaced = f" {' '.join(text.casefold().split())} "
    letters = np.frombuffer(spaced.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    spaces, hashes, hashed = letters == _SPACE, letters, []
    across = np.zeros(len(letters), dtype=bool)  # whether there is a space inside: that is no part of a word
    for length in range(2, min(_LONGEST, len(letters)) + 1):
        hashes = hashes[:-1] * _ROLL + letters[length - 1 :]
        inner = spaces[length - 2 : len(letters) - 1]
        across = across[:-1] | inner if length > 2 else across[:-1]
        hashed.append(hashes[~across])
    buckets, counts = np.unique(np.concatenate(hashed) * _MIX >> _SHIFT, return_counts=True)
    values = 1 + np.log(counts)
    return buckets.astype(np.int64), (values / np.linalg.norm(values)).astype(np.float32)
