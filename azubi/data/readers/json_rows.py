"""JSON as rows: one value per line, or the elements of one list; and what was mended in them.

Knows nothing of what the fields mean.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from azubi.data import strict_json
from azubi.data.readers.row import LONGEST_ROW, Rejected, Row, shortened
from azubi.data.readers.text import Text
from azubi.errors import DataError


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
