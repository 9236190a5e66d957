"""All of a source at once, or row by row; and when too little of it can be used."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from azubi.data import strict_json
from azubi.data.contract import parse_labels, record_fault, written_labels
from azubi.data.example import Example
from azubi.data.readers import documents
from azubi.data.readers.mapping import NO_ANSWER, NO_PROMPT
from azubi.data.readers.row import Asked, Rejected, is_predicate, shortened
from azubi.data.readers.source import Source
from azubi.data.readers.text_rows import ESCAPED
from azubi.errors import DataError, SettingError
from azubi.settings import Recipe

_NAMED = 10
"""Rejected rows that an error names."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a source held: its examples, and the rows that cannot be used."""

    examples: tuple[Example, ...]
    rejected: tuple[Rejected, ...] = ()
    notes: tuple[str, ...] = ()
    """What was found out about the source and may be wrong, for the person who brought it."""


def stream(
    path: Path | str | None = None, prompt: str = "prompt", answer: Any = "answer", **settings: Any
) -> Iterator[Example | Rejected]:
    """Yield each example, and each row that cannot be used, in the order of the source.

    Memory does not grow with the source, unless it is one JSON list. `settings` are those of the recipe:
    `sql`, `query`, `sheet`, `group`, `limits` and so on. How many rows may be unusable is left to the caller:
    see `check_share`.

    Raises:
        DataError: the source as a whole cannot be read, or exceeds a limit.
        SettingError: a setting does not fit.
    """
    return source_from_settings(path, prompt, answer, **settings).stream()


def read(
    path: Path | str | None = None, prompt: str = "prompt", answer: Any = "answer", **settings: Any
) -> Reading:
    """Read all examples of a source; arguments as in `stream`.

    An example's `line` is its line in JSON lines, and its row in tables as a spreadsheet counts it: the
    header is row 1.

    Raises:
        DataError: the source cannot be read, or more of its rows are unusable than `limits.rejected` allows.
        SettingError: a setting does not fit.
    """
    return read_source(source_from_settings(path, prompt, answer, **settings))


def source_from_settings(path: Path | str | None, prompt: str, answer: Any, **settings: Any) -> Source:
    """The source that these settings of a recipe describe."""
    try:
        recipe = Recipe.model_validate({"data": path, "prompt": prompt, "answer": answer, **settings})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][:1])
        raise SettingError(
            f"The setting {name} cannot be used: {first['msg']}.", "See docs/data.md."
        ) from None
    return Source.of(recipe)


def read_source(source: Source) -> Reading:
    """Read all examples of a source; see `read`."""
    examples: list[Example] = []
    rejected: list[Rejected] = []
    for row in source.stream():
        if isinstance(row, Rejected):
            rejected.append(row)
        else:
            examples.append(row)
    check_share(source, len(examples), len(rejected), rejected[:_NAMED])
    unread = filter(None, [documents.unread_parts(source.unread)])
    return Reading(tuple(examples), tuple(rejected), (*source.notes, *unread))


def reject_non_record(example: Example) -> Rejected | None:
    """The example as a row that cannot be used, since its answer is no record; None if it is one."""
    fault = record_fault(example.answer)
    return Rejected(example.line, fault, shortened(example.answer)) if fault else None


def reject_non_list(example: Example) -> Rejected | None:
    """The example as a row that cannot be used, since its answer is no list of labels; None if it is one."""
    if parse_labels(example.answer) is not None:
        return None
    return Rejected(example.line, "the answer is no JSON list of labels", shortened(example.answer))


def with_label_set(example: Example) -> Example:
    """The example with its labels in alphabetical order, each once; an answer that is no list stays."""
    labels = parse_labels(example.answer)
    return example if labels is None else replace(example, answer=written_labels(labels))


