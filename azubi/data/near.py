"""Near-duplicates: which texts say nearly the same, found without comparing each with each.

A text is taken as the set of its words and of its pairs of neighbouring words, in small letters and without
punctuation; two texts are nearly equal if their sets share enough (Jaccard). Candidates come from a forest
of MinHash sketches: texts are sorted by their sketch, sixteen times, each time from another place in it,
and each text is compared with its neighbours there. So the work grows with the number of texts, even where
all of them follow one template and any fixed banding would put them all into one bucket. Every candidate is
then verified by its true sets, so nothing is named that is not so; a pair just above the threshold is
missed now and then.

The same texts give the same pairs on every machine and with every version of the libraries, since nothing but
integer arithmetic decides. Knows nothing of examples, labels or files, nor what a text means: a different
amount or a "not" is one word like any other.
"""

import os
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import blake2b
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

NEAR = 0.8
"""Texts whose sets share this much are nearly equal: of fourteen words one may differ, of a hundred seven. On
Banking77, 96 % of such pairs have the same label, and 18 % of those between 0.7 and 0.75 have not."""
LONGEST = 50_000
"""Characters of a text that are looked at."""

_SKETCH = 64
"""Smallest hashes kept per text, one byte of each."""
_TREES = 16
_DEPTH = 16
"""Bytes of the sketch by which a tree sorts; each tree begins where the one before it has its fifth."""
_SHARED = 4
"""Bytes that neighbours in a tree must share before they are looked at."""
_NEIGHBOURS = 4
_SLACK = 3.0
"""Standard errors by which a sketch may fall short of the threshold before the pair is dropped unverified."""
_CHARACTERS = 1 << 20
_ELEMENTS = 1 << 21
"""Worked on at a time: characters when sketching, set elements when verifying."""
_SLICE = 1 << 15
"""Hashes per pass, so that they stay in the processor's cache."""

_SEPARATOR, _INSIDE, _ALONE = 0, 1, 2
_MASK = (1 << 64) - 1

U8: TypeAlias = NDArray[np.uint8]
U32: TypeAlias = NDArray[np.uint32]
U64: TypeAlias = NDArray[np.uint64]
I64: TypeAlias = NDArray[np.int64]


class Pair(NamedTuple):
    """Two texts that are nearly equal, by their places (counted from 0), the earlier one first."""

    first: int
    second: int
    similarity: float
    """Share of words and word pairs that both have, of those that either has; 1.0 also if only case,
    spacing or punctuation differ."""


