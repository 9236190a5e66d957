"""Rows with their answers as a table: the source's own columns, and behind them what was answered.

CSV, XLSX, JSON lines or Parquet, by the file's name. Knows nothing of how answers come about.
"""

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azubi.cli.ask import document
from azubi.cli.formatting import count
from azubi.data import strict_json
from azubi.data.readers.row import Asked, Unusable, plain, written
from azubi.errors import SettingError
from azubi.storage import files

if TYPE_CHECKING:
    from azubi.engine.inference.answering import Answer

ADDED = ("row", "answer", "confidence", "in_scope", "scope", "by", "notes")
"""The columns behind the source's own."""
_WORDED = ("answer", "notes")
"""Those that hold what a model wrote."""
_FORMULA = re.compile(r"[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]")
"""What spreadsheets take for the beginning of a formula, also in full width."""
_NUMBER = re.compile(r"[+-]\d[\d.,]*")
_ROWS, _CELL = 1_048_575, 32_767
"""Most rows below the header of a sheet, and most characters of a cell."""
_EXACT = 10**15
"""From here on a spreadsheet rounds whole numbers."""

Cells = dict[str, list[Any]]
"""A table: the values of each column."""


class AnswerTable:
    """Where answers go: a file of a known kind."""

    def __init__(self, path: Path, source: Path | None) -> None:
        """Choose by the suffix; `source` is the file that is asked, if it is one.

        Raises:
            SettingError: the suffix is not known, or the file is the source itself.
        """
        writers: dict[str, Callable[[Path, Cells], None]] = {
            ".csv": self._csv,
            ".xlsx": self._xlsx,
            ".jsonl": self._jsonl,
            ".parquet": self._parquet,
        }
        if (suffix := path.suffix.lower()) not in writers:
            raise SettingError(
                f"--out {path} names no kind of table that azubi writes.",
                f"Let it end in {', '.join(writers)}.",
            )
        if path.is_dir() or (
            source is not None and path.exists() and source.exists() and path.samefile(source)
        ):
            what = "a folder" if path.is_dir() else "the very file that is asked"
            raise SettingError(f"--out {path} is {what}.", "Name another file for the answers.")
        self.path = path
        self.delimiter = ","
        """What parts the columns of CSV."""
        self.notes: list[str] = []
        """What had to be written otherwise than it is."""
        self._suffix, self._write = suffix, writers[suffix]

    def check(self, rows: int) -> None:
        """Refuse, before anything is asked, what the file cannot hold.

        Raises:
            SettingError: a sheet takes fewer rows.
        """
        if self._suffix == ".xlsx" and rows > _ROWS:
            raise SettingError(
                f"{self.path} takes {count(_ROWS)} rows at most, and {count(rows)} are asked.",
                "Let --out end in .csv, .jsonl or .parquet.",
            )

    def write(self, rows: Sequence[Asked], answers: Sequence["Answer"]) -> None:
        """Write the file whole or not at all.

        Raises:
            StorageError: it cannot be written.
        """
        own = dict.fromkeys(name for row in rows for name in row.values)
        table: Cells = {name: [_sayable(row.values.get(name)) for row in rows] for name in own}
        documents = [
            {"row": row.line, **document(answer), "notes": " ".join(answer.notes) or None}
            for row, answer in zip(rows, answers, strict=True)
        ]
        self._names = added_names(own)
        for added, name in self._names.items():
            table[name] = [_sayable(fields[added]) for fields in documents]
        with files.new_file(self.path) as scratch:
            self._write(scratch, table)

    def _csv(self, path: Path, table: Cells) -> None:
        guarded = 0
        for name in (self._names[column] for column in _WORDED):
            for place, text in enumerate(table[name]):
                if text and _FORMULA.match(text) and not _NUMBER.fullmatch(text):
                    table[name][place], guarded = f"'{text}", guarded + 1
        if guarded:
            self.notes.append(
                f"{_cells(guarded)} of what was answered would be a formula to a spreadsheet, so a ' stands "
                "before it; .xlsx, .jsonl and .parquet hold it as it is."
            )
        # With a byte order mark, without which Excel takes UTF-8 for something else.
        with path.open("w", encoding="utf-8-sig", errors="replace", newline="") as file:
            writer = csv.writer(file, delimiter=self.delimiter)
            writer.writerow(table)
            writer.writerows([_text(value) for value in row] for row in zip(*table.values(), strict=True))

    def _jsonl(self, path: Path, table: Cells) -> None:
        with path.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
            for row in zip(*table.values(), strict=True):
                values = {name: _json(value) for name, value in zip(table, row, strict=True)}
                file.write(strict_json.write(values) + "\n")

    def _xlsx(self, path: Path, table: Cells) -> None:
        import openpyxl
        from openpyxl.cell import WriteOnlyCell
        from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

        book = openpyxl.Workbook(write_only=True)
        sheet = book.create_sheet("answers")
        cut = 0
        for row in (list(table), *zip(*table.values(), strict=True)):
            cells = []
            for value in map(_excel, row):
                if isinstance(value, str):
                    cut += len(value) > _CELL
                    cell = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub("\ufffd", value)[:_CELL])
                    cell.data_type = "s"  # never a formula
                else:
                    cell = WriteOnlyCell(sheet, value)
                cells.append(cell)
            sheet.append(cells)
        if cut:
            self.notes.append(
                f"{_cells(cut)} longer than the {count(_CELL)} characters that Excel takes, and cut off "
                "there; .csv, .jsonl and .parquet hold all of it."
            )
        book.save(path)

    def _parquet(self, path: Path, table: Cells) -> None:
        import pyarrow
        from pyarrow import parquet

        kinds = {
            "row": pyarrow.int64(),
            **dict.fromkeys(("confidence", "scope"), pyarrow.float64()),
            "in_scope": pyarrow.bool_(),
        }
        given = {name: kinds.get(column, pyarrow.string()) for column, name in self._names.items()}
        columns = {}
        for name, values in table.items():
            try:
                columns[name] = pyarrow.array(values, given.get(name))
            except (pyarrow.ArrowException, OverflowError, TypeError, ValueError):
                self.notes.append(f"The values of “{name}” are of several kinds and were written as text.")
                texts = [None if value is None else _text(value) for value in values]
                columns[name] = pyarrow.array(texts, pyarrow.string())
        parquet.write_table(pyarrow.table(columns), path)


def added_names(own: Mapping[str, object]) -> dict[str, str]:
    """What the added columns are called beside the source's own; none is called as one of those."""
    names: dict[str, str] = {}
    for added in ADDED:
        name = added
        while name in own:
            name = f"azubi {name}"
        names[added] = name
    return names


def _cells(number: int) -> str:
    return "1 cell is" if number == 1 else f"{count(number)} cells are"


def _sayable(value: Any) -> Any:
    """Text without half characters, which no file can hold; other values as they are."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def _text(value: Any) -> str:
    try:
        return written(value)
    except Unusable as error:
        return f"({error})"


def _json(value: Any) -> Any:
    try:
        return plain(value)
    except Unusable as error:
        return f"({error})"


def _excel(value: Any) -> Any:
    """A value that a cell can hold, or its text."""
    if isinstance(value, date) and _timeless(value):
        return value
    value = _json(value)
    if isinstance(value, int | float) and not -_EXACT < value < _EXACT:
        return str(value)
    return _text(value) if isinstance(value, list | dict) else value


def _timeless(value: date) -> bool:
    """Whether it bears no time zone, which cells do not know, and lies in Excel's calendar."""
    return bool(value.year >= 1900 and not (isinstance(value, datetime) and value.tzinfo is not None))
