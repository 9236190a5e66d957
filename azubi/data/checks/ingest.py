"""Takes in what a source yields: usable examples go to a temporary file, the others to rejected.jsonl.

The temporary file is an Arrow stream without a name: it vanishes with the process, since it holds the
company's data. Checks read it again in batches. Knows nothing of sources and of what the checks look for.
"""

import io
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

import pyarrow

from azubi.data.example import Example, Turn
from azubi.data.finding import SHOWN
from azubi.data.readers.reading import reject_non_record
from azubi.data.readers.row import Rejected
from azubi.storage import files

_ROWS, _CHARACTERS = 10_000, 8 << 20
"""Most of each in one batch of the file."""
_TEXT = pyarrow.large_string()
_SCHEMA = pyarrow.schema(
    {
        "prompt": _TEXT,
        "turns": _TEXT,
        "answer": _TEXT,
        "line": pyarrow.int64(),
        "key": _TEXT,
        "group": _TEXT,
        "time": _TEXT,
        "weight": pyarrow.float64(),
    }
)


class TempDataset:
    """A `Dataset` on disk: examples are added, then read; none can be added after the first reading."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="azubi-spool-")  # noqa: SIM115 - closed with the data set
        options = pyarrow.ipc.IpcWriteOptions(compression="lz4")
        self._writer: Any = pyarrow.ipc.new_stream(self._file, _SCHEMA, options=options)
        self._waiting: list[Example] = []
        self._characters = 0
        self._counts: list[int] = []

    @classmethod
    def of(cls, examples: Iterable[Example]) -> "TempDataset":
        """A data set that holds these."""
        dataset = cls()
        for example in examples:
            dataset.add(example)
        return dataset

    def add(self, example: Example) -> None:
        """Put one more behind the others.

        Raises:
            StorageError: the folder for temporary files is full.
        """
        self._waiting.append(example)
        self._characters += len(example.answer) + sum(len(turn.content) for turn in example.turns)
        if len(self._waiting) == _ROWS or self._characters >= _CHARACTERS:
            self._write()

    def __len__(self) -> int:
        return sum(self._counts) + len(self._waiting)

    def batches(self, size: int = 10_000) -> Iterator[Sequence[Example]]:
        """All examples in the order of the source; at most `size` at a time, fewer if they are long."""
        for read in self._stored():
            examples = read()
            for begin in range(0, len(examples), size):
                yield examples[begin : begin + size]

    def take(self, places: Iterable[int]) -> Mapping[int, Example]:
        """The examples at some places, counted from 0."""
        wanted = sorted(set(places))
        by_place: dict[int, Example] = {}
        begin = 0
        for read, count in zip(self._stored(), self._counts, strict=True):
            here = [place for place in wanted if begin <= place < begin + count]
            if here:
                examples = read()
                by_place |= {place: examples[place - begin] for place in here}
            begin += count
        return by_place

    def close(self) -> None:
        """Give the temporary file back."""
        self._file.close()

    def _write(self) -> None:
        if self._waiting:
            self._counts.append(len(self._waiting))
            with files.scratch_room():
                self._writer.write_batch(_packed(self._waiting))
        self._waiting, self._characters = [], 0

    def _stored(self) -> Iterator[Callable[[], list[Example]]]:
        """What reads each batch of the file, if it is called before the next one is asked for."""
        if self._writer is not None:
            self._write()
            with files.scratch_room():
                self._writer.close()
                self._file.flush()
            self._writer = None
        with pyarrow.ipc.open_stream(pyarrow.PythonFile(_Again(self._file.fileno()), mode="r")) as stream:
            for batch in stream:
                yield partial(_unpacked, batch)


class _Again(io.RawIOBase):
    """A file read from its beginning, without moving the place where others read it."""

    def __init__(self, number: int) -> None:
        self._number, self._place = number, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = os.preadv(self._number, [buffer], self._place)
        self._place += count
        return count


def _packed(examples: Sequence[Example]) -> Any:
    columns = {
        # Nearly every conversation is one message of the user.
        "prompt": [example.turns[0].content if _plain(example) else None for example in examples],
        "turns": [None if _plain(example) else _written(example.turns) for example in examples],
        **{name: [getattr(example, name) for example in examples] for name in _SCHEMA.names[2:]},
    }
    return pyarrow.RecordBatch.from_pydict(columns, schema=_SCHEMA)


def _plain(example: Example) -> bool:
    return len(example.turns) == 1 and example.turns[0].role == "user" and not example.turns[0].learned


def _written(turns: Sequence[Turn]) -> str:
    return json.dumps([astuple(turn) for turn in turns], ensure_ascii=False)


def _unpacked(batch: Any) -> list[Example]:
    prompts, turns, *rest = (batch.column(name).to_pylist() for name in _SCHEMA.names)
    return [
        Example((Turn("user", prompt),) if written_turns is None else _read(written_turns), *others)
        for prompt, written_turns, *others in zip(prompts, turns, *rest, strict=True)
    ]


def _read(written_turns: str) -> tuple[Turn, ...]:
    return tuple(Turn(*parts) for parts in json.loads(written_turns))


REJECTED = "rejected.jsonl"
"""The file of rows that cannot be used: one per line, with source, line, reason and how it begins."""

_REASONS = 100
"""Different reasons that are counted; they may quote values, and then there are as many as rows."""
_REPORTED = 10_000
"""Rows after which it is told how many there are."""


@dataclass(frozen=True, slots=True)
class Refusals:
    """The rows that could not be read: how many, the first of them, and how often each reason occurs."""

    count: int = 0
    first: tuple[tuple[int, str], ...] = ()
    """Line and reason."""
    reasons: Mapping[str, int] = field(default_factory=dict)
    most: float = 0.05
    """Share of the rows from which on azubi refuses the source."""


class Ingest:
    """Takes in sources, one after the other, and writes their rejected rows into one file, if there are any.

    The file appears in `folder` when the block ends well; an old one is removed if there is nothing to say.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._file: IO[str] | None = None
        self.rejected_file: Path | None = None

    def __enter__(self) -> "Ingest":
        self._stack.__enter__()
        if self._folder is not None:
            (self._folder / REJECTED).unlink(missing_ok=True)
        return self

    def __exit__(self, *trouble: object) -> None:
        self._stack.__exit__(*trouble)  # type: ignore[arg-type]

    def take(
        self,
        stream: Iterable[Example | Rejected],
        source: str,
        most: float,
        handle: Callable[[int], None] = lambda _: None,
        seen: Callable[[Example], None] = lambda _: None,
    ) -> tuple[TempDataset, Refusals]:
        """Put by the examples; gives them, and what could not be used. `hear` is told the number of rows,
        `seen` each example."""
        dataset, count = TempDataset(), 0
        first: list[tuple[int, str]] = []
        reasons: Counter[str] = Counter()
        for number, row in enumerate(stream, start=1):
            if isinstance(row, Example):
                dataset.add(row)
                seen(row)
            else:
                count += 1
                if len(first) < SHOWN:
                    first.append((row.line, row.reason))
                if row.reason in reasons or len(reasons) < _REASONS:
                    reasons[row.reason] += 1
                self._write(row, source)
            if number % _REPORTED == 0:
                handle(number)
        return dataset, Refusals(count, tuple(first), dict(reasons.most_common()), most)

    def records_of(
        self, dataset: TempDataset, refusals: Refusals, source: str
    ) -> tuple[TempDataset, Refusals]:
        """The same without examples whose answers are no records, which join what could not be used."""
        kept, left_out = TempDataset(), list[Rejected]()
        for batch in dataset.batches():
            for example in batch:
                if (bad := reject_non_record(example)) is None:
                    kept.add(example)
                else:
                    left_out.append(bad)
                    self._write(bad, source)
        dataset.close()
        first = sorted((*refusals.first, *((row.line, row.reason) for row in left_out)))[:SHOWN]
        reasons = Counter(refusals.reasons) + Counter(row.reason for row in left_out)
        most_frequent = dict(reasons.most_common(_REASONS))
        return kept, Refusals(refusals.count + len(left_out), tuple(first), most_frequent, refusals.most)

    def _write(self, row: Rejected, source: str) -> None:
        if self._folder is None:
            return
        if self._file is None:
            self.rejected_file = self._folder / REJECTED
            scratch = self._stack.enter_context(files.new_file(self.rejected_file))
            self._file = self._stack.enter_context(scratch.open("w", encoding="utf-8"))
        self._file.write(row.as_json(source=source) + "\n")
