"""Near-duplicates: which texts say nearly the same, found without comparing each with each.

A text is taken as the set of its words and pairs of neighbouring words, in small letters, without
punctuation and umlauts (Müller is mueller). Two texts are near-duplicates if their sets share enough
(Jaccard). Of two sets that share eight tenths, the two tenths that are rarest in each have elements in common
(prefix filtering, Chaudhuri et al. 2006; two of them, where a set is small: Wang et al. 2012). So texts are
put into buckets by their rarest elements, and compared within a bucket only. Every pair is verified by its
sets. None is missed unless more than `_CROWD` different texts share a bucket: then the first and the last
before a text are compared, so the work grows with the number of texts, whatever they are like.

The same texts give the same pairs on every machine, since only integer arithmetic decides. What a text means
is not known: a different amount or a "not" is one word like any other.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from hashlib import blake2b
from itertools import chain, combinations
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from azubi.data.example import SPLITS, SplitName

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


ALONE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
"""Kana and Han: every character is a word."""
LONGEST = 50_000
"""Characters of a prompt that are compared."""
_SHARE = 0.3
"""Share of the prompts in which a run of words occurs that is shared text."""
_FEWEST = 10
"""Prompts in which it occurs at least."""
_RUN = 3
"""Words of a run."""
_SAMPLE = 2_000
"""Prompts, evenly from all, in which shared text is looked for."""
_EDGE = 0.8
"""A run that overlaps a more frequent one is shared text if it occurs in so much of the prompts that have the
other. Else it is its edge: the instruction's last word, and what happens to follow it in many prompts."""
_WORD = re.compile(rf"[{ALONE}]|[^\s{ALONE}]+")


_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})


def folded(text: str) -> str:
    """The text without differences of case and Unicode form; ä, ö, ü and ß are ae, oe, ue and ss."""
    text = unicodedata.normalize("NFKC", text).casefold()  # which makes ss of ß
    return text if text.isascii() else text.translate(_UMLAUTS)


def normalised(prompt: str) -> str:
    """The prompt `folded`, and without differences of spacing."""
    return " ".join(folded(prompt).split())


