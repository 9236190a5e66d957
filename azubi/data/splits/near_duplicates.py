"""Near-duplicates: which texts say nearly the same, told without comparing each with each.

A text is taken as the set of its words and of its pairs of neighbouring words, in small letters and without
punctuation; two texts are near-duplicates if their sets share enough (Jaccard). Of two sets that share eight
tenths, the two tenths that are rarest in each have elements in common (prefix filtering, Chaudhuri et al.
2006; two of them, where a set is small: Wang et al. 2012). So texts are put into buckets by their rarest
elements, and compared within a bucket only. Every pair that is named is verified by its sets. None is missed
unless more than `_CROWD` different texts share a bucket: then the first and the last before it are compared,
so the work grows with the number of texts, whatever they are like.

The same texts give the same pairs on every machine and with every version of the libraries, since nothing but
integer arithmetic decides. Knows nothing of examples, labels or files, nor what a text means: a different
amount or a "not" is one word like any other.
"""

import math
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from hashlib import blake2b
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from azubi.data.example import SPLITS, SplitName
from azubi.data.splits.boilerplate import LONGEST, SharedText

NEAR = 0.8
"""Texts whose sets share this much are nearly equal: of fourteen words one may differ, of a hundred seven. On
Banking77, 96 % of such pairs have the same label, and 18 % of those between 0.7 and 0.75 have not."""

_CROWD = 16
"""Different texts of one bucket with which one is compared: so many of the first, and of those before it."""
_SMALL = 64
"""Elements of a set that is put into buckets by two of its rarest elements; a larger one is by each."""
_BUCKETS = 1 << 25
"""Places in buckets that are sorted at a time."""
_FIRST = 64
"""Texts from which it is first told what they share; then from twice as many, and so on."""
_CHARACTERS = 1 << 20
_ELEMENTS = 1 << 21
"""Worked on at a time: characters when sets are made, set elements when they are compared."""

_SEPARATOR, _INSIDE, _ALONE = 0, 1, 2
_MASK = (1 << 64) - 1

U8: TypeAlias = NDArray[np.uint8]
U32: TypeAlias = NDArray[np.uint32]
U64: TypeAlias = NDArray[np.uint64]
I64: TypeAlias = NDArray[np.int64]
F64: TypeAlias = NDArray[np.float64]


class Pair(NamedTuple):
    """Two texts that are nearly equal, by their places (counted from 0), the earlier one first."""

    first: int
    second: int
    similarity: float
    """Share of words and word pairs that both have, of those that either has; 1.0 only if nothing but case,
    spacing or punctuation differs in the whole texts."""


class NearIndex:
    """Texts, added in batches, and the pairs among them that are nearly equal, without what is `shared`."""

    def __init__(self, threshold: float = NEAR, shared: SharedText | None = None) -> None:
        self.threshold = threshold
        self._shared = shared or SharedText()
        self._elements: list[U32] = []
        self._sizes: list[I64] = []
        self._digests: list[U64] = []
        self._table: tuple[I64, I64, F64] | None = None

    def __len__(self) -> int:
        return sum(map(len, self._sizes))

    def rest(self, text: str) -> str:
        """What is left of a text without what is shared, `normalised`."""
        return self._shared.without(text)

    def add(self, texts: Sequence[str]) -> None:
        """Take in more texts; their places go on from those already there."""
        for part in _portions(texts):
            elements, sizes, digests = _sets(part)
            if self._shared:
                elements, sizes, _ = _sets([self._shared.without(text) for text in part])
            self._elements.append(elements)
            self._sizes.append(sizes)
            self._digests.append(digests)
        self._table = None

    def pairs(self) -> Iterator[Pair]:
        """Pairs of nearly equal texts, in the order of the second one; of texts with equal sets, each is
        paired with the first of them, and the first with all others that are near.
        """
        for row in zip(*(column.tolist() for column in self.table()), strict=True):
            yield Pair(*row)

    def table(self) -> tuple[I64, I64, F64]:
        """What `pairs` yields, as three columns: the earlier text, the later one, how alike they are."""
        if self._table is None:
            self._table = self._search()
        return self._table

    def _search(self) -> tuple[I64, I64, F64]:
        if not len(self):
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
        sets = _Sets.of(np.concatenate(self._elements), np.concatenate(self._sizes))
        one, other, share = sets.near(len(self), self.threshold)
        # Sets may be equal where texts are not, by words that are shared or stand there twice.
        below = np.nextafter(1.0, 0.0)
        digests = np.concatenate(self._digests)
        _, head, copies = np.unique(digests, return_index=True, return_inverse=True)
        head = head[copies]
        rows, alike = sets.first[sets.of_row], np.arange(len(self))
        first = [sets.first[one], rows[rows != alike], head[(head != alike) & (head != rows)]]
        second = [sets.first[other], alike[rows != alike], alike[(head != alike) & (head != rows)]]
        begin, end = np.concatenate(first), np.concatenate(second)
        shares = np.concatenate([np.minimum(share, below), np.full(len(end) - len(share), below)])
        shares[digests[begin] == digests[end]] = 1.0
        order = np.lexsort((begin, end))
        return begin[order], end[order], shares[order]


