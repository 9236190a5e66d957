"""What came out of a run: scores side by side, examples side by side, where it lies, what to do next.

Reads the view only; computes no figure of its own.
"""

import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.box import ROUNDED
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from azubi.cli.command import default_home
from azubi.cli.formatting import (
    clean,
    duration,
    facts,
    headline,
    heads_tried,
    plan_table,
    scores_table,
    share_trained,
    shorten,
    size,
    trials_table,
)
from azubi.cli.run_view import RunView
from azubi.cli.runs import plan_document
from azubi.data.contract import Contract
from azubi.evaluation.comparison import Cell, FieldRow, field_rows
from azubi.events import events as ev
from azubi.locale.current import translated
from azubi.registry.runs import History, Runs, history, plan_vs_actual

QUESTION_SHOWN = 700
ANSWER_SHOWN = 400


def side_by_side(number: int, example: ev.Compared, data: ev.DataReady | None) -> RenderableType:
    """Draw one example to the width of the console."""
    question = Text(shorten(clean(example.prompt).strip(), QUESTION_SHOWN))
    return Group(
        Text(translated(f"Example {number}"), style="bold"),
        Padding(question, (0, 0, 0, 2)),
        *_answers(example, data),
    )


def _answers(example: ev.Compared, data: ev.DataReady | None) -> list[RenderableType]:
    contract = (
        Contract(task=data.task, labels=data.labels, fields=data.fields, multi=data.multi) if data else None
    )
    if contract is None or contract.task != "json" or contract.parse(example.truth) is None:
        return [_texts(example, marked=contract is not None and contract.task == "labels")]
    rows = field_rows(contract, example.truth, example.base, example.specialist)
    unreadable = {
        who: answer
        for who, answer in (("base", example.base), ("specialist", example.specialist))
        if contract.parse(answer) is None
    }
    return [_fields(rows), *(_raw(who, answer) for who, answer in unreadable.items())]


def _fields(rows: tuple[FieldRow, ...]) -> Table:
    table = _table("field")
    for row in rows:
        right = _plain(_said(row.truth))
        table.add_row(Text(clean(row.name)), _field(row.base), _field(row.specialist), right)
    return table


def _field(cell: Cell) -> Text:
    return _marked(_said(cell), cell.right)


def _said(cell: Cell) -> str:
    return f"({translated(cell.lacks)})" if cell.lacks else cell.text


def _texts(example: ev.Compared, *, marked: bool) -> Table:
    table = _table()
    truth = example.truth.strip()
    said = (example.base, example.specialist)
    cells = [_marked(a, a.strip() == truth) if marked else _plain(a) for a in said]
    table.add_row(*cells, _plain(truth))
    return table


def _table(*first: str) -> Table:
    table = Table(box=ROUNDED, expand=True, padding=(0, 1))
    for heading in first:
        table.add_column(translated(heading), no_wrap=True, max_width=20, overflow="ellipsis")
    for heading in ("base", "specialist", "right answer"):
        table.add_column(translated(heading), ratio=1, overflow="fold")
    return table


def _plain(answer: str) -> Text:
    return Text(shorten(clean(answer).strip(), ANSWER_SHOWN) or translated("(empty)"))


def _marked(answer: str, right: bool) -> Text:
    mark, style = ("✓ ", "green") if right else ("✗ ", "red")
    return Text(mark, style=style).append(_plain(answer))


def _raw(who: str, answer: str) -> RenderableType:
    """What was said instead of a record."""
    head = f"{translated(f'The {who} gave no record, but:')} "
    return Padding(Text(head).append(_plain(answer)), (0, 0, 0, 2))


PROMPT_SHOWN = 160


def document(view: RunView) -> dict[str, object]:
    """Give the outcome as compared JSON document."""
    made = view.packaged
    return {
        "specialist": made.model_dump(mode="json", exclude={"kind", "at", "report"}) if made else None,
        "scores": {who: [s.model_dump(mode="json") for s in m.scores] for who, m in view.measured.items()},
        "search": _search(view),
        "compared": [compared.model_dump(mode="json", exclude={"kind", "at"}) for compared in view.compared],
        "report": made.report if made else None,
        "plan": plan_document(past) if (past := _history(view)) is not None else None,
        "seconds": view.ended.seconds if view.ended else None,
    }


