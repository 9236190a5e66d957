"""Reads what is to be checked, and says what reading shows: guesses, and rows that cannot be used.

The reader says why a row is unusable.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from azubi.data import schema as schemas
from azubi.data import strict_json
from azubi.data.checks.check_input import CheckInput
from azubi.data.contract import Task, TaskInference
from azubi.data.example import Example
from azubi.data.finding import SHOWN, Case, Finding, share, some
from azubi.data.readers.documents import unread_parts
from azubi.data.readers.reading import read_source, reject_faulty, reject_non_record
from azubi.data.readers.row import Rejected
from azubi.data.readers.source import Source
from azubi.data.readers.styles import Undecided
from azubi.errors import DataError
from azubi.settings import Recipe
from azubi.storage import files

REJECTED = "rejected.jsonl"
"""The file of rows that cannot be used: one per line, with source, line, reason and how it begins."""
_MOST_REASONS = 100
_REPORTED = 10_000
"""Rows after which the number of rows is reported."""
_PICTURES = re.compile(r".*: [0-9,]+ pictures?")


@dataclass(slots=True)
class CheckedSource:
    """A source as it is checked: its name, what it yields, and what its reader has to say afterwards."""

    name: str
    rows: Iterable[Example | Rejected]
    notes: Sequence[str] = ()
    """May be empty until the rows were read."""
    undecided: list[Undecided] = field(default_factory=list)
    """What can be read in two ways; may be empty until then, too."""
    unread: Sequence[tuple[int, str]] = ()
    """Rows whose documents have parts that were not read, and which; empty until the rows were read."""
    examples: list[Example] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)

    def read(self, handle: Callable[[str], None]) -> None:
        """Sort the rows into `examples` and `rejected`; `handle` is told of the progress."""
        for number, row in enumerate(self.rows, start=1):
            if isinstance(row, Example):
                self.examples.append(row)
            else:
                self.rejected.append(row)
            if number % _REPORTED == 0:
                handle(f"Reading {self.name}: {number:,} rows")

    def reject_non_records(self) -> None:
        """Move examples whose answers are no records to what cannot be used."""
        faults = [reject_non_record(example) for example in self.examples]
        self.examples = [e for e, fault in zip(self.examples, faults, strict=True) if fault is None]
        self.rejected += [fault for fault in faults if fault is not None]


def read_input(
    data: CheckedSource, test: CheckedSource | None, recipe: Recipe, handle: Callable[[str], None]
) -> tuple[CheckInput, list[Finding]]:
    """Read data and test, and say what the answers are, as a run does; with what there is to say of that.

    Raises:
        DataError: a source cannot be read, or there is no row at all.
    """
    sources = [data, *([test] if test else ())]
    for source in sources:
        source.read(handle)
    if not data.examples and not data.rejected:
        raise DataError(f"{data.name} has a header, but no rows.", "Bring a file with examples in it.")
    findings = [_ambiguous(question, source.name) for source in sources for question in source.undecided]
    findings += [_note(text) for source in sources for text in source.notes]
    findings += [_unread(source.unread, source is test) for source in sources if source.unread]
    inference, task = TaskInference(), recipe.task
    for example in data.examples:
        inference.add(example.answer, example.line)
    kind: Task = "text"
    try:
        kind = inference.task(None if task == "auto" else task)
    except DataError as error:
        findings.append(_mixed(error))
    findings += [_note(text) for text in inference.notes(kind)]
    if kind == "json":
        for source in sources:
            source.reject_non_records()
    check_input = CheckInput(
        data.examples,
        kind,
        test.examples if test else None,
        data.rejected,
        test.rejected if test else (),
        recipe,
        schema=schemas.load(recipe.schema_) if recipe.schema_ is not None else {},
        validation=lambda: _validation(recipe, kind),
    )
    return check_input, findings


def _validation(recipe: Recipe, task: Task) -> Sequence[Example] | None:
    if recipe.validation_data is None:
        return None
    source = Source(recipe, recipe.validation_data)
    reading = read_source(source)
    return (reject_faulty(source, reading, reject_non_record) if task == "json" else reading).examples


def write_rejected(folder: Path, sources: Iterable[CheckedSource | None]) -> Path | None:
    """Write the rows that cannot be used into `folder`; if there are none, an old file goes."""
    path = folder / REJECTED
    lines = [row.as_json(source=source.name) for source in sources if source for row in source.rejected]
    if not lines:
        path.unlink(missing_ok=True)
        return None
    files.write_text(path, "".join(f"{line}\n" for line in lines))
    return path


def rejected_rows(check_input: CheckInput) -> Iterator[Finding]:
    """Rows without a prompt or an answer, and what could not be read at all."""
    most = check_input.recipe.limits.rejected
    for prefix, examples, rejected in check_input.parts:
        count, rows = len(rejected), len(rejected) + len(examples)
        if not count:
            continue
        too_many = count > most * rows
        reasons = Counter(row.reason for row in rejected)
        mendable = sum(number for reason, number in reasons.items() if strict_json.REPAIR in reason)
        limit = f", more than the {share(most)} that are let pass" if too_many else ""
        first = sorted(rejected, key=lambda row: row.line)[:SHOWN]
        yield Finding(
            kind="rejected_test_rows" if prefix else "rejected_rows",
            level="error" if too_many else "warning",
            title=f"{some(count, f'{prefix}row')} of {rows:,} cannot be used ({share(count / rows)}{limit}).",
            count=count,
            cases=tuple(Case(lines=(row.line,), text=row.reason) for row in first),
            why="What cannot be read is not learned, and what fails often has mostly one cause in the "
            "export.",
            remedy="Each one stands with its line and reason in rejected.jsonl. Correct them in the source, "
            "or leave them out; the others go on."
            + (f" --repair mends {mendable:,} of them." if mendable else "")
            + (" Training waits until fewer fail." if too_many else ""),
            details={
                "splits": ["test"] if prefix else [],
                "rows": rows,
                "most": most,
                "reasons": dict(reasons.most_common(_MOST_REASONS)),
            },
        )


def _ambiguous(question: Undecided, name: str) -> Finding:
    return Finding(
        kind="ambiguous_values",
        level="error",
        title=f"{name}: {question.problem}",
        count=question.count,
        cases=tuple(Case(lines=(line,), text=text) for line, text in question.cases),
        why="Read in the wrong way, an amount is a thousand times too small and a date months away; nothing "
        "later would show it.",
        remedy=question.remedy,
    )


def _note(text: str) -> Finding:
    return Finding(
        kind="reading",
        level="note",
        title=text,
        count=1,
        why="A wrong guess spoils every row.",
        remedy="Look at a few of the rows that are quoted here; if something is wrong, say how it is to be "
        "read.",
    )


def _unread(unread: Sequence[tuple[int, str]], of_test: bool) -> Finding:
    pictures = all(_PICTURES.fullmatch(parts) for _, parts in unread)
    return Finding(
        kind="unread_parts",
        level="note" if pictures else "warning",
        title=unread_parts(unread),
        count=len(unread),
        cases=tuple(Case(lines=(line,), text=parts) for line, parts in unread[:SHOWN]),
        why="What an answer follows from may stand there, and then it cannot be learned.",
        remedy="Bring what matters as text: scanned pages after text recognition (OCR), attachments as "
        "documents of their own. Logos can be left.",
        details={"splits": ["test"] if of_test else []},
    )


def _mixed(error: DataError) -> Finding:
    return Finding(
        kind="mixed_answers",
        level="error",
        title=error.problem,
        count=1,
        why="A specialist gives records or texts, and which of them is meant cannot be told.",
        remedy=error.remedy,
    )
