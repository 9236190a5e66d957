"""Parquet as rows, a batch at a time. Knows nothing of what the columns mean."""

import contextlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any

from azubi.data.readers.row import Row, Unreadable, column_names
from azubi.errors import DataError

MAGIC = b"PAR1"
_BATCH = 64
"""Rows at once: few, since a value that is stored once may stand in each of them."""

Used = Callable[[Sequence[str]], Sequence[str]]
"""Those of a table's columns that are read."""


def rows(file: IO[bytes], name: str, most: int, used: Used, notes: list[str]) -> Iterator[Row]:
    """One row per row, with the columns that are `used`; `most` is the bytes that a row group may unfold to.

    Labels that are numbers become the names that Hugging Face's datasets keep of them; `notes` say so.

    Raises:
        DataError: it is damaged or too large.
    """
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        table = parquet.ParquetFile(io.BufferedReader(file) if isinstance(file, io.RawIOBase) else file)
        names = table.schema_arrow.names
        wanted = list(used(names)) if len(set(names)) == len(names) else names
        _check_size(table, name, most, wanted)
        labels = _class_labels(table.schema_arrow.metadata, wanted)
        for column, shown in labels.items():
            notes.append(
                f"{name}: the numbers of “{column}” stand for names, which are used: {_shown(shown)}."
            )
        for batch in table.iter_batches(batch_size=_BATCH, columns=wanted):
            there = column_names(batch.schema.names)
            parts = [
                [_named(value, labels.get(column)) for value in _values(part)]
                for column, part in zip(there, batch.columns, strict=True)
            ]
            for values in zip(*parts, strict=True):
                number += 1
                yield Row(number, dict(zip(there, values, strict=True)))
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        cause = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise DataError(
            f"{name} cannot be read as Parquet behind row {number:,}: {cause}.", "Write it once more."
        ) from error


def _check_size(table: Any, name: str, most: int, wanted: Sequence[str]) -> None:
    for index in range(table.metadata.num_row_groups):
        group = table.metadata.row_group(index)
        parts = [group.column(place) for place in range(group.num_columns)]
        size = sum(
            part.total_uncompressed_size
            for part in parts
            if any(f"{part.path_in_schema}.".startswith(f"{column}.") for column in wanted)
        )
        if size > most:
            raise DataError(
                f"{name}: row group {index + 1:,} unfolds to {size:,} bytes, more than {most:,}.",
                "Write it with smaller row groups, or raise --limits-unzipped-size if that is right.",
            )


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


def _class_labels(metadata: Mapping[bytes, bytes] | None, wanted: Sequence[str]) -> dict[str, list[str]]:
    """The names of labels by column, as Hugging Face's datasets write them into a file."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        parts = {column: _innermost(features[column]) for column in wanted if column in features}
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


def _named(value: Any, names: Sequence[str] | None) -> Any:
    """A label's number, or each of a list, as its name; -1 is how datasets write none."""
    if names is None or value is None or value == -1:
        return value if names is None else None
    if isinstance(value, list):
        return [_named(part, names) for part in value]
    if isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    return Unreadable(f"the label {value} has no name; the file names 0 to {len(names) - 1:,}")


def _shown(names: Sequence[str]) -> str:
    more = ", …" if len(names) > 5 else ""
    return ", ".join(f"{number} is “{name[:40]}”" for number, name in enumerate(names[:5])) + more
