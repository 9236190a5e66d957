"""A sheet of an Excel file as rows. Knows nothing of what the columns mean."""

from collections.abc import Iterator
from typing import IO, Any

from azubi.data.reading import archive
from azubi.data.reading.delimited import columns
from azubi.data.reading.row import Row, written
from azubi.errors import DataError
from azubi.settings import LimitSettings

OLD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""How .xls files of Excel 2003 begin, and .xlsx files with a password."""


def rows(file: IO[bytes], name: str, sheet: str | None, limits: LimitSettings) -> Iterator[Row]:
    """One row per row that is not blank behind the header; numbered as in the sheet.

    Raises:
        DataError: it is no Excel file, is damaged, too large, or has no such sheet.
    """
    archive.check(file, name, limits.office, limits.cells)
    names: list[str] | None = None
    for number, cells in enumerate(_cells(file, name, sheet), start=1):
        values = [_value(cell) for cell in cells]
        if all(value is None or value == "" for value in values):
            continue
        if names is None:
            names = columns([written(value) for value in values])
        else:
            yield Row(number, dict(zip(names, values, strict=True)))


def _cells(file: IO[bytes], name: str, sheet: str | None) -> Iterator[list[Any]]:
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        book = CalamineWorkbook.from_filelike(file)
        found = _named(book.sheet_names, name, sheet)
        yield from book.get_sheet_by_name(found).iter_rows()
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


def _named(names: list[str], name: str, sheet: str | None) -> str:
    if not names:
        raise DataError(f"{name} has no sheets.", "Bring an Excel file with a sheet in it.")
    if sheet is None:
        return names[0]
    if sheet not in names:
        there = ", ".join(f"“{one}”" for one in names[:20])
        raise DataError(f"{name} has no sheet “{sheet}”; it has {there}.", "Name the right one with --sheet.")
    return sheet


def _value(cell: Any) -> Any:
    # Excel knows one kind of number only: 5 is kept as 5.0.
    return int(cell) if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15 else cell


def _unreadable(name: str, cause: str) -> DataError:
    return DataError(
        f"{name} is no Excel file that can be read: {cause}.", "Save it once more as .xlsx or CSV."
    )
