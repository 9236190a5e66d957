"""What came out of a run: scores side by side, examples side by side, where it lies, what to do next.

Reads the view only; computes no figure of its own.
"""

import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from azubi.cli.example_view import side_by_side
from azubi.cli.formatting import clean, duration, headline, share_trained, shorten, size
from azubi.cli.run_view import RunView
from azubi.cli.runs import plan_document
from azubi.cli.session import default_home
from azubi.cli.tables import facts, plan_table, scores_table, trials_table
from azubi.events import events as ev
from azubi.registry.history import History, history, plan_vs_actual
from azubi.registry.runs import Runs

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
    return f"Plan and truth (planned from {basis}{early})"


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
    console.print("\nIn brackets: 95 % confidence intervals.")


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