class ExactNearDuplicates:
    """Texts in an order, and in which split those stand that a text is nearly equal to.

    A text is compared with those before it only, and what all share is told from those before it: from the
    first half at least, up to a power of two; of the first 64, from themselves. So further texts behind them
    change nothing, once there are 64.
    """

    def __init__(self, texts: Mapping[str, str], threshold: float = NEAR, apart: int = 0) -> None:
        """All texts by their names, in their order; none of them stands in a split yet.

        The first `apart` of them are there in any case; what they share is told from them alone.
        """
        self._threshold = threshold
        self._texts = list(texts.values())
        self._rows = {name: row for row, name in enumerate(texts)}
        self._there = np.zeros(len(texts), np.uint8)
        """Of each text the splits in which it was put, a bit each."""
        self._begin = self._end = 0
        """The texts of the stage that was prepared last."""
        self._apart = apart
        self._shared = SharedText.of(self._texts[:apart])
        self._rests: list[str] = []
        """What is left of each text without what it shares with many."""
        self._parts: list[tuple[U32, I64]] = []

    def put(self, name: str, split: SplitName) -> None:
        """Let a text be met in a split."""
        row = self._rows[name]
        self._reach(row)
        self._there[row] |= _BIT[split]
        self._met[self._of_row[row]] |= _BIT[split]

    def splits(self, name: str) -> frozenset[SplitName]:
        """The splits in which nearly the same text was put."""
        return _NAMED[self._bits(name)]

    def before(self, name: str) -> str:
        """The first text before this one that it is nearly equal to and that was put in a split."""
        row = self._rows[name]
        self._reach(row)
        own = self._of_row[row]
        near = np.append(self._near[self._links[own] : self._links[own + 1]], own)
        rows = np.flatnonzero(np.isin(self._of_row[:row], near) & (self._there[:row] > 0))
        return self._texts[int(rows[0])]

    def rest(self, name: str) -> str:
        """What is left of a text without what it shares with many, `normalised`."""
        row = self._rows[name]
        self._reach(row)
        return self._rests[row]

    def _bits(self, name: str) -> int:
        row = self._rows[name]
        self._reach(row)
        own = self._of_row[row]
        begin, end = self._links[own], self._links[own + 1]
        bits = int(self._met[own])
        return bits | int(np.bitwise_or.reduce(self._met[self._near[begin:end]])) if begin < end else bits

    def _reach(self, row: int) -> None:
        while row >= self._end:
            ahead = max(_FIRST, 2 * (self._end - self._apart))
            self._begin, self._end = self._end, min(self._apart + ahead, len(self._texts))
            self._prepare()

    def _prepare(self) -> None:
        """Compare all texts up to the end of the stage, by what those before it share."""
        known = self._begin or self._end
        shared = self._shared | SharedText.of(self._texts[self._apart : known])
        new = list(map(shared.without, self._texts[self._begin : self._end]))
        self._rests += new  # those before keep the one by which they were placed
        if shared is not self._shared:
            self._parts = [sets([shared.without(text) for text in self._texts[: self._begin]])]
        self._shared = shared
        self._parts.append(sets(new))
        table = _Sets.of(*(np.concatenate(part) for part in zip(*self._parts, strict=True)))
        one, other, _ = table.near(known, self._threshold)
        both = np.concatenate([one, other])
        order = np.argsort(both, kind="stable")
        self._near = np.concatenate([other, one])[order]
        self._links = np.searchsorted(both[order], np.arange(len(table.first) + 1))
        self._of_row = table.of_row
        self._met = np.zeros(len(table.first), np.uint8)
        np.bitwise_or.at(self._met, self._of_row, self._there[: self._end])