class NearIndex:
    """Texts, added in batches, and the pairs among them that are nearly equal.

    Takes about 80 bytes of memory per text; the sets lie in a temporary file that has no name and so vanishes
    with the process.
    """

    def __init__(self, threshold: float = NEAR) -> None:
        self.threshold = threshold
        self._sketches: list[U8] = []
        self._digests: list[U64] = []
        self._sizes: list[I64] = []
        self._sets = tempfile.TemporaryFile(prefix="azubi-near-")  # noqa: SIM115 - closed with the index
        self._found: tuple[I64, I64, NDArray[np.float64]] | None = None

    def __len__(self) -> int:
        return sum(map(len, self._sizes))

    def add(self, texts: Sequence[str]) -> None:
        """Take in more texts; their places go on from those already there."""
        for part in _portions(texts):
            sets, sizes, digests = _sets(part)
            sets.tofile(self._sets)
            self._sizes.append(sizes)
            self._digests.append(digests)
            self._sketches.append(_sketches(sets, sizes))
        self._found = None

    def pairs(self) -> Iterator[Pair]:
        """Pairs of nearly equal texts, in the order of the second one.

        Among many that are all nearly equal not every pair is named, but enough that they hang together.
        """
        first, second, similarity = self.table()
        for one, other, share in zip(first.tolist(), second.tolist(), similarity.tolist(), strict=True):
            yield Pair(one, other, share)

    def groups(self) -> I64:
        """For each text the place of the first that it hangs together with, directly or through others."""
        first, second, _ = self.table()
        return _joined(len(self), first, second)

    def close(self) -> None:
        """Give the temporary file back."""
        self._sets.close()

    def table(self) -> tuple[I64, I64, NDArray[np.float64]]:
        """What `pairs` yields, as three columns: the earlier text, the later one, how alike they are."""
        if self._found is None:
            self._found = self._search()
        return self._found

    def _search(self) -> tuple[I64, I64, NDArray[np.float64]]:
        if not len(self):
            nothing = np.empty(0, np.int64)
            return nothing, nothing, np.empty(0)
        self._sets.flush()
        _, rows, copies = np.unique(np.concatenate(self._digests), return_index=True, return_inverse=True)
        sizes = np.concatenate(self._sizes)
        forest = _Forest(np.concatenate(self._sketches)[rows], self.threshold)
        near = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
        for one, other in forest.candidates():
            first, second = np.minimum(rows[one], rows[other]), np.maximum(rows[one], rows[other])
            share = self._jaccard(first, second, sizes)
            true = share >= self.threshold
            forest.join(one[true], other[true])
            near.append((first[true], second[true], share[true]))
        later = np.flatnonzero(rows[copies] != np.arange(len(copies)))
        near.append((rows[copies[later]], later, np.ones(len(later))))
        first, second, share = (np.concatenate(column) for column in zip(*near, strict=True))
        order = np.lexsort((first, second))
        return first[order], second[order], share[order]

    def _jaccard(self, first: I64, second: I64, sizes: I64) -> NDArray[np.float64]:
        ends = np.cumsum(sizes)
        both = sizes[first] + sizes[second]
        shares = np.empty(len(first))
        for part in _slices(both, _ELEMENTS):
            here = slice(part.start, part.stop)
            elements = np.concatenate(
                [self._read(ends[row] - sizes[row], sizes[row]) for row in _interleaved(first, second, here)]
            ).astype(np.uint64)
            pair = np.repeat(np.arange(len(both[here]), dtype=np.uint64), both[here])
            keys = np.sort((pair << np.uint64(32)) | elements)
            twice = keys[1:][keys[1:] == keys[:-1]] >> np.uint64(32)
            common = np.bincount(twice.astype(np.int64), minlength=len(both[here]))
            shares[here] = common / (both[here] - common)
        return shares

    def _read(self, begin: int, count: int) -> U32:
        # Read, not mapped: pages of a map would count as this process's memory.
        return np.frombuffer(os.pread(self._sets.fileno(), int(count) * 4, int(begin) * 4), np.uint32)


def groups(texts: Sequence[str], threshold: float = NEAR) -> list[tuple[int, ...]]:
    """The groups of two or more texts that hang together, each by the places of its texts in order."""
    index = NearIndex(threshold)
    index.add(texts)
    together: dict[int, list[int]] = {}
    for place, head in enumerate(index.groups().tolist()):
        together.setdefault(head, []).append(place)
    index.close()
    return [tuple(places) for places in together.values() if len(places) > 1]


def sets(texts: Sequence[str]) -> tuple[U32, I64]:
    """What is compared: hashes of each text's words and word pairs, sorted, text after text; and how many."""
    parts = [_sets(part)[:2] for part in _portions(texts)] or [
        (np.empty(0, np.uint32), np.empty(0, np.int64))
    ]
    elements, sizes = zip(*parts, strict=True)
    return np.concatenate(elements), np.concatenate(sizes)


