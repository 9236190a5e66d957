"""Rows of text files: CSV and the like, JSON lines and lists."""

import contextlib
import csv
import json
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

from azubi.data import strict_json
from azubi.data.readers.row import (
    EMPTY,
    HEADER_ROWS,
    LONGEST_ROW,
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

ESCAPED = "its quotes may be escaped with a backslash"
_BACKSLASH = "\\"
_DELIMITERS = ",;\t|"
_SAMPLED_LINES = 200
"""Lines from which the delimiter is found out."""
_SEP_LINE = re.compile(r'"?sep=([^\r\n"])"?\s*', re.IGNORECASE)
"""The first line by which a file tells Excel its delimiter."""


@dataclass(frozen=True)
class Dialect:
    """How lines become cells."""

    delimiter: str
    escaped: bool = False
    """Whether a backslash stands before a quote inside quotes; it may stand before itself, too."""
    sep_line: bool = False
    """Whether the first line only names the delimiter."""

    def reader(self, lines: Iterable[str], *, strict: bool) -> Iterator[list[str]]:
        """The records of some lines."""
        escape = _BACKSLASH if self.escaped else None
        lines = map(self._prepare, lines)
        return csv.reader(lines, delimiter=self.delimiter, escapechar=escape, strict=strict)

    def _prepare(self, line: str) -> str:
        """A line such that a backslash stays where it escapes nothing, as in C:\\temp."""
        if not self.escaped or _BACKSLASH not in line:
            return line
        followed = rf'\\(["\\{re.escape(self.delimiter)}\r\n]?)'
        return re.sub(followed, lambda match: match[0] if match[1] else 2 * match[0], line)


@dataclass(frozen=True)
class Fit:
    """How well a dialect fits the first lines of a text."""

    dialect: Dialect
    has_columns: bool
    """Whether one of the first rows has the names that are asked for."""
    rank: tuple[bool, bool, float, int]
    """Better ones are larger: that, several cells in the header, share of rows as wide as it, its width."""


def find_dialect(text: Text, recipe: Recipe, missing_column: MissingColumn) -> Fit:
    """How lines become cells: as given, as the first line tells Excel, or what fits the first lines best.

    Raises:
        SettingError: a sign that was given is not one character.
    """
    head = [f"{line}\n" for line in text.head(_SAMPLED_LINES)]
    sep_line = _SEP_LINE.fullmatch(head[0]) if head else None
    delimiters = sep_line[1] if sep_line else _DELIMITERS
    if recipe.delimiter is not None:
        delimiters = {"\\t": "\t", "tab": "\t"}.get(recipe.delimiter, recipe.delimiter)
        if len(delimiters) != 1 or delimiters in '"\r\n\0':
            raise SettingError(
                f"The delimiter {recipe.delimiter!r} is not one character.",
                "Common ones are , ; | and \\t for a tab.",
            )
    dialects = [Dialect(sign, sep_line=sep_line is not None) for sign in delimiters]
    fits = (_fit(head, _with_escapes(dialect, head), missing_column) for dialect in dialects)
    return max(fits, key=lambda fit: fit.rank)


def _with_escapes(plain: Dialect, head: Sequence[str]) -> Dialect:
    """The dialect in which a backslash stands before quotes, if that mends more lines than it breaks."""
    escaped = replace(plain, escaped=True)
    faults = [(_fault(line, plain), _fault(line, escaped)) for line in head if '\\"' in line]
    mended = sum("expected after" in before and not after for before, after in faults)
    return escaped if mended > sum(bool(after) and not before for before, after in faults) else plain


def _fault(line: str, dialect: Dialect) -> str:
    """Why a line by itself is no record; empty if it is one."""
    try:
        list(dialect.reader([line], strict=True))
    except csv.Error as error:
        return str(error)
    return ""


def _fit(head: Sequence[str], dialect: Dialect, missing_column: MissingColumn) -> Fit:
    records: list[list[str]] = []
    with contextlib.suppress(csv.Error):
        records += filter(None, dialect.reader(head, strict=False))
    headers = enumerate(records[:HEADER_ROWS])
    header = next((at for at, cells in headers if missing_column(column_names(cells)) is None), None)
    widths = [len(record) for record in records[header or 0 :]] or [0]
    alike = sum(width == widths[0] for width in widths) / len(widths)
    has_columns = header is not None
    return Fit(dialect, has_columns, (has_columns, widths[0] > 1, round(alike, 1), widths[0]))


def rows(
    text: Text, dialect: Dialect, header_row: int | None, missing_column: MissingColumn, notes: list[str]
) -> Iterator[Row | Rejected]:
    """One row per record below the header; rows above it are passed over, which `notes` say.

    Raises:
        DataError: there is no header, or it is not clear which row it is.
    """
    records = _records(text, dialect)
    head = list(islice(records, HEADER_ROWS))
    filled = [record for record in head if isinstance(record, Rejected) or any(record.cells)]
    if not filled:
        raise DataError(f"{text.name} is empty.", "Bring a file with one example per line or row.")
    named = [(record.line, record.cells) for record in filled if isinstance(record, _Record)]
    header = find_header(named, missing_column, header_row, text.name, notes) if named else None
    first = filled[0]
    if header is None or (header.lacks is not None and isinstance(first, Rejected)):
        reason = first.reason if isinstance(first, Rejected) else ""
        raise DataError(
            f"{text.name}: the header in line {first.line:,} cannot be read: {reason}.",
            "Correct it, or name --encoding and --delimiter.",
        )
    for record in chain(head, records):
        if record.line > header.number:
            if isinstance(record, Rejected):
                yield record
            elif any(record.cells):
                yield _row(header.names, record)
            elif record.cells or len(header.names) == 1:
                yield Rejected(record.line, EMPTY)


@dataclass(frozen=True, slots=True)
class _Record:
    line: int
    """As a spreadsheet counts rows."""
    cells: Sequence[str]
    raw: str
    """Its first line."""


def _row(names: Sequence[str], record: _Record) -> Row | Rejected:
    cells = record.cells
    if len(cells) > len(names) and not any(cells[len(names) :]):
        cells = cells[: len(names)]
    if len(cells) != len(names):
        fault = f"has {len(cells):,} cell{'s' * (len(cells) != 1)}, but the header has {len(names):,}"
        return Rejected(record.line, fault + _likely_cause(record.raw), shortened(record.raw))
    return Row(record.line, dict(zip(names, cells, strict=True)), record.raw)


def _records(text: Text, dialect: Dialect) -> Iterator[_Record | Rejected]:
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_ROW))
    lines = _Lines(text, dialect)
    reader = dialect.reader(lines, strict=True)
    number = 0
    while True:
        lines.taken.clear()
        number += 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, _Broken) as error:
            raw = lines.give_up().text
            likely = _likely_cause(raw) if not dialect.escaped else ""
            yield Rejected(number, _in_words(str(error)) + likely, shortened(raw))
            reader = dialect.reader(lines, strict=True)
            continue
        raw = lines.taken[0].text
        if fault := next((line.fault for line in lines.taken if line.fault), ""):
            yield Rejected(number, fault, shortened(raw))
        else:
            yield _Record(number, cells, raw)


