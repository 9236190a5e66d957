"""What a check found, drawn for a terminal. Knows nothing of how it was found."""

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from azubi.cli.formatting import clean, facts
from azubi.data.checks.check import MARKS, Check, amounts, grouped, verdict
from azubi.data.finding import Finding, where
from azubi.locale.current import translated

_STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold"}
_WIDEST = 110
"""Columns; longer lines are hard to read."""
_INDENT = 11
"""Columns of the mark in front of a finding."""


def show(check: Check, console: Console, *, brief: bool = False) -> None:
    """Print the verdict, each finding (if `brief`, its title and first place), routine ones, and the page."""
    console.width = min(console.width, _WIDEST)
    console.print(Text(clean(f"{check.source}: {translated(amounts(check))}")))
    console.print(Text(translated(verdict(check)), style="bold"))
    console.print()
    short = [finding for finding in check.findings if brief or finding.routine]
    for group in grouped([finding for finding in check.findings if finding not in short]):
        console.print(_drawn(group))
        console.print()
    for finding in short:
        console.print(_line(finding))
    if check.page is None:
        return
    if short:
        console.print()
    places = {"Page": check.page, "Rejected": check.rejected_file}
    if written := {name: place for name, place in places.items() if place}:
        for line in facts(written):
            print(clean(line))


def _line(finding: Finding) -> Table:
    grid = Table.grid(padding=(0, 0))
    grid.add_column(width=_INDENT)
    grid.add_column()
    style = _STYLES[finding.level]
    first = translated(where(finding, finding.cases[0])) if finding.cases else ""
    title = Text(clean(translated(finding.title)))
    grid.add_row(Text(translated(MARKS[finding.level]), style=style), title + Text(f"  {first}", style="dim"))
    return grid


def _drawn(group: Sequence[Finding]) -> Table:
    """Findings that share reason and remedy, which stand below the last."""
    grid = Table.grid(padding=(0, 0))
    grid.add_column(width=_INDENT)
    grid.add_column()
    for finding in group:
        style = _STYLES[finding.level]
        mark, title = translated(MARKS[finding.level]), translated(finding.title)
        grid.add_row(Text(mark, style=style), Text(clean(title), style=style))
        if finding.cases:
            grid.add_row("", Padding(_cases(finding), (0, 0)))
    grid.add_row(Text(translated("why"), style="dim"), Text(clean(translated(group[0].why)), style="dim"))
    grid.add_row(Text(translated("do"), style="dim"), Text(clean(translated(group[0].remedy))))
    return grid


def _cases(finding: Finding) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(max_width=26)
    table.add_column()
    for case in finding.cases:
        table.add_row(Text(translated(where(finding, case))), Text(clean(translated(case.text))))
    if (more := finding.count - len(finding.cases)) > 0:
        table.add_row(Text("…"), Text(translated(f"and {more:,} more"), style="dim"))
    return table
