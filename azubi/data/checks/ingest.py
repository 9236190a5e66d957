"""Takes in what a source yields: examples are put by, rows that cannot be used are written down.

Knows nothing of sources: it is given an iterator.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from azubi.data.checks.check_input import Refusals
from azubi.data.checks.temp_dataset import TempDataset
from azubi.data.example import Example
from azubi.data.finding import SHOWN
from azubi.data.readers import Rejected, no_record
from azubi.storage import files

REJECTED = "rejected.jsonl"
"""The file of rows that cannot be used: one per line, with source, line, reason and how it begins."""

_REASONS = 100
"""Different reasons that are counted; they may quote values, and then there are as many as rows."""
_TOLD = 10_000
"""Rows after which it is told how many there are."""


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
        hear: Callable[[int], None] = lambda _: None,
        seen: Callable[[Example], None] = lambda _: None,
    ) -> tuple[TempDataset, Refusals]:
        """Put by the examples; gives them, and what could not be used. `hear` is told the number of rows,
        `seen` each example."""
        spool, count = TempDataset(), 0
        first: list[tuple[int, str]] = []
        reasons: Counter[str] = Counter()
        for number, one in enumerate(stream, start=1):
            if isinstance(one, Example):
                spool.add(one)
                seen(one)
            else:
                count += 1
                if len(first) < SHOWN:
                    first.append((one.line, one.reason))
                if one.reason in reasons or len(reasons) < _REASONS:
                    reasons[one.reason] += 1
                self._write(one, source)
            if number % _TOLD == 0:
                hear(number)
        return spool, Refusals(count, tuple(first), dict(reasons.most_common()), most)

    def records_of(self, spool: TempDataset, refusals: Refusals, source: str) -> tuple[TempDataset, Refusals]:
        """The same without examples whose answers are no records, which join what could not be used."""
        kept, left_out = TempDataset(), list[Rejected]()
        for batch in spool.batches():
            for example in batch:
                if (bad := no_record(example)) is None:
                    kept.add(example)
                else:
                    left_out.append(bad)
                    self._write(bad, source)
        spool.close()
        first = sorted((*refusals.first, *((one.line, one.reason) for one in left_out)))[:SHOWN]
        reasons = Counter(refusals.reasons) + Counter(one.reason for one in left_out)
        told = dict(reasons.most_common(_REASONS))
        return kept, Refusals(refusals.count + len(left_out), tuple(first), told, refusals.most)

    def _write(self, row: Rejected, source: str) -> None:
        if self._folder is None:
            return
        if self._file is None:
            self.rejected_file = self._folder / REJECTED
            scratch = self._stack.enter_context(files.new_file(self.rejected_file))
            self._file = self._stack.enter_context(scratch.open("w", encoding="utf-8"))
        self._file.write(row.as_json(source=source) + "\n")
