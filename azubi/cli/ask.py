"""`azubi ask`: one prompt, or a file of prompts, to a specialist."""

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from azubi.cli.prompts import read_prompts
from azubi.cli.session import Session
from azubi.cli.words import clean, percent
from azubi.errors import SettingError
from azubi.importing import importing

if TYPE_CHECKING:
    from azubi.answering import Answer

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="The specialist, as `azubi list` names it; NAME@2 is its version 2."),
]
Prompt = Annotated[str | None, typer.Argument(metavar="PROMPT", help="What to ask.")]
File = Annotated[
    Path | None,
    typer.Option(
        "--file", metavar="PATH", help="Answer every prompt of this JSONL, CSV or text file (one per line)."
    ),
]
Column = Annotated[
    str, typer.Option("--prompt", metavar="TEXT", help="The column of --file that holds what is asked.")
]


def ask(
    session: Session, name: Name, prompt: Prompt = None, file: File = None, column: Column = "prompt"
) -> None:
    """Ask a specialist, on this machine alone."""
    prompts = _prompts(prompt, file, column)

    with importing():
        from azubi.ask import answer

    # What libraries print must not end up among the answers.
    with contextlib.redirect_stdout(sys.stderr), session.err().status(f"{clean(name)} is thinking …"):
        answers = answer(session.home, name, prompts)
    if session.json:
        session.emit(_document(name, prompts, answers))
        return
    for one in answers:
        print(clean(one.text))
        for note in one.notes:
            print(f"Note: {clean(note)}", file=sys.stderr)
        if one.by == "base":
            print("Note: The untouched base answers.", file=sys.stderr)
        elif one.by == "nobody":
            print("Note: The question is given back to you.", file=sys.stderr)
    if prompt is not None and answers[0].by != "nobody" and sys.stderr.isatty():
        print(f"({percent(answers[0].confidence)} sure)", file=sys.stderr)


def _prompts(prompt: str | None, file: Path | None, column: str) -> list[str]:
    if (prompt is None) == (file is None):
        problem = "There is nothing to ask." if prompt is None else "There is a prompt and a --file."
        raise SettingError(problem, "Give either a prompt in quotes, or --file FILE.")
    if file is not None:
        return read_prompts(file, column)
    if not (prompt or "").strip():
        raise SettingError("The prompt is empty.", "Write what you want to ask, in quotes.")
    return [prompt or ""]


def _document(name: str, prompts: Sequence[str], answers: Sequence["Answer"]) -> dict[str, object]:
    rows = [
        {
            "prompt": prompt,
            "answer": one.text,
            "confidence": one.confidence,
            "in_scope": one.in_scope,
            "scope": one.scope,
            "by": one.by,
            "notes": list(one.notes),
        }
        for prompt, one in zip(prompts, answers, strict=True)
    ]
    return {"specialist": name, "answers": rows}
