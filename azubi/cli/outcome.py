"""What came out of a run: scores side by side, examples side by side, where it lies, what to do next.

Reads the story only; computes no figure of its own.
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
from azubi.registry.history import History, against, history
from azubi.registry.runs import Runs

PROMPT_SHOWN = 160


def document(story: RunView) -> dict[str, object]:
    """Give the outcome as one JSON document."""
    made = story.packaged
    return {
        "specialist": made.model_dump(mode="json", exclude={"kind", "at", "report"}) if made else None,
        "scores": {who: [s.model_dump(mode="json") for s in m.scores] for who, m in story.measured.items()},
        "search": _search(story),
        "compared": [one.model_dump(mode="json", exclude={"kind", "at"}) for one in story.compared],
        "report": made.report if made else None,
        "plan": plan_document(told) if (told := _told(story)) is not None else None,
        "seconds": story.ended.seconds if story.ended else None,
    }


def show(story: RunView, console: Console, home: Path) -> None:
    """Print the outcome for a person."""
    if story.searched is not None:
        console.print()
        console.print(trials_table(story.trials, story.searched.chosen))
    _scores(story, console)
    for number, example in enumerate(story.compared, start=1):
        console.print()
        console.print(side_by_side(number, example, story.data))
    if (told := _told(story)) is not None:
        console.print()
        console.print(Text(plan_heading(told)))
        console.print(plan_table(against(told)))
    if story.packaged is not None:
        console.print()
        _whereabouts(story.packaged, story.compared, home)


def _told(story: RunView) -> History | None:
    """All that the run told, over all its sessions, if it is done and was planned."""
    folder = Path(story.folder)
    if story.ended is None or not story.folder or not (folder / "run.json").is_file():
        return None
    told = history(Runs(folder.parents[1]).get(folder.name).events())
    return told if told.forecast is not None else None


def plan_heading(told: History) -> str:
    """Say what the plan rested on."""
    plan = told.forecast
    assert plan is not None
    measured = plan.measured > 0
    basis = f"a rehearsal of {duration(plan.measured)}" if measured else "arithmetic alone, so roughly"
    made = len(told.epochs)
    early = f"; for the {made} of {plan.epochs} epochs that were made" if 0 < made < plan.epochs else ""
    return f"Plan and truth (planned from {basis}{early})"


def _search(story: RunView) -> dict[str, object] | None:
    if story.searched is None:
        return None
    told = story.searched.model_dump(mode="json", exclude={"kind", "at"})
    return told | {"trials": [trial.model_dump(mode="json") for trial in story.trials]}


def _scores(story: RunView, console: Console) -> None:
    base, new = (
        story.measured[who].scores if who in story.measured else () for who in ("base", "specialist")
    )
    if not base and not new:
        return
    console.print()
    if new:
        console.print(Text(clean(headline(story.name, new, base))))
    console.print()
    console.print(scores_table(base, new))
    console.print("\nIn brackets: 95 % confidence intervals.")


def _whereabouts(made: ev.Packaged, compared: Sequence[ev.Compared], home: Path) -> None:
    lines = {
        "Specialist": f"{made.folder} ({size(made.bytes)})",
        "Trained": share_trained(made.trained, made.parameters),
        "Report": made.report,
        "Try it": _trial(made.name, [clean(one.prompt) for one in compared], home),
    }
    for line in facts(lines):
        print(clean(line))


def _trial(name: str, prompts: Sequence[str], home: Path) -> str:
    """The command that asks the shortest real prompt, on one line; conversations are asked from a file."""
    if prompts and all(map(_TALK.match, prompts)):
        return shlex.join([*_program(), "ask", name, *_at(home), "--file", "FILE"])
    typed = sorted((" ".join(one.split()) for one in prompts if not _TALK.match(one)), key=len)
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
    found = shutil.which("azubi")
    if found is not None and Path(found) == here:
        return ["azubi"]
    if not here.exists():
        return [sys.executable, "-m", "azubi"]
    cwd = Path.cwd()
    return [str(here.relative_to(cwd)) if here.is_relative_to(cwd) else str(here)]
