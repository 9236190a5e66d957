"""JSON lines, and one JSON list, as rows. Knows nothing of what their fields mean."""

import json
from collections.abc import Iterator

from azubi.data.reading.row import Rejected, Row, shortened
from azubi.data.reading.text import Line, Text


def rows(text: Text) -> Iterator[Row | Rejected]:
    """One row per line that is not blank."""
    # Only \n ends a line: str.splitlines would also cut at U+2028 and its like inside JSON strings.
    for line in text:
        if line.fault or line.text.strip():
            yield _row(line)


def _row(line: Line) -> Row | Rejected:
    if line.fault:
        return Rejected(line.number, line.fault, shortened(line.text))
    try:
        values = json.loads(line.text)
    except (ValueError, RecursionError) as error:
        return Rejected(line.number, f"is not JSON: {_cause(error)}", shortened(line.text))
    if not isinstance(values, dict):
        return Rejected(line.number, "is JSON, but not an object", shortened(line.text))
    return Row(line.number, values, line.text)


def _cause(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno:,}"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
