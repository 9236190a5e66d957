"""What is checked: a data set, the test beside it, what could not be read, and how tokens are counted.

Makes one pass over the examples and keeps a few numbers of each, for the checks that compare them with each
other. Knows nothing of what is wrong with them.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from azubi.data import strict_json
from azubi.data.checks.ingest import Refusals, TempDataset
from azubi.data.checks.label_errors import Features, spelling_features
from azubi.data.contract import Task, parse_record
from azubi.data.example import Example, Part
from azubi.data.splits import splitting
from azubi.data.splits.boilerplate import SharedText
from azubi.data.splits.near_duplicates import NearIndex
from azubi.data.splits.splitting import Split
from azubi.settings import Record, SplitSettings

I64: TypeAlias = NDArray[np.int64]
U64: TypeAlias = NDArray[np.uint64]

MOST_ANSWERS = 20_000
"""Different answers that are counted; with more of them, there are no labels."""
_DRAWN = 2_000
"""Examples, evenly from all, by which it is told what prompts share."""

TEMPLATE_TOKENS = 64
"""That a chat template may put around an example."""

_NUMBER = re.compile(r"\d+")


def size(example: Example) -> int:
    """Bytes of prompt and answer."""
    texts = [turn.content for turn in example.turns] + [example.answer]
    return sum(len(text.encode(errors="surrogatepass")) for text in texts)


@dataclass(frozen=True, slots=True)
class Tokens:
    """How a base counts, and how much it reads."""

    base: str
    count: Callable[[Sequence[Example]], Sequence[int]]
    """Tokens of each example in all."""
    longest: int
    """The most tokens that it reads at once."""
    packed: bool = False
    """Whether the base has to be unpacked before it can count."""


@dataclass
class CheckInput:
    """What checks look at. Places number the examples from 0, those of the test behind the others."""

    data: TempDataset
    kind: Task
    """What the answers are."""
    test: TempDataset | None = None
    """Examples kept apart as the test, if they were given."""
    refusals: Refusals = field(default_factory=Refusals)
    test_refusals: Refusals = field(default_factory=Refusals)
    tokens_for: Callable[[Task], Tokens | None] = lambda _: None
    """How tokens are counted if the answers are of that kind, which may decide upon the base."""
    split: SplitSettings = field(default_factory=lambda: SplitSettings.model_validate({}))
    """How azubi's own split is made."""
    features: Features = spelling_features
    """Turns texts into vectors."""
    schema: Mapping[str, Any] = field(default_factory=dict)
    """The JSON schema of records, if one was given."""
    derive: Mapping[str, str] = field(default_factory=dict)
    """Fields of records that are derived, with their rules, if some were given."""
    patterns: Mapping[str, str] | None = None
    """The company's own personal data, by name."""
    names: Path | None = None
    """Folder of a recogniser of people's names."""
    answer: str | Record = "answer"
    """The column of the answers, or those of the fields of records."""
    parted: Callable[[Mapping[Part, Sequence[Example]], Task], Split] = lambda parts, _: splitting.split(
        parts["data"]
    )
    """Makes the split that a run would make, of examples by the setting that named them."""
    validation: Callable[[], Sequence[Example] | None] = lambda: None
    """Reads the validation that is kept apart, if one was named."""

    def examples(self) -> Iterator[Example]:
        """All of the data, without the test."""
        for batch in self.data.batches():
            yield from batch

    @cached_property
    def pair_index(self) -> "PairIndex":
        """Numbers of every example, the test's too."""
        return PairIndex.of(self.data, self.test)

    @property
    def tally(self) -> "Tally":
        """How often each answer occurs in the data."""
        return self.pair_index.tally

    @cached_property
    def tokens(self) -> Tokens | None:
        """How tokens are counted, if they can be and, where that takes long at first, if it may matter."""
        tokens = self.tokens_for(self.kind)
        if tokens is None or not tokens.packed:
            return tokens
        fewest = tokens.longest - TEMPLATE_TOKENS  # a token has at least one byte
        every = (example for batch, _ in _batches(self.data, self.test) for example in batch)
        return tokens if any(size(example) > fewest for example in every) else None

    @cached_property
    def sources(self) -> Mapping[Part, Sequence[Example]]:
        """All examples, by the setting that named them."""
        sources: dict[Part, Sequence[Example]] = {"data": tuple(self.examples())}
        if self.test is not None:
            sources["test_data"] = tuple(example for batch in self.test.batches() for example in batch)
        if (validation := self.validation()) is not None:
            sources["validation_data"] = validation
        return sources

    @cached_property
    def parts(self) -> Split:
        """The split that a run would make.

        Raises:
            UsageError: none can be made.
        """
        return self.parted(self.sources, self.kind)

    def shown(self, places: Iterable[int]) -> dict[int, Example]:
        """The examples at some places."""
        wanted, border = list(places), len(self.data)
        examples = dict(self.data.take(place for place in wanted if place < border))
        if self.test is not None:
            later = self.test.take(place - border for place in wanted if place >= border)
            examples |= {place + border: example for place, example in later.items()}
        return examples

    def close(self) -> None:
        """Give the temporary files back."""
        self.data.close()
        if self.test is not None:
            self.test.close()

    def drawn(self, count: int) -> Iterator[Example]:
        """About `count` of the data, evenly spread over it; all if there are no more."""
        step = max(1, len(self.data) // count)
        for number, example in enumerate(self.examples()):
            if number % step == 0:
                yield example


@dataclass(frozen=True)
class Tally:
    """How often each answer occurs, as long as there are few different ones."""

    examples: int
    answers: Counter[str]


@dataclass(frozen=True)
class PairIndex:
    """Numbers of every example, by place."""

    lines: I64
    answers: U64
    """Digests of the answers; equal if they differ in case, spacing or the order of fields alone."""
    figures: U64
    """Digests of the numbers that stand in the prompt."""
    border: int
    """The first place of the test."""
    tally: Tally
    index: NearIndex

    @classmethod
    def of(cls, data: TempDataset, test: TempDataset | None) -> "PairIndex":
        """Go through the examples once."""
        numbers: list[tuple[int, int, int]] = []
        parts: list[NDArray[np.uint64]] = []
        drawn = islice(_prompts(data, test), 0, None, max(1, len(data) // _DRAWN))
        index, tally = NearIndex(shared=SharedText.of(list(drawn))), Counter[str]()
        for batch, counted in _batches(data, test):
            for example in batch:
                record = as_record(example.answer)
                if counted and len(tally) <= MOST_ANSWERS:
                    tally[example.answer] += 1
                figures = " ".join(_NUMBER.findall(example.prompt))
                canonical = _canonical(example.answer, record)
                numbers.append((example.line, _digest(canonical), _digest(figures)))
            parts.append(np.array(numbers, np.uint64).reshape(-1, 3))
            numbers.clear()
            index.add([example.prompt for example in batch])
        table = np.concatenate(parts) if parts else np.empty((0, 3), np.uint64)
        lines, answers, figures_ = table.T
        return cls(lines.astype(np.int64), answers, figures_, len(data), Tally(len(data), tally), index)

    @cached_property
    def pairs(self) -> tuple[I64, I64, NDArray[np.float64]]:
        """Places of the earlier and of the later one of nearly equal prompts, and how alike they are."""
        return self.index.table()

    @cached_property
    def equal(self) -> I64:
        """For each example the first one with the same words in its prompt."""
        first, second, share = self.pairs
        heads = np.arange(len(self.lines))
        same = share == 1.0
        heads[second[same]] = first[same]
        while (further := heads[heads]).tobytes() != heads.tobytes():
            heads = further
        return heads


def _prompts(data: TempDataset, test: TempDataset | None) -> Iterator[str]:
    return (example.prompt for batch, _ in _batches(data, test) for example in batch)


def _batches(data: TempDataset, test: TempDataset | None) -> Iterator[tuple[Sequence[Example], bool]]:
    for batch in data.batches():
        yield batch, True
    for batch in test.batches() if test is not None else ():
        yield batch, False


def as_record(answer: str) -> dict[str, object] | None:
    """The JSON object that an answer is, if it is one."""
    return parse_record(answer) if "{" in answer else None


def _canonical(answer: str, record: dict[str, object] | None) -> str:
    """The answer without differences of case, spacing, or the order of fields."""
    text = answer if record is None else strict_json.write(record, sort_keys=True)
    return " ".join(text.casefold().split())


def _digest(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest())
