"""Reads worked examples as companies have them, row by row: good ones go on, bad ones come with a reason.

JSON lines (chat forms or columns), CSV, Parquet, Excel, a database, a folder of documents. Every value is
kept as it is; the recipe says which columns are asked and answered. Knows nothing of tasks, splits, tokens
or models, and does not judge whether answers are right.
"""

from azubi.data.readers.opening import STDIN
from azubi.data.readers.reading import (
    Reading,
    check_share,
    no_record,
    read,
    read_asked,
    read_source,
    stream,
    without,
)
from azubi.data.readers.row import Asked, Rejected
from azubi.data.readers.source import Source

__all__ = [
    "STDIN",
    "Asked",
    "Reading",
    "Rejected",
    "Source",
    "check_share",
    "no_record",
    "read",
    "read_asked",
    "read_source",
    "stream",
    "without",
]
