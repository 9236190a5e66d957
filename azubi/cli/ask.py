"""`azubi ask`: parse; `azubi.pipeline.ask` reads and answers; what was answered is printed here."""

import contextlib
import csv
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from azubi.cli.command import Session
from azubi.cli.formatting import clean, count, percent
from azubi.cli.recipe_file import grouped, with_recipe_flags
from azubi.data import strict_json
from azubi.data.readers.row import Asked, Unusable, plain, written
from azubi.errors import SettingError
from azubi.locale.current import translated
from azubi.storage import files
from azubi.storage.libraries import importing

if TYPE_CHECKING:
    from azubi.data.readers.row import Asked
    from azubi.engine.inference.answering import Answer


Names = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="The specialist, as `azubi list` names it; NAME@2 is its version 2. Several with commas between "
        "answer side by side.",
    ),
]
Prompt = Annotated[str | None, typer.Argument(metavar="PROMPT", help="What to ask.")]
File = Annotated[
    Path | None,
    typer.Option(
        "--file",
        metavar="PATH",
        help="Answer every row of this source: all that azubi tune reads (- for standard input), and plain "
        "text with one prompt per line.",
    ),
]
Column = Annotated[
    str | None,
    typer.Option("--file-column", metavar="TEXT", help="Column that names the document of a folder."),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="PATH",
        help="Write the rows with their answers into this file: .csv, .xlsx, .jsonl or .parquet.",
    ),
]

READ = (
    "prompt",
    "sql",
    "query",
    "sheet",
    "header",
    "encoding",
    "delimiter",
    "repair",
    "answers",
    "limits",
)
"""Settings of the recipe that can be another for what is asked."""
UNANSWERED = 3
"""Exit code where a row could not be asked."""
_NAMED = 20
"""Rows that a note names at most."""


@partial(with_recipe_flags, only=READ)
def ask(
    session: Session,
    name: Names,
    question: Prompt = None,
    file: File = None,
    out: Out = None,
    file_column: Column = None,
    **flags: str | bool | None,
) -> None:
    """Ask a specialist, or several, on this machine alone.

    Rows are read as its examples were: with its columns, its prompt template and whole conversations, unless
    the settings below say otherwise. Each row gives one line, in their order; a line break in an answer is
    written \\n, and a tab parts the answers of several specialists. What is to be known of an answer stands
    on standard error with the numbers of its rows, and with --json or --out beside it. The exit code is 0 if
    every row was asked, 3 if some could not be.
    """
    given = {flag: value for flag, value in flags.items() if value is not None}
    settings: dict[str, Any] = grouped(given) | ({"file": file_column} if file_column else {})
    asked = [question is not None, file is not None or "sql" in settings]
    if sum(asked) != 1:
        problem = "There is a prompt and a source." if all(asked) else "There is nothing to ask."
        raise SettingError(problem, "Give either a prompt in quotes, or --file FILE.")
    names = list(dict.fromkeys(part.strip() for part in name.split(",")))
    if question is not None:
        _ask_prompt(session, names, question, settings, out)
    else:
        _ask_rows(session, names, file, settings, out)


def _ask_prompt(
    session: Session, names: list[str], question: str, settings: dict[str, Any], out: Path | None
) -> None:
    if settings or out is not None:
        raise SettingError("A single prompt is read from no file and written to none.", "Give --file FILE.")
    if not question.strip():
        raise SettingError("The prompt is empty.", "Write what you want to ask, in quotes.")
    answers = _answers(session, {name: [question] for name in names})
    replies = {name: answers[name][0] for name in names}
    if session.json:
        session.emit(_documents({name: [{"prompt": question, **document(replies[name])}] for name in names}))
    else:
        for name, answer in replies.items():
            _print_answer(answer, f"{name}:" if len(names) > 1 else "")
    if any(map(_failed, replies.values())):
        raise typer.Exit(UNANSWERED)


def _print_answer(answer: "Answer", title: str) -> None:
    if title:
        print(clean(title))
    print(clean(answer.text))
    sys.stdout.flush()
    for note in _notes(answer):
        _print_note(note)
    if answer.by != "nobody" and sys.stderr.isatty():
        print(translated(f"({percent(answer.confidence)} sure)"), file=sys.stderr)


def _print_note(note: str) -> None:
    print(translated("Note:"), clean(translated(note)), file=sys.stderr)


