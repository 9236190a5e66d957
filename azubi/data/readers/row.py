"""A row of a source before its columns have a meaning, a row that cannot be used, and the header of a table.

Knows nothing of files or of what columns mean.
"""

import base64
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from azubi.data import strict_json
from azubi.data.example import Role, Turn
from azubi.errors import DataError

LONGEST_ROW = 10_000_000
"""Characters of one row, and bytes of one line; longer ones are left out."""
MOST_ROWS = 20_000_000
"""Rows of a source, and documents of a folder."""
LONGEST_RAW = 200
"""Characters of a rejected row that are kept."""
HEADER_ROWS = 30
"""Rows among which the header is looked for."""
EMPTY = "is empty"
"""Why a row that holds nothing is rejected; no example is lost with it, but it has its place among rows."""
_LARGEST_WHOLE = 10**80
"""Whole decimals up to this become whole numbers; no database has longer ones."""
_NAMED_COLUMNS = 20


class Unusable(Exception):
    """Says why a row or a document cannot be used. Never leaves this package: it becomes a `Rejected`."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a value that its source holds, but that cannot be read: rows that use it are rejected."""

    reason: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its place, its values by column, and how it stood in the source."""

    line: int
    """1-based line of a text file; row of a sheet, table or result."""
    values: Mapping[str, Any]
    raw: str = ""
    """Its text, as far as it is at hand; made from the values when it is needed otherwise."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot be used, and why."""

    line: int
    reason: str
    raw: str = ""
    """How it begins in the source."""

    @property
    def empty(self) -> bool:
        """Whether nothing stands in it."""
        return self.reason == EMPTY

    def as_json(self, **more: str) -> str:
        """Its line in rejected.jsonl, with whatever else is to be said."""
        return strict_json.write({**more, "line": self.line, "reason": self.reason, "raw": self.raw})


@dataclass(frozen=True, slots=True)
class Asked:
    """A row that is to be answered: its question, or why it cannot be asked."""

    line: int
    """As in `Row`; in one JSON list, the element's number."""
    values: Mapping[str, Any]
    """By column; nothing where the row could not be read."""
    turns: tuple[Turn, ...] = ()
    """What training would have made of the row, up to the answer."""
    fault: str = ""
    """Empty if it can be asked."""
    notes: tuple[str, ...] = ()
    """What whoever asks should know of it: that parts of a document were not read."""


def reject_question(row: Rejected, values: Mapping[str, Any] | None = None) -> Asked:
    """A row that cannot be asked, with the reason as a sentence."""
    reason = row.reason if row.line else f"{row.reason}: {row.raw}"
    sentence = f"The row {reason}." if is_predicate(reason) else f"Not asked: {reason}."
    return Asked(row.line, values or {}, fault=sentence)


def is_predicate(reason: str) -> bool:
    """Whether a reason goes on from "The row"."""
    return reason.startswith(("is ", "has ", "holds ", "names "))


def reject(row: Row, reason: str) -> Rejected:
    """Leave out a row."""
    raw = row.raw or strict_json.write(dict(row.values), default=str)
    return Rejected(row.line, reason, shortened(raw))


def shortened(text: str, most: int = LONGEST_RAW) -> str:
    """The beginning of a text, such that it can be written as UTF-8."""
    text = text.rstrip("\r\n")
    start = text if len(text) <= most else text[: most - 1] + "…"
    return start.encode(errors="backslashreplace").decode()


def quoted(names: Iterable[str]) -> str:
    """Names in quotes for a message, not too many of them."""
    names = list(names)
    more = f" and {len(names) - _NAMED_COLUMNS:,} more" if len(names) > _NAMED_COLUMNS else ""
    return (", ".join(f"“{name}”" for name in names[:_NAMED_COLUMNS]) or "none") + more


# Values


def written(value: object) -> str:
    """A value as the text that the model reads or writes; nothing is the empty text."""
    if isinstance(value, str):
        return value
    value = plain(value)
    if value is None:
        return ""
    return strict_json.write(value) if isinstance(value, bool | dict | list) else str(value)


