"""Reads worked examples from a file: JSON lines (OpenAI chat form or columns) or CSV.

Every value is kept as text; rows without a prompt or an answer are left out and counted.
Knows nothing of tasks, splits, tokens or models, and does not judge whether answers are right.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import polars

from azubi.data.example import Example, Role, Turn
from azubi.errors import DataError

MOST_SKIPPED = 0.05
"""Share of rows that may lack a prompt or an answer before the file is refused."""

_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
_BINARY = {b"PK\x03\x04": "an Excel or ZIP file", b"PAR1": "a Parquet file", b"\x1f\x8b": "a gzip file"}
_NO_PROMPT, _NO_ANSWER = "no prompt", "no answer"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file held: its examples, and the rows that were left out."""

    examples: tuple[Example, ...]
    skipped: tuple[tuple[int, str], ...] = ()
    """Line and reason ("no prompt" or "no answer") of every row that was left out."""


def read(path: Path, prompt: str = "prompt", answer: str = "answer") -> Reading:
    """Read the examples in `path`.

    JSON lines hold `{"messages": [...]}` (the last message is the assistant's answer, what stands
    before it is context) or the columns `prompt` and `answer`; CSV holds the columns. An example's
    `line` is its line in JSON lines, and its row in CSV as a spreadsheet counts it: the header is row 1.
    """
    text = _text(path)
    rows = _json_rows if _is_json(path, text) else _csv_rows
    examples: list[Example] = []
    skipped: list[tuple[int, str]] = []
    for example in rows(path, text, prompt, answer):
        _check_unicode(path, example)
        if reason := _lacking(example):
            skipped.append((example.line, reason))
        else:
            examples.append(example)
    _check_enough(path, examples, skipped)
    return Reading(tuple(examples), tuple(skipped))


def _text(path: Path) -> str:
    data = _bytes(path)
    if not data.strip():
        raise DataError(f"{path} is empty.", "Bring a file with one example per line or row.")
    for magic, kind in _BINARY.items():
        if data.startswith(magic):
            raise DataError(f"{path} is {kind}, not text.", "Save it as CSV (UTF-8) or as JSON lines.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line:,}: byte 0x{data[error.start]:02x} is not UTF-8 text ({error.reason}).",
            "Save the file with the encoding UTF-8 (in Excel: “CSV UTF-8”).",
        ) from error


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}.", "Check the path.") from error
    except IsADirectoryError as error:
        raise DataError(
            f"{path} is a folder, not a file.", "Name the file with the examples in it."
        ) from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}.", "Check the path and its rights."
        ) from error


def _is_json(path: Path, text: str) -> bool:
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        return True
    if suffix in (".csv", ".tsv"):
        return False
    if text.lstrip().startswith("["):
        raise DataError(
            f"{path} is one JSON list, not JSON lines.",
            f"Write one object per line: jq -c '.[]' {path.name} > {path.stem}.jsonl",
        )
    return text.lstrip().startswith("{")


# JSON lines


def _json_rows(path: Path, text: str, prompt: str, answer: str) -> Iterator[Example]:
    # Only \n ends a line: str.splitlines would also cut at U+2028 and its like inside JSON strings.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number:,}"
        row = _row(where, line)
        if "messages" in row:
            yield _conversation(where, row["messages"], number)
        else:
            _check_columns(where, list(row), prompt, answer)
            yield _example(_written(row[prompt]), _written(row[answer]), number)


def _row(where: str, line: str) -> dict[str, object]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        cause = (
            f"{error.msg} at column {error.colno:,}"
            if isinstance(error, json.JSONDecodeError)
            else str(error)
        )
        raise DataError(
            f"{where} is not JSON: {cause}; it begins “{_start(line)}”.",
            "Write one JSON object per line, or name a CSV file .csv.",
        ) from error
    if not isinstance(row, dict):
        raise DataError(
            f"{where} is JSON, but not an object: “{_start(line)}”.",
            'Write {"prompt": …, "answer": …} or {"messages": […]} on each line.',
        )
    return row