class _Broken(Exception):
    """Says why a record cannot be parsed."""


class _Lines:
    """Feeds the parser with lines, and remembers those of the record it is at."""

    def __init__(self, text: Text, dialect: Dialect) -> None:
        self._lines = islice(text, int(dialect.sep_line), None)
        self._again: deque[Line] = deque()
        self.taken: list[Line] = []
        self._size = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self._size = len(line.text) + (self._size if self.taken else 0)
        self.taken.append(line)
        if not line.whole:
            raise _Broken(line.fault if len(self.taken) == 1 else "a quote is opened and not closed")
        if self._size > LONGEST_ROW:
            raise _Broken(f"has more than {LONGEST_ROW:,} characters: a quote may be opened and not closed")
        return line.text

    def give_up(self) -> Line:
        """End the record at its first line, which is returned; the others are read anew."""
        first, *rest = self.taken
        self._again.extendleft(reversed(rest))
        return first


def _likely_cause(raw: str) -> str:
    return f"; {ESCAPED}" if '\\"' in raw else ""


def _in_words(cause: str) -> str:
    if cause == "unexpected end of data":
        return "cannot be read as CSV: a quote is opened and not closed"
    if expected := re.match(r"'(.)' expected after '\"'", cause):
        return f"cannot be read as CSV: a quote is closed, but no “{expected[1]}” follows"
    if cause.startswith("new-line character seen"):
        return "cannot be read as CSV: a line break stands in a cell without quotes"
    return cause