def plain(value: object) -> Any:
    """A value of any source as JSON has it: dates become ISO 8601, decimals numbers, not-a-number nothing.

    Raises:
        Unusable: it is bytes, or of a kind that has no text; or a record or list in which NaN or Infinity is.
    """
    match value:
        case None | str() | bool() | int():
            return value
        case float():
            return None if math.isnan(value) else value
        case Decimal():
            return _number(value)
        case datetime() | date() | time():
            return value.isoformat()
        case UUID() | timedelta():
            return str(value)
        case bytes() | bytearray() | memoryview():
            start = base64.b16encode(bytes(value)[:8]).decode()
            raise Unusable(f"a value is {len(bytes(value)):,} bytes of binary data ({start}…), not text")
        case Mapping():
            return {written(name): _nested(part) for name, part in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_nested(part) for part in value]
        case Unreadable():
            raise Unusable(value.reason)
    raise Unusable(f"a value is of the kind {type(value).__name__}, which has no text")


def _nested(value: object) -> Any:
    """A value within a record or a list, where NaN may not stand for a cell that is empty."""
    if isinstance(value, float | Decimal) and not math.isfinite(value):
        raise Unusable(f"a record or list holds {value}, which JSON does not have")
    return plain(value)


def _number(value: Decimal) -> Any:
    if value.is_nan():
        return None
    if value == value.to_integral_value() and abs(value) < _LARGEST_WHOLE:
        return int(value)
    # What a float would round stays text, digit by digit.
    return float(value) if Decimal(repr(float(value))) == value else str(value)


# Headers


MissingColumn = Callable[[Sequence[str]], str | None]
"""The first column that is asked for and is not among these; None if all are there."""


@dataclass(frozen=True)
class Header:
    """The row that names the columns."""

    number: int
    """1-based, as a spreadsheet counts rows."""
    names: list[str]
    lacks: str | None
    """The first column that is asked for and that it does not name."""

    @property
    def width(self) -> int:
        """Cells that are not empty."""
        return sum(1 for cell in self.names if cell and not cell.startswith(" ("))


def column_names(header: Sequence[str]) -> list[str]:
    """The names of the columns; a name that came before gets a number."""
    names: list[str] = []
    counts: dict[str, int] = {}
    for cell in header:
        name = cell.strip()
        counts[name] = counts.get(name, 0) + 1
        names.append(name if counts[name] == 1 else f"{name} ({counts[name]})")
    return names


def find_header(
    head: Sequence[tuple[int, Sequence[str]]],
    missing_column: MissingColumn,
    given: int | None,
    name: str,
    notes: list[str],
) -> Header:
    """The header among the first rows (number and cells, none blank): as given, or the first with all names.

    What stands above it is said in `notes`. Where no row has all names, it is the first that looks like one.

    Raises:
        DataError: there is no such row, or a row above it may be the header as well.
    """
    named = [(number, column_names(cells)) for number, cells in head]
    rows = [Header(number, names, missing_column(names)) for number, names in named]
    if given is not None:
        return _given_header(rows, given, name)
    fitting = next((row for row in rows if row.lacks is None), None)
    if fitting is None:
        return next((row for row in rows if row.width > 1), rows[0])
    above = rows[: rows.index(fitting)]
    if other := next((row for row in above if row.width >= fitting.width), None):
        raise DataError(
            f"{name} has the columns that are asked for in row {fitting.number:,}, but row {other.number:,} "
            "above it has as many cells and may be the header, too.",
            f"Say which it is: --header {fitting.number}. Rows above the header are not read.",
        )
    if above:
        first = next(cell for cell in above[0].names if cell)
        notes.append(
            f"{name}: the columns are named in row {fitting.number:,}; what stands above it (“{first[:60]}”) "
            "is not read. --header says otherwise."
        )
    return fitting


def _given_header(rows: Sequence[Header], number: int, name: str) -> Header:
    for row in rows:
        if row.number == number:
            return row
    raise DataError(
        f"{name} has no row {number:,} with names of columns among its first {HEADER_ROWS}.",
        "Name the right row with --header, or leave it out.",
    )


_ROLES: Mapping[str, Role] = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model"), "assistant"),
}

COLUMNS = frozenset(
    (
        *("messages", "conversations", "system", "prompt", "completion"),
        *("instruction", "input", "output", "history"),
    )
)
"""The columns that conversations in these layouts are made of."""

Conversation = tuple[tuple[Turn, ...], str]
"""What was said up to the answer, and the answer; "" where there is none yet."""


