"""What was mended in a source as it was read, so that it can be told. Knows nothing of rows' meaning."""

from collections import Counter
from typing import Any

from azubi.data import strict_json


class Repairs:
    """Counts the rows whose JSON was mended, and the values that are not a number and were read as empty."""

    def __init__(self, wanted: bool) -> None:
        """`wanted` is the setting `repair`: without it no JSON is mended."""
        self._wanted = wanted
        self._lines: set[int] = set()
        self._faults: Counter[str] = Counter()
        self._example = ""
        self._empty: Counter[str] = Counter()
        self._first_empty = 0

    def mended(self, line: int, text: str) -> Any:
        """The value of a text that is nearly JSON; None if it is not, or if nothing is to be mended."""
        found = strict_json.mended(text) if self._wanted else None
        if found is None:
            return None
        self._lines.add(line)
        self._faults.update(found.faults)
        self._example = self._example or (
            f"Line {line:,}: {_start(text)} was read as {_start(strict_json.write(found.value))}"
        )
        return found.value

    def empty(self, line: int, column: str) -> None:
        """Take note of a value that is not a number, in a column that is used."""
        self._first_empty = self._first_empty or line
        self._empty[column] += 1

    def notes(self, name: str) -> list[str]:
        """What was mended in the source of that name, in a sentence each."""
        found = []
        if self._lines:
            rows = "1 row was" if len(self._lines) == 1 else f"{len(self._lines):,} rows were"
            faults = "; ".join(f"{fault} ({count:,})" for fault, count in self._faults.most_common())
            found.append(f"{name}: {rows} mended (--repair): {faults}. {self._example}.")
        if self._empty:
            columns = ", ".join(f"“{column}” ({count:,})" for column, count in self._empty.items())
            found.append(
                f"{name}: values that are NaN (not a number) were read as empty, the first in line "
                f"{self._first_empty:,}: {columns}."
            )
        return found


def _start(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59] + "…"
