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


@dataclass(frozen=True)
class Codes:
    """Values as numbers: `values[id]` is the value of a row, and `NOTHING` that there is none."""

    ids: Ids
    values: tuple[Any, ...]


class Columns:
    """The fields of some records, by kind."""

    def __init__(self, records: Sequence[Record], schema: schemas.Schema | None = None) -> None:
        """`schema` is that of the records; it is told from them if not given."""
        self.schema = schema or schemas.infer(records)
        self.names = tuple(dict.fromkeys(name for record in records for name in record))
        self._kinds = {name: schemas.number_kind(self.schema, name) for name in self.names}
        self.records = [{n: as_kind(v, self._kinds[n]) for n, v in one.items()} for one in records]
        """With numbers as the schema says, so that CEL can calculate with them."""
        self.categories: dict[str, Codes] = {}
        self.numbers: dict[str, Numbers] = {}
        """Not a number where there is none."""
        self.dates: dict[str, Numbers] = {}
        """Days since the year 1."""
        self.lists: dict[str, list[list[str] | None]] = {}
        for name in self.names:
            self._sort(name, self.column(name))

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
        return self._kinds.get(name) is not float

    def identifies(self, name: str) -> bool:
        """Whether a number names its row: a running one, or one of a fixed length that no other row has."""
        numbers = self.numbers[name][~np.isnan(self.numbers[name])]
        if len(np.unique(numbers)) < len(numbers) or (numbers % 1 != 0).any():
            return False
        long = numbers.min() >= 10_000 and len(str(int(numbers.min()))) == len(str(int(numbers.max())))
        return bool(long or np.ptp(numbers) < 4 * len(numbers))

    def classes(self, name: str) -> Codes | None:
        """A field's values as classes, null among them; None if there are too many of them, or one only."""
        texts = [
            json.dumps(record[name], sort_keys=True) if name in record else None for record in self.records
        ]
        counts = Counter(text for text in texts if text is not None)
        if not 2 <= len(counts) <= MOST_VALUES or sum(counts.values()) < FEWEST_EACH * len(counts):
            return None
        known = {text: number for number, text in enumerate(sorted(counts))}
        ids = np.array([NOTHING if text is None else known[text] for text in texts], dtype=np.int64)
        return Codes(ids, tuple(json.loads(text) for text in known))

    def _sort(self, name: str, values: list[Any]) -> None:
        there = sum(value is not None for value in values)
        for is_kind, sort in (
            (_is_texts, self._sort_list),
            (_is_number, self._sort_number),
            (_is_text, self._sort_text),
            (_is_truth, self._sort_category),
        ):
            known = [value if value is not None and is_kind(value) else None for value in values]
            # A few values of another kind are faults and hide nothing: they count as if there were none.
            if there and sum(one is not None for one in known) >= (1 - schemas.RARE) * there:
                sort(name, known)
                return

    def _sort_list(self, name: str, values: list[Any]) -> None:
        self.lists[name] = values

    def _sort_number(self, name: str, values: list[Any]) -> None:
        if len({value for value in values if value is not None}) >= FEWEST_NUMBERS:
            self.numbers[name] = np.array([np.nan if one is None else one for one in values], dtype=float)
        elif all(value is None or isinstance(value, int) for value in values):
            self._sort_category(name, values)

    def _sort_text(self, name: str, values: list[Any]) -> None:
        days = np.array([_day(one) for one in values])
        there = sum(value is not None for value in values)
        if (~np.isnan(days)).sum() >= (1 - schemas.RARE) * there:
            self.dates[name] = days
        else:
            self._sort_category(name, values)

    def _sort_category(self, name: str, values: list[Any]) -> None:
        counts = Counter(value for value in values if value is not None)
        if not 2 <= len(counts) <= MOST_VALUES or sum(counts.values()) < FEWEST_EACH * len(counts):
            return
        known = {value: number for number, value in enumerate(sorted(counts))}
        ids = np.array([NOTHING if one is None else known[one] for one in values], dtype=np.int64)
        self.categories[name] = Codes(ids, tuple(known))


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool)


_LARGEST = 1e15
"""Larger numbers are none to calculate with: their last digits would be lost."""


def as_kind(value: Any, kind: type | None) -> Any:
    """A number as the field's numbers are: CEL does not mix whole ones and fractions."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if kind is float:
        return _float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _float(value: int | float) -> Any:
    try:
        return float(value)
    except OverflowError:
        return value


def _day(text: str | None) -> float:
    if text is None or len(text) != 10:
        return np.nan
    try:
        return float(date.fromisoformat(text).toordinal())
    except ValueError:
        return np.nan