def reject_faulty(source: Source, reading: Reading, fault: Callable[[Example], Rejected | None]) -> Reading:
    """The same without examples that have a fault, which join the rows that cannot be used.

    Raises:
        DataError: too many rows cannot be used now.
    """
    judged = [(example, fault(example)) for example in reading.examples]
    faulty = [row for _, row in judged if row is not None]
    if not faulty:
        return reading
    examples = tuple(example for example, row in judged if row is None)
    rejected = tuple(sorted((*reading.rejected, *faulty), key=lambda row: row.line))
    check_share(source, len(examples), len(rejected), rejected[:_NAMED])
    return replace(reading, examples=examples, rejected=rejected)


def read_asked(source: Source) -> tuple[Asked, ...]:
    """Read all rows of a source as they are to be answered; see `Source.asked`.

    Raises:
        DataError: it cannot be read, or none of its rows can be asked.
    """
    rows = tuple(source.asked())
    if source.unread:
        unread = {line: (f"Not read of {parts}.",) for line, parts in source.unread}
        rows = tuple(replace(row, notes=unread.get(row.line, ())) for row in rows)
    if not rows:
        raise DataError(f"{source.name} has no rows.", "Bring a file with something to ask in it.")
    if all(row.fault for row in rows):
        first = rows[0]
        raise DataError(
            f"{source.name}: none of its {len(rows):,} rows can be asked; row {first.line:,}: {first.fault}",
            "Name the right column with --prompt, or correct the file.",
        )
    return rows


def check_share(source: Source, good: int, bad: int, first: Sequence[Rejected]) -> None:
    """Refuse a source of which too little can be used; `first` are the first rejected rows.

    Raises:
        DataError: it has no rows, or a larger share of unusable ones than `limits.rejected`.
    """
    name, rows, most = source.name, good + bad, source.recipe.limits.rejected
    if not rows:
        raise DataError(f"{name} has a header, but no rows.", "Bring a file with examples in it.")
    for reason, flag in ((NO_PROMPT, "--prompt"), (NO_ANSWER, "--answer")):
        if not good and all(row.reason == reason for row in first):
            raise DataError(
                f"{name}: all {rows:,} rows have {reason}.", f"Name the right column with {flag}."
            )
    if bad <= most * rows:
        return
    cause, *others = first
    share = f"{bad:,} of {rows:,} rows cannot be used, more than {100 * most:g} %"
    verb = " " if is_predicate(cause.reason) else ": "
    start = f"; it begins “{cause.raw[:60]}”" if cause.raw else ""
    more = f"; and {bad - len(first):,} more" if bad > len(first) else ""
    also = "; ".join(f"line {row.line:,}: {row.reason[:60]}" for row in others)
    also = f". Others: {also}{more}" if also else ""
    raise DataError(
        f"{name}: {share}: line {cause.line:,}{verb}{cause.reason}{start}{also}.",
        next((remedy for words, remedy in _REMEDIES.items() if words in cause.reason), _CORRECT),
    )


_CORRECT = "Correct or delete them, or allow more with --limits-rejected."
_NO_RECORD = "Correct them, allow more with --limits-rejected, or take all answers as texts: --task text."
_REMEDIES = {
    ESCAPED: "Write quotes inside quotes twice, without a backslash.",
    strict_json.REPAIR: "Correct the export; or add --repair, which mends such rows, counts them and shows "
    "an example.",
    "no JSON record": _NO_RECORD,
    "the answer is not JSON": _NO_RECORD,
    "has no column": "Name the right column with --prompt (what is asked) and --answer (the right answer).",
    "not JSON": "Write one JSON object per line, or name a CSV file .csv.",
    "JSON, but not an object": 'Write {"prompt": …, "answer": …} or {"messages": […]} on each line.',
    "not an answer": "End every conversation with the assistant's right answer.",
    " text (": "Name the file's encoding with --encoding, or save it as UTF-8 (in Excel: “CSV UTF-8”).",
    "as CSV": "Put values with commas, quotes or line breaks in double quotes, and double the quotes in "
    "them.",
    "but the header has": "Put values that hold the delimiter in double quotes, or name it with --delimiter.",
    "reads at most": "Shorten such rows, choose a base that reads more (--base), or let more be left out "
    "with --limits-rejected.",
}
"""What to do, by words of the reason of the first row; the first that fits."""
