"""Parquet as rows, a batch at a time. Knows nothing of what the columns mean."""

import io
from collections.abc import Iterator
from typing import IO, Any

from azubi.data.reading.row import Row
from azubi.errors import DataError

MAGIC = b"PAR1"
_BATCH = 64
"""Rows at once: few, since a value that is stored once may stand in each of them."""


def rows(file: IO[bytes], name: str, most: int) -> Iterator[Row]:
    """One row per row; `most` is the bytes that a row group may unfold to.

    Raises:
        DataError: it is damaged or too large.
    """
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        table = parquet.ParquetFile(io.BufferedReader(file) if isinstance(file, io.RawIOBase) else file)
        _check_size(table, name, most)
        for batch in table.iter_batches(batch_size=_BATCH):
            columns: list[list[Any]] = [column.to_pylist() for column in batch.columns]
            for values in zip(*columns, strict=True):
                number += 1
                yield Row(number, dict(zip(batch.schema.names, values, strict=True)))
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        cause = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise DataError(
            f"{name} cannot be read as Parquet behind row {number:,}: {cause}.", "Write it once more."
        ) from error


def _check_size(table: Any, name: str, most: int) -> None:
    for index in range(table.metadata.num_row_groups):
        size = table.metadata.row_group(index).total_byte_size
        if size > most:
            raise DataError(
                f"{name}: row group {index + 1:,} unfolds to {size:,} bytes, more than {most:,}.",
                "Write it with smaller row groups, or raise --limits-office if that is right.",
            )
