"""JSON as rows: one value per line, or the elements of one list; and what was mended in them.

A list is never held as a whole. Knows nothing of what the fields mean.
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

    def mended(self, line: int, text: str) -> Any:
        """The value of a text that is nearly JSON; None if it is not, or if nothing is to be mended."""
        repair = strict_json.mended(text) if self._wanted else None
        if repair is None:
            return None
        self._lines.add(line)
        self._faults.update(repair.faults)
        self._example = self._example or (
            f"Line {line:,}: {_start(text)} was read as {_start(strict_json.write(repair.value))}"
        )
        return repair.value

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
        values = repairs.mended(number, text)
        if values is None:
            return Rejected(number, strict_json.fault(text, error), shortened(text))
    if not isinstance(values, dict):
        return Rejected(number, "is JSON, but not an object", shortened(text))
    return Row(number, values, text)


_BETWEEN = re.compile(r"[\s,]*")
_AFTER_BROKEN = re.compile(r"\}\s*,\s*(?=\{)")
_UNDECODED = re.compile("[\udc80-\udcff]")
_PIECE = 1 << 18
_LONGEST_REPAIR = 1 << 16
"""Characters of an element that may be nearly JSON; longer ones are broken."""
_PASSED = 1 << 14
"""Characters that were passed before they are let go: an error of the parser counts the lines before it."""


def list_rows(text: Text, repairs: Repairs) -> Iterator[Row | Rejected]:
    """One row per element; `line` is where it begins.

    Raises:
        DataError: the list breaks off.
    """
    window = _Window(text, repairs)
    window.skip()
    window.move(window.position + 1)  # the bracket, which is known to stand here
    while True:
        window.skip()
        if window.ended:
            raise DataError(f"{text.name} breaks off: the list is not closed.", "Write or get it once more.")
        if window.text.startswith("]", window.position):
            return
        yield window.element()


class _Window:
    """The part of the text that is being read."""

    def __init__(self, text: Text, repairs: Repairs) -> None:
        self._pieces = text.pieces(_PIECE)
        self._encoding = text.encoding.name.upper()
        self._repairs = repairs
        self.text = ""
        self.position = 0
        self._line = 1
        # Lenient: it only finds where an element ends; `_parse` reads it.
        self._decoder = json.JSONDecoder(parse_int=str, parse_float=str)
        self._grow()

    @property
    def ended(self) -> bool:
        """Whether nothing is left."""
        return self.position >= len(self.text) and not self._grow()

    def skip(self) -> None:
        """Pass over what stands between elements."""
        while match := _BETWEEN.match(self.text, self.position):
            self.move(match.end())
            if self.position < len(self.text) or not self._grow():
                return

    def move(self, end: int) -> None:
        """Go on to that position."""
        self._line += self.text.count("\n", self.position, end)
        self.position = end

    def element(self) -> Row | Rejected:
        """The element that begins here."""
        if self.position > _PASSED:
            self.text, self.position = self.text[self.position :], 0
        while True:
            try:
                _, end = self._decoder.raw_decode(self.text, self.position)
            except RecursionError:
                return self._broken("it is nested too deeply")
            except json.JSONDecodeError as error:
                # Either something is wrong here, or the element goes on in the next piece.
                cut_off = error.msg.startswith("Unterminated") or error.pos > len(self.text) - 16
                if cut_off and len(self.text) - self.position <= LONGEST_ROW and self._grow():
                    continue
                repaired = strict_json.end(self.text, self.position, _LONGEST_REPAIR)
                if (
                    repaired is not None
                    and strict_json.mended(self.text[self.position : repaired]) is not None
                ):
                    return self._row(repaired)
                line = self._line + self.text.count("\n", self.position, error.pos)
                return self._broken(f"{error.msg} in line {line:,}")
            if end < len(self.text) or not self._grow():  # else a number may go on
                return self._row(end)

    def _row(self, end: int) -> Row | Rejected:
        line, raw = self._line, self.text[self.position : end]
        self.move(end)
        if len(raw) > LONGEST_ROW:
            return Rejected(line, f"has {len(raw):,} characters, more than {LONGEST_ROW:,}", shortened(raw))
        if _UNDECODED.search(raw):
            return Rejected(line, f"holds bytes that are not {self._encoding} text (invalid)", shortened(raw))
        return _parse(line, raw, self._repairs)

    def _broken(self, cause: str) -> Rejected:
        """Leave out what stands up to the next element; where none is found, to the end of what is held."""
        line, raw = self._line, shortened(self.text[self.position : self.position + 1000])
        while not (match := _AFTER_BROKEN.search(self.text, self.position + 1)):
            if not self._grow():
                break
            if len(self.text) - self.position > 2 * LONGEST_ROW:
                self.move(len(self.text) - LONGEST_ROW)
        closing = len(self.text.rstrip().removesuffix("]"))
        self.move(match.end() if match else max(self.position + 1, closing))
        return Rejected(line, f"is not JSON: {cause}", raw)

    def _grow(self) -> bool:
        """Hold one more piece; False if there is none."""
        piece = next(self._pieces, "")
        if piece:
            self.text = self.text[self.position :] + piece
            self.position = 0
        return bool(piece)
