"""JSON lines as rows, and one JSON text as a row. Knows nothing of what their fields mean."""

from collections.abc import Iterator

from azubi.data import strict_json
from azubi.data.readers.repairs import Repairs
from azubi.data.readers.row import Rejected, Row, shortened
from azubi.data.readers.text import Text


def rows(text: Text, repairs: Repairs) -> Iterator[Row | Rejected]:
    """One row per line that is not blank."""
    # Only \n ends a line: str.splitlines would also cut at U+2028 and its like inside JSON strings.
    for line in text:
        if line.fault:
            yield Rejected(line.number, line.fault, shortened(line.text))
        elif line.text.strip():
            yield row(line.number, line.text, repairs)


def row(number: int, text: str, repairs: Repairs) -> Row | Rejected:
    """The row that a JSON object is; `number` is the line where it begins."""
    try:
        values = strict_json.parse(text)
    except strict_json.NotJson as error:
        values = repairs.mended(number, text)
        if values is None:
            return Rejected(number, strict_json.fault(text, error), shortened(text))
    if not isinstance(values, dict):
        return Rejected(number, "is JSON, but not an object", shortened(text))
    return Row(number, values, text)
