"""What is checked: the examples, the test beside them, what could not be read, and how tokens are counted.

Knows nothing of what is wrong with them.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from azubi.data import strict_json
from azubi.data.contract import Task, parse_record
from azubi.data.example import Example, Part
from azubi.data.readers.row import Rejected
from azubi.data.splits.boilerplate import SharedText
from azubi.data.splits.near_duplicates import NearIndex
from azubi.data.splits.splitting import Split, split_by_recipe
from azubi.settings import Recipe

I64: TypeAlias = NDArray[np.int64]
Features = Callable[[Sequence[str]], Any]
"""From texts to a matrix with one row each; dense, numbers of about the same size."""
Splitter = Callable[[Mapping[Part, Sequence[Example]], Task], Split]

TEMPLATE_TOKENS = 64
"""That a chat template may put around an example."""
_SAMPLE = 2_000
"""Examples, evenly from all, by which it is inferred what prompts share."""


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


class CheckedPart(NamedTuple):
    """The data, or the test beside it."""

    prefix: str
    """How findings name it: empty, or "test "."""
    examples: Sequence[Example]
    rejected: Sequence[Rejected]

    @property
    def suffix(self) -> str:
        """What is put behind a finding's kind."""
        return "_test" if self.prefix else ""


@dataclass
class CheckInput:
    """What checks look at."""

    data: Sequence[Example]
    task: Task
    """What the answers are."""
    test: Sequence[Example] | None = None
    """Examples kept apart as the test, if they were given."""
    rejected: Sequence[Rejected] = ()
    """Rows of the data that cannot be used."""
    test_rejected: Sequence[Rejected] = ()
    recipe: Recipe = field(default_factory=lambda: Recipe.model_validate({}))
    schema: Mapping[str, Any] = field(default_factory=dict)
    """The JSON schema of records, if one was given."""
    tokens_for: Callable[[Task], Tokens | None] = lambda _: None
    """How tokens are counted if the answers are of that task, which may decide upon the base."""
    features: Features | None = None
    """Turns texts into vectors; by their spelling if there is none."""
    splitter: Splitter | None = None
    """Makes the split that a run would make; if there is none, it is that of a first run."""
    validation: Callable[[], Sequence[Example] | None] = lambda: None
    """Reads the validation that is kept apart, if one was named."""

    @property
    def parts(self) -> list[CheckedPart]:
        """The data and, if there is one, the test."""
        parts = [CheckedPart("", self.data, self.rejected)]
        return parts if self.test is None else [*parts, CheckedPart("test ", self.test, self.test_rejected)]

    @cached_property
    def examples(self) -> list[Example]:
        """The data, then the test."""
        return [*self.data, *(self.test or ())]

    @cached_property
    def records(self) -> list[dict[str, object] | None]:
        """The JSON object that the answer of each of `examples` is, if it is one."""
        return [parse_record(example.answer) for example in self.examples]

    @property
    def records_of_data(self) -> Iterator[tuple[int, dict[str, object]]]:
        """The records of the data, each with its line."""
        for example, record in zip(self.data, self.records, strict=False):
            if record is not None:
                yield example.line, record

    @cached_property
    def answer_counts(self) -> Counter[str]:
        """How often each answer occurs in the data."""
        return Counter(example.answer for example in self.data)

    @cached_property
    def answers(self) -> I64:
        """A number for each of `examples`; equal if the answers differ at most in case, spacing or the order
        of fields."""
        texts = (
            example.answer if record is None else strict_json.write(record, sort_keys=True)
            for example, record in zip(self.examples, self.records, strict=True)
        )
        numbers: dict[str, int] = {}
        return np.array(
            [numbers.setdefault(" ".join(text.casefold().split()), len(numbers)) for text in texts], np.int64
        )

    @cached_property
    def near_index(self) -> NearIndex:
        """Which of the prompts of `examples` are nearly the same."""
        prompts = [example.prompt for example in self.examples]
        shared = SharedText.of(prompts[:: max(1, len(self.data) // _SAMPLE)])
        index = NearIndex(shared=shared)
        index.add(prompts)
        return index

    @property
    def pairs(self) -> tuple[I64, I64, NDArray[np.float64]]:
        """Places of the earlier and the later one of nearly equal prompts, and how alike they are."""
        return self.near_index.table()

    @cached_property
    def first_equal(self) -> I64:
        """For each of `examples` the place of the first one with the same words in its prompt."""
        first, second, alike = self.pairs
        heads = np.arange(len(self.examples))
        heads[second[alike == 1.0]] = first[alike == 1.0]
        while (further := heads[heads]).tobytes() != heads.tobytes():
            heads = further
        return heads

    @cached_property
    def tokens(self) -> Tokens | None:
        """How tokens are counted, if they can be and, where that takes long at first, if it may matter."""
        tokens = self.tokens_for(self.task)
        if tokens is None or not tokens.packed:
            return tokens
        fewest = tokens.longest - TEMPLATE_TOKENS  # a token has at least one byte
        return tokens if any(size(example) > fewest for example in self.examples) else None

    @cached_property
    def split(self) -> Split:
        """The split that a run would make.

        Raises:
            UsageError: none can be made.
        """
        sources: dict[Part, Sequence[Example]] = {"data": self.data}
        if self.test is not None:
            sources["test_data"] = self.test
        if (validation := self.validation()) is not None:
            sources["validation_data"] = validation
        if self.splitter is not None:
            return self.splitter(sources, self.task)
        return split_by_recipe(sources, self.recipe)[1]

    def sample(self, count: int) -> Sequence[Example]:
        """About `count` of the data, evenly spread over it; all if there are no more."""
        return self.data[:: max(1, len(self.data) // count)]
