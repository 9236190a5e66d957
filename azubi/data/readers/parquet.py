"""Parquet as rows, a batch at a time. Knows nothing of what the columns mean."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any

from azubi.data.readers.row import Row, Unreadable, column_names
from azubi.data.readers.sandbox import Sandbox, decode_cell, encode_cell, refusal

MAGIC = b"PAR1"
_BATCH = 64
"""Rows at once: few, since a value that is stored once may stand in each of them."""
_REMEDY = "Write it once more; if memory is short, with smaller row groups, or raise --limits-memory."


def rows(
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
        refusal(name, "a Parquet file", _REMEDY),
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
