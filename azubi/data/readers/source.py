"""Where examples come from: told by its content, opened, and read as examples and rejected rows.

Knows nothing of what is done with them.
"""

import contextlib
import pickle
import tempfile
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Literal

from azubi.data.example import Example
from azubi.data.readers import database, delimited, documents, parquet, workbook
from azubi.data.readers.json_rows import Repairs, line_rows, list_rows
from azubi.data.readers.mapping import Columns
from azubi.data.readers.opening import STDIN, ZIP_MAGIC, explained, opened, samples, seekable, source_name
from azubi.data.readers.row import EMPTY, Asked, Rejected, Row, shortened, unasked
from azubi.data.readers.styles import Undecided
from azubi.data.readers.text import Text
from azubi.errors import DataError, SettingError
from azubi.settings import Recipe
from azubi.storage import files

_FITTING = {
    "sheet": "Excel file and has no sheets",
    "header": "table of text or Excel",
    "escape": "CSV",
    "delimiter": "CSV",
    "encoding": "text file",
}
"""What the settings fit that not every source has a use for."""


@dataclass
class Source:
    """One source as a recipe describes it. It can be streamed once or, unless it is standard input, again."""

    recipe: Recipe
    path: Path | None
    """A file, a folder, or - ; None for the database that the recipe names."""
    notes: list[str] = field(default_factory=list)
    """What was found out, and may be wrong: the encoding and the like."""
    unread: list[tuple[int, str]] = field(default_factory=list)
    """Rows whose documents have parts that were not read, and which: a.pdf: 2 pages without text."""
    usual: frozenset[str] = frozenset()
    """Settings that describe an earlier source, and hold for this one where nothing speaks against it."""
    delimiter: str = ","
    """What parts its columns, once it was read."""

    @classmethod
    def of(cls, recipe: Recipe) -> "Source":
        """Where a recipe's examples are.

        Raises:
            SettingError: it names none, or two.
        """
        if recipe.sql is not None and recipe.data is not None:
            raise SettingError(
                f"The data was named twice: {recipe.data} and --sql {recipe.sql}.", "Leave one of them out."
            )
        if (recipe.sql is None) != (recipe.query is None):
            raise SettingError("A database needs --sql and --query.", "Give both, or neither of them.")
        if recipe.sql is None and recipe.data is None:
            raise SettingError("There are no examples: data is not set.", "Name a file: azubi tune FILE")
        return cls(recipe, recipe.data)

    @property
    def name(self) -> str:
        """What messages call it; never with a password in it."""
        return source_name(self.path) if self.path is not None else str(self.recipe.sql)

    @property
    def lasting(self) -> bool:
        """Whether it is a file, whose content has a hash."""
        if self.path is None or self.path == STDIN:
            return False
        return self.path.is_file() or not self.path.exists()

    def stream(self, undecided: list[Undecided] | None = None) -> Iterator[Example | Rejected]:
        """Each example and each row that cannot be used, in the order of the source.

        What can be read in two ways is put into `undecided`, and such fields stay text; without that list it
        is an error. From then on, `recipe` says how the columns write numbers and dates.

        Raises:
            DataError: the source as a whole cannot be read, exceeds a limit, or can be read in two ways.
            SettingError: a setting does not fit it.
        """
        with contextlib.closing(self._checked(asked=False)) as checked:
            columns = self._columns
            rows = (row for row in checked if isinstance(row, Row) or not row.empty)
            for row in self._settled(columns, rows, undecided) if columns.styles else rows:
                yield columns.example(row) if isinstance(row, Row) else row
        self.notes += self._repairs.notes(self.name)

    def asked(self) -> Iterator[Asked]:
        """Each row as it is to be answered, in the order of the source; answers are not needed.

        Raises as `stream` does.
        """
        empty: list[Asked] = []
        for number, row in enumerate(self._checked(asked=True), start=1):
            asked_row = self._columns.question(row) if isinstance(row, Row) else unasked(row)
            if self._listed:
                asked_row = replace(asked_row, line=number)
            if isinstance(row, Rejected) and row.empty:
                empty.append(asked_row)  # counts only if a row follows that is not
                continue
            yield from (*empty, asked_row)
            empty.clear()
        self.notes += self._repairs.notes(self.name)
        if self._columns.answered:
            self.notes.append(
                f"{self.name}: {self._columns.answered:,} of its conversations end with an answer; they were "
                "asked up to it."
            )

    def _checked(self, *, asked: bool) -> Generator[Row | Rejected, None, None]:
        """The rows, not too many, of a table that has the columns; `_columns` says what they mean."""
        folder = self.path is not None and self.path != STDIN and self.path.is_dir()
        self._repairs = Repairs(self.recipe.repair)
        text = documents.TEXT if folder else None
        self._columns = Columns(self.recipe, text, self._repairs, asked=asked)
        self._joined = (documents.TEXT,) if folder else ()
        """What is joined to the columns of a table of answers."""
        return self._read()

    def _read(self) -> Generator[Row | Rejected, None, None]:
        most, first = self.recipe.limits.rows, True
        with contextlib.closing(self._rows()) as rows:
            for number, row in enumerate(rows, start=1):
                if number > most:
                    raise DataError(f"{self.name} has more than {most:,} rows.", "Raise --limits-rows.")
                if isinstance(row, Row):
                    if first and self._even:
                        self._columns.check(list(row.values), self.name)
                    first = False
                yield row

    def _settled(
        self, columns: Columns, rows: Iterator[Row | Rejected], undecided: list[Undecided] | None
    ) -> Iterator[Row | Rejected]:
        """The rows once more, after all of them have shown how they are to be read.

        They wait in a temporary file without a name: what comes by a pipe or a query comes but once.
        """
        with files.scratch_room(), tempfile.TemporaryFile() as file:
            count = 0
            for count, row in enumerate(rows, start=1):  # noqa: B007 - the last one counts
                if isinstance(row, Row):
                    columns.see(row)
                kept = (row.line, row.values, row.raw) if isinstance(row, Row) else row
                pickle.dump(kept, file, pickle.HIGHEST_PROTOCOL)
            questions = columns.settle()
            if questions and undecided is None:
                raise DataError(
                    f"{self.name}: " + " ".join(question.problem for question in questions),
                    " ".join(dict.fromkeys(question.remedy for question in questions)),
                )
            (undecided if undecided is not None else []).extend(questions)
            self.recipe = self.recipe.model_copy(update=columns.settings)
            if remarks := columns.remarks():
                self.notes.append(f"{self.name} was read so: {remarks}.")
            file.seek(0)
            for _ in range(count):
                kept = pickle.load(file)
                yield Row(*kept) if isinstance(kept, tuple) else kept

    def _rows(self) -> Generator[Row | Rejected, None, None]:
        self._even = True
        """Whether every row has the same columns."""
        self._listed = False
        """Whether rows are elements of a list, which may all stand on one line."""
        if self.path is None:
            self._tell_unused(*_FITTING)
            assert self.recipe.sql is not None and self.recipe.query is not None
            yield from database.rows(self.recipe.sql, self.recipe.query)
        elif self.path != STDIN and self.path.is_dir():
            yield from self._documents(self.path)
        else:
            yield from self._file(self.path)

    def _documents(self, folder: Path) -> Iterator[Row | Rejected]:
        recipe = self.recipe
        table = documents.table(folder, recipe.answers, needed=not self._columns.asked)
        joined = documents.Folder(folder, table or folder, recipe)
        alone = documents.each(folder, recipe.file, recipe.limits) if table is None else None
        yield from joined.rows(alone or self._file(table or folder))
        self.notes += joined.notes
        self.unread += joined.unread

    def _file(self, path: Path) -> Iterator[Row | Rejected]:
        limits, name = self.recipe.limits, source_name(path)
        with opened(path, limits.unpacked) as file:
            start = file.peek(8)[:8]
            if not start:
                raise DataError(f"{name} is empty.", "Bring a file with one example per line or row.")
            if start.startswith(parquet.MAGIC):
                self._tell_unused(*_FITTING)
                with seekable(file, path) as whole:
                    yield from parquet.rows(whole, name, limits.unzipped_size, self._used, self.notes)
            elif start.startswith((ZIP_MAGIC, workbook.OLD)):
                self._tell_unused("escape", "delimiter", "encoding")
                with seekable(file, path) as whole:
                    yield from workbook.rows(
                        whole, name, self.recipe, self._lacks, self.notes, usual="sheet" in self.usual
                    )
            else:
                self._tell_unused("sheet")
                more = samples(path) if self.recipe.encoding is None else b""
                yield from self._text(path, Text(file, name, self.recipe.encoding, limits.row, more))

    def _lacks(self, columns: Sequence[str]) -> str | None:
        """The first column that is asked for and is neither among these nor joined to them."""
        if self._joined and self.recipe.file not in columns:
            return self.recipe.file
        return self._columns.lacks([*columns, *self._joined])

    def _used(self, columns: Sequence[str]) -> list[str]:
        """Those of these columns that are read."""
        if self._lacks(columns) is not None:
            return list(columns)
        used = self._columns.used([*columns, *self._joined])
        return [name for name in columns if name in used or (self._joined and name == self.recipe.file)]

    def _tell_unused(self, *settings: str) -> None:
        """Say which of some settings are given, though what is read has nothing of the kind."""
        for setting in (name for name in settings if name not in self.usual):
            documents_use_it = setting == "encoding" and self._joined
            if (value := getattr(self.recipe, setting)) is not None and not documents_use_it:
                what = _FITTING[setting]
                self.notes.append(f"{self.name} is no {what}: {setting} ({value}) is not used.")

    def _text(self, path: Path, text: Text) -> Iterator[Row | Rejected]:
        if not text.sample.strip(b"\0 \t\r\n\xef\xbb\xbf\xff\xfe"):
            raise DataError(f"{text.name} is empty.", "Bring a file with one example per line or row.")
        if notice := text.notice:
            self.notes.append(notice)
        if (layout := self._json(path, text)) is not None:
            self._even, self._listed = False, layout == "list"
            self._tell_unused("header", "escape", "delimiter")
            if layout == "lines":
                yield from line_rows(text, self._repairs)
            else:
                yield from list_rows(text, self.recipe.limits.row, self._repairs)
            return
        recipe = self.recipe
        dialect = delimited.dialect(text, recipe, self._lacks)
        fits = delimited.fits(text, dialect, self._lacks)
        if not fits and self.usual:
            recipe = recipe.model_copy(update=dict.fromkeys(self.usual))
            dialect = delimited.dialect(text, recipe, self._lacks)
            fits = delimited.fits(text, dialect, self._lacks)
        if not fits and not _is_table(path) and self._columns.line is not None:
            self.notes.append(
                f"{text.name} was read as one prompt per line, since it does not name the column "
                f"“{self._columns.line}”."
            )
            yield from _lines(text, self._columns.line)
            return
        self.delimiter = dialect.delimiter
        guessed = recipe.delimiter is None and not dialect.sep_line
        if guessed and dialect.delimiter not in ",;\t":
            self.notes.append(
                f"{text.name} was read with columns parted by “{dialect.delimiter}”; "
                "--delimiter says otherwise."
            )
        yield from delimited.rows(text, dialect, recipe, self._lacks, self.notes)

    def _json(self, path: Path, text: Text) -> Literal["lines", "list"] | None:
        """Whether it is JSON, and of which form."""
        last = _suffix(path)
        if _is_table(path):
            return None
        start = next((line.lstrip() for line in text.head(50) if line.strip()), "")
        if start.startswith("[") and last not in (".jsonl", ".ndjson"):
            return "list"
        return "lines" if last in (".jsonl", ".ndjson") or start.startswith("{") else None

    def sha256(self, examples: "list[Example] | tuple[Example, ...] | None" = None) -> str:
        """Hash of its content: of the file or, where there is none that lasts, of what was read from it."""
        if self.lasting:
            assert self.path is not None
            with explained(self.path):
                return files.sha256(self.path)
        digest = sha256()
        for example in examples or ():
            digest.update(
                repr((example.id, example.key, example.group, example.time, example.weight)).encode()
            )
        return digest.hexdigest()


def _suffix(path: Path) -> str:
    """The last suffix of a file's name but those of packing, in small letters."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in (".gz", ".zst")]
    return suffixes[-1] if suffixes else ""


def _is_table(path: Path) -> bool:
    return _suffix(path) in (".csv", ".tsv")


def _lines(text: Text, column: str) -> Iterator[Row | Rejected]:
    """Each line as a row with one column."""
    for line in text:
        if line.fault:
            yield Rejected(line.number, line.fault, shortened(line.text))
        elif line.text.strip():
            yield Row(line.number, {column: line.text.rstrip("\r\n")}, line.text)
        else:
            yield Rejected(line.number, EMPTY)
