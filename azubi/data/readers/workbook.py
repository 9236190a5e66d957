"""A sheet of an Excel file as rows. Knows nothing of what the columns mean."""

import contextlib
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

from azubi.data.readers.opening import check_archive
from azubi.data.readers.row import (
    EMPTY,
    HEADER_ROWS,
    Header,
    MissingColumn,
    Rejected,
    Row,
    find_header,
    written,
)
from azubi.errors import DataError
from azubi.settings import Recipe

if TYPE_CHECKING:
    from python_calamine import CalamineSheet, CalamineWorkbook

OLD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""How .xls files of Excel 2003 begin, and .xlsx files with a password."""


def rows(
    file: IO[bytes], name: str, recipe: Recipe, lacks: MissingColumn, notes: list[str], *, usual: bool = False
) -> Iterator[Row | Rejected]:
    """One row per row below the header; numbered as in the sheet.

    Without `recipe.sheet` the sheet is read that alone has the columns that are asked for; so, too, if there
    is none of this name and it is but the `usual` one. Cells that are merged over several rows stand in each
    of them. Both is said in `notes`.

    Raises:
        DataError: it is no Excel file, is damaged, too large, or does not have one such sheet.
    """
    check_archive(file, name, recipe.limits.unzipped_size, recipe.limits.cells)
    with _explained(name):
        from python_calamine import CalamineWorkbook

        book = CalamineWorkbook.from_filelike(file)
        if usual and recipe.sheet not in book.sheet_names:
            recipe = recipe.model_copy(update={"sheet": None})
        sheet, header = _chosen(book, name, recipe, lacks, notes)
        _tell_merged(sheet, header, name, notes)
        last = header.number
        for number, values in _cells(sheet):
            if number > last:
                yield from (Rejected(blank, EMPTY) for blank in range(last + 1, number))
                yield Row(number, dict(zip(header.names, values, strict=True)))
                last = number


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    from python_calamine import CalamineError

    try:
        yield
    except DataError:
        raise
    except (CalamineError, OSError, ValueError) as error:
        cause = str(error).strip().rstrip(".") or type(error).__name__
        raise _unreadable(name, cause) from error
    except BaseException as error:
        # A fault in a library written in Rust, which is no Exception.
        if type(error).__name__ != "PanicException":
            raise
        raise _unreadable(name, "its content contradicts itself") from None


def _chosen(
    book: "CalamineWorkbook", name: str, recipe: Recipe, lacks: MissingColumn, notes: list[str]
) -> tuple["CalamineSheet", Header]:
    """The sheet to read and its header: as the recipe names it, or the one that has the columns."""
    from python_calamine import SheetTypeEnum

    names = [entry.name for entry in book.sheets_metadata if entry.typ == SheetTypeEnum.WorkSheet]
    if recipe.sheet is not None and recipe.sheet not in names:
        raise DataError(
            f"{name} has no sheet “{recipe.sheet}”; it has {_quoted(names)}.",
            "Name the right one with --sheet.",
        )
    sheets = [
        book.get_sheet_by_name(sheet_name) for sheet_name in ([recipe.sheet] if recipe.sheet else names)
    ]
    filled = [sheet for sheet in sheets if next(_cells(sheet), None)]
    if not filled:
        raise DataError(f"{name} has no rows.", "Bring an Excel file with a sheet in it.")
    if recipe.header is not None:
        filled = [sheet for sheet in filled if recipe.header in dict(_head(sheet))] or filled[:1]
    if len(filled) == 1:
        return filled[0], _header(filled[0], name, recipe, lacks, notes)
    headers = [_header(sheet, name, recipe, lacks, []) for sheet in filled]
    fitting = [sheet for sheet, header in zip(filled, headers, strict=True) if header.lacks is None]
    if len(fitting) != 1:
        raise _unclear(name, filled, headers, fitting)
    notes.append(
        f"{name} has the sheets {_quoted([sheet.name for sheet in filled])}; “{fitting[0].name}” is read, "
        "which alone has the columns that are asked for. --sheet says otherwise."
    )
    return fitting[0], _header(fitting[0], name, recipe, lacks, notes)


def _unclear(
    name: str,
    sheets: Sequence["CalamineSheet"],
    headers: Sequence[Header],
    fitting: Sequence["CalamineSheet"],
) -> DataError:
    if fitting:
        likely = max(fitting, key=lambda sheet: sheet.height)
        return DataError(
            f"{name} has {len(fitting):,} sheets with the columns that are asked for: "
            f"{_quoted([sheet.name for sheet in fitting])}.",
            f"Name the one that is meant, such as --sheet “{likely.name}”, which has most rows; to learn "
            "from several, put them into one.",
        )
    named = "; ".join(
        f"“{sheet.name}” has {_quoted([column for column in header.names if column])}"
        for sheet, header in zip(sheets[:20], headers, strict=False)
    )
    lacked = next(header.lacks for header in headers)
    return DataError(
        f"{name} has no sheet with the column “{lacked}”: {named}.",
        "Name the columns with --prompt and --answer, and the sheet with --sheet.",
    )


def _header(
    sheet: "CalamineSheet", name: str, recipe: Recipe, lacks: MissingColumn, notes: list[str]
) -> Header:
    return find_header(_head(sheet), lacks, recipe.header, name, notes)


def _head(sheet: "CalamineSheet") -> list[tuple[int, list[str]]]:
    rows = islice(_cells(sheet), HEADER_ROWS)
    return [(number, [written(value) for value in values]) for number, values in rows]


def _cells(sheet: "CalamineSheet") -> Iterator[tuple[int, list[Any]]]:
    """Number and values of each row that is not blank; merged cells stand in each of their rows."""
    merged: dict[int, list[tuple[int, int]]] = {}
    for top, column, bottom in _merged(sheet):
        merged.setdefault(top, []).append((column, bottom))
    below: dict[int, tuple[int, Any]] = {}
    """For each column the last row to which a value goes on, and the value."""
    for number, cells in enumerate(sheet.iter_rows(), start=1):
        values = [_value(cell) for cell in cells]
        blank = all(value is None or value == "" for value in values)
        for column, (bottom, value) in below.items():
            if number <= bottom and values[column] in (None, ""):
                values[column] = value
        below |= {
            column: (bottom, values[column])
            for column, bottom in merged.get(number, ())
            if column < len(values)
        }
        if not blank:
            yield number, values


def _merged(sheet: "CalamineSheet") -> list[tuple[int, int, int]]:
    """First row (from 1), column (from 0) and last row of what is merged over several rows."""
    ranges = sheet.merged_cell_ranges or []
    return [(top + 1, column, bottom + 1) for (top, column), (bottom, _) in ranges if bottom > top]


def _tell_merged(sheet: "CalamineSheet", header: Header, name: str, notes: list[str]) -> None:
    counts: dict[str, int] = {}
    for top, column, bottom in _merged(sheet):
        if top > header.number and column < len(header.names):
            counts[header.names[column]] = counts.get(header.names[column], 0) + bottom - top
    if counts:
        cells = ", ".join(f"{count:,} of “{column}”" for column, count in counts.items())
        notes.append(
            f"{name}: cells are merged over several rows, and their value is taken for each of the rows "
            f"({cells})."
        )


def _quoted(names: Sequence[str]) -> str:
    more = f" and {len(names) - 20:,} more" if len(names) > 20 else ""
    return ", ".join(f"“{name}”" for name in names[:20]) + more


def _value(cell: Any) -> Any:
    # Excel knows one kind of number only: 5 is kept as 5.0.
    return int(cell) if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15 else cell


def _unreadable(name: str, cause: str) -> DataError:
    return DataError(
        f"{name} is no Excel file that can be read: {cause}.", "Save it once more as .xlsx or CSV."
    )
