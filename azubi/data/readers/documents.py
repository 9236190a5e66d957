"""A folder of documents joined with a table of answers by file name.

The table's names are looked up among the files of the folder, and never joined to a path: none leads out of
it. Knows nothing of how a document is read, or of what the columns mean.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from azubi.data.readers.content import KINDS
from azubi.data.readers.row import Rejected, Row, Unusable, rejected, written
from azubi.data.readers.sandbox import Extract, extractor
from azubi.data.readers.text import Encoding, named_encoding, sample_word
from azubi.errors import DataError
from azubi.settings import LimitSettings, Recipe

TEXT = "text"
"""The column that holds a document's text."""
TABLES = tuple(f"answers{suffix}" for suffix in (".csv", ".tsv", ".xlsx", ".jsonl", ".parquet"))
"""What the table of answers is called if its name is not given."""


_NAMED = 3
"""Documents that a notice names."""


def table(folder: Path, given: Path | None, *, needed: bool = True) -> Path | None:
    """The table of answers of a folder; None if there is none and it is not `needed`.

    Raises:
        DataError: there is none, or more than one.
    """
    if given is not None:
        return given
    there = [name for name in TABLES if (folder / name).is_file()]
    if len(there) == 1:
        return folder / there[0]
    if not there and not needed:
        return None
    what = f"it has {' and '.join(there)}" if there else "it has no table of answers"
    raise DataError(
        f"{folder} is a folder, and {what}.",
        "Name the file with the examples in it; or, for a folder of documents, put an answers.csv there that "
        "has a row per document, or name the table with --answers.",
    )


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
        self._odd: list[str] = []
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
        files = _Files(self._folder, self._answers, recipe.limits.rows)
        with extractor(recipe.limits, recipe.encoding, files.paths) as reader:
            for row in table:
                if isinstance(row, Rejected):
                    yield row
                    continue
                _check(row, self._answers, recipe.file)
                try:
                    path = files.named(written(row.values[recipe.file]))
                    extract = reader.read(path)
                except Unusable as error:
                    yield rejected(row, str(error))
                else:
                    self._keep(row.line, path.name, extract, reader.encoding)
                    yield replace(row, values={**row.values, TEXT: extract.text})
        for name in files.unnamed:
            yield Rejected(0, "no row of the table of answers names this document", name)
        self.notes += filter(None, [*self._encodings(), files.notice])

    def _keep(self, line: int, name: str, extract: Extract, encoding: Encoding | None) -> None:
        if extract.unread:
            self.unread.append((line, f"{name}: {', '.join(extract.unread)}"))
        if extract.read_as:
            word = sample_word(extract.text)
            self._read_as[extract.read_as] += 1
            self._words.setdefault(extract.read_as, f"“{word}” in {name}")
            if encoding and extract.read_as == encoding.name and not encoding.fits(extract.text):
                self._odd.append(f"“{word}” in {name}")

    def _encodings(self) -> Iterator[str]:
        given = self._recipe.encoding
        for name, count in self._read_as.items():
            what = f"{self._folder}: {count:,} document{'s' * (count > 1)}"
            word = self._words[name]
            if name != "utf-8":
                odd = f" Doubtful are {_listed(self._odd, ', ')}." if self._odd else ""
                yield f"{what} read as {name}, e.g. {word}; --encoding says otherwise.{odd}"
            elif given and not named_encoding(given).name.startswith("utf-8"):
                yield f"{what} read as UTF-8, e.g. {word}, though --encoding says {given}."


def unread_parts(unread: Sequence[tuple[int, str]]) -> str:
    """One sentence about documents with parts that were not read; empty if there are none."""
    if not unread:
        return ""
    have = "document has" if len(unread) == 1 else "documents have"
    parts = _listed([parts for _, parts in unread], "; ")
    return f"{len(unread):,} {have} parts that were not read: {parts}."


def _listed(texts: Sequence[str], sign: str) -> str:
    more = f"{sign}and {len(texts) - _NAMED:,} more" if len(texts) > _NAMED else ""
    return sign.join(texts[:_NAMED]) + more


def each(folder: Path, column: str, limits: LimitSettings) -> Iterator[Row]:
    """A row for each document of a folder without a table: its name in `column`.

    Raises:
        DataError: there is none.
    """
    names = list(_Files(folder, folder, limits.rows).unnamed)
    if not names:
        raise DataError(f"{folder} holds no documents.", f"azubi reads {', '.join(sorted(KINDS))}.")
    for number, name in enumerate(names, start=1):
        yield Row(number, {column: name})


def _check(row: Row, answers: Path, column: str) -> None:
    if column not in row.values:
        there = ", ".join(f"“{name}”" for name in list(row.values)[:20])
        raise DataError(
            f"{answers} has no column “{column}” that names the document; it has {there}.",
            "Name the right column with --file.",
        )
    if TEXT in row.values:
        raise DataError(
            f"{answers} has a column “{TEXT}”, which is what the text of the document is called.",
            "Give that column another name.",
        )


class _Files:
    """The documents of a folder, by path, by name, and by name without suffix."""

    def __init__(self, folder: Path, answers: Path, most: int) -> None:
        self._folder = folder
        self._paths: dict[str, Path] = {}
        self._names: dict[str, list[str]] = {}
        self._others: dict[str, set[str]] = {}
        """Names of files of other kinds, by their suffix."""
        self.unnamed: dict[str, None] = {}
        home, own = folder.resolve(), answers.resolve()
        for place, folders, files in os.walk(home):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for file in sorted(files):
                path = Path(place, file)
                if file.startswith(".") or path == own:
                    continue
                if (suffix := path.suffix.lower()) not in KINDS:
                    self._others.setdefault(suffix, set()).add(_normal(file))
                    continue
                real = path.resolve()
                if real.is_relative_to(home) and real.is_file():
                    self._add(path.relative_to(home).as_posix(), path)
                if len(self._paths) > most:
                    raise DataError(f"{folder} holds more than {most:,} documents.", "Raise --limits-rows.")

    def _add(self, name: str, path: Path) -> None:
        name = _normal(name)
        self._paths[name] = path
        self.unnamed[name] = None
        for short in {PurePosixPath(name).name, PurePosixPath(name).stem}:
            self._names.setdefault(short, []).append(name)

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
        if not name:
            raise Unusable("names no document")
        if name.startswith(("/", "~")) or ".." in PurePosixPath(name).parts:
            raise Unusable(f"the file name “{given[:100]}” leads out of the folder")
        matches = [name] if name in self._paths else self._names.get(name, [])
        if len(matches) != 1:
            file = PurePosixPath(name)
            if file.name in self._others.get(file.suffix.lower(), ()):
                kinds = ", ".join(sorted(KINDS))
                raise Unusable(f"“{file.name}” is of a kind that is not read (only {kinds} are)")
            what = "there is no document" if not matches else f"{len(matches):,} documents are called"
            raise Unusable(f"{what} “{given[:100]}”")
        self.unnamed.pop(matches[0], None)
        return self._paths[matches[0]]


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)