class SharedText:
    """Runs of words that many prompts share."""

    def __init__(self, runs: Mapping[tuple[str, ...], float] | None = None) -> None:
        """Take the runs, each with the share of the prompts in which it occurs."""
        self._runs = dict(runs or {})

    @classmethod
    def of(cls, prompts: Sequence[str]) -> "SharedText":
        """What these prompts share."""
        sample = prompts[:: -(-len(prompts) // _SAMPLE) or 1]
        counts = Counter(run for prompt in sample for run in set(_runs(normalised(prompt))))
        fewest = max(_FEWEST, _SHARE * len(sample))
        return cls({run: count / len(sample) for run, count in counts.items() if count >= fewest})

    def __bool__(self) -> bool:
        return bool(self._runs)

    def __or__(self, other: "SharedText") -> "SharedText":
        return self if other._runs.keys() <= self._runs.keys() else SharedText(other._runs | self._runs)

    def without(self, prompt: str) -> str:
        """What is left of a prompt, `normalised`: all of it if it has no shared text, or nothing else."""
        text = normalised(prompt)
        shares = [self._runs.get(run, 0.0) for run in _runs(text)] if self._runs else []
        if not any(shares):
            return text
        words = [word.span() for word in _WORD.finditer(text[:LONGEST])]
        rest, end = list[str](), 0
        for (begin, until), is_shared in zip(words, _shared_words(shares, len(words)), strict=True):
            if not is_shared:
                # Where text was taken out there is a space; neighbours stay as they are.
                rest.append(text[begin:until] if begin == end or not rest else f" {text[begin:until]}")
            end = until
        left = "".join(rest) + text[LONGEST:]
        return left if any(map(str.isalnum, left)) else text


def _runs(text: str) -> Iterable[tuple[str, ...]]:
    words = _WORD.findall(text[:LONGEST])
    return zip(*(words[begin:] for begin in range(_RUN)), strict=False)


def _shared_words(shares: Sequence[float], words: int) -> list[bool]:
    """For each word whether it is in a run that is shared and no edge of another."""
    is_shared = [False] * words
    for at, share in enumerate(shares):
        if share and share >= _EDGE * max(shares[max(0, at - _RUN + 1) : at + _RUN]):
            is_shared[at : at + _RUN] = [True] * _RUN
    return is_shared


NEAR = 0.8
"""Share of the elements of two near-duplicates. Of fourteen words one may differ, of a hundred seven. On
Banking77, 96 % of such pairs have the same label, and 18 % of those between 0.7 and 0.75 have not."""

_CROWD = 16
"""A text is compared with so many of the first in its bucket, and so many of those just before it."""
_SMALL = 64
"""A set with so many elements has buckets for two of its rarest elements; a larger one for each."""
_ENTRIES = 1 << 23
"""Entries of buckets that are sorted at a time."""
_FIRST_STAGE = 64
"""Texts in which shared text is looked for first; then in twice as many, and so on."""
_CHARACTERS = 1 << 20
"""Characters that are turned into sets at a time."""
_ELEMENTS = 1 << 21
"""Elements of sets that are compared at a time."""

U32: TypeAlias = NDArray[np.uint32]
U64: TypeAlias = NDArray[np.uint64]
I64: TypeAlias = NDArray[np.int64]
F64: TypeAlias = NDArray[np.float64]
Pairs: TypeAlias = tuple[I64, I64, F64]
"""For each pair the position of the earlier text, of the later one, and their similarity."""


class NearIndex:
    """Texts, added in batches, and the near-duplicates among them; what they share is left out."""

    def __init__(self, shared: SharedText | None = None) -> None:
        self._shared = shared or SharedText()
        self._elements: list[U32] = []
        self._sizes: list[I64] = []
        self._digests: list[U64] = []

    def rest(self, text: str) -> str:
        """What is left of a text without what is shared, `normalised`."""
        return self._shared.without(text)

    def add(self, texts: Sequence[str]) -> None:
        """Take in more texts; positions go on from those already there."""
        for part in _portions(texts):
            elements, sizes, digests = _sets(part)
            if self._shared:
                elements, sizes, _ = _sets([self._shared.without(text) for text in part])
            self._elements.append(elements)
            self._sizes.append(sizes)
            self._digests.append(digests)

    def table(self) -> Pairs:
        """The near-duplicates, in the order of the later text.

        Of texts with equal sets, each is paired with the first of them, and the first with all others that
        are near. The similarity is 1.0 only if the whole texts differ in nothing but case, spacing or
        punctuation.
        """
        if not sum(map(len, self._sizes)):
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
        digests = np.concatenate(self._digests)
        sets = _Sets.of(np.concatenate(self._elements), np.concatenate(self._sizes))
        first, second, share = _near_pairs(sets, len(digests))
        # Sets may be equal where texts are not, by words that are shared or stand there twice.
        below = np.nextafter(1.0, 0.0)
        _, head, copies = np.unique(digests, return_index=True, return_inverse=True)
        same_text, same_set, itself = head[copies], sets.first[sets.of_row], np.arange(len(digests))
        by_set = same_set != itself
        by_text = (same_text != itself) & (same_text != same_set)
        begin = np.concatenate([sets.first[first], same_set[by_set], same_text[by_text]])
        end = np.concatenate([sets.first[second], itself[by_set], itself[by_text]])
        shares = np.concatenate([np.minimum(share, below), np.full(len(end) - len(share), below)])
        shares[digests[begin] == digests[end]] = 1.0
        order = np.lexsort((begin, end))
        return begin[order], end[order], shares[order]


class ExactNearDuplicates:
    """Texts in an order, and the splits of those that each is nearly equal to.

    A text is compared only with those before it, and shared text is found only in those before it: in the
    first half at least, up to a power of two; for the first 64, in themselves. So further texts behind them
    change nothing, once there are 64.
    """

    def __init__(self, texts: Mapping[str, str], apart: int = 0) -> None:
        """All texts by name, in their order; none of them is in a split yet.

        The first `apart` of them are there in any case: text that they share is found in them alone.
        """
        self._texts = list(texts.values())
        self._rows = {name: row for row, name in enumerate(texts)}
        self._put = np.zeros(len(texts), np.uint8)
        """For each text the splits into which it was put, a bit each."""
        self._begin = self._end = 0
        """The texts of the stage that was prepared last."""
        self._apart = apart
        self._shared = SharedText.of(self._texts[:apart])
        self._rests: list[str] = []
        self._sets: list[tuple[U32, I64]] = []

    def put(self, name: str, split: SplitName) -> None:
        """Put a text into a split."""
        row = self._prepared(name)
        self._put[row] |= _BIT[split]
        self._splits[self._of_row[row]] |= _BIT[split]

    def splits(self, name: str) -> frozenset[SplitName]:
        """The splits into which nearly the same text was put."""
        near = self._near(self._prepared(name))
        bits = np.bitwise_or.reduce(self._splits[near])
        return frozenset(split for split, bit in _BIT.items() if bits & bit)

    def before(self, name: str) -> str:
        """The first text before this one that is nearly the same and that was put into a split."""
        row = self._prepared(name)
        is_near = np.isin(self._of_row[:row], self._near(row)) & (self._put[:row] > 0)
        return self._texts[int(np.flatnonzero(is_near)[0])]

    def rest(self, name: str) -> str:
        """What is left of a text without what it shares with many, `normalised`."""
        return self._rests[self._prepared(name)]

    def _near(self, row: int) -> I64:
        """The sets that are near a text's set, itself included."""
        own = self._of_row[row]
        return np.append(self._neighbours[self._links[own] : self._links[own + 1]], own)

    def _prepared(self, name: str) -> int:
        """The row of a text, after its stage was prepared."""
        row = self._rows[name]
        while row >= self._end:
            ahead = max(_FIRST_STAGE, 2 * (self._end - self._apart))
            self._begin, self._end = self._end, min(self._apart + ahead, len(self._texts))
            self._prepare()
        return row

    def _prepare(self) -> None:
        """Compare all texts up to the end of the stage, without what those before the stage share."""
        known = self._begin or self._end
        shared = self._shared | SharedText.of(self._texts[self._apart : known])
        new = list(map(shared.without, self._texts[self._begin : self._end]))
        self._rests += new  # those before keep the one by which they were assigned
        if shared is not self._shared:
            self._sets = [sets([shared.without(text) for text in self._texts[: self._begin]])]
        self._shared = shared
        self._sets.append(sets(new))
        all_sets = _Sets.of(*(np.concatenate(part) for part in zip(*self._sets, strict=True)))
        first, second, _ = _near_pairs(all_sets, known)
        both = np.concatenate([first, second])
        order = np.argsort(both, kind="stable")
        self._neighbours = np.concatenate([second, first])[order]
        self._links = np.searchsorted(both[order], np.arange(len(all_sets.first) + 1))
        self._of_row = all_sets.of_row
        self._splits = np.zeros(len(all_sets.first), np.uint8)
        np.bitwise_or.at(self._splits, self._of_row, self._put[: self._end])


_BIT: Mapping[SplitName, int] = {split: 1 << place for place, split in enumerate(SPLITS)}


# Comparing sets


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
        digests = np.add.reduceat(_mix(elements.astype(np.uint64)), begins)
        _, first, of_row = np.unique(digests, return_index=True, return_inverse=True)
        order = np.argsort(first)
        number = np.empty_like(order)
        number[order] = np.arange(len(order))
        first, sizes_ = first[order], sizes[first[order]]
        ends = np.cumsum(sizes_)
        places = np.arange(ends[-1]) - np.repeat(ends - sizes_ - begins[first], sizes_)
        return cls(elements[places], sizes_, first, number[of_row])


def _near_pairs(sets: _Sets, known: int) -> Pairs:
    """Pairs of sets that share enough, the earlier one first, and their similarity.

    How rare an element is follows from the sets that occur in the first `known` rows.
    """
    ranks = _ranks(sets, known)
    packed, shares = [np.empty(0, np.int64)], [np.empty(0)]
    for first, second in _candidates(sets.sizes, ranks.indices, ranks.indptr):
        smaller, larger = np.sort([sets.sizes[first], sets.sizes[second]], axis=0)
        alike = smaller >= NEAR * larger - 1e-9
        pairs = np.unique((first[alike] << 32) | second[alike])
        share = _similarity(ranks, sets.sizes, pairs >> 32, pairs & 0xFFFFFFFF)
        packed.append(pairs[share >= NEAR])
        shares.append(share[share >= NEAR])
    pairs, at = np.unique(np.concatenate(packed), return_index=True)
    return pairs >> 32, pairs & 0xFFFFFFFF, np.concatenate(shares)[at]


def _ranks(sets: _Sets, known: int) -> "csr_matrix":
    """A row for each set, with a one for each element, the rarest first."""
    from scipy.sparse import csr_matrix  # takes 0.16 s to import, which a command that splits nothing spares

    values, places = np.unique(sets.elements, return_inverse=True)
    until = int(sets.sizes[: np.searchsorted(sets.first, known)].sum())
    counts = np.bincount(places[:until], minlength=len(values))
    ranks = np.empty(len(values), np.int64)
    ranks[np.lexsort((values, counts))] = np.arange(len(values))
    ends = np.append(0, np.cumsum(sets.sizes))
    matrix = csr_matrix((np.ones(len(places), np.int32), ranks[places], ends))
    matrix.sort_indices()
    return matrix


def _candidates(sizes: I64, ranks: I64, begins: I64) -> Iterator[tuple[I64, I64]]:
    """Sets that share a bucket, the earlier one first; some pairs come more than once."""
    counts = np.bincount(sizes)
    entries = sum(int(counts[size]) * math.comb(prefix, by) for size, prefix, by in _prefixes(sizes))
    parts = -(-entries // _ENTRIES)
    for part in range(parts):
        columns = [
            (buckets[here], sets[here])
            for buckets, sets in _buckets(sizes, ranks, begins)
            for here in [buckets % parts == part]
        ]
        buckets, sets = (np.concatenate(column) for column in zip(*columns, strict=True))
        order = np.lexsort((sets, buckets))
        buckets, sets = buckets[order], sets[order]
        starts = np.flatnonzero(np.append(True, buckets[1:] != buckets[:-1]))
        at = np.arange(len(buckets)) - np.repeat(starts, np.diff(starts, append=len(buckets)))
        place = np.flatnonzero(at)
        at = at[place]
        for step in range(1, _CROWD + 1):
            later = place[at >= step]
            yield sets[later - step], sets[later]
            crowded = at >= step + _CROWD
            yield sets[place[crowded] - at[crowded] + step - 1], sets[place[crowded]]


def _prefixes(sizes: I64) -> Iterator[tuple[int, int, int]]:
    """Sizes of sets; how many of their rarest elements count, and how many of these name a bucket."""
    for size in np.unique(sizes).tolist():
        rest = size - math.ceil(NEAR * size - 1e-9)
        if 1 < size <= _SMALL / NEAR:
            yield size, min(size, rest + 2), 2
        if size > _SMALL:
            yield size, rest + 1, 1


def _buckets(sizes: I64, ranks: I64, begins: I64) -> Iterator[tuple[U64, I64]]:
    """Names of buckets, and the sets in them."""
    for size, prefix, by in _prefixes(sizes):
        sets = np.flatnonzero(sizes == size)
        rarest = ranks[begins[sets, None] + np.arange(prefix)].astype(np.uint64)
        for first, *second in combinations(range(prefix), by):
            if second:
                yield _mix((rarest[:, first] << np.uint64(32)) + rarest[:, second[0]] + _ODD), sets
            else:
                yield _mix(rarest[:, first]), sets


def _similarity(matrix: "csr_matrix", sizes: I64, first: I64, second: I64) -> F64:
    both = sizes[first] + sizes[second]
    common = [
        np.asarray(matrix[first[part]].multiply(matrix[second[part]]).sum(axis=1)).ravel()
        for part in _slices(both, _ELEMENTS)
    ]
    shared = np.concatenate([np.empty(0, np.int64), *common])
    similarity: F64 = shared / (both - shared)
    return similarity


# Texts to sets


def sets(texts: Sequence[str]) -> tuple[U32, I64]:
    """Hashes of each text's words and word pairs, sorted, text after text; and how many each has."""
    parts = [_sets(part)[:2] for part in _portions(texts)]
    elements, sizes = zip((np.empty(0, np.uint32), np.empty(0, np.int64)), *parts, strict=True)
    return np.concatenate(elements), np.concatenate(sizes)


def _portions(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    lengths = np.fromiter((min(len(text), LONGEST) for text in texts), np.int64, len(texts))
    for part in _slices(lengths, _CHARACTERS):
        yield texts[part]


def _slices(sizes: I64, most: int) -> Iterator[slice]:
    """Runs of sizes whose sum is about `most`; each holds at least one."""
    ends, begin = np.cumsum(sizes), 0
    while begin < len(sizes):
        before = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + most, "right")))
        yield slice(begin, end)
        begin = end


def _sets(texts: Sequence[str]) -> tuple[U32, I64, U64]:
    """Hashes of each text's words and word pairs (sorted, each once), how many, and a digest of the words."""
    words_of_texts = [_word_hashes(text) for text in texts]
    counts = np.fromiter(map(len, words_of_texts), np.int64, len(texts))
    words = np.fromiter(chain.from_iterable(words_of_texts), np.uint64, int(counts.sum()))
    text_of = np.repeat(np.arange(len(texts), dtype=np.uint64), counts)
    follows = np.flatnonzero(text_of[1:] == text_of[:-1])
    pairs = _mix(words[follows] * _ODD + words[follows + 1])
    hashes = np.concatenate([words, pairs]) >> np.uint64(32)
    keys = np.sort((np.concatenate([text_of, text_of[follows]]) << np.uint64(32)) | hashes)
    keys = keys[np.diff(keys, prepend=~keys[:1]) != 0]
    sizes = np.bincount((keys >> np.uint64(32)).astype(np.int64), minlength=len(texts))
    digests = [_digest(part.tobytes()) for part in np.split(words, np.cumsum(counts)[:-1])]
    return keys.astype(np.uint32), sizes, np.array(digests[: len(texts)], np.uint64)


def _word_hashes(text: str) -> list[int]:
    """A hash of every word; a text without any word, such as "???", is one word as a whole."""
    text = folded(text[:LONGEST])
    return [*map(_word_hash, _word().findall(text))] or [
        _digest(" ".join(text.split()).encode("utf-8", "surrogatepass"))
    ]


@cache
def _word() -> re.Pattern[str]:
    """Letters, marks and digits in a row. Symbols, what lies beyond U+FFFE, and characters of scripts without
    spaces are words of one character."""
    alone = re.compile(f"[{ALONE}]")
    symbols, letters = [], []
    for character in map(chr, range(0xFFFF)):
        category = unicodedata.category(character)[0]
        if category == "S":
            symbols.append(re.escape(character))
        elif category in "LMN" and not alone.match(character):
            letters.append(character)
    return re.compile(f"[{ALONE}{''.join(symbols)}\uffff-\U0010ffff]|[{''.join(letters)}]+")


@lru_cache(maxsize=1 << 18)
def _word_hash(word: str) -> int:
    codes = np.array([ord(character) + 1 for character in word], np.uint64)
    return int(_mix(np.sum(codes * _FACTORS[np.arange(len(word)) % len(_FACTORS)], keepdims=True))[0])


def _digest(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest())


def _mix(values: U64) -> U64:
    """Spread each value over all 64 bits (the finaliser of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: U64 = values ^ (values >> np.uint64(31))
    return mixed


_ODD = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = _mix(np.arange(1, 65, dtype=np.uint64) * _ODD) | np.uint64(1)
