"""One JSON record as an answer: how it is written, and when two values in it are the same.

Knows no contract, schema or model.
"""

from collections.abc import Mapping
from typing import Any

from azubi.data import strict_json

Record = Mapping[str, Any]


def written(record: Record) -> str:
    """A record as the one line of JSON that is learned and answered."""
    return strict_json.write(record)


def shortly(value: Any) -> str:
    """A value as JSON, cut to 60 characters, for messages."""
    text = strict_json.write(value)
    return text if len(text) <= 60 else text[:59] + "…"


def same(one: object, other: object) -> bool:
    """Whether two JSON values are the same.

    1 and 1.0 are; true and 1 are not; lists count in the order written; the order of keys does not.
    """
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other