def _ask_rows(
    session: Session, names: list[str], file: Path | None, settings: dict[str, Any], out: Path | None
) -> None:
    with importing():
        from azubi.pipeline.ask import source
    from azubi.data.readers.reading import read_asked
    from azubi.registry.store import Store

    if len(names) > 1 and str(file) == "-":
        raise SettingError("Each specialist reads the rows itself.", "Save standard input to a file first.")
    table = AnswerTable(out, file) if out is not None else None
    opened = {name: source(Store(session.home).get(name), file, **settings) for name in names}
    rows = {name: read_asked(each) for name, each in opened.items()}
    first, *others = names
    for other in others:
        if [row.line for row in rows[other]] != [row.line for row in rows[first]]:
            raise SettingError(f"{first} and {other} read other rows of {file}.", "Ask one at a time.")
    if table is not None:
        table.check(len(rows[first]))
    answers = _answers(session, rows)
    if table is not None:
        table.delimiter = opened[first].delimiter
        table.write(rows[first], answers)
    _tell(session, rows, answers, table.path if table else None)
    notes = dict.fromkeys(note for each in opened.values() for note in each.notes)
    for note in (*notes, *(table.notes if table else ())):
        _print_note(note)
    for name in names:
        _tell_notes(rows[name], answers[name], f"{name}, " if others else "")
    if any(_failed(answer) for each in answers.values() for answer in each):
        raise typer.Exit(UNANSWERED)


def _answers(
    session: Session, asked: Mapping[str, Sequence["str | Asked"]]
) -> Mapping[str, Sequence["Answer"]]:
    with importing():
        from azubi.pipeline.ask import answer_several

    # What libraries print must not end up among the answers.
    names = clean(", ".join(asked))
    thinking = f"{names} is thinking …" if len(asked) == 1 else f"{names} are thinking …"
    with contextlib.redirect_stdout(sys.stderr), session.err().status(translated(thinking)):
        done = answer_several(session.home, asked)
    for note in done.notes:
        _print_note(note)
    return done.answers


def _documents(by_name: Mapping[str, Sequence[dict[str, object]]]) -> dict[str, object]:
    """The answers of a specialist, or for each question those of several by their names."""
    if len(by_name) == 1:
        ((name, answers),) = by_name.items()
        return {"specialist": name, "answers": answers}
    questions = zip(*by_name.values(), strict=True)
    return {
        "specialists": list(by_name),
        "answers": [dict(zip(by_name, answers, strict=True)) for answers in questions],
    }


def _tell(
    session: Session,
    rows: Mapping[str, Sequence["Asked"]],
    answers: Mapping[str, Sequence["Answer"]],
    out: Path | None,
) -> None:
    """The answers, or where they are."""
    read = len(next(iter(rows.values())))
    if out is not None and session.json:
        failed = sum(_failed(answer) for each in answers.values() for answer in each)
        who = {"specialist": next(iter(rows))} if len(rows) == 1 else {"specialists": list(rows)}
        session.emit({**who, "out": str(out), "rows": read, "unanswered": failed})
    elif out is not None:
        print(translated(f"{count(read)} rows with their answers: {out}"))
    elif session.json:
        documents = {
            name: [
                {"row": row.line, "prompt": _prompt(row), **document(answer)}
                for row, answer in zip(rows[name], answers[name], strict=True)
            ]
            for name in rows
        }
        session.emit(_documents(documents))
    else:
        for side_by_side in zip(*answers.values(), strict=True):
            texts = [answer.text.replace("\r\n", "\n").replace("\n", "\\n") for answer in side_by_side]
            print("\t".join(map(clean, texts)))


def _tell_notes(rows: Sequence["Asked"], answers: Sequence["Answer"], who: str) -> None:
    """Each note once, with the rows that it is about; last, how many rows have no answer."""
    about: dict[str, list[int]] = {}
    for row, answer in zip(rows, answers, strict=True):
        for note in _notes(answer):
            about.setdefault(note, []).append(row.line)
    for note, lines in about.items():
        named = ", ".join(map(count, lines[:_NAMED])) + (" …" if len(lines) > _NAMED else "")
        what = f"row {named}" if len(lines) == 1 else f"{count(len(lines))} rows ({named})"
        head = f"{translated('Note')}, {clean(who)}{translated(what)}"
        print(f"{head}: {clean(translated(note))}", file=sys.stderr)
    if nobody := sum(answer.by == "nobody" for answer in answers):
        verb = "has" if nobody == 1 else "have"
        none = f"{count(nobody)} of {count(len(rows))} rows {verb} no answer."
        print(f"{clean(who)}{translated(none)}", file=sys.stderr)


