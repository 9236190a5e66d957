"""A folder of documents joined with a table of answers by file name.

The table's names are looked up among the files of the folder, and never joined to a path: none leads out of
it. Knows nothing of how a document is read, or of what the columns mean.
"""

import contextlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from azubi.data.readers.content import KINDS, LARGEST_DOCUMENT, LIBRARIES
from azubi.data.readers.row import MOST_ROWS, Rejected, Row, Unusable, quoted, reject, written
from azubi.data.readers.sandbox import Sandbox
from azubi.data.readers.text import PROBE, Encoding, guess_encoding, named_encoding, sample_word
from azubi.errors import DataError
from azubi.settings import Recipe

TEXT = "text"
"""The column that holds a document's text."""
FILE = "file"
"""The column of the table of answers that names the document."""
TABLES = tuple(f"answers{suffix}" for suffix in (".csv", ".tsv", ".xlsx", ".jsonl", ".parquet"))
"""What the table of answers is called if its name is not given."""
_NAMED = 3
"""Documents that a notice names."""
_SAMPLED = 1_000
"""Documents by which an encoding is guessed, about."""


def table(folder: Path, given: Path | None, *, needed: bool = True) -> Path | None:
    """The table of answers of a folder; None if there is none and it is not `needed`.

    Raises:
        DataError: there is none, or more than one.
    """
    if given is not None:
        return given
    present = [name for name in TABLES if (folder / name).is_file()]
    if len(present) == 1:
        return folder / present[0]
    if not present and not needed:
        return None
    what = f"it has {' and '.join(present)}" if present else "it has no table of answers"
    raise DataError(
        f"{folder} is a folder, and {what}.",
        "Name the file with the examples in it; or, for a folder of documents, put an answers.csv there that "
        "has a row per document, or name the table with --answers.",
    )


