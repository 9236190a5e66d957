"""CSV and its like as rows: every value stays the text that it is.

A record that is broken (a quote that never ends, a cell too many) is left out at its first line, and
reading goes on behind that line. Knows nothing of what the columns mean.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence

from azubi.data.reading.row import Rejected, Row, shortened
from azubi.data.reading.text import Line, Text
from azubi.errors import DataError, SettingError

_DELIMITERS = ",;\t|"
_LOOKED_AT = 200
"""Lines from which the delimiter is found out."""


class Broken(Exception):
    """A record that cannot be parsed; says why."""


def rows(text: Text, delimiter: str, most: int) -> Iterator[Row | Rejected]:
    """One row per record behind the header; `most` characters of one record.

    Raises:
        DataError: there is no header.
    """
    records = _records(text, delimiter, most)
    header = next((record for record in records if isinstance(record, Rejected) or any(record[1])), None)
    if header is None:
        raise DataError(f"{text.name} is empty.", "Bring a file with one example per line or row.")
    if isinstance(header, Rejected):
        raise DataError(
            f"{text.name}: the header in line {header.line:,} cannot be read: {header.reason}.",
            "Correct it, or name --encoding and --delimiter.",
        )
    names = columns(header[1])
    for record in records:
        if isinstance(record, Rejected):
            yield record
        elif any(record[1]):
            yield _row(names, *record)


def columns(header: Sequence[str]) -> list[str]:
    """The names of the columns; a name that came before gets a number."""
    names: list[str] = []
    seen: dict[str, int] = {}
    for cell in header:
        name = cell.strip()
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return names


def delimiter(text: Text, name: str | None) -> str:
    """What parts the columns: as given, or what fits the first lines best.

    Raises:
        SettingError: what was given is not one character.
    """
    if name is not None:
        given = {"\\t": "\t", "tab": "\t"}.get(name, name)
        if len(given) != 1 or given in '"\r\n\0':
            raise SettingError(
                f"The delimiter {name!r} is not one character.", "Common ones are , ; | and \\t for a tab."
            )
        return given
    head = [f"{line}\n" for line in text.head(_LOOKED_AT)]
    return max(_DELIMITERS, key=lambda sign: _fit(head, sign))


def _fit(head: Sequence[str], sign: str) -> tuple[float, int]:
    """How many records have as many cells as the header, if it has several; and how many it has."""
    reader = csv.reader(head, delimiter=sign)
    try:
        widths = [len(record) for record in reader if record]
    except csv.Error:
        widths = []
    if not widths or widths[0] < 2:
        return 0.0, 0
    return round(sum(width == widths[0] for width in widths) / len(widths), 1), widths[0]


def _row(names: Sequence[str], line: int, cells: Sequence[str], raw: str) -> Row | Rejected:
    if len(cells) > len(names) and not any(cells[len(names) :]):
        cells = cells[: len(names)]
    if len(cells) != len(names):
        told = f"has {len(cells):,} cell{'s' * (len(cells) != 1)}, but the header has {len(names):,}"
        return Rejected(line, told, shortened(raw))
    return Row(line, dict(zip(names, cells, strict=True)), raw)


def _records(text: Text, delimiter: str, most: int) -> Iterator[tuple[int, list[str], str] | Rejected]:
    """Number (as a spreadsheet counts rows), cells and beginning of each record."""
    csv.field_size_limit(max(csv.field_size_limit(), int(most)))
    source = _Source(text, most)
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    number = 0
    while True:
        source.taken.clear()
        number += 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, Broken) as error:
            yield Rejected(number, _in_words(str(error)), shortened(source.resume().text))
            reader = csv.reader(source, delimiter=delimiter, strict=True)
            continue
        first = source.taken[0]
        if fault := next((line for line in source.taken if line.fault), None):
            yield Rejected(number, fault.fault, shortened(first.text))
        else:
            yield number, cells, first.text


class _Source:
    """Feeds the parser with lines, and remembers those of the record it is at."""

    def __init__(self, text: Text, most: int) -> None:
        self._lines = iter(text)
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
        return line.text

    def resume(self) -> Line:
        """Give up the record, of which the first line is returned; the others are read anew."""
        first, *rest = self.taken
        self._again.extendleft(reversed(rest))
        return first


def _in_words(cause: str) -> str:
    if cause == "unexpected end of data":
        return "cannot be read as CSV: a quote is opened and not closed"
    if expected := re.match(r"'(.)' expected after '\"'", cause):
        return f"cannot be read as CSV: a quote is closed, but no “{expected[1]}” follows"
    if cause.startswith("new-line character seen"):
        return "cannot be read as CSV: a line break stands in a cell without quotes"
    return cause
