"""Prompts from a file: JSONL and CSV by column, anything else line by line. One answer per row is owed.

Knows nothing of right answers; `azubi.data` reads those.
"""

import csv
import io
import json
from pathlib import Path

from azubi.cli.words import as_json
from azubi.errors import DataError


def read_prompts(path: Path, column: str) -> list[str]:
    """Read every prompt of a file, in order; a row without one is an error, so that none gets lost."""
    text = _text(path)
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        prompts = _csv(path, text, column)
    elif suffix in (".jsonl", ".ndjson") or text.lstrip().startswith("{"):
        prompts = _jsonl(path, text, column)
    else:
        prompts = [line for line in text.splitlines() if line.strip()]
    if not prompts:
        raise DataError(f"{path} holds no prompts.", "Write one per line, or one per row.")
    return prompts


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"There is no file {path}.", "Check the path.") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder.", "Name the file in it.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}).", "Save it as UTF-8.") from None


def _csv(path: Path, text: str, column: str) -> list[str]:
    csv.field_size_limit(2**31 - 1)
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=_separator(text))
    if column not in (rows.fieldnames or ()):
        raise _no_column(path, column, list(rows.fieldnames or ()))
    try:
        # The header is row 1, as a spreadsheet counts.
        return [_filled(path, number, row[column], column) for number, row in enumerate(rows, start=2)]
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as CSV: {error}.", "Check its quotes.") from None


def _separator(text: str) -> str:
    """Tell what parts the columns: comma, semicolon or tab, whichever the header has most of."""
    header = text.split("\n", 1)[0]
    return max(",;\t", key="".join(header.split('"')[::2]).count)


def _jsonl(path: Path, text: str, column: str) -> list[str]:
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    return [_of_line(path, number, line, column) for number, line in lines]


def _of_line(path: Path, number: int, line: str, column: str) -> str:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"Line {number} of {path} is not JSON: {error}.", "Correct or remove it.") from None
    if not isinstance(row, dict):
        raise DataError(f"Line {number} of {path} is not an object.", "Write {…} on every line.")
    if column in row:
        return _filled(path, number, row[column], column)
    return _filled(path, number, _last_user_turn(path, row, column), column)


def _last_user_turn(path: Path, row: dict[str, object], column: str) -> object:
    turns = row.get("messages")
    if not isinstance(turns, list):
        raise _no_column(path, column, list(row))
    asked = [turn for turn in turns if isinstance(turn, dict) and turn.get("role") == "user"]
    return asked[-1].get("content") if asked else None


def _filled(path: Path, number: int, value: object, column: str) -> str:
    prompt = "" if value is None else value if isinstance(value, str) else as_json(value)
    if not prompt.strip():
        raise DataError(
            f"Row {number} of {path} has no text in `{column}`.", "Fill it in, or remove the row."
        )
    return prompt


def _no_column(path: Path, column: str, there: list[str]) -> DataError:
    return DataError(
        f"{path} has no column `{column}`; it has {', '.join(f'`{name}`' for name in there) or 'none'}.",
        "Name the one that holds what is asked: --prompt COLUMN.",
    )
