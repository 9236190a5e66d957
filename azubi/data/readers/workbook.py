"""A sheet of an Excel file as rows. Knows nothing of what the columns mean."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

from azubi.data.readers.row import (
    EMPTY,
    HEADER_ROWS,
    Header,
    MissingColumn,
    Rejected,
    Row,
    find_header,
    quoted,
    written,
)
from azubi.data.readers.sandbox import Sandbox, decode_cell, encode_cell, refusal
from azubi.errors import DataError
from azubi.settings import Recipe

if TYPE_CHECKING:
    from python_calamine import CalamineSheet

MAGIC = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
"""How .xlsx files begin; and .xls files of Excel 2003, or .xlsx files with a password."""
_REMEDY = (
    "Save it once more as .xlsx or CSV, without a password. If memory is short: delete stray cells far right "
    "or far below, or raise --limits-memory."
)


@dataclass(frozen=True)
class Sheet:
    """What is known of a sheet before its rows are read."""

    name: str
    height: int
    head: Sequence[tuple[int, Sequence[str]]]
    """Number and cells of its first rows that are not blank."""
    merged: Sequence[tuple[int, int, int]]
    """First row (from 1), column (from 0) and last row of what is merged over several rows."""


def rows(
    file: IO[bytes],
    name: str,
    recipe: Recipe,
    missing_column: MissingColumn,
    notes: list[str],
    *,
    usual: bool = False,
) -> Iterator[Row | Rejected]:
    """One row per row below the header; numbered as in the sheet.

    Without `recipe.sheet` the sheet is read that alone has the columns that are asked for; so, too, if there
    is none of this name and it is but the `usual` one. Cells that are merged over several rows stand in each
    of them. Both is said in `notes`.

    Raises:
        DataError: it is no Excel file, is damaged, too large, or does not have one such sheet.
    """
    with Sandbox(recipe.limits.memory, ["python_calamine"], file) as sandbox:
        with refusal(name, "an Excel file", _REMEDY):
            sheets = [
                Sheet(*parts) for parts in sandbox.call(f"{__name__}:sheets", descriptor=sandbox.descriptor)
            ]
        if usual and recipe.sheet not in {sheet.name for sheet in sheets}:
            recipe = recipe.model_copy(update={"sheet": None})
        sheet, header = _choose_sheet(sheets, name, recipe, missing_column, notes)
        _note_merged_cells(sheet, header, name, notes)
        last = header.number
        with refusal(name, "an Excel file", _REMEDY):
            for number, cells in sandbox.call(
                f"{__name__}:sheet_rows",
                descriptor=sandbox.descriptor,
                sheet_name=sheet.name,
                after=header.number,
            ):
                yield from (Rejected(blank, EMPTY) for blank in range(last + 1, number))
                yield Row(number, dict(zip(header.names, map(decode_cell, cells), strict=True)))
                last = number


def _choose_sheet(
    sheets: Sequence[Sheet], name: str, recipe: Recipe, missing_column: MissingColumn, notes: list[str]
) -> tuple[Sheet, Header]:
    """The sheet to read and its header: as the recipe names it, or the one that has the columns."""
    named = [sheet for sheet in sheets if recipe.sheet in (None, sheet.name)]
    if sheets and not named:
        raise DataError(
            f"{name} has no sheet “{recipe.sheet}”; it has {quoted(sheet.name for sheet in sheets)}.",
            "Name the right one with --sheet.",
        )
    filled = [sheet for sheet in named if sheet.head]
    if not filled:
        raise DataError(f"{name} has no rows.", "Bring an Excel file with a sheet in it.")
    if recipe.header is not None:
        filled = [sheet for sheet in filled if recipe.header in dict(sheet.head)] or filled[:1]
    headers = [
        find_header(sheet.head, missing_column, recipe.header, name, notes if len(filled) == 1 else [])
        for sheet in filled
    ]
    if len(filled) == 1:
        return filled[0], headers[0]
    fitting = [sheet for sheet, header in zip(filled, headers, strict=True) if header.lacks is None]
    if len(fitting) != 1:
        raise _undecided(name, filled, headers, fitting)
    notes.append(
        f"{name} has the sheets {quoted(sheet.name for sheet in filled)}; “{fitting[0].name}” is read, "
        "which alone has the columns that are asked for. --sheet says otherwise."
    )
    return fitting[0], find_header(fitting[0].head, missing_column, recipe.header, name, notes)


def _undecided(
    name: str, sheets: Sequence[Sheet], headers: Sequence[Header], fitting: Sequence[Sheet]
) -> DataError:
    if fitting:
        likely = max(fitting, key=lambda sheet: sheet.height)
        return DataError(
            f"{name} has {len(fitting):,} sheets with the columns that are asked for: "
            f"{quoted(sheet.name for sheet in fitting)}.",
            f"Name the one that is meant, such as --sheet “{likely.name}”, which has most rows; to learn "
            "from several, put them into one.",
        )
    columns = "; ".join(
        f"“{sheet.name}” has {quoted(column for column in header.names if column)}"
        for sheet, header in zip(sheets[:20], headers, strict=False)
    )
    return DataError(
        f"{name} has no sheet with the column “{headers[0].lacks}”: {columns}.",
        "Name the columns with --prompt and --answer, and the sheet with --sheet.",
    )


def _note_merged_cells(sheet: Sheet, header: Header, name: str, notes: list[str]) -> None:
    counts: dict[str, int] = {}
    for top, column, bottom in sheet.merged:
        if top > header.number and column < len(header.names):
            counts[header.names[column]] = counts.get(header.names[column], 0) + bottom - top
    if counts:
        cells = ", ".join(f"{count:,} of “{column}”" for column, count in counts.items())
        notes.append(
            f"{name}: cells are merged over several rows, and their value is taken for each of the rows "
            f"({cells})."
        )


# What runs in the sandbox


def sheets(descriptor: int) -> Iterator[Sequence[Any]]:
    """The fields of each `Sheet` of the file."""
    for name, sheet in _open_sheets(descriptor).items():
        head = [
            (number, [written(value) for value in cells])
            for number, cells in islice(_filled_rows(sheet), HEADER_ROWS)
        ]
        yield name, sheet.height, head, _merged(sheet)


def sheet_rows(descriptor: int, sheet_name: str, after: int) -> Iterator[Sequence[Any]]:
    """Number and encoded cells of each row that is not blank and comes after that row."""
    for number, cells in _filled_rows(_open_sheets(descriptor)[sheet_name]):
        if number > after:
            yield number, [encode_cell(cell) for cell in cells]


@cache
def _open_sheets(descriptor: int) -> Mapping[str, "CalamineSheet"]:
    from python_calamine import CalamineWorkbook, SheetTypeEnum

    with open(descriptor, "rb", closefd=False) as file:
        book = CalamineWorkbook.from_filelike(file)
    names = [entry.name for entry in book.sheets_metadata if entry.typ == SheetTypeEnum.WorkSheet]
    return {name: book.get_sheet_by_name(name) for name in names}


def _filled_rows(sheet: "CalamineSheet") -> Iterator[tuple[int, list[Any]]]:
    """Number and values of each row that is not blank; merged cells stand in each of their rows."""
    merged: dict[int, list[tuple[int, int]]] = {}
    for top, column, bottom in _merged(sheet):
        merged.setdefault(top, []).append((column, bottom))
    continued: dict[int, tuple[int, Any]] = {}
    """For each column the last row to which a value goes on, and the value."""
    for number, cells in enumerate(sheet.iter_rows(), start=1):
        values = [_whole(cell) for cell in cells]
        blank = all(value is None or value == "" for value in values)
        for column, (bottom, value) in continued.items():
            if number <= bottom and values[column] in (None, ""):
                values[column] = value
        for column, bottom in merged.get(number, ()):
            if column < len(values):
                continued[column] = bottom, values[column]
        if not blank:
            yield number, values


def _merged(sheet: "CalamineSheet") -> list[tuple[int, int, int]]:
    ranges = sheet.merged_cell_ranges or []
    return [(top + 1, column, bottom + 1) for (top, column), (bottom, _) in ranges if bottom > top]


def _whole(cell: Any) -> Any:
    """Excel knows one kind of number only: 5 is kept as 5.0."""
    return int(cell) if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15 else cell
