"""JSON as rows: one value per line, or the elements of one list; and what was mended in them.

A list is never held as a whole. Knows nothing of what the fields mean.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from azubi.data import strict_json
from azubi.data.readers.row import Rejected, Row, shortened
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

    def empty(self, line: int, column: str) -> None:
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
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59] + "…"


def line_rows(text: Text, repairs: Repairs) -> Iterator[Row | Rejected]:
    """One row per line that is not blank."""
    # Only \n ends a line: str.splitlines would also cut at U+2028 and its like inside JSON strings.
    for line in text:
        if line.fault:
            yield Rejected(line.number, line.fault, shortened(line.text))
        elif line.text.strip():
            yield json_row(line.number, line.text, repairs)


def json_row(number: int, text: str, repairs: Repairs) -> Row | Rejected:
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


_NEXT = re.compile(r"[\s,]*")
_AFTER_BROKEN = re.compile(r"\}\s*,\s*(?=\{)")
_NO_TEXT = re.compile("[\udc80-\udcff]")
"""What stands for bytes that could not be decoded."""
_PIECE = 1 << 18
_NEARLY = 1 << 16
"""Characters of an element that may be nearly JSON; longer ones are broken."""
_PASSED = 1 << 14
"""Characters that were passed before they are let go: an error of the parser counts the lines before it."""


def list_rows(text: Text, most: int, repairs: Repairs) -> Iterator[Row | Rejected]:
    """One row per element; `line` is where it begins. An element has `most` characters at most.

    Raises:
        DataError: the list breaks off.
    """
    window = _Window(text, most, repairs)
    window.skip(_NEXT)
    window.enter()
    while True:
        window.skip(_NEXT)
        if window.ended:
            raise DataError(f"{text.name} breaks off: the list is not closed.", "Write or get it once more.")
        if window.at("]"):
            return
        yield window.element()


class _Window:
    """The part of the text that is being read."""

    def __init__(self, text: Text, most: int, repairs: Repairs) -> None:
        self._pieces = text.pieces(_PIECE)
        self._encoding = text.encoding.name.upper()
        self._most = most
        self._repairs = repairs
        self._text = ""
        self._place = 0
        self._line = 1
        # Lenient: it only finds where an element ends; `json_row` parses it.
        self._decoder = json.JSONDecoder(parse_int=str, parse_float=str)
        self._grow()

    @property
    def ended(self) -> bool:
        """Whether nothing is left."""
        return self._place >= len(self._text) and not self._grow()

    def at(self, sign: str) -> bool:
        """Whether `sign` stands here."""
        return self._text.startswith(sign, self._place)

    def skip(self, pattern: re.Pattern[str]) -> None:
        """Pass over what the pattern says, also where it goes on beyond what is held."""
        while match := pattern.match(self._text, self._place):
            self._pass(match.end())
            if self._place < len(self._text) or not self._grow():
                return

    def enter(self) -> None:
        """Pass over the bracket that opens the list, which is known to stand here."""
        self._pass(self._place + 1)

    def element(self) -> Row | Rejected:
        """The element that begins here."""
        line = self._line
        if self._place > _PASSED:
            self._text, self._place = self._text[self._place :], 0
        while True:
            try:
                _, end = self._decoder.raw_decode(self._text, self._place)
            except RecursionError:
                return self._broken(line, "it is nested too deeply")
            except json.JSONDecodeError as error:
                # Either something is wrong here, or the element goes on in the next piece.
                open_ = error.msg.startswith("Unterminated") or error.pos > len(self._text) - 16
                if open_ and len(self._text) - self._place <= self._most and self._grow():
                    continue
                near = strict_json.end(self._text, self._place, _NEARLY)
                if near is not None and strict_json.mended(self._text[self._place : near]) is not None:
                    return self._row(line, near)
                return self._broken(line, f"{error.msg} in line {self._line_at(error.pos):,}")
            if end == len(self._text) and self._grow():
                continue  # a number may go on
            return self._row(line, end)

    def _row(self, line: int, end: int) -> Row | Rejected:
        raw = self._text[self._place : end]
        self._pass(end)
        if len(raw) > self._most:
            return Rejected(
                line, f"has {len(raw):,} characters; limits.row allows {self._most:,}", shortened(raw)
            )
        if _NO_TEXT.search(raw):
            return Rejected(line, f"holds bytes that are not {self._encoding} text (invalid)", shortened(raw))
        return json_row(line, raw, self._repairs)

    def _broken(self, line: int, cause: str) -> Rejected:
        """Leave out what stands up to the next element; where none is found, to the end of what is held."""
        raw = shortened(self._text[self._place : self._place + 1000])
        while not (match := _AFTER_BROKEN.search(self._text, self._place + 1)):
            if not self._grow():
                break
            if len(self._text) - self._place > 2 * self._most:
                self._pass(len(self._text) - self._most)
        if match:
            self._pass(match.end())
        else:
            closing = len(self._text.rstrip().removesuffix("]"))
            self._pass(max(self._place + 1, closing))
        return Rejected(line, f"is not JSON: {cause}", raw)

    def _line_at(self, place: int) -> int:
        return self._line + self._text.count("\n", self._place, place)

    def _pass(self, end: int) -> None:
        self._line += self._text.count("\n", self._place, end)
        self._place = end

    def _grow(self) -> bool:
        """Hold one more piece; False if there is none."""
        piece = next(self._pieces, "")
        if piece:
            self._text = self._text[self._place :] + piece
            self._place = 0
        return bool(piece)
