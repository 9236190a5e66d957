"""`azubi ask`: parse; `azubi.pipeline.ask` reads and answers; what was answered is printed here."""

import contextlib
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from azubi.cli.flags import grouped, with_recipe_flags
from azubi.cli.formatting import clean, count, percent
from azubi.cli.session import Session
from azubi.cli.specialists import Name
from azubi.errors import SettingError
from azubi.storage.importing import importing

if TYPE_CHECKING:
    from azubi.data.readers.row import Asked
    from azubi.engine.inference.answering import Answer

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
    name: Name,
    question: Prompt = None,
    file: File = None,
    out: Out = None,
    file_column: Column = None,
    **flags: str | bool | None,
) -> None:
    """Ask a specialist, on this machine alone.

    Rows are read as its examples were: with its columns, its prompt template and whole conversations, unless
    the settings below say otherwise. Each row gives one line, in their order; a line break in an answer is
    written \\n. What is to be known of an answer stands on standard error with the numbers of its rows, and
    with --json or --out beside it. The exit code is 0 if every row was asked, 3 if some could not be.
    """
    given = {flag: value for flag, value in flags.items() if value is not None}
    settings: dict[str, Any] = grouped(given) | ({"file": file_column} if file_column else {})
    asked = [question is not None, file is not None or "sql" in settings]
    if sum(asked) != 1:
        problem = "There is a prompt and a source." if all(asked) else "There is nothing to ask."
        raise SettingError(problem, "Give either a prompt in quotes, or --file FILE.")
    if question is not None:
        _ask_prompt(session, name, question, settings, out)
    else:
        _ask_rows(session, name, file, settings, out)


def _ask_prompt(
    session: Session, name: str, question: str, settings: dict[str, Any], out: Path | None
) -> None:
    if settings or out is not None:
        raise SettingError("A single prompt is read from no file and written to none.", "Give --file FILE.")
    if not question.strip():
        raise SettingError("The prompt is empty.", "Write what you want to ask, in quotes.")
    (answer,) = _answers(session, name, [question])
    if session.json:
        session.emit({"specialist": name, "answers": [{"prompt": question, **document(answer)}]})
    else:
        print(clean(answer.text))
        for note in _notes(answer):
            print(f"Note: {clean(note)}", file=sys.stderr)
        if answer.by != "nobody" and sys.stderr.isatty():
            print(f"({percent(answer.confidence)} sure)", file=sys.stderr)
    if _failed(answer):
        raise typer.Exit(UNANSWERED)


def _ask_rows(
    session: Session, name: str, file: Path | None, settings: dict[str, Any], out: Path | None
) -> None:
    with importing():
        from azubi.pipeline.ask import source
    from azubi.cli.answered import AnswerTable
    from azubi.data.readers.reading import read_asked
    from azubi.registry.store import Store

    table = AnswerTable(out, file) if out is not None else None
    opened = source(Store(session.home).get(name), file, **settings)
    rows = read_asked(opened)
    if table is not None:
        table.check(len(rows))
    answers = _answers(session, name, rows)
    if table is not None:
        table.delimiter = opened.delimiter
        table.write(rows, answers)
    _tell(session, name, rows, answers, table.path if table else None)
    for note in (*opened.notes, *(table.notes if table else ())):
        print(f"Note: {clean(note)}", file=sys.stderr)
    _tell_notes(rows, answers)
    if any(map(_failed, answers)):
        raise typer.Exit(UNANSWERED)


def _answers(session: Session, name: str, asked: Sequence["str | Asked"]) -> list["Answer"]:
    with importing():
        from azubi.pipeline.ask import answer

    # What libraries print must not end up among the answers.
    with contextlib.redirect_stdout(sys.stderr), session.err().status(f"{clean(name)} is thinking …"):
        return answer(session.home, name, asked)


def _tell(
    session: Session, name: str, rows: Sequence["Asked"], answers: Sequence["Answer"], out: Path | None
) -> None:
    """The answers, or where they are."""
    failed = sum(map(_failed, answers))
    if out is not None and session.json:
        session.emit({"specialist": name, "out": str(out), "rows": len(rows), "unanswered": failed})
    elif out is not None:
        print(f"{count(len(rows))} rows with their answers: {out}")
    elif session.json:
        session.emit(
            {
                "specialist": name,
                "answers": [
                    {"row": row.line, "prompt": _prompt(row), **document(answer)}
                    for row, answer in zip(rows, answers, strict=True)
                ],
            }
        )
    else:
        for answer in answers:
            print(clean(answer.text.replace("\r\n", "\n").replace("\n", "\\n")))


def _tell_notes(rows: Sequence["Asked"], answers: Sequence["Answer"]) -> None:
    """Each note once, with the rows that it is about; last, how many rows have no answer."""
    about: dict[str, list[int]] = {}
    for row, answer in zip(rows, answers, strict=True):
        for note in _notes(answer):
            about.setdefault(note, []).append(row.line)
    for note, lines in about.items():
        named = ", ".join(map(count, lines[:_NAMED])) + (" …" if len(lines) > _NAMED else "")
        what = f"row {named}" if len(lines) == 1 else f"{count(len(lines))} rows ({named})"
        print(f"Note, {what}: {clean(note)}", file=sys.stderr)
    if nobody := sum(answer.by == "nobody" for answer in answers):
        verb = "has" if nobody == 1 else "have"
        print(f"{count(nobody)} of {count(len(rows))} rows {verb} no answer.", file=sys.stderr)


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
        "by": answer.by,
        "notes": list(answer.notes),
    }