class Extractor:
    """Reads documents in a sandbox."""

    def __init__(self, memory: int, encoding: str | None, documents: Sequence[Path]) -> None:
        """`documents` are those by which the encoding is guessed if `encoding` does not name it.

        Raises:
            SettingError: Python knows no such encoding.
        """
        self.encoding = named_encoding(encoding) if encoding else None
        """What documents are in that do not say so themselves: given, or guessed when the first one comes."""
        self.sandbox = Sandbox(memory, LIBRARIES)
        self._documents = documents

    def read(self, path: Path) -> dict[str, Any]:
        """The text of a document, its unread parts, and how it was read: see `content.extract`.

        Raises:
            Unusable: it has no text, is damaged, too large, or takes too long.
        """
        extract = self._extract(path)
        if "undeclared" in extract:
            self.encoding = self._guess_encoding(extract["undeclared"])
            extract = self._extract(path)
        return extract

    def _extract(self, path: Path) -> dict[str, Any]:
        try:
            size = path.stat().st_size
        except OSError as error:
            raise Unusable(f"cannot be read: {error.strerror}") from None
        if size > LARGEST_DOCUMENT:
            raise Unusable(f"has {size:,} bytes, more than {LARGEST_DOCUMENT:,}")
        encoding = self.encoding
        (extract,) = self.sandbox.call(
            "azubi.data.readers.content:extract",
            path=str(path.absolute()),
            encoding=encoding.name if encoding else None,
            guess=encoding is None or not encoding.sure,
        )
        return dict(extract)

    def _guess_encoding(self, first: str) -> Encoding:
        """The encoding of all documents that need one, from a sample of them: few letters decide nothing."""
        texts = [path for path in self._documents if path.suffix.lower() not in (".pdf", ".docx")]
        samples = [first]
        for path in texts[:: max(1, len(texts) // _SAMPLED)]:
            with contextlib.suppress(Unusable):
                samples.append(self._extract(path).get("undeclared", ""))
        most = max(200, PROBE // len(samples))
        return guess_encoding("\n".join(sample[:most] for sample in samples).encode("latin-1"))


class Folder:
    """A folder of documents with its table of answers."""

    def __init__(self, folder: Path, answers: Path, recipe: Recipe) -> None:
        """Nothing is read before `rows`."""
        self._folder = folder
        self._answers = answers
        self._recipe = recipe
        self._read_as: Counter[str] = Counter()
        """How many documents were read in an encoding that they do not name."""
        self._words: dict[str, str] = {}
        """By encoding, a word that was read so, and where it stands."""
        self._doubtful: list[str] = []
        self.notes: list[str] = []
        """What was found out about the documents; filled by `rows`."""
        self.unread: list[tuple[int, str]] = []
        """Rows whose documents have parts that were not read, and which: a.pdf: 2 pages without text."""

    def rows(self, table: Iterable[Row | Rejected]) -> Iterator[Row | Rejected]:
        """Each row of the table of answers with the text of the document that it names.

        Raises:
            DataError: the table has no such column, or has a column `text`.
            SettingError: Python does not know the encoding that the recipe names.
        """
        recipe = self._recipe
        files = _Files(self._folder, self._answers)
        reader = Extractor(recipe.limits.memory, recipe.encoding, files.paths)
        with reader.sandbox:
            for row in table:
                if isinstance(row, Rejected):
                    yield row
                    continue
                _check_columns(row, self._answers)
                try:
                    path = files.named(written(row.values[FILE]))
                except Unusable as error:
                    yield reject(row, str(error))
                    continue
                try:
                    extract = reader.read(path)
                except Unusable as error:
                    yield reject(row, f"the document {error}")
                    continue
                self._note(row.line, path.name, extract, reader.encoding)
                yield replace(row, values={**row.values, TEXT: extract["text"]})
        for name in files.unnamed:
            yield Rejected(0, "no row of the table of answers names this document", name)
        self.notes += filter(None, [*self._encoding_notes(), files.notice])

    def _note(self, line: int, name: str, extract: dict[str, Any], encoding: Encoding | None) -> None:
        if extract["unread"]:
            self.unread.append((line, f"{name}: {', '.join(extract['unread'])}"))
        if read_as := extract["read_as"]:
            word = f"“{sample_word(extract['text'])}” in {name}"
            self._read_as[read_as] += 1
            self._words.setdefault(read_as, word)
            if encoding and read_as == encoding.name and not encoding.fits(extract["text"]):
                self._doubtful.append(word)

    def _encoding_notes(self) -> Iterator[str]:
        given = self._recipe.encoding
        for name, count in self._read_as.items():
            what = f"{self._folder}: {count:,} document{'s' * (count > 1)}"
            word = self._words[name]
            if name != "utf-8":
                doubtful = f" Doubtful are {_some(self._doubtful, ', ')}." if self._doubtful else ""
                yield f"{what} read as {name}, e.g. {word}; --encoding says otherwise.{doubtful}"
            elif given and not named_encoding(given).name.startswith("utf-8"):
                yield f"{what} read as UTF-8, e.g. {word}, though --encoding says {given}."


def unread_parts(unread: Sequence[tuple[int, str]]) -> str:
    """One sentence about documents with parts that were not read; empty if there are none."""
    if not unread:
        return ""
    have = "document has" if len(unread) == 1 else "documents have"
    parts = _some([parts for _, parts in unread], "; ")
    return f"{len(unread):,} {have} parts that were not read: {parts}."


def _some(texts: Sequence[str], separator: str) -> str:
    more = f"{separator}and {len(texts) - _NAMED:,} more" if len(texts) > _NAMED else ""
    return separator.join(texts[:_NAMED]) + more


def rows_without_table(folder: Path) -> Iterator[Row]:
    """A row for each document of a folder without a table: its name in the column `file`.

    Raises:
        DataError: there is none.
    """
    names = list(_Files(folder, folder).unnamed)
    if not names:
        raise DataError(f"{folder} holds no documents.", f"azubi reads {', '.join(sorted(KINDS))}.")
    for number, name in enumerate(names, start=1):
        yield Row(number, {FILE: name})


def _check_columns(row: Row, answers: Path) -> None:
    if FILE not in row.values:
        raise DataError(
            f"{answers} has no column “{FILE}” that names the document; it has {quoted(row.values)}.",
            f"Give the right column the name {FILE}.",
        )
    if TEXT in row.values:
        raise DataError(
            f"{answers} has a column “{TEXT}”, which is what the text of the document is called.",
            "Give that column another name.",
        )


class _Files:
    """The documents of a folder, by path, by name, and by name without suffix."""

    def __init__(self, folder: Path, answers: Path) -> None:
        self._folder = folder
        self._paths: dict[str, Path] = {}
        self._full_names: dict[str, list[str]] = {}
        """Paths within the folder, by name with and without suffix."""
        self._others: dict[str, set[str]] = {}
        """Names of files of other kinds, by their suffix."""
        self.unnamed: dict[str, None] = {}
        """Paths within the folder of documents that no row has named yet."""
        home, table = folder.resolve(), answers.resolve()
        for parent, folders, files in os.walk(home):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for file in sorted(files):
                path = Path(parent, file)
                if not file.startswith(".") and path != table:
                    self._add(path, home)
                if len(self._paths) > MOST_ROWS:
                    raise DataError(f"{folder} holds more than {MOST_ROWS:,} documents.", "Bring fewer.")

    def _add(self, path: Path, home: Path) -> None:
        if (suffix := path.suffix.lower()) not in KINDS:
            self._others.setdefault(suffix, set()).add(_normal(path.name))
            return
        real = path.resolve()
        if not real.is_relative_to(home) or not real.is_file():
            return
        name = _normal(path.relative_to(home).as_posix())
        self._paths[name] = path
        self.unnamed[name] = None
        for short in {PurePosixPath(name).name, PurePosixPath(name).stem}:
            self._full_names.setdefault(short, []).append(name)

    @property
    def paths(self) -> list[Path]:
        """All documents."""
        return list(self._paths.values())

    @property
    def notice(self) -> str:
        """Which files are no documents that can be read; empty if there are none."""
        kinds = ", ".join(
            f"{suffix or 'without suffix'} ({len(names):,})" for suffix, names in self._others.items()
        )
        return f"{self._folder} holds files of kinds that are not read: {kinds}." if kinds else ""

    def named(self, given: str) -> Path:
        """The document of that name; it is then no longer unnamed."""
        name = _normal(given.strip().replace("\\", "/").removeprefix("./"))
        file = PurePosixPath(name)
        if not name:
            raise Unusable("names no document")
        if name.startswith(("/", "~")) or ".." in file.parts:
            raise Unusable(f"the file name “{given[:100]}” leads out of the folder")
        matches = [name] if name in self._paths else self._full_names.get(name, [])
        if len(matches) == 1:
            self.unnamed.pop(matches[0], None)
            return self._paths[matches[0]]
        if file.name in self._others.get(file.suffix.lower(), ()):
            raise Unusable(
                f"“{file.name}” is of a kind that is not read (only {', '.join(sorted(KINDS))} are)"
            )
        what = f"{len(matches):,} documents are called" if matches else "there is no document"
        raise Unusable(f"{what} “{given[:100]}”")


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)