def _notes(answer: "Answer") -> tuple[str, ...]:
    if answer.by == "base":
        return (*answer.notes, "The untouched base answers.")
    given_back = answer.by == "nobody" and not _failed(answer)
    return (*answer.notes, "The question is given back to you.") if given_back else answer.notes


def _failed(answer: "Answer") -> bool:
    """Whether it could not be asked; what is out of scope may be given back all the same."""
    return answer.by == "nobody" and answer.in_scope is None


def _prompt(row: "Asked") -> str | None:
    from azubi.data.example import Example

    return Example(row.turns, "").prompt if row.turns else None


def document(answer: "Answer") -> dict[str, object]:
    """An answer as JSON has it."""
    nobody = answer.by == "nobody"
    return {
        "answer": None if nobody else answer.text,
        "confidence": None if nobody else answer.confidence,
        "in_scope": answer.in_scope,
        "scope": answer.scope,
        "review": answer.review or answer.in_scope is False or nobody,
        "by": answer.by,
        "notes": list(answer.notes),
        **({"levels": dict(answer.levels)} if answer.levels else {}),
    }


ADDED = ("row", "answer", "confidence", "in_scope", "scope", "review", "by", "notes")
"""The columns behind the source's own."""
_WORDED = ("answer", "notes")
"""Those that hold what a model wrote."""
_FORMULA = re.compile(r"[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]")
"""What spreadsheets take for the beginning of a formula, also in full width."""
_NUMBER = re.compile(r"[+-]\d[\d.,]*")
_ROWS, _CELL = 1_048_575, 32_767
"""Most rows below the header of a sheet, and most characters of a cell."""
_EXACT = 10**15
"""From here on a spreadsheet rounds whole numbers."""

Cells = dict[str, list[Any]]
"""A table: the values of each column."""