class _Forest:
    """Sorts sketches from sixteen places in them and names neighbours that do not hang together yet."""

    def __init__(self, sketches: U8, threshold: float) -> None:
        self._sketches = sketches
        self._heads = np.arange(len(sketches))
        error = (threshold * (1 - threshold) / _SKETCH) ** 0.5
        self._fewest = _SKETCH * max(0.0, threshold - _SLACK * error)

    def candidates(self) -> Iterator[tuple[I64, I64]]:
        """Two rows each of places among the sketches; `join` what is true before taking the next."""
        for tree in range(_TREES):
            begin = tree * (_SKETCH // _TREES)
            places = np.arange(begin, begin + _DEPTH) % _SKETCH
            keys = np.ascontiguousarray(self._sketches[:, places]).view(">u8").astype(np.uint64)
            order = np.lexsort((keys[:, 1], keys[:, 0]))
            lead = keys[order, 0] >> np.uint64(64 - 8 * _SHARED)
            del keys
            for step in range(1, _NEIGHBOURS + 1):
                beside = np.flatnonzero(lead[step:] == lead[:-step])
                one, other = order[beside], order[beside + step]
                apart = self._heads[one] != self._heads[other]
                one, other = one[apart], other[apart]
                like = self._alike(one, other)
                if like.any():
                    yield one[like], other[like]

    def join(self, one: I64, other: I64) -> None:
        """Note that these hang together."""
        if len(one):
            self._heads = _joined(len(self._heads), *(self._heads[side] for side in (one, other)))[
                self._heads
            ]

    def _alike(self, one: I64, other: I64) -> NDArray[np.bool_]:
        alike = np.empty(len(one), bool)
        for begin in range(0, len(one), _SLICE):
            here = slice(begin, begin + _SLICE)
            same = self._sketches[one[here]] == self._sketches[other[here]]
            alike[here] = np.count_nonzero(same, axis=1) >= self._fewest
        return alike


def _joined(count: int, one: I64, other: I64) -> I64:
    """For each of `count` places the smallest place that it is linked to by the pairs, through any others."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(count, count))
    _, component = connected_components(links, directed=False)
    _, first = np.unique(component, return_index=True)
    return np.asarray(first[component], np.int64)


# Texts to sets


def _portions(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """The texts in runs of about a million characters."""
    lengths = np.fromiter((min(len(text), LONGEST) for text in texts), np.int64, len(texts))
    for part in _slices(lengths, _CHARACTERS):
        yield texts[part.start : part.stop]


def _slices(sizes: I64, most: int) -> Iterator[range]:
    """Cut a row of sizes into runs whose sum is about `most`; each holds at least one."""
    ends, begin = np.cumsum(sizes), 0
    while begin < len(sizes):
        before = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + most, "right")))
        yield range(begin, end)
        begin = end


def _interleaved(first: I64, second: I64, here: slice) -> list[int]:
    rows: list[int] = np.stack([first[here], second[here]], axis=1).ravel().tolist()
    return rows


def _sets(texts: Sequence[str]) -> tuple[U32, I64, U64]:
    """Hashes of each text's words and word pairs (sorted, each once), how many, and a digest of the words."""
    prepared = [unicodedata.normalize("NFKC", text[:LONGEST]).casefold() for text in texts]
    words, counts = _words(prepared)
    text_of = np.repeat(np.arange(len(texts), dtype=np.uint64), counts)
    follows = np.flatnonzero(text_of[1:] == text_of[:-1])
    pairs = _mixed(words[follows] * _ODD + words[follows + 1])
    hashes = np.concatenate([words, pairs]) >> np.uint64(32)
    keys = np.sort((np.concatenate([text_of, text_of[follows]]) << np.uint64(32)) | hashes)
    keys = keys[np.append(True, keys[1:] != keys[:-1])] if len(keys) else keys
    sizes = np.bincount((keys >> np.uint64(32)).astype(np.int64), minlength=len(texts))
    return keys.astype(np.uint32), sizes, _digests(words, counts)


def _words(prepared: Sequence[str]) -> tuple[U64, I64]:
    """A hash of every word, one text after the other, and how many words each text has.

    What writes without spaces (Han, kana) and symbols are words of one character. A text without any
    word, such as "???", is one word as a whole.
    """
    joined = "".join(text + "\n" for text in prepared)
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    kinds = _kinds()[np.minimum(codes, 0xFFFF)]
    inside = kinds == _INSIDE
    begins = kinds == _ALONE
    begins[1:] |= inside[1:] & (kinds[:-1] != _INSIDE)
    begins[:1] |= inside[:1]
    bounds = np.cumsum(np.fromiter(map(len, prepared), np.int64, len(prepared)) + 1)
    places = np.flatnonzero(begins)
    counts = np.diff(np.searchsorted(places, bounds), prepend=0)
    hashes = _hashed(codes, kinds != _SEPARATOR, begins)
    if counts.all():
        return hashes, counts
    return _with_wordless(prepared, hashes, counts)


def _hashed(codes: U32, kept: NDArray[np.bool_], begins: NDArray[np.bool_]) -> U64:
    letters = codes[kept].astype(np.uint64)
    starts = np.flatnonzero(begins[kept])
    if not len(starts):
        return np.empty(0, np.uint64)
    lengths = np.diff(starts, append=len(letters))
    place = np.arange(len(letters)) - np.repeat(starts, lengths)
    return _mixed(np.add.reduceat((letters + np.uint64(1)) * _PLACES[place % len(_PLACES)], starts))


def _with_wordless(prepared: Sequence[str], hashes: U64, counts: I64) -> tuple[U64, I64]:
    empty = np.flatnonzero(counts == 0)
    whole = [
        _digest(" ".join(prepared[place].split()).encode("utf-8", "surrogatepass"))
        for place in empty.tolist()
    ]
    where = np.cumsum(counts)[empty]
    return np.insert(hashes, where, np.array(whole, np.uint64)), np.maximum(counts, 1)


@cache
def _kinds() -> U8:
    """For each character up to U+FFFF whether it parts words, stands in one, or is one; the last: beyond."""
    kinds = np.full(1 << 16, _SEPARATOR, np.uint8)
    for code in range(0xFFFF):
        category = unicodedata.category(chr(code))
        if category[0] == "S" or _is_alone(code):
            kinds[code] = _ALONE
        elif category[0] in "LMN":
            kinds[code] = _INSIDE
    kinds[0xFFFF] = _ALONE
    return kinds


def _is_alone(code: int) -> bool:
    """Kana and Han."""
    return 0x3040 <= code <= 0x30FF or 0x3400 <= code <= 0x4DBF or 0x4E00 <= code <= 0x9FFF


def _digests(words: U64, counts: I64) -> U64:
    data, ends = words.tobytes(), (np.cumsum(counts) * 8).tolist()
    begins = [0, *ends[:-1]]
    return np.array([_digest(data[b:e]) for b, e in zip(begins, ends, strict=True)], np.uint64)


def _digest(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest())


# Sets to sketches


def _sketches(sets: U32, sizes: I64) -> U8:
    """For each set the lowest byte of the smallest value that each of 64 permutations gives its elements."""
    sketches = np.empty((_SKETCH, len(sizes)), np.uint8)
    starts = np.cumsum(sizes) - sizes
    for part in _slices(sizes, _SLICE):
        begin, end = starts[part.start], starts[part.stop - 1] + sizes[part.stop - 1]
        elements, heads = sets[begin:end], starts[part.start : part.stop] - begin
        work = np.empty_like(elements)
        for row in range(_SKETCH):
            np.multiply(elements, _FACTORS[row], out=work)
            np.add(work, _OFFSETS[row], out=work)
            sketches[row, part.start : part.stop] = np.minimum.reduceat(work, heads)
    return np.ascontiguousarray(sketches.T)


def _mixed(values: U64) -> U64:
    """Spread each value over all 64 bits (the finaliser of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: U64 = values ^ (values >> np.uint64(31))
    return mixed


def _drawn(begin: int, count: int) -> U64:
    """Numbers without a pattern, always the same ones."""
    steps = [((begin + i) * 0x9E3779B97F4A7C15) & _MASK for i in range(1, count + 1)]
    return _mixed(np.array(steps, np.uint64))


_PLACES = _drawn(0, 64) | np.uint64(1)
_ODD = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = _drawn(1000, _SKETCH).astype(np.uint32) | np.uint32(1)
_OFFSETS = _drawn(2000, _SKETCH).astype(np.uint32)
