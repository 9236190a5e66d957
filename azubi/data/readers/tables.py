"""Excel and LibreOffice sheets, and Parquet: rows that a process of their own reads."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    Unreadable,
    column_names,
    find_header,
    quoted,
    written,
)
from azubi.data.readers.sandbox import Sandbox, decode_cell, encode_cell, refusal
from azubi.errors import DataError
from azubi.settings import Recipe

if TYPE_CHECKING:
    from python_calamine import CalamineSheet


EXCEL_MAGIC = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
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


def workbook_rows(
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


PARQUET_MAGIC = b"PAR1"
_BATCH = 64
"""Rows at once: few, since a value that is stored once may stand in each of them."""
_PARQUET_REMEDY = "Write it once more; if memory is short, with smaller row groups, or raise --limits-memory."


def parquet_rows(
    file: IO[bytes],
    name: str,
    memory: int,
    used_columns: Callable[[Sequence[str]], Sequence[str]],
    notes: list[str],
) -> Iterator[Row]:
    """One row per row; of the table's columns those are read that `used_columns` chooses.

    Labels that are numbers become the names that Hugging Face's datasets keep of them; `notes` say so.

    Raises:
        DataError: it is damaged or too large.
    """
    with (
        Sandbox(memory, ["pyarrow.parquet"], file) as sandbox,
        refusal(name, "a Parquet file", _PARQUET_REMEDY),
    ):
        ((names, labels),) = sandbox.call(f"{__name__}:schema", descriptor=sandbox.descriptor)
        unique = len(set(names)) == len(names)
        wanted = list(used_columns(names)) if unique else names
        notes += [
            f"{name}: the numbers of “{column}” stand for names, which are used: {_shown(labels[column])}."
            for column in wanted
            if column in labels
        ]
        cells_of_rows = sandbox.call(
            f"{__name__}:table_rows", descriptor=sandbox.descriptor, columns=wanted if unique else None
        )
        wanted = column_names(wanted)
        for number, cells in enumerate(cells_of_rows, start=1):
            yield Row(number, dict(zip(wanted, map(decode_cell, cells), strict=True)))


def _shown(names: Sequence[str]) -> str:
    more = ", …" if len(names) > 5 else ""
    return ", ".join(f"{number} is “{name[:40]}”" for number, name in enumerate(names[:5])) + more


# What runs in the sandbox


def schema(descriptor: int) -> Iterator[tuple[list[str], dict[str, list[str]]]]:
    """The names of the columns, and the names of labels by column."""
    arrow_schema = _open(descriptor).schema_arrow
    yield arrow_schema.names, _label_names(arrow_schema)


def table_rows(descriptor: int, columns: list[str] | None) -> Iterator[list[Any]]:
    """The encoded cells of each row, in the order of the columns; None for all columns."""
    table = _open(descriptor)
    labels = _label_names(table.schema_arrow)
    for batch in table.iter_batches(batch_size=_BATCH, columns=columns):
        parts = [
            [encode_cell(_label(value, labels.get(column))) for value in _values(part)]
            for column, part in zip(batch.schema.names, batch.columns, strict=True)
        ]
        yield from map(list, zip(*parts, strict=True))


def _open(descriptor: int) -> Any:
    from pyarrow import parquet

    file = open(descriptor, "rb", closefd=False)  # noqa: SIM115 - the table reads on
    file.seek(0)
    return parquet.ParquetFile(file)


def _values(column: Any) -> list[Any]:
    try:
        values: list[Any] = column.to_pylist(maps_as_pydicts="strict")
    except (ValueError, OverflowError, KeyError):  # Arrow's own errors are among them
        return [_value(scalar) for scalar in column]
    return values


def _value(scalar: Any) -> Any:
    """A value that Python has no kind for: nanoseconds and far years as ISO 8601, lists part by part."""
    import pyarrow

    try:
        return scalar.as_py(maps_as_pydicts="strict")
    except (ValueError, OverflowError, KeyError) as error:
        cause = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(scalar, pyarrow.ListScalar):
        return [_value(part) for part in scalar.values]
    if isinstance(scalar, pyarrow.StructScalar):
        return {name: _value(part) for name, part in scalar.items()}
    if isinstance(scalar, pyarrow.DictionaryScalar):
        return _value(scalar.value)
    with contextlib.suppress(pyarrow.ArrowException):
        if pyarrow.types.is_temporal(scalar.type):
            return scalar.cast(pyarrow.string()).as_py().replace(" ", "T", 1)
    return Unreadable(f"a value of the kind {scalar.type} cannot be read: {cause[:100]}")


def _label_names(arrow_schema: Any) -> dict[str, list[str]]:
    """The names of labels by column, as Hugging Face's datasets write them into a file."""
    try:
        features: Mapping[str, Any] = json.loads((arrow_schema.metadata or {})[b"huggingface"])["info"][
            "features"
        ]
        parts = {column: _innermost(features[column]) for column in arrow_schema.names if column in features}
    except (ValueError, KeyError, TypeError):
        return {}
    return {
        column: [str(name) for name in part["names"]]
        for column, part in parts.items()
        if part.get("_type") == "ClassLabel" and isinstance(part.get("names"), list)
    }


def _innermost(feature: Any) -> dict[str, Any]:
    """What stands in a list, or in a list of lists."""
    while isinstance(feature, list) or (
        isinstance(feature, dict) and isinstance(feature.get("feature"), dict)
    ):
        feature = feature[0] if isinstance(feature, list) else feature["feature"]
    return feature if isinstance(feature, dict) else {}


def _label(value: Any, names: Sequence[str] | None) -> Any:
    """A label's number, or each of a list, as its name; -1 is how datasets write none."""
    if names is None or value is None or value == -1:
        return value if names is None else None
    if isinstance(value, list):
        return [_label(part, names) for part in value]
    if isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    return Unreadable(f"the label {value} has no name; the file names 0 to {len(names) - 1:,}")