_BIT: Mapping[SplitName, int] = {split: 1 << place for place, split in enumerate(SPLITS)}
_NAMED = [frozenset(split for split, bit in _BIT.items() if bits & bit) for bits in range(1 << len(SPLITS))]


def sets(texts: Sequence[str]) -> tuple[U32, I64]:
    """What is compared: hashes of each text's words and word pairs, sorted, text after text; and how many."""
    parts = [_sets(part)[:2] for part in _portions(texts)] or [
        (np.empty(0, np.uint32), np.empty(0, np.int64))
    ]
    elements, sizes = zip(*parts, strict=True)
    return np.concatenate(elements), np.concatenate(sizes)


class _Sets(NamedTuple):
    """Different sets of elements, in the order in which they occur first."""

    elements: U32
    """Of one set after the other."""
    sizes: I64
    first: I64
    """The row in which each set occurs first."""
    of_row: I64
    """The set of each row."""

    @classmethod
    def of(cls, elements: U32, sizes: I64) -> "_Sets":
        """The sets of some rows."""
        begins = np.cumsum(sizes) - sizes
        digests = np.add.reduceat(_mixed(elements.astype(np.uint64)), begins)
        _, first, of_row = np.unique(digests, return_index=True, return_inverse=True)
        order = np.argsort(first)
        number = np.empty_like(order)
        number[order] = np.arange(len(order))
        first = first[order]
        return cls(elements[_places(begins[first], sizes[first])], sizes[first], first, number[of_row])

    def near(self, known: int, threshold: float) -> tuple[I64, I64, F64]:
        """Pairs of sets that share enough, the earlier one first, and how alike they are.

        How rare an element is follows from the sets that occur in the first `known` rows.
        """
        finder = _Finder(self, known, threshold)
        parts = [finder.verified(*pair) for pair in finder.candidates()]
        packed = np.concatenate([np.empty(0, np.int64), *(part[0] for part in parts)])
        shares = np.concatenate([np.empty(0), *(part[1] for part in parts)])
        packed, at = np.unique(packed, return_index=True)
        return packed >> 32, packed & 0xFFFFFFFF, shares[at]


