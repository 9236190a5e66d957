"""A folder of documents joined with a table of answers by file name.

The table's names are looked up among the files of the folder, and never joined to a path: none leads out of
it. Knows nothing of how a document is read, or of what the columns mean.
"""

import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from azubi.data.reading.extract import KINDS, extractor
from azubi.data.reading.row import Rejected, Row, Unusable, rejected, written
from azubi.errors import DataError
from azubi.settings import LimitSettings

TEXT = "text"
"""The column that holds a document's text."""
TABLES = tuple(f"answers{suffix}" for suffix in (".csv", ".tsv", ".xlsx", ".jsonl", ".parquet"))
"""What the table of answers is called if its name is not given."""


def table(folder: Path, given: Path | None) -> Path:
    """The table of answers of a folder.

    Raises:
        DataError: there is none, or more than one.
    """
    if given is not None:
        return given
    there = [name for name in TABLES if (folder / name).is_file()]
    if len(there) == 1:
        return folder / there[0]
    what = f"it has {' and '.join(there)}" if there else "it has no table of answers"
    raise DataError(
        f"{folder} is a folder, and {what}.",
        "Name the file with the examples in it; or, for a folder of documents, put an answers.csv there that "
        "has a row per document, or name the table with --answers.",
    )


def rows(
    folder: Path, answers: Path, told: Iterable[Row | Rejected], column: str, limits: LimitSettings
) -> Iterator[Row | Rejected]:
    """Each row of the table of answers with the text of the document that it names in `column`.

    Raises:
        DataError: the table has no such column, or has a column `text`.
    """
    files = _Files(folder, answers, limits.rows)
    with extractor(limits) as reader:
        for row in told:
            if isinstance(row, Rejected):
                yield row
                continue
            _check(row, answers, column)
            try:
                path = files.named(written(row.values[column]))
                text = reader.text(path)
            except Unusable as error:
                yield rejected(row, str(error))
            else:
                yield replace(row, values={**row.values, TEXT: text})
    for name in files.unnamed:
        yield Rejected(0, "no row of the table of answers names this document", name)


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
        self._paths: dict[str, Path] = {}
        self._names: dict[str, list[str]] = {}
        self.unnamed: dict[str, None] = {}
        home, own = folder.resolve(), answers.resolve()
        for place, folders, files in os.walk(home):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for file in sorted(files):
                path = Path(place, file)
                if file.startswith(".") or path.suffix.lower() not in KINDS or path == own:
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

    def named(self, told: str) -> Path:
        """The document of that name; it is then no longer unnamed."""
        name = _normal(told.strip().replace("\\", "/").removeprefix("./"))
        if not name:
            raise Unusable("names no document")
        if name.startswith(("/", "~")) or ".." in PurePosixPath(name).parts:
            raise Unusable(f"the file name “{told[:100]}” leads out of the folder")
        found = [name] if name in self._paths else self._names.get(name, [])
        if len(found) != 1:
            what = "there is no document" if not found else f"{len(found):,} documents are called"
            raise Unusable(f"{what} “{told[:100]}”")
        self.unnamed.pop(found[0], None)
        return self._paths[found[0]]


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)
