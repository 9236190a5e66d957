"""What is checked: the examples, the test beside them, what could not be read, and how tokens are counted.

Knows nothing of what is wrong with them.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from azubi.data import schema as schemas
from azubi.data import strict_json
from azubi.data.contract import Task, TaskInference, parse_labels, parse_record
from azubi.data.example import Example, Part
from azubi.data.finding import SHOWN, Case, Finding, share, some
from azubi.data.readers.documents import unread_parts
from azubi.data.readers.reading import (
    read_source,
    reject_faulty,
    reject_non_list,
    reject_non_record,
    with_label_set,
)
from azubi.data.readers.row import Rejected
from azubi.data.readers.source import Source
from azubi.data.readers.styles import Undecided
from azubi.data.splits.near_duplicates import NearIndex, SharedText
from azubi.data.splits.splitting import Split, split_by_recipe
from azubi.errors import DataError
from azubi.settings import Recipe
from azubi.storage import files

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
    tokens_for: Callable[[Task, Sequence[Example]], Tokens | None] = lambda *_: None
    """How tokens are counted if the answers are of that task, and for these data: both may decide upon the
    base."""
    features: Features | None = None
    """Turns texts into vectors; by their spelling if there is none."""
    splitter: Splitter | None = None
    """Makes the split that a run would make; if there is none, it is that of a first run."""
    validation: Callable[[], Sequence[Example] | None] = lambda: None
    """Reads the validation that is kept apart, if one was named."""
    multi: bool = False
    """Whether each answer is a set of labels."""

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

    def labels(self, example: Example) -> tuple[str, ...]:
        """The labels of an example: its answer, or those of its list."""
        return (parse_labels(example.answer) or ()) if self.multi else (example.answer,)

    @cached_property
    def label_counts(self) -> Counter[str]:
        """How many examples of the data have each label."""
        return Counter(label for example in self.data for label in self.labels(example))

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
        tokens = self.tokens_for(self.task, self.data)
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


REJECTED = "rejected.jsonl"
"""The file of rows that cannot be used: one per line, with source, line, reason and how it begins."""
_MOST_REASONS = 100
_REPORTED = 10_000
"""Rows after which the number of rows is reported."""
_PICTURES = re.compile(r".*: [0-9,]+ pictures?")


@dataclass(slots=True)
class CheckedSource:
    """A source as it is checked: its name, what it yields, and what its reader has to say afterwards."""

    name: str
    rows: Iterable[Example | Rejected]
    notes: Sequence[str] = ()
    """May be empty until the rows were read."""
    undecided: list[Undecided] = field(default_factory=list)
    """What can be read in two ways; may be empty until then, too."""
    unread: Sequence[tuple[int, str]] = ()
    """Rows whose documents have parts that were not read, and which; empty until the rows were read."""
    examples: list[Example] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)

    def read(self, handle: Callable[[str], None]) -> None:
        """Sort the rows into `examples` and `rejected`; `handle` takes the progress, in words."""
        for number, row in enumerate(self.rows, start=1):
            if isinstance(row, Example):
                self.examples.append(row)
            else:
                self.rejected.append(row)
            if number % _REPORTED == 0:
                handle(f"Reading {self.name}: {number:,} rows")

    def reject(self, fault_of: Callable[[Example], Rejected | None]) -> None:
        """Move examples whose answers have a fault to what cannot be used."""
        faults = [fault_of(example) for example in self.examples]
        self.examples = [e for e, fault in zip(self.examples, faults, strict=True) if fault is None]
        self.rejected += [fault for fault in faults if fault is not None]


def read_input(
    data: CheckedSource, test: CheckedSource | None, recipe: Recipe, handle: Callable[[str], None]
) -> tuple[CheckInput, list[Finding]]:
    """Read data and test, and say what the answers are, as a run does; with what there is to say of that.

    Raises:
        DataError: a source cannot be read, or there is no row at all.
    """
    sources = [data, *([test] if test else ())]
    for source in sources:
        source.read(handle)
    if not data.examples and not data.rejected:
        raise DataError(f"{data.name} has a header, but no rows.", "Bring a file with examples in it.")
    findings = [_ambiguous(question, source.name) for source in sources for question in source.undecided]
    findings += [_note(text) for source in sources for text in source.notes]
    findings += [_unread(source.unread, source is test) for source in sources if source.unread]
    inference, task = TaskInference(), recipe.task
    for example in data.examples:
        inference.add(example.answer, example.line)
    kind: Task = "text"
    try:
        kind = inference.task(None if task == "auto" else task)
    except DataError as error:
        findings.append(_mixed(error))
    findings += [_note(text) for text in inference.notes(kind)]
    if kind == "json":
        for source in sources:
            source.reject(reject_non_record)
    multi = inference.multi(kind)
    if multi:
        for source in sources:
            source.reject(reject_non_list)
            source.examples = list(map(with_label_set, source.examples))
    check_input = CheckInput(
        data.examples,
        kind,
        test.examples if test else None,
        data.rejected,
        test.rejected if test else (),
        recipe,
        schema=schemas.load(recipe.schema_) if recipe.schema_ is not None else {},
        validation=lambda: _validation(recipe, kind, multi),
        multi=multi,
    )
    return check_input, findings


def _validation(recipe: Recipe, task: Task, multi: bool) -> Sequence[Example] | None:
    if recipe.validation_data is None:
        return None
    source = Source(recipe, recipe.validation_data)
    reading = read_source(source)
    if task == "json":
        reading = reject_faulty(source, reading, reject_non_record)
    elif multi:
        reading = reject_faulty(source, reading, reject_non_list)
    return [with_label_set(example) if multi else example for example in reading.examples]


def write_rejected(folder: Path, sources: Iterable[CheckedSource | None]) -> Path | None:
    """Write the rows that cannot be used into `folder`; if there are none, an old file goes."""
    path = folder / REJECTED
    lines = [row.as_json(source=source.name) for source in sources if source for row in source.rejected]
    if not lines:
        path.unlink(missing_ok=True)
        return None
    files.write_text(path, "".join(f"{line}\n" for line in lines))
    return path


def rejected_rows(check_input: CheckInput) -> Iterator[Finding]:
    """Rows without a prompt or an answer, and what could not be read at all."""
    most = check_input.recipe.limits.rejected
    for prefix, examples, rejected in check_input.parts:
        count, rows = len(rejected), len(rejected) + len(examples)
        if not count:
            continue
        too_many = count > most * rows
        reasons = Counter(row.reason for row in rejected)
        mendable = sum(number for reason, number in reasons.items() if strict_json.REPAIR in reason)
        limit = f", more than the {share(most)} that are let pass" if too_many else ""
        first = sorted(rejected, key=lambda row: row.line)[:SHOWN]
        yield Finding(
            kind="rejected_test_rows" if prefix else "rejected_rows",
            level="error" if too_many else "warning",
            title=f"{some(count, f'{prefix}row')} of {rows:,} cannot be used ({share(count / rows)}{limit}).",
            count=count,
            cases=tuple(Case(lines=(row.line,), text=row.reason) for row in first),
            why="What cannot be read is not learned, and what fails often has mostly one cause in the "
            "export.",
            remedy="Each one stands with its line and reason in rejected.jsonl. Correct them in the source, "
            "or leave them out; the others go on."
            + (f" --repair mends {mendable:,} of them." if mendable else "")
            + (" Training waits until fewer fail." if too_many else ""),
            details={
                "splits": ["test"] if prefix else [],
                "rows": rows,
                "most": most,
                "reasons": dict(reasons.most_common(_MOST_REASONS)),
            },
        )


def _ambiguous(question: Undecided, name: str) -> Finding:
    return Finding(
        kind="ambiguous_values",
        level="error",
        title=f"{name}: {question.problem}",
        count=question.count,
        cases=tuple(Case(lines=(line,), text=text) for line, text in question.cases),
        why="Read in the wrong way, an amount is a thousand times too small and a date months away; nothing "
        "later would show it.",
        remedy=question.remedy,
    )


def _note(text: str) -> Finding:
    return Finding(
        kind="reading",
        level="note",
        title=text,
        count=1,
        why="A wrong guess spoils every row.",
        remedy="Look at a few of the rows that are quoted here; if something is wrong, say how it is to be "
        "read.",
    )


def _unread(unread: Sequence[tuple[int, str]], of_test: bool) -> Finding:
    pictures = all(_PICTURES.fullmatch(parts) for _, parts in unread)
    return Finding(
        kind="unread_parts",
        level="note" if pictures else "warning",
        title=unread_parts(unread),
        count=len(unread),
        cases=tuple(Case(lines=(line,), text=parts) for line, parts in unread[:SHOWN]),
        why="What an answer follows from may stand there, and then it cannot be learned.",
        remedy="Bring what matters as text: scanned pages after text recognition (OCR), attachments as "
        "documents of their own. Logos can be left.",
        details={"splits": ["test"] if of_test else []},
    )


def _mixed(error: DataError) -> Finding:
    return Finding(
        kind="mixed_answers",
        level="error",
        title=error.problem,
        count=1,
        why="A specialist gives records or texts, and which of them is meant cannot be told.",
        remedy=error.remedy,
    )