def show(view: RunView, console: Console, home: Path) -> None:
    """Print the outcome for a person."""
    if view.searched is not None:
        console.print()
        console.print(trials_table(view.trials, view.searched.chosen))
    _scores(view, console)
    for number, example in enumerate(view.compared, start=1):
        console.print()
        console.print(side_by_side(number, example, view.data))
    if (past := _history(view)) is not None:
        console.print()
        console.print(Text(plan_heading(past)))
        console.print(plan_table(plan_vs_actual(past)))
    if view.packaged is not None:
        console.print()
        _whereabouts(view.packaged, view.compared, home)


def _history(view: RunView) -> History | None:
    """All that the run past, over all its sessions, if it is done and was planned."""
    folder = Path(view.folder)
    if view.ended is None or not view.folder or not (folder / "run.json").is_file():
        return None
    past = history(Runs(folder.parents[1]).get(folder.name).events())
    return past if past.forecast is not None else None


def plan_heading(past: History) -> str:
    """Say what the plan rested on."""
    plan = past.forecast
    assert plan is not None
    measured = plan.measured > 0
    basis = f"a rehearsal of {duration(plan.measured)}" if measured else "arithmetic alone, so roughly"
    made = len(past.epochs)
    early = f"; for the {made} of {plan.epochs} epochs that were made" if 0 < made < plan.epochs else ""
    return f"{translated('Plan and truth')} ({translated(f'planned from {basis}')}{translated(early)})"


def _search(view: RunView) -> dict[str, object] | None:
    if view.searched is None:
        return None
    searched = view.searched.model_dump(mode="json", exclude={"kind", "at"})
    return searched | {"trials": [trial.model_dump(mode="json") for trial in view.trials]}


def _scores(view: RunView, console: Console) -> None:
    base, new = (view.measured[who].scores if who in view.measured else () for who in ("base", "specialist"))
    if not base and not new:
        return
    console.print()
    if new:
        console.print(Text(clean(headline(view.name, new, base))))
    console.print()
    console.print(scores_table(base, new))
    console.print(f"\n{translated('In brackets: 95 % confidence intervals.')}")
    if view.heads:
        console.print(Text(heads_tried(view.heads)))


def _whereabouts(made: ev.Packaged, compared: Sequence[ev.Compared], home: Path) -> None:
    lines = {
        "Specialist": f"{made.folder} ({size(made.bytes)})",
        "Trained": share_trained(made.trained, made.parameters),
        "Report": made.report,
        "Try it": _trial(made.name, [clean(prompt.prompt) for prompt in compared], home),
    }
    for line in facts(lines):
        print(clean(line))


def _trial(name: str, prompts: Sequence[str], home: Path) -> str:
    """The command that asks the shortest real prompt, on prompt line; conversations are asked from a file."""
    if prompts and all(map(_TALK.match, prompts)):
        return shlex.join([*_program(), "ask", name, *_at(home), "--file", "FILE"])
    typed = sorted((" ".join(prompt.split()) for prompt in prompts if not _TALK.match(prompt)), key=len)
    return next_command(name, shorten(typed[0], PROMPT_SHOWN) if typed else "…", home)


_TALK = re.compile(r"(?:system|user|assistant): .*^user: ", re.DOTALL | re.MULTILINE)
"""How `Example.prompt` shows several messages."""


def next_command(name: str, prompt: str, home: Path) -> str:
    """Write the command that asks the specialist, so that it works as it stands in the person's shell."""
    words = [*_program(), "ask", name, *_at(home)]
    stop = ["--"] if prompt.startswith("-") else []
    return f"{shlex.join([*words, *stop])} {quoted(prompt)}"


def resume_command(run: str, home: Path) -> str:
    """Write the command that goes on with a run."""
    return shlex.join([*_program(), "resume", run, *_at(home)])


def _at(home: Path) -> list[str]:
    return [] if home == default_home() else ["--home", str(home)]


def quoted(text: str) -> str:
    """Quote a text for the shell; in double quotes where nothing in it means something to the shell."""
    return shlex.quote(text) if set(text) & set('"$`\\!') else f'"{text}"'


def _program() -> list[str]:
    """Name this program as the shell here would find it."""
    here = Path(sys.executable).parent / "azubi"
    program = shutil.which("azubi")
    if program is not None and Path(program) == here:
        return ["azubi"]
    if not here.exists():
        return [sys.executable, "-m", "azubi"]
    cwd = Path.cwd()
    return [str(here.relative_to(cwd)) if here.is_relative_to(cwd) else str(here)]