class Repairs:
    """Counts the rows whose JSON was mended, and the values that are not a number and were read as empty."""

    def __init__(self, wanted: bool) -> None:
        """`wanted` is the setting `repair`: without it no JSON is mended."""
        self._wanted = wanted
        self._lines: set[int] = set()
        self._faults: Counter[str] = Counter()
        self._example = ""
        self._empty: Counter[str] = Counter()
        self._first_empty = 0

    def repair(self, line: int, text: str) -> Any:
        """The value of a text that is nearly JSON; None if it is not, or if nothing is to be mended."""
        repaired = strict_json.repair(text) if self._wanted else None
        if repaired is None:
            return None
        self._lines.add(line)
        self._faults.update(repaired.faults)
        self._example = self._example or (
            f"Line {line:,}: {_start(text)} was read as {_start(strict_json.write(repaired.value))}"
        )
        return repaired.value

    def count_empty(self, line: int, column: str) -> None:
        """Take note of a value that is not a number, in a column that is used."""
        self._first_empty = self._first_empty or line
        self._empty[column] += 1

    def notes(self, name: str) -> list[str]:
        """What was mended in the source of that name, in a sentence each."""
        notes = []
        if self._lines:
            rows = "1 row was" if len(self._lines) == 1 else f"{len(self._lines):,} rows were"
            faults = "; ".join(f"{fault} ({count:,})" for fault, count in self._faults.most_common())
            notes.append(f"{name}: {rows} mended (--repair): {faults}. {self._example}.")
        if self._empty:
            columns = ", ".join(f"“{column}” ({count:,})" for column, count in self._empty.items())
            notes.append(
                f"{name}: values that are NaN (not a number) were read as empty, the first in line "
                f"{self._first_empty:,}: {columns}."
            )
        return notes


def _start(text: str) -> str:
    return shortened(" ".join(text.split()), 60)


def line_rows(text: Text, repairs: Repairs) -> Iterator[Row | Rejected]:
    """One row per line that is not blank."""
    rows = text.as_rows(lambda line: _parse(line.number, line.text, repairs))
    return (row for row in rows if isinstance(row, Row) or not row.empty)


def _parse(number: int, text: str, repairs: Repairs) -> Row | Rejected:
    """The row that a JSON object is; `number` is the line where it begins."""
    try:
        values = strict_json.parse(text)
    except strict_json.NotJson as error:
        values = repairs.repair(number, text)
        if values is None:
            return Rejected(number, strict_json.fault(text, error), shortened(text))
    if not isinstance(values, dict):
        return Rejected(number, "is JSON, but not an object", shortened(text))
    return Row(number, values, text)


_ELEMENT = re.compile(r"[^\s,]")
_AFTER_BROKEN = re.compile(r"\}\s*,\s*(?=\{)")
_UNDECODED = re.compile("[\udc80-\udcff]")
_LONGEST_REPAIR = 1 << 16
"""Characters of an element that may be nearly JSON; longer ones are broken."""
_LENIENT = json.JSONDecoder(parse_int=str, parse_float=str)
"""Only finds where an element ends; `_parse` reads it."""


def list_rows(text: Text, repairs: Repairs) -> Iterator[Row | Rejected]:
    """One row per element; `line` is where it begins.

    Raises:
        DataError: the list breaks off, or is too large.
    """
    content = text.whole()
    position, line = content.index("[") + 1, 1 + content.count("\n", 0, content.index("["))
    while True:
        match = _ELEMENT.search(content, position)
        start = match.start() if match else len(content)
        line += content.count("\n", position, start)
        if start == len(content):
            raise DataError(f"{text.name} breaks off: the list is not closed.", "Write or get it once more.")
        if content[start] == "]":
            return
        end, cause = _find_end(content, start, line)
        raw = content[start:end] if not cause else content[start : start + 1000]
        if cause:
            yield Rejected(line, f"is not JSON: {cause}", shortened(raw))
            end = _next_element(content, start)
        elif len(raw) > LONGEST_ROW:
            yield Rejected(line, f"has {len(raw):,} characters, more than {LONGEST_ROW:,}", shortened(raw))
        elif _UNDECODED.search(raw):
            encoding = text.encoding.name.upper()
            yield Rejected(line, f"holds bytes that are not {encoding} text (invalid)", shortened(raw))
        else:
            yield _parse(line, raw, repairs)
        line += content.count("\n", start, end)
        position = end


def _find_end(content: str, start: int, line: int) -> tuple[int, str]:
    """Where the element ends that begins at `start`; else why it has no end."""
    try:
        return _LENIENT.raw_decode(content, start)[1], ""
    except RecursionError:
        return len(content), "it is nested too deeply"
    except json.JSONDecodeError as error:
        end = strict_json.find_end(content, start, _LONGEST_REPAIR)
        if end is not None and strict_json.repair(content[start:end]) is not None:
            return end, ""
        return len(content), f"{error.msg} in line {line + content.count(chr(10), start, error.pos):,}"


def _next_element(content: str, broken: int) -> int:
    """Where the element behind a broken one begins; where none is found, the end of the list."""
    match = _AFTER_BROKEN.search(content, broken + 1)
    return match.end() if match else max(broken + 1, len(content.rstrip().removesuffix("]")))
