"""CSV and its like as rows: every value stays the text that it is.

A record that is broken (a quote that never ends, a cell too many) is left out at its first line, and
reading goes on behind that line. Knows nothing of what the columns mean.
"""

import contextlib
import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from azubi.data.readers.row import (
    EMPTY,
    HEADER_ROWS,
    MissingColumn,
    Rejected,
    Row,
    column_names,
    find_header,
    shortened,
)
from azubi.data.readers.text import Line, Text
from azubi.errors import DataError, SettingError
from azubi.settings import Recipe

_DELIMITERS = ",;\t|"
ESCAPED = "--escape '\\\\'"
_LOOKED_AT = 200
"""Lines from which the delimiter is found out."""


_SEP = re.compile(r'"?sep=([^\r\n"])"?\s*', re.IGNORECASE)
"""The first line by which a file tells Excel its delimiter."""


class Broken(Exception):
    """A record that cannot be parsed; says why."""


@dataclass(frozen=True)
class Dialect:
    """How a text is parted into cells."""

    delimiter: str
    escape: str | None = None
    """Stands before a quote inside quotes; there it may stand before itself and the delimiter, too."""
    sep_line: bool = False
    """Whether the first line only tells the delimiter."""

    def reader(self, lines: "Iterator[str] | _Source", *, strict: bool) -> Iterator[list[str]]:
        """The records of some lines."""
        return csv.reader(lines, delimiter=self.delimiter, escapechar=self.escape, strict=strict)

    def prepared(self, line: str) -> str:
        """A line such that the sign for escaping stays where it escapes nothing, as in C:\\temp."""
        if self.escape is None or self.escape not in line:
            return line
        sign = re.escape(self.escape)
        followed = rf'{sign}(["{sign}{re.escape(self.delimiter)}\r\n]?)'
        return re.sub(followed, lambda match: match[0] if match[1] else 2 * match[0], line)


def rows(
    text: Text, dialect: Dialect, recipe: Recipe, lacks: MissingColumn, notes: list[str]
) -> Iterator[Row | Rejected]:
    """One row per record below the header; rows above it are passed over, which `notes` say.

    Raises:
        DataError: there is no header, or it is not clear which row it is.
    """
    records = _records(text, dialect, recipe.limits.row)
    head = list(islice(records, HEADER_ROWS))
    named = [record for record in head if not isinstance(record, Rejected) and any(record[1])]
    if not head or not (named or any(isinstance(record, Rejected) for record in head)):
        raise DataError(f"{text.name} is empty.", "Bring a file with one example per line or row.")
    first = next(record for record in head if isinstance(record, Rejected) or any(record[1]))
    cells = [(number, cells) for number, cells, _ in named]
    header = find_header(cells, lacks, recipe.header, text.name, notes) if named else None
    if isinstance(first, Rejected) and (header is None or header.lacks is not None):
        raise DataError(
            f"{text.name}: the header in line {first.line:,} cannot be read: {first.reason}.",
            "Correct it, or name --encoding and --delimiter.",
        )
    assert header is not None
    for record in chain(head, records):
        if isinstance(record, Rejected):
            if record.line > header.number:
                yield record
        elif record[0] > header.number and any(record[1]):
            yield _row(header.names, *record)
        elif record[0] > header.number and (record[1] or len(header.names) == 1):
            yield Rejected(record[0], EMPTY)


def dialect(text: Text, recipe: Recipe, lacks: MissingColumn) -> Dialect:
    """How columns are parted: as given, as the first line tells Excel, or what fits the first lines best.

    Raises:
        SettingError: a sign that was given is not one character.
    """
    head = [f"{line}\n" for line in text.head(_LOOKED_AT)]
    sep_line = _SEP.fullmatch(head[0]) if head else None
    escape = _escape(recipe.escape)
    if recipe.delimiter is not None:
        sign = {"\\t": "\t", "tab": "\t"}.get(recipe.delimiter, recipe.delimiter)
        if len(sign) != 1 or sign in '"\r\n\0':
            raise SettingError(
                f"The delimiter {recipe.delimiter!r} is not one character.",
                "Common ones are , ; | and \\t for a tab.",
            )
        return Dialect(sign, escape, sep_line is not None)
    if sep_line:
        return Dialect(sep_line[1], escape, sep_line=True)
    guesses = (Dialect(sign, escape) for sign in _DELIMITERS)
    return max(guesses, key=lambda guess: _fit(head, guess, lacks))