def _written(value: object) -> str:
    """A JSON value as the text that the model reads or writes."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _conversation(where: str, messages: object, line: int) -> Example:
    if not isinstance(messages, list) or not messages:
        raise DataError(
            f"{where}: “messages” is not a list with messages in it.", "Write the OpenAI chat form."
        )
    turns = tuple(_turn(where, index, message) for index, message in enumerate(messages, start=1))
    if turns[-1].role != "assistant":
        raise DataError(
            f"{where}: the conversation ends with a message of the {turns[-1].role}, not with an answer.",
            "End every conversation with the assistant's right answer.",
        )
    if len(turns) < 2 or turns[-2].role != "user":
        raise DataError(
            f"{where}: no message of the user stands before the answer.",
            "Put what was asked before the assistant's last message.",
        )
    return Example(turns[:-1], turns[-1].content.strip(), line)


def _turn(where: str, index: int, message: object) -> Turn:
    role = message.get("role") if isinstance(message, dict) else None
    if not isinstance(message, dict) or not isinstance(role, str) or role not in _ROLES:
        raise DataError(
            f"{where}: message {index} has the role {json.dumps(role, ensure_ascii=False)}.",
            "Use the roles system, user and assistant; tool messages cannot be learned from.",
        )
    return Turn(_ROLES[role], _content(where, index, message.get("content")))


def _content(where: str, index: int, content: object) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_part(where, index, part) for part in content)
    raise DataError(f"{where}: the content of message {index} is not text.", "Write the content as text.")


def _part(where: str, index: int, part: object) -> str:
    if isinstance(part, dict) and isinstance(text := part.get("text"), str):
        return text
    kind = part.get("type") if isinstance(part, dict) else type(part).__name__
    raise DataError(
        f"{where}: message {index} holds a part of the kind {kind!r}, which is not text.",
        "Leave out images, sound and tool calls.",
    )


# CSV


def _csv_rows(path: Path, text: str, prompt: str, answer: str) -> Iterator[Example]:
    table = _table(path, text)
    _check_columns(f"{path}", table.columns, prompt, answer)
    blank = table.select(polars.all_horizontal(polars.all().is_null())).to_series()
    columns = zip(blank, table.get_column(prompt), table.get_column(answer), strict=True)
    for number, (nothing, asked, answered) in enumerate(columns, start=2):
        if not nothing:
            yield _example(asked or "", answered or "", number)


def _table(path: Path, text: str) -> polars.DataFrame:
    try:
        return polars.read_csv(
            BytesIO(text.lstrip("\r\n").encode()), separator=_separator(text), infer_schema=False
        )
    except polars.exceptions.PolarsError as error:
        cause = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise DataError(
            f"{path} cannot be read as CSV: {cause}.",
            "Put values with commas, quotes or line breaks in double quotes, and write quotes in them twice.",
        ) from error


def _separator(text: str) -> str:
    """What parts the columns: comma, semicolon or tab, whichever the header has most of."""
    header = text.lstrip("\r\n").split("\n", 1)[0]
    bare = "".join(header.split('"')[::2])
    return max(",;\t", key=bare.count)


# Both


def _check_columns(where: str, columns: list[str], prompt: str, answer: str) -> None:
    if prompt == answer:
        raise DataError(
            f"The column “{prompt}” is named both as prompt and as answer.",
            "Name two different columns with --prompt and --answer.",
        )
    for column, flag in ((prompt, "--prompt"), (answer, "--answer")):
        if column not in columns:
            there = ", ".join(f"“{name}”" for name in columns[:20]) or "none"
            raise DataError(
                f"{where} has no column “{column}”; it has {there}.",
                f"Name the right column with {flag} (what is asked: --prompt, the right answer: --answer).",
            )


def _example(asked: str, answered: str, line: int) -> Example:
    return Example((Turn("user", asked),), answered.strip(), line)


def _check_unicode(path: Path, example: Example) -> None:
    try:
        "".join([*(turn.content for turn in example.turns), example.answer]).encode()
    except UnicodeEncodeError as error:
        code = ord(error.object[error.start])
        raise DataError(
            f"{path}, line {example.line:,}: \\u{code:04x} is half a character (a lone surrogate).",
            "Correct the escape in that line; characters outside the basic plane need both halves.",
        ) from error


def _lacking(example: Example) -> str:
    if not example.turns[-1].content.strip():
        return _NO_PROMPT
    return "" if example.answer else _NO_ANSWER


def _check_enough(path: Path, examples: list[Example], skipped: list[tuple[int, str]]) -> None:
    rows = len(examples) + len(skipped)
    if not rows:
        raise DataError(f"{path} has a header, but no rows.", "Bring a file with examples in it.")
    for reason, flag in ((_NO_PROMPT, "--prompt"), (_NO_ANSWER, "--answer")):
        if not examples and all(why == reason for _, why in skipped):
            raise DataError(
                f"{path}: all {rows:,} rows have {reason}.", f"Name the right column with {flag}."
            )
    if len(skipped) > MOST_SKIPPED * rows:
        _refuse(path, rows, skipped)


def _refuse(path: Path, rows: int, skipped: list[tuple[int, str]]) -> None:
    named = "; ".join(f"{line:,} ({reason})" for line, reason in skipped[:10])
    more = f" and {len(skipped) - 10:,} more" if len(skipped) > 10 else ""
    raise DataError(
        f"{path}: {len(skipped):,} of {rows:,} rows lack a prompt or an answer, "
        f"more than {MOST_SKIPPED:.0%}: line {named}{more}.",
        "Fill them in or delete them.",
    )


def _start(text: str) -> str:
    line = text.strip()
    return line if len(line) <= 60 else line[:59] + "…"