class _Finder:
    """Puts sets into buckets by their rarest elements and compares those of one bucket."""

    def __init__(self, table: _Sets, known: int, threshold: float) -> None:
        self._threshold, self._sizes = threshold, table.sizes
        self._begins = np.cumsum(table.sizes) - table.sizes
        values, places = np.unique(table.elements, return_inverse=True)
        until = int(table.sizes[: np.searchsorted(table.first, known)].sum())
        counts = np.bincount(places[:until], minlength=len(values))
        ranks = np.empty(len(values), np.int64)
        ranks[np.lexsort((values, counts))] = np.arange(len(values))
        row = np.repeat(np.arange(len(table.sizes), dtype=np.int64), table.sizes)
        self._ranks = np.sort((row << 32) | ranks[places]) & 0xFFFFFFFF
        self._masks = _masks(table.elements, self._begins)

    def candidates(self) -> Iterator[tuple[I64, I64]]:
        """Sets that share a bucket, the earlier one first; some pairs come more than once."""
        parts = -(-self._places() // _BUCKETS)
        for part in range(parts):
            found = [(keys[at], which[at]) for keys, which in self._keys() for at in [keys % parts == part]]
            keys, which = (np.concatenate(column) for column in zip(*found, strict=True))
            order = np.lexsort((which, keys))
            keys, which = keys[order], which[order]
            begins = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
            counts = np.diff(begins, append=len(keys))
            at = np.arange(len(keys)) - np.repeat(begins, counts)
            place = np.flatnonzero(at)
            at = at[place]
            for step in range(1, _CROWD + 1):
                before = place[at >= step]
                yield which[before - step], which[before]
                early = at >= step + _CROWD
                yield which[place[early] - at[early] + step - 1], which[place[early]]

    def verified(self, one: I64, other: I64) -> tuple[I64, F64]:
        """Those of the pairs that share enough, each as one number, and how much."""
        packed, shares = [np.empty(0, np.int64)], [np.empty(0)]
        for begin in range(0, len(one), _ELEMENTS):
            first, second = one[begin : begin + _ELEMENTS], other[begin : begin + _ELEMENTS]
            able = self._able(first, second)
            pairs = np.unique((first[able] << 32) | second[able])
            share = self._jaccard(pairs >> 32, pairs & 0xFFFFFFFF)
            packed.append(pairs[share >= self._threshold])
            shares.append(share[share >= self._threshold])
        return np.concatenate(packed), np.concatenate(shares)

    def _leads(self) -> Iterator[tuple[int, int, int]]:
        """Sizes of sets; how many of their elements lead, and how many of these a bucket is named by."""
        for size in np.unique(self._sizes).tolist():
            rest = size - math.ceil(self._threshold * size - 1e-9)
            small = _SMALL if self._threshold > 0.5 else 0  # else near sets may share one element only
            if 1 < size <= small / self._threshold:
                yield size, min(size, rest + 2), 2
            if size > small:
                yield size, rest + 1, 1

    def _places(self) -> int:
        counts = np.bincount(self._sizes)
        return sum(int(counts[size]) * math.comb(lead, by) for size, lead, by in self._leads())

    def _keys(self) -> Iterator[tuple[U64, I64]]:
        """Names of buckets, and which sets are put there."""
        for size, lead, by in self._leads():
            which = np.flatnonzero(self._sizes == size)
            ranks = self._ranks[self._begins[which, None] + np.arange(lead)].astype(np.uint64)
            for one in range(lead):
                if by == 1:
                    yield _mixed(ranks[:, one]), which
                    continue
                for other in range(one + 1, lead):
                    yield _mixed((ranks[:, one] << np.uint64(32)) + ranks[:, other] + _ODD), which

    def _able(self, one: I64, other: I64) -> NDArray[np.bool_]:
        """Whether pairs can share enough, as sizes and masks tell."""
        first, second = self._sizes[one], self._sizes[other]
        apart = (first + second) * ((1 - self._threshold) / (1 + self._threshold)) + 1e-9
        able: NDArray[np.bool_] = np.abs(first - second) <= apart
        for mask in self._masks:
            apart = apart - np.bitwise_count(mask[one] ^ mask[other])
        return able & (apart >= 0)

    def _jaccard(self, one: I64, other: I64) -> F64:
        both = self._sizes[one] + self._sizes[other]
        shares = np.empty(len(one))
        for part in _slices(both, _ELEMENTS):
            here = slice(part.start, part.stop)
            rows = np.stack([one[here], other[here]], axis=1).ravel()
            pair = np.repeat(np.arange(len(part), dtype=np.int64), both[here])
            keys = np.sort((pair << 32) | self._ranks[_places(self._begins[rows], self._sizes[rows])])
            twice = keys[1:][keys[1:] == keys[:-1]] >> 32
            common = np.bincount(twice, minlength=len(part))
            shares[here] = common / (both[here] - common)
        return shares


def _masks(elements: U32, begins: I64) -> list[U64]:
    """Four masks of each set; each element sets one bit of 256."""
    bits = np.uint64(1) << (elements & np.uint32(63)).astype(np.uint64)
    which = (elements >> np.uint32(6)) & np.uint32(3)
    return [np.bitwise_or.reduceat(np.where(which == part, bits, np.uint64(0)), begins) for part in range(4)]


def _places(begins: I64, sizes: I64) -> I64:
    """Where the elements of some sets stand, one set after the other."""
    ends = np.cumsum(sizes)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - sizes - begins, sizes)


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