def fits(text: Text, dialect: Dialect, lacks: MissingColumn) -> bool:
    """Whether one of the first rows has the names that are asked for."""
    return _fit([f"{line}\n" for line in text.head(_LOOKED_AT)], dialect, lacks)[0]


def _escape(sign: str | None) -> str | None:
    if sign is not None and (sign in '"\r\n\0' or sign.isalnum() or sign.isspace()):
        raise SettingError(f"The sign {sign!r} cannot escape quotes.", "The common one is a backslash.")
    return sign


def _fit(head: Sequence[str], guess: Dialect, lacks: MissingColumn) -> tuple[bool, bool, float, int]:
    """Whether a row has the names that are asked for; whether it (else the first) has several cells; how many
    rows are as wide; and how wide it is."""
    records: list[list[str]] = []
    with contextlib.suppress(csv.Error):
        records += filter(None, guess.reader(map(guess.prepared, head), strict=False))
    accessed = enumerate(records[:HEADER_ROWS])
    place = next((place for place, cells in accessed if lacks(column_names(cells)) is None), None)
    widths = [len(record) for record in records[place or 0 :]]
    width = widths[0] if widths else 0
    alike = sum(size == width for size in widths) / max(1, len(widths))
    return place is not None, width > 1, round(alike, 1), width


def _row(names: Sequence[str], line: int, cells: Sequence[str], raw: str) -> Row | Rejected:
    if len(cells) > len(names) and not any(cells[len(names) :]):
        cells = cells[: len(names)]
    if len(cells) != len(names):
        fault = f"has {len(cells):,} cell{'s' * (len(cells) != 1)}, but the header has {len(names):,}"
        return Rejected(line, fault + _likely(raw), shortened(raw))
    return Row(line, dict(zip(names, cells, strict=True)), raw)


def _records(text: Text, dialect: Dialect, most: int) -> Iterator[tuple[int, list[str], str] | Rejected]:
    """Number (as a spreadsheet counts rows), cells and beginning of each record."""
    csv.field_size_limit(max(csv.field_size_limit(), int(most)))
    source = _Source(text, dialect, most)
    reader = dialect.reader(source, strict=True)
    number = 0
    while True:
        source.taken.clear()
        number += 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, Broken) as error:
            begun = source.resume().text
            likely = _likely(begun) if dialect.escape is None else ""
            yield Rejected(number, _in_words(str(error)) + likely, shortened(begun))
            reader = dialect.reader(source, strict=True)
            continue
        first = source.taken[0]
        if fault := next((line for line in source.taken if line.fault), None):
            yield Rejected(number, fault.fault, shortened(first.text))
        else:
            yield number, cells, first.text


class _Source:
    """Feeds the parser with lines, and remembers those of the record it is at."""

    def __init__(self, text: Text, dialect: Dialect, most: int) -> None:
        self._lines = islice(text, int(dialect.sep_line), None)
        self._dialect = dialect
        self._again: deque[Line] = deque()
        self._most = most
        self.taken: list[Line] = []
        self._size = 0

    def __iter__(self) -> "_Source":
        return self

    def __next__(self) -> str:
        if not self.taken:
            self._size = 0
        line = self._again.popleft() if self._again else next(self._lines)
        self.taken.append(line)
        if not line.whole:
            raise Broken(line.fault if len(self.taken) == 1 else "a quote is opened and not closed")
        self._size += len(line.text)
        if self._size > self._most:
            raise Broken(
                f"has more than {self._most:,} characters (limits.row): a quote may be opened and not closed"
            )
        return self._dialect.prepared(line.text)

    def resume(self) -> Line:
        """Give up the record, of which the first line is returned; the others are read anew."""
        first, *rest = self.taken
        self._again.extendleft(reversed(rest))
        return first


def _likely(raw: str) -> str:
    """What may be behind a broken record."""
    return f"; its quotes may be escaped with a backslash ({ESCAPED})" if '\\"' in raw else ""


def _in_words(cause: str) -> str:
    if cause == "unexpected end of data":
        return "cannot be read as CSV: a quote is opened and not closed"
    if expected := re.match(r"'(.)' expected after '\"'", cause):
        return f"cannot be read as CSV: a quote is closed, but no “{expected[1]}” follows"
    if cause.startswith("new-line character seen"):
        return "cannot be read as CSV: a line break stands in a cell without quotes"
    return cause