class AnswerTable:
    """Where answers go: a file of a known kind."""

    def __init__(self, path: Path, source: Path | None) -> None:
        """Choose by the suffix; `source` is the file that is asked, if it is one.

        Raises:
            SettingError: the suffix is not known, or the file is the source itself.
        """
        writers: dict[str, Callable[[Path, Cells], None]] = {
            ".csv": self._csv,
            ".xlsx": self._xlsx,
            ".jsonl": self._jsonl,
            ".parquet": self._parquet,
        }
        if (suffix := path.suffix.lower()) not in writers:
            raise SettingError(
                f"--out {path} names no kind of table that azubi writes.",
                f"Let it end in {', '.join(writers)}.",
            )
        if path.is_dir() or (
            source is not None and path.exists() and source.exists() and path.samefile(source)
        ):
            what = "a folder" if path.is_dir() else "the very file that is asked"
            raise SettingError(f"--out {path} is {what}.", "Name another file for the answers.")
        self.path = path
        self.delimiter = ","
        """What parts the columns of CSV."""
        self.notes: list[str] = []
        """What had to be written otherwise than it is."""
        self._suffix, self._write = suffix, writers[suffix]
        self._kinds: dict[str, str] = {}  # of the added columns, by their names

    def check(self, rows: int) -> None:
        """Refuse, before anything is asked, what the file cannot hold.

        Raises:
            SettingError: a sheet takes fewer rows.
        """
        if self._suffix == ".xlsx" and rows > _ROWS:
            raise SettingError(
                f"{self.path} takes {count(_ROWS)} rows at most, and {count(rows)} are asked.",
                "Let --out end in .csv, .jsonl or .parquet.",
            )

    def write(self, rows: Sequence[Asked], answers: Mapping[str, Sequence["Answer"]]) -> None:
        """Write the file whole or not at all; the columns of several specialists begin with their names.

        Raises:
            StorageError: it cannot be written.
        """
        own = dict.fromkeys(name for row in rows for name in row.values)
        table: Cells = {name: [_sayable(row.values.get(name)) for row in rows] for name in own}
        self._kinds = {}
        added: dict[str, tuple[str, list[Any]]] = {"row": ("row", [row.line for row in rows])}
        for who, replies in answers.items():
            documents = [{**document(answer), "notes": " ".join(answer.notes) or None} for answer in replies]
            for kind in ADDED[1:]:
                label = kind if len(answers) == 1 else f"{who} {kind}"
                added[label] = (kind, [fields[kind] for fields in documents])
        names = added_names(own, tuple(added))
        for label, (kind, values) in added.items():
            self._kinds[names[label]] = kind
            table[names[label]] = [_sayable(value) for value in values]
        with files.new_file(self.path) as scratch:
            self._write(scratch, table)

    def _csv(self, path: Path, table: Cells) -> None:
        guarded = 0
        for name in (name for name, kind in self._kinds.items() if kind in _WORDED):
            for place, text in enumerate(table[name]):
                if text and _FORMULA.match(text) and not _NUMBER.fullmatch(text):
                    table[name][place], guarded = f"'{text}", guarded + 1
        if guarded:
            self.notes.append(
                f"{_cells(guarded)} of what was answered would be a formula to a spreadsheet, so a ' stands "
                "before it; .xlsx, .jsonl and .parquet hold it as it is."
            )
        # With a byte order mark, without which Excel takes UTF-8 for something else.
        with path.open("w", encoding="utf-8-sig", errors="replace", newline="") as file:
            writer = csv.writer(file, delimiter=self.delimiter)
            writer.writerow(table)
            writer.writerows([_text(value) for value in row] for row in zip(*table.values(), strict=True))

    def _jsonl(self, path: Path, table: Cells) -> None:
        with path.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
            for row in zip(*table.values(), strict=True):
                values = {name: _json(value) for name, value in zip(table, row, strict=True)}
                file.write(strict_json.write(values) + "\n")

    def _xlsx(self, path: Path, table: Cells) -> None:
        import openpyxl
        from openpyxl.cell import WriteOnlyCell
        from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

        book = openpyxl.Workbook(write_only=True)
        sheet = book.create_sheet("answers")
        cut = 0
        for row in (list(table), *zip(*table.values(), strict=True)):
            cells = []
            for value in map(_excel, row):
                if isinstance(value, str):
                    cut += len(value) > _CELL
                    cell = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub("\ufffd", value)[:_CELL])
                    cell.data_type = "s"  # never a formula
                else:
                    cell = WriteOnlyCell(sheet, value)
                cells.append(cell)
            sheet.append(cells)
        if cut:
            self.notes.append(
                f"{_cells(cut)} longer than the {count(_CELL)} characters that Excel takes, and cut off "
                "there; .csv, .jsonl and .parquet hold all of it."
            )
        book.save(path)

    def _parquet(self, path: Path, table: Cells) -> None:
        import pyarrow
        from pyarrow import parquet

        kinds = {
            "row": pyarrow.int64(),
            **dict.fromkeys(("confidence", "scope"), pyarrow.float64()),
            **dict.fromkeys(("in_scope", "review"), pyarrow.bool_()),
        }
        given = {name: kinds.get(kind, pyarrow.string()) for name, kind in self._kinds.items()}
        columns = {}
        for name, values in table.items():
            try:
                columns[name] = pyarrow.array(values, given.get(name))
            except (pyarrow.ArrowException, OverflowError, TypeError, ValueError):
                self.notes.append(f"The values of “{name}” are of several kinds and were written as text.")
                texts = [None if value is None else _text(value) for value in values]
                columns[name] = pyarrow.array(texts, pyarrow.string())
        parquet.write_table(pyarrow.table(columns), path)


def added_names(own: Mapping[str, object], labels: Sequence[str] = ADDED) -> dict[str, str]:
    """What the added columns are called beside the source's own; none is called as one of those."""
    names: dict[str, str] = {}
    for added in labels:
        name = added
        while name in own:
            name = f"azubi {name}"
        names[added] = name
    return names


def _cells(number: int) -> str:
    return "1 cell is" if number == 1 else f"{count(number)} cells are"


def _sayable(value: Any) -> Any:
    """Text without half characters, which no file can hold; other values as they are."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def _text(value: Any) -> str:
    try:
        return written(value)
    except Unusable as error:
        return f"({error})"


def _json(value: Any) -> Any:
    try:
        return plain(value)
    except Unusable as error:
        return f"({error})"


def _excel(value: Any) -> Any:
    """A value that a cell can hold, or its text."""
    if isinstance(value, date) and _timeless(value):
        return value
    value = _json(value)
    if isinstance(value, int | float) and not -_EXACT < value < _EXACT:
        return str(value)
    return _text(value) if isinstance(value, list | dict) else value


def _timeless(value: date) -> bool:
    """Whether it bears no time zone, which cells do not know, and lies in Excel's calendar."""
    return bool(value.year >= 1900 and not (isinstance(value, datetime) and value.tzinfo is not None))
