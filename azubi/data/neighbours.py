"""Tells whether texts that are nearly the same have been met before, and on which side of a split.

What is nearly the same is `near`'s to say. There pairs are searched by sketches, which miss some, and which
ones depends on all texts at once; here every text is compared with each that could be near enough, so the
answer follows from the texts alone, and further ones do not change it. Few need comparing: two sets that
share eight tenths have in common one of the two tenths that are rarest in each (prefix filtering, Chaudhuri
et al. 2006).

Knows nothing of examples, hashes or settings.
"""

import math
from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from azubi.data import near
from azubi.data.side import SIDES, Side

_FIRST = 8
"""Candidates that are compared at first; then twice as many, and so on: one that is near is enough."""


class Neighbours:
    """A set of texts by their names; those that are put on a side are found by those like them."""

    def __init__(self, texts: Mapping[str, str], threshold: float = near.NEAR) -> None:
        """All texts that there are; none of them stands on a side yet."""
        self._threshold = threshold
        self._rows = {name: row for row, name in enumerate(texts)}
        self._ranks, self._sizes = _by_rarity(list(texts.values()))
        self._ends = np.cumsum(self._sizes)
        self._marked = np.zeros(int(self._ranks.max(initial=-1)) + 1, np.uint8)
        self._there: dict[Side, dict[int, list[int]]] = {side: defaultdict(list) for side in SIDES}

    def put(self, name: str, side: Side) -> None:
        """Let a text be found on a side."""
        row = self._rows[name]
        for rank in self._lead(row):
            self._there[side][rank].append(row)

    def sides(self, name: str) -> frozenset[Side]:
        """The sides on which nearly the same text was put."""
        row = self._rows[name]
        own, lead = self._set(row), self._lead(row)
        self._marked[own] = 1
        found = frozenset(side for side in SIDES if self._met(row, self._there[side], lead))
        self._marked[own] = 0
        return found

    def _met(self, row: int, there: Mapping[int, list[int]], lead: list[int]) -> bool:
        seen: set[int] = set()
        for rank in lead:
            others = [one for one in there.get(rank, ()) if one not in seen]
            seen.update(others)
            begin, count = 0, _FIRST
            while begin < len(others):
                if self._any_near(row, np.array(others[begin : begin + count])):
                    return True
                begin, count = begin + count, count * 2
        return False

    def _any_near(self, row: int, others: NDArray[np.int64]) -> bool:
        size, sizes = self._sizes[row], self._sizes[others]
        others = others[np.minimum(size, sizes) >= self._threshold * np.maximum(size, sizes) - 1e-9]
        if not len(others):
            return False
        sizes = self._sizes[others]
        marks = self._marked[np.concatenate([self._set(int(one)) for one in others])]
        common = np.add.reduceat(marks, np.cumsum(sizes) - sizes, dtype=np.int64)
        return bool((common / (size + sizes - common) >= self._threshold).any())

    def _set(self, row: int) -> NDArray[np.int32]:
        end = self._ends[row]
        return self._ranks[end - self._sizes[row] : end]

    def _lead(self, row: int) -> list[int]:
        """The rarest elements of a set; of two sets that are near enough, both have one of the other's."""
        size = int(self._sizes[row])
        lead: list[int] = self._set(row)[: size - math.ceil(self._threshold * size - 1e-9) + 1].tolist()
        return lead


def _by_rarity(texts: list[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Each text's set as numbers, the rarest element of all being 0; sorted, one text after the other."""
    if not texts:
        return np.empty(0, np.int32), np.empty(0, np.int64)
    elements, sizes = near.sets(texts)
    known, places, counts = np.unique(elements, return_inverse=True, return_counts=True)
    rank = np.empty(len(known), np.int32)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(known), dtype=np.int32)
    row = np.repeat(np.arange(len(texts), dtype=np.int64), sizes)
    keys = np.sort((row << 32) | rank[places])
    return (keys & 0xFFFFFFFF).astype(np.int32), sizes
