"""Where examples come from: recognised by its content, open_unpacked, and read as examples and rejected rows.

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
from azubi.data.readers import database, documents, tables, text_rows
from azubi.data.readers.mapping import Columns
from azubi.data.readers.opening import STDIN, explain_errors, open_unpacked, samples, seekable, source_name
from azubi.data.readers.row import MOST_ROWS, Asked, Rejected, Row, reject_question
from azubi.data.readers.styles import Undecided
from azubi.data.readers.text import Text
from azubi.data.readers.text_rows import Repairs, line_rows, list_rows
from azubi.errors import DataError, SettingError
from azubi.settings import Recipe
from azubi.storage import files

_FITTING = {
    "sheet": "Excel file and has no sheets",
    "header": "table of text or Excel",
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
    def is_file(self) -> bool:
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
        columns = self._begin(asked=False)
        with contextlib.closing(self._checked_rows()) as checked:
            rows: Iterator[Row | Rejected] = (row for row in checked if isinstance(row, Row) or not row.empty)
            if columns.styles:
                rows = self._after_styles(rows, undecided)
            for row in rows:
                yield columns.example(row) if isinstance(row, Row) else row
        self.notes += self._repairs.notes(self.name)

    def asked(self) -> Iterator[Asked]:
        """Each row as it is to be answered, in the order of the source; answers are not needed.

        Raises as `stream` does.
        """
        columns = self._begin(asked=True)
        empty: list[Asked] = []
        for number, row in enumerate(self._checked_rows(), start=1):
            question = columns.question(row) if isinstance(row, Row) else reject_question(row)
            if self._is_list:
                question = replace(question, line=number)
            empty.append(question)
            if isinstance(row, Row) or not row.empty:  # empty rows count only if another one follows
                yield from empty
                empty.clear()
        self.notes += self._repairs.notes(self.name)
        if columns.answered:
            self.notes.append(
                f"{self.name}: {columns.answered:,} of its conversations end with an answer; they were "
                "asked up to it."
            )

    def _begin(self, *, asked: bool) -> Columns:
        self._is_folder = self.path is not None and self.path != STDIN and self.path.is_dir()
        self._same_columns = True
        """Whether every row has the same columns."""
        self._is_list = False
        """Whether rows are elements of a list, which may all stand on one line."""
        self._repairs = Repairs(self.recipe.repair)
        text_column = documents.TEXT if self._is_folder else None
        self._columns = Columns(self.recipe, text_column, self._repairs, asked=asked)
        return self._columns

    def _checked_rows(self) -> Generator[Row | Rejected, None, None]:
        """The rows, not too many, of a table that has the columns."""
        checked = False
        with contextlib.closing(self._rows()) as rows:
            for number, row in enumerate(rows, start=1):
                if number > MOST_ROWS:
                    raise DataError(f"{self.name} has more than {MOST_ROWS:,} rows.", "Bring fewer.")
                if isinstance(row, Row) and not checked:
                    if self._same_columns:
                        self._columns.check(list(row.values), self.name)
                    checked = True
                yield row

    def _after_styles(
        self, rows: Iterator[Row | Rejected], undecided: list[Undecided] | None
    ) -> Iterator[Row | Rejected]:
        """The rows once more, after all of them have shown how they are to be read.

        They wait in a temporary file without a name: what comes by a pipe or a query comes but once.
        """
        columns = self._columns
        with files.scratch_room(), tempfile.TemporaryFile() as file:
            count = 0
            for count, row in enumerate(rows, start=1):  # noqa: B007 - the last one counts
                if isinstance(row, Row):
                    columns.see(row)
                pickle.dump(row, file, pickle.HIGHEST_PROTOCOL)
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
                yield pickle.load(file)

    def _rows(self) -> Generator[Row | Rejected, None, None]:
        if self.path is None:
            self._note_unused(*_FITTING)
            assert self.recipe.sql is not None and self.recipe.query is not None
            yield from database.rows(self.recipe.sql, self.recipe.query)
        elif self._is_folder:
            yield from self._document_rows(self.path)
        else:
            yield from self._file_rows(self.path)

    def _document_rows(self, path: Path) -> Iterator[Row | Rejected]:
        recipe = self.recipe
        table = documents.table(path, recipe.answers, needed=not self._columns.asked)
        folder = documents.Folder(path, table or path, recipe)
        if table is not None:
            yield from folder.rows(self._file_rows(table))
        else:
            yield from folder.rows(documents.rows_without_table(path))
        self.notes += folder.notes
        self.unread += folder.unread

    def _file_rows(self, path: Path) -> Iterator[Row | Rejected]:
        recipe, name = self.recipe, source_name(path)
        with open_unpacked(path) as file:
            start = file.peek(8)[:8]
            if not start:
                raise DataError(f"{name} is empty.", "Bring a file with one example per line or row.")
            if start.startswith(tables.PARQUET_MAGIC):
                self._note_unused(*_FITTING)
                with seekable(file, path) as whole:
                    yield from tables.parquet_rows(
                        whole, name, recipe.limits.memory, self._used_columns, self.notes
                    )
            elif start.startswith(tables.EXCEL_MAGIC):
                self._note_unused("delimiter", "encoding")
                usual = "sheet" in self.usual
                with seekable(file, path) as whole:
                    yield from tables.workbook_rows(
                        whole, name, recipe, self._missing_column, self.notes, usual=usual
                    )
            else:
                self._note_unused("sheet")
                more = samples(path) if recipe.encoding is None else b""
                yield from self._text_rows(path, Text(file, name, recipe.encoding, more))

    def _missing_column(self, columns: Sequence[str]) -> str | None:
        """The first column that is asked for and is neither among these nor joined to them."""
        if self._is_folder and documents.FILE not in columns:
            return documents.FILE
        return self._columns.missing(self._joined(columns))

    def _joined(self, columns: Sequence[str]) -> list[str]:
        """The columns of a table, and those that are joined to it."""
        return [*columns, documents.TEXT] if self._is_folder else [*columns]

    def _used_columns(self, columns: Sequence[str]) -> list[str]:
        """Those of these columns that are read."""
        if self._missing_column(columns) is not None:
            return list(columns)
        used = self._columns.used(self._joined(columns))
        return [name for name in columns if name in used or (self._is_folder and name == documents.FILE)]

    def _note_unused(self, *settings: str) -> None:
        """Say which of some settings are given, though what is read has nothing of the kind."""
        for setting in settings:
            value = getattr(self.recipe, setting)
            of_documents = setting == "encoding" and self._is_folder
            if value is not None and setting not in self.usual and not of_documents:
                what = _FITTING[setting]
                self.notes.append(f"{self.name} is no {what}: {setting} ({value}) is not used.")

    def _text_rows(self, path: Path, text: Text) -> Iterator[Row | Rejected]:
        if text.notice:
            self.notes.append(text.notice)
        if layout := _json_layout(path, text):
            self._same_columns, self._is_list = False, layout == "list"
            self._note_unused("header", "delimiter")
            yield from line_rows(text, self._repairs) if layout == "lines" else list_rows(text, self._repairs)
            return
        recipe = self.recipe
        fit = text_rows.find_dialect(text, recipe, self._missing_column)
        if not fit.has_columns and self.usual:
            recipe = recipe.model_copy(update=dict.fromkeys(self.usual))
            fit = text_rows.find_dialect(text, recipe, self._missing_column)
        column = self._columns.line
        if not fit.has_columns and not _is_table(path) and column is not None:
            self.notes.append(
                f"{text.name} was read as one prompt per line, since it does not name the column “{column}”."
            )
            yield from text.as_rows(
                lambda line: Row(line.number, {column: line.text.rstrip("\r\n")}, line.text)
            )
            return
        self.delimiter = fit.dialect.delimiter
        if recipe.delimiter is None and not fit.dialect.sep_line and self.delimiter not in ",;\t":
            self.notes.append(
                f"{text.name} was read with columns parted by “{self.delimiter}”; --delimiter says otherwise."
            )
        if fit.dialect.escaped:
            self.notes.append(f"{text.name} writes a backslash before quotes inside quotes; it was left out.")
        yield from text_rows.rows(text, fit.dialect, recipe.header, self._missing_column, self.notes)

    def sha256(self, examples: "list[Example] | tuple[Example, ...] | None" = None) -> str:
        """Hash of its content: of the file or, where there is none that lasts, of what was read from it."""
        if self.is_file:
            assert self.path is not None
            with explain_errors(self.path):
                return files.sha256(self.path)
        digest = sha256()
        for example in examples or ():
            digest.update(
                repr((example.id, example.key, example.group, example.time, example.weight)).encode()
            )
        return digest.hexdigest()


def _json_layout(path: Path, text: Text) -> Literal["lines", "list"] | None:
    """Whether a text is JSON, and how its rows stand in it."""
    if _is_table(path):
        return None
    lines = _suffix(path) in (".jsonl", ".ndjson")
    start = next((line.lstrip() for line in text.head(50) if line.strip()), "")
    if start.startswith("[") and not lines:
        return "list"
    return "lines" if lines or start.startswith("{") else None


def _suffix(path: Path) -> str:
    """The last suffix of a file's name but those of packing, in small letters."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in (".gz", ".zst")]
    return suffixes[-1] if suffixes else ""


def _is_table(path: Path) -> bool:
    return _suffix(path) in (".csv", ".tsv")
