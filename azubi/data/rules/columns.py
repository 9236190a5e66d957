"""Records as columns: which of their fields are categories, numbers, dates or lists, ready to be compared.

Knows no rule.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from azubi.data import schema as schemas
from azubi.data.strict_json import Record

Ids = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]

MOST_VALUES = 60
"""A field with more distinct values is no category: it names things instead of sorting them."""
FEWEST_EACH = 3
"""How often a category's values occur on average."""
FEWEST_NUMBERS = 8
"""A field with fewer distinct numbers is compared value by value, not by size."""
NOTHING = -1
"""The id of what is null or missing."""
_LARGEST = 1e15
"""The last digits of a larger number would be lost in a calculation."""


@dataclass(frozen=True)
class Codes:
    """Values as numbers: `values[id]` is the value of a row; `NOTHING` says that it has none."""

    ids: Ids
    values: tuple[Any, ...]


class Columns:
    """The fields of some records, by kind."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.schema = schemas.infer(records)
        self.names = tuple(dict.fromkeys(name for record in records for name in record))
        kinds = {name: schemas.number_kind(self.schema, name) for name in self.names}
        self.records = [
            {name: as_kind(value, kinds[name]) for name, value in record.items()} for record in records
        ]
        """With numbers as the schema says, so that CEL can calculate with them."""
        self.categories: dict[str, Codes] = {}
        self.numbers: dict[str, Numbers] = {}
        """Not a number (NaN) where there is none."""
        self.dates: dict[str, Numbers] = {}
        """Days since the year 1."""
        self.lists: dict[str, list[list[str] | None]] = {}
        for name in self.names:
            self._sort(name)

    def __len__(self) -> int:
        return len(self.records)

    def column(self, name: str) -> list[Any]:
        """A field's values; null where it is missing."""
        return [record.get(name) for record in self.records]

    def nullable(self, name: str) -> bool:
        """Whether a field is null in some record."""
        return any(name in record and record[name] is None for record in self.records)

    def whole(self, name: str) -> bool:
        """Whether a field's numbers are whole ones in CEL."""
        return schemas.number_kind(self.schema, name) is not float

    def identifies(self, name: str) -> bool:
        """Whether a number names its row: a running one, or one of a fixed length that no other row has."""
        numbers = self.numbers[name][~np.isnan(self.numbers[name])]
        if len(np.unique(numbers)) < len(numbers) or (numbers % 1 != 0).any():
            return False
        long = numbers.min() >= 10_000 and len(str(int(numbers.min()))) == len(str(int(numbers.max())))
        return bool(long or np.ptp(numbers) < 4 * len(numbers))

    def classes(self, name: str) -> Codes | None:
        """A field's values as classes, null among them; None if there are too many of them, or only one."""
        texts = [
            json.dumps(record[name], sort_keys=True) if name in record else None for record in self.records
        ]
        codes = _codes(texts)
        return codes and Codes(codes.ids, tuple(map(json.loads, codes.values)))

    def _sort(self, name: str) -> None:
        """Say what kind of field it is. A few values of another kind are faults: they count as none."""
        values = self.column(name)
        there = sum(value is not None for value in values)
        for kind in ("list", "number", "text", "truth"):
            known = [value if _kind(value) == kind else None for value in values]
            if there and sum(value is not None for value in known) >= (1 - schemas.RARE) * there:
                self._add(name, kind, known)
                return

    def _add(self, name: str, kind: str, values: list[Any]) -> None:
        if kind == "list":
            self.lists[name] = values
            return
        if kind == "number" and len({value for value in values if value is not None}) >= FEWEST_NUMBERS:
            self.numbers[name] = np.array([np.nan if value is None else value for value in values], float)
            return
        if kind == "number" and any(isinstance(value, float) for value in values):
            return
        if kind == "text":
            days = np.array(list(map(_day, values)))
            if np.isfinite(days).sum() >= (1 - schemas.RARE) * sum(value is not None for value in values):
                self.dates[name] = days
                return
        if (codes := _codes(values)) is not None:
            self.categories[name] = codes


def _codes(values: Sequence[Any]) -> Codes | None:
    """Values of few kinds as ids; None stands for no value."""
    counts = Counter(value for value in values if value is not None)
    if not 2 <= len(counts) <= MOST_VALUES or counts.total() < FEWEST_EACH * len(counts):
        return None
    ids = {value: number for number, value in enumerate(sorted(counts))}
    return Codes(
        np.array([NOTHING if value is None else ids[value] for value in values], np.int64), tuple(ids)
    )


def _kind(value: Any) -> str | None:
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int | float):
        return "number" if abs(value) < _LARGEST else None
    if isinstance(value, list):
        return "list" if all(isinstance(item, str) for item in value) else None
    return "text" if isinstance(value, str) else None


def _day(text: str | None) -> float:
    try:
        return float(date.fromisoformat(text).toordinal()) if text and len(text) == 10 else np.nan
    except ValueError:
        return np.nan


def as_kind(value: Any, kind: type | None) -> Any:
    """A number as the field's numbers are: CEL does not mix whole ones and fractions."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    try:
        if kind is float:
            return float(value)
    except OverflowError:
        return value
    return int(value) if kind is int and isinstance(value, float) and value.is_integer() else value
