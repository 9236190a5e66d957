"""Finds the row of a table that names its columns, also below a title. Knows nothing of files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from azubi.errors import DataError

LOOKED_AT = 30
"""Rows among which the header is looked for."""

Lacks = Callable[[Sequence[str]], str | None]
"""The first column that is asked for and is not among these; None if all are there."""


@dataclass(frozen=True)
class Header:
    """The row that names the columns."""

    number: int
    """1-based, as a spreadsheet counts rows."""
    names: list[str]
    lacks: str | None
    """The first column that is asked for and that it does not name."""


def columns(header: Sequence[str]) -> list[str]:
    """The names of the columns; a name that came before gets a number."""
    names: list[str] = []
    seen: dict[str, int] = {}
    for cell in header:
        name = cell.strip()
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return names


def find(
    head: Sequence[tuple[int, Sequence[str]]], lacks: Lacks, given: int | None, name: str, notes: list[str]
) -> Header:
    """The header among the first rows (number and cells, none blank): as given, or the first with all names.

    What stands above it is said in `notes`. Where no row has all names, it is the first that looks like one.

    Raises:
        DataError: there is no such row, or a row above it may be the header as well.
    """
    rows = [Header(number, columns(cells), lacks(columns(cells))) for number, cells in head]
    if given is not None:
        if row := next((row for row in rows if row.number == given), None):
            return row
        raise DataError(
            f"{name} has no row {given:,} with names of columns among its first {LOOKED_AT}.",
            "Name the right row with --header, or leave it out.",
        )
    fitting = next((row for row in rows if row.lacks is None), None)
    if fitting is None:
        return next((row for row in rows if _width(row) > 1), rows[0])
    above = rows[: rows.index(fitting)]
    if rival := next((row for row in above if _width(row) >= _width(fitting)), None):
        raise DataError(
            f"{name} has the columns that are asked for in row {fitting.number:,}, but row {rival.number:,} "
            "above it has as many cells and may be the header, too.",
            f"Say which it is: --header {fitting.number}. Rows above the header are not read.",
        )
    if above:
        first = next(cell for cell in above[0].names if cell)
        notes.append(
            f"{name}: the columns are named in row {fitting.number:,}; what stands above it (“{first[:60]}”) "
            "is not read. --header says otherwise."
        )
    return fitting


def _width(row: Header) -> int:
    """Cells that are not empty."""
    return sum(1 for cell in row.names if cell and not cell.startswith(" ("))
