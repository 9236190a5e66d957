"""The tables that several commands print. Knows scores, not where they come from."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from azubi.cli.formatting import count, duration, interval, metric, percent, setting, size
from azubi.events.score import Score
from azubi.events.trial import Trial, begun

if TYPE_CHECKING:
    from azubi.registry.history import PlanVsActual


def plain_table(*headings: str) -> Table:
    """Make a table without frames; a heading that begins with > is aligned right."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in headings:
        table.add_column(heading.lstrip(">"), justify="right" if heading.startswith(">") else "left")
    return table


def scores_table(base: Sequence[Score], specialist: Sequence[Score]) -> Table:
    """Set base and specialist side by side, one metric per row, each with its interval."""
    table = plain_table("", ">base", ">specialist")
    old, new = ({score.name: score for score in scores} for scores in (base, specialist))
    for place, name in enumerate(dict.fromkeys([*new, *old])):
        cells = (_cell(old.get(name)), _cell(new.get(name)))
        table.add_row(Text(metric(name)), *cells, style="bold" if place == 0 else "")
    return table


def trials_table(trials: Sequence[Trial], chosen: int | None = None) -> Table:
    """List the trials of a search that were begun, one per row; the chosen one in bold."""
    table = plain_table(">no.", "setting", ">right", ">cost", ">took", "end")
    tried = begun(trials)
    if unbegun := len(trials) - len(tried):
        table.caption = f"Drawn but not begun, since they would not have ended in time: {count(unbegun)}."
        table.caption_justify = "left"
    for trial in tried:
        score = f"{percent(trial.score)} ± {percent(trial.error)}" if trial.score is not None else "–"
        end = f"{trial.state}, chosen" if trial.number == chosen else trial.state
        cells = (str(trial.number), setting(trial), score, duration(trial.cost), duration(trial.seconds), end)
        table.add_row(*map(Text, cells), style="bold" if trial.number == chosen else "")
    return table


def _cell(score: Score | None) -> Text:
    return Text(interval(score) if score else "–", no_wrap=True)


def plan_table(lines: "Sequence[PlanVsActual]") -> Table:
    """Set what was planned beside what it took, line figure per row."""
    table = plain_table("", ">planned", ">took", ">of plan")
    for line in lines:
        written = duration if line.unit == "seconds" else _bytes
        planned = written(line.planned) if line.planned is not None else "–"
        ratio = percent(line.ratio) if line.ratio is not None else ""
        name = f"  {line.name}" if line.name == "one epoch" else line.name
        table.add_row(
            Text(name), planned, written(line.took), ratio, style="bold" if line.name == "in all" else ""
        )
    return table


def _bytes(number: float) -> str:
    return size(round(number))


def facts(pairs: Mapping[str, str]) -> Iterator[str]:
    """Write names and values as lines that are never broken, so that paths can be copied."""
    width = max(map(len, pairs)) + 2
    return (f"{name:<{width}}{value}" for name, value in pairs.items())