def openai(values: Mapping[str, Any], every: bool, asked: bool) -> Conversation:
    """`{"messages": [{"role", "content"}, …]}`; the last message is the answer.

    With `every`, the assistant's earlier messages are learned too, but those with `"weight": 0`. If `asked`,
    the conversation may end with the user's message, which is to be answered.

    Raises:
        Unusable: it is no conversation that ends with an answer.
    """
    return _conversation("messages", ("role", "content"), values, every, asked)


def sharegpt(values: Mapping[str, Any], every: bool, asked: bool) -> Conversation:
    """`{"conversations": [{"from": "human", "value": …}, {"from": "gpt", …}]}`; see `openai`."""
    return _conversation("conversations", ("from", "value"), values, every, asked)


def completion(values: Mapping[str, Any], every: bool, asked: bool) -> Conversation:
    """`{"prompt", "completion"}`, each a text or a list of messages; see `openai`."""
    prompt, answer = values["prompt"], values.get("completion")
    if not isinstance(prompt, list):
        return (Turn("user", written(prompt)),), written(answer)
    if not isinstance(answer, list):
        answer = [] if answer is None and asked else [{"role": "assistant", "content": answer}]
    return openai({"messages": [*prompt, *answer]}, every, asked)


def alpaca(values: Mapping[str, Any], every: bool, asked: bool) -> Conversation:
    """`{"instruction", "output"}`, perhaps with `input`, `system`, `history`; `asked` needs no output."""
    parts = [text for name in ("instruction", "input") if (text := written(values.get(name))).strip()]
    turns = _system(values)
    history = values.get("history") or []
    if not isinstance(history, list) or not all(
        isinstance(pair, list) and len(pair) == 2 for pair in history
    ):
        raise Unusable("“history” is not a list of pairs of question and answer")
    for question, answer in history:
        turns += [Turn("user", written(question)), Turn("assistant", written(answer), learned=every)]
    return (*turns, Turn("user", "\n\n".join(parts))), written(values.get("output"))


def is_conversation(value: object) -> bool:
    """Whether a value is a list of messages."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(message, Mapping) for message in value)
        and "role" in value[0]
    )


def _conversation(
    column: str, names: tuple[str, str], values: Mapping[str, Any], every: bool, asked: bool
) -> Conversation:
    messages = values[column]
    if not isinstance(messages, list) or not messages:
        raise Unusable(f"“{column}” is not a list with messages in it")
    turns = [_turn(index, message, names, every) for index, message in enumerate(messages, start=1)]
    if turns[0].role != "system":
        turns = _system(values) + turns
    if asked and turns[-1].role == "user":
        return tuple(turns), ""
    if turns[-1].role != "assistant":
        raise Unusable(f"the conversation ends with a message of the {turns[-1].role}, not with an answer")
    if len(turns) < 2 or turns[-2].role != "user":
        raise Unusable("no message of the user stands before the answer")
    if not asked and messages[-1].get("weight") == 0:
        raise Unusable("the answer has the weight 0")
    return tuple(turns[:-1]), turns[-1].content


def _system(values: Mapping[str, Any]) -> list[Turn]:
    system = values.get("system")
    return [Turn("system", system)] if isinstance(system, str) and system.strip() else []


def _turn(index: int, message: object, names: tuple[str, str], every: bool) -> Turn:
    if not isinstance(message, Mapping):
        raise Unusable(f"message {index} has the role null, since it is no object")
    role_name, content_name = names if names[0] in message else ("role", "content")
    name = message.get(role_name)
    role = _ROLES.get(name) if isinstance(name, str) else None
    if role is None:
        raise Unusable(
            f"message {index} has the role {strict_json.write(name, default=str)[:60]}; it must be system, "
            "user or assistant, since tool messages cannot be learned from"
        )
    if message.get("tool_calls") or message.get("function_call"):
        raise Unusable(f"message {index} calls a tool, which cannot be learned from")
    learned = every and role == "assistant" and message.get("weight", 1) != 0
    return Turn(role, _content(index, message.get(content_name)), learned)


def _content(index: int, content: object) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, Sequence) and not isinstance(content, bytes):
        return "".join(_part(index, part) for part in content)
    raise Unusable(f"the content of message {index} is not text")


def _part(index: int, part: object) -> str:
    if isinstance(part, Mapping) and isinstance(text := part.get("text"), str):
        return text
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    raise Unusable(f"message {index} holds a part of the kind {str(kind)[:60]!r}, which is not text")
