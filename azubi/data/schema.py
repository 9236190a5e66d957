"""The JSON schema that record answers follow: told from them, or given, and checked against.

What nearly all records do is the schema; the few that do otherwise break it and are named. So a schema that
was told from records with faults in them finds those faults. Knows nothing of files' rows, rules between
fields, or whether a value is true.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from azubi.data import strict_json
from azubi.data.finding import SHOWN, Case, Finding
from azubi.data.strict_json import Record, shortly
from azubi.errors import DataError

Schema = dict[str, Any]

RARE = 0.02
"""What fewer of the values are or do is taken for a fault, not for the form."""
MOST_CHOICES = 50
"""A field with more distinct texts is not told as one of a closed set."""
FEWEST_REPEATS = 3
"""Texts of a closed set occur at least so often."""
DEEPEST = 8
"""Levels of objects and lists that are looked into."""
_MOST_KEPT = 1_000
"""Distinct texts of one field that are counted before it is taken for free text."""
_REMEMBERED = 50_000
"""Values whose judgement is remembered, since most values come again and again."""

_FORMATS = {"date": date.fromisoformat, "date-time": datetime.fromisoformat}


class SchemaInference:
    """Tells the schema of records that are shown to it one at a time."""

    def __init__(self) -> None:
        self._place = _Place()

    def add(self, record: Record) -> None:
        """Take one record into account."""
        self._place.add(record, 0)

    @property
    def names(self) -> tuple[str, ...]:
        """All fields that any record had, as first written."""
        return tuple(self._place.properties)

    def schema(self) -> Schema:
        """The form that nearly all of them have."""
        return {"$schema": DRAFT} | self._place.schema()


DRAFT = "https://json-schema.org/draft/2020-12/schema"


def infer(records: Iterable[Record]) -> Schema:
    """The schema that nearly all of `records` follow."""
    inference = SchemaInference()
    for record in records:
        inference.add(record)
    return inference.schema()


def load(path: Path) -> Schema:
    """Read a schema that was given.

    Raises:
        DataError: the file is not there, no JSON, no JSON schema, or not one of an object.
    """
    from jsonschema import Draft202012Validator, SchemaError

    remedy = "Give a file with a JSON schema of the records, or leave `schema` out: azubi tells it from them."
    try:
        found = strict_json.parse(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"The schema {path} cannot be read: {error.strerror}.", remedy) from error
    except ValueError as error:
        raise DataError(f"The schema {path} is not JSON: {error}.", remedy) from error
    try:
        Draft202012Validator.check_schema(found)
    except SchemaError as error:
        raise DataError(f"The schema {path} is no JSON schema: {error.message}.", remedy) from error
    if not isinstance(found, dict) or found.get("type", "object") != "object":
        raise DataError(f"The schema {path} is not one of a JSON object.", remedy)
    if remote := next((one for one in _references(found) if not one.startswith("#")), None):
        raise DataError(
            f"The schema {path} refers to {remote}, which is outside the file and is never fetched.",
            "Put that part into the file, under $defs.",
        )
    return found


def fields(schema: Schema) -> tuple[str, ...]:
    """The names of the record's fields that a schema tells, in its order."""
    told = schema.get("properties")
    return tuple(told) if isinstance(told, dict) else ()


def described(part: Schema) -> str:
    """What a field may be, in a few words: one of 6 texts (motor, pet, …); date or null."""
    kinds = part.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    choices = [one for one in part.get("enum", ()) if one is not None]
    words = []
    for kind in kinds:
        if kind == "string" and choices:
            shown = ", ".join(map(str, choices[:_CHOICES_SHOWN]))
            words.append(
                f"one of {len(choices)} texts ({shown}{', …' if len(choices) > _CHOICES_SHOWN else ''})"
            )
        elif kind == "string":
            words.append(str(part.get("format", "text")))
        elif kind == "array":
            inner = described(part["items"]) if isinstance(part.get("items"), dict) else "anything"
            words.append(f"list of {inner}")
        elif kind == "object":
            words.append(f"object of {', '.join(part.get('properties', {})) or 'anything'}")
        else:
            words.append(_SAID.get(kind, kind))
    return " or ".join(words) or "anything"


_CHOICES_SHOWN = 6
_SAID = {"integer": "whole number", "boolean": "true or false"}


def number_kind(schema: Schema, name: str) -> type[int] | type[float] | None:
    """Whether the numbers of a field are whole, have fractions, or are not told of."""
    told = schema.get("properties", {}).get(name, {})
    kinds = told.get("type", ()) if isinstance(told, dict) else ()
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if "number" in kinds:
        return float
    return int if "integer" in kinds else None


class Checker:
    """Says what in a record breaks a schema."""

    def __init__(self, schema: Schema) -> None:
        """`schema` is a valid one; see `load`."""
        from jsonschema import Draft202012Validator, FormatChecker

        formats = FormatChecker(formats=())
        for name, reader in _FORMATS.items():
            formats.checks(name, raises=ValueError)(_reads(reader))
        self._validator = Draft202012Validator(schema, format_checker=formats)
        # A schema that judges each field for itself lets values be judged once, which is far faster.
        self._parts = _parts(schema)
        self._of_part = {
            name: Draft202012Validator(part, format_checker=formats) for name, part in self._parts.items()
        }
        self._known: dict[tuple[str, str], tuple[str, ...]] = {}
        self._required = frozenset(schema.get("required", ()))
        self._closed = schema.get("additionalProperties") is False
        self._order = tuple(schema.get("required", ()))

    def faults(self, record: Record) -> list[str]:
        """What is wrong with the record, each in a few words; empty if nothing is."""
        if not self._parts:
            return [_told(one) for one in self._validator.iter_errors(record)]
        found = [f"{name} is missing" for name in self._order if name not in record]
        for name, value in record.items():
            if name in self._parts:
                found += self._judged(name, value)
            elif self._closed:
                found.append(f"{name} is a field that no other record has")
        return found

    def _judged(self, name: str, value: Any) -> tuple[str, ...]:
        key = (name, strict_json.write(value, sort_keys=True))
        if key not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            errors = self._of_part[name].iter_errors(value)
            self._known[key] = tuple(_told(one, name) for one in errors)
        return self._known[key]


def finding(schema: Schema, records: Iterable[tuple[int, Record]]) -> Finding | None:
    """The records (each with its line) that break the schema; None if none does."""
    if not schema:
        return None
    checker = Checker(schema)
    rows = count = 0
    cases: list[Case] = []
    for line, record in records:
        rows += 1
        if faults := checker.faults(record):
            count += 1
            if count <= SHOWN:
                cases.append(Case(lines=(line,), text="; ".join(faults)))
    if not count:
        return None
    return Finding(
        kind="breaks_schema",
        level="warning",
        title=f"{count:,} of {rows:,} records break{'s' if count == 1 else ''} the schema.",
        count=count,
        cases=tuple(cases),
        why="What reads the records relies on their form; and a form that varies is harder to learn.",
        remedy="Correct these answers, or give the schema that holds: `schema: file.json`.",
        details={"schema": schema},
    )


def _parts(schema: Schema) -> dict[str, Schema]:
    simple = {"$schema", "type", "properties", "required", "additionalProperties", "title", "description"}
    told = schema.get("properties")
    if not set(schema) <= simple or not isinstance(told, dict):
        return {}
    if schema.get("additionalProperties") not in (None, True, False):
        return {}
    return {} if any(True for _ in _references(schema)) else told


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for name, value in schema.items():
            if name in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield value
            yield from _references(value)
    elif isinstance(schema, list):
        for one in schema:
            yield from _references(one)


def _reads(reader: Any) -> Any:
    def check(value: object) -> bool:
        if isinstance(value, str):
            reader(value)
        return True

    return check


def _told(error: Any, name: str = "") -> str:
    """What jsonschema found, as a person says it."""
    path = _path(name, error.absolute_path)
    value = shortly(error.instance)
    match error.validator:
        case "enum":
            return f"{path} is {value}, which is none of its {len(error.validator_value)} values"
        case "type":
            kinds = error.validator_value
            named = " or ".join([kinds] if isinstance(kinds, str) else kinds)
            return f"{path} is {value}, not {named}"
        case "format":
            return f"{path} is {value}, not a {error.validator_value} such as {_SUCH[error.validator_value]}"
        case "required":
            lacking = next(one for one in error.validator_value if one not in error.instance)
            return f"{path or 'it'} lacks {lacking}"
    return f"{path}: {error.message}" if path else str(error.message)


def _path(name: str, steps: Iterable[str | int]) -> str:
    found = name
    for step in steps:
        found += f"[{step}]" if isinstance(step, int) else f".{step}" if found else step
    return found


_SUCH = {"date": "2026-03-14", "date-time": "2026-03-14T09:30:00"}


# Telling


@dataclass
class _Place:
    """What stood in one place of the records."""

    kinds: Counter[str] = field(default_factory=Counter)
    texts: Counter[str] = field(default_factory=Counter)
    free: bool = False
    """Whether there were too many distinct texts to count them."""
    formats: Counter[str] = field(default_factory=Counter)
    properties: "dict[str, _Place]" = field(default_factory=dict)
    items: "_Place | None" = None

    def add(self, value: Any, depth: int) -> None:
        kind = _kind(value)
        self.kinds[kind] += 1
        if kind == "string":
            self._add_text(value)
        if depth < DEEPEST and kind == "object":
            for name, one in value.items():
                self.properties.setdefault(name, _Place()).add(one, depth + 1)
        if depth < DEEPEST and kind == "array":
            self.items = self.items or _Place()
            for one in value:
                self.items.add(one, depth + 1)

    def _add_text(self, value: str) -> None:
        if not self.free:
            self.texts[value] += 1
            self.free = len(self.texts) > _MOST_KEPT
        for name, reader in _FORMATS.items():
            if _is_format(value, name, reader):
                self.formats[name] += 1

    def schema(self) -> Schema:
        kinds = self._kinds()
        told: Schema = {"type": kinds[0] if len(kinds) == 1 else kinds} if kinds else {}
        if "string" in kinds:
            told |= self._text(kinds)
        if "object" in kinds and self.properties:
            told |= self._object()
        if "array" in kinds and self.items is not None and self.items.kinds:
            told["items"] = self.items.schema()
        return told

    def _kinds(self) -> list[str]:
        total = sum(self.kinds.values())
        often = [kind for kind, count in self.kinds.items() if count >= RARE * total]
        # A field that is empty now and then is no fault, as long as it is empty more than once.
        if self.kinds["null"] > 1 and "null" not in often:
            often.append("null")
        # Nor are a few fractions among whole numbers: money is often a round sum.
        if "integer" in often and self.kinds["number"] > 1:
            often = [kind for kind in often if kind != "integer" and kind != "number"] + ["number"]
        return sorted(often, key=_ORDER.index)

    def _text(self, kinds: list[str]) -> Schema:
        total = self.kinds["string"]
        for name, count in self.formats.items():
            if count >= (1 - RARE) * total:
                return {"format": name}
        often = sorted(text for text, count in self.texts.items() if count >= FEWEST_REPEATS)
        closed = not self.free and 0 < len(often) <= MOST_CHOICES
        if closed and sum(self.texts[text] for text in often) >= (1 - RARE) * total and kinds in _CLOSED:
            return {"enum": [*often, *([None] if "null" in kinds else [])]}
        return {}

    def _object(self) -> Schema:
        total = self.kinds["object"]
        counts = {name: sum(place.kinds.values()) for name, place in self.properties.items()}
        kept = [name for name, count in counts.items() if count >= RARE * total]
        return {
            "properties": {name: self.properties[name].schema() for name in kept},
            "required": [name for name in kept if counts[name] >= (1 - RARE) * total],
            "additionalProperties": False,
        }


_ORDER = ["object", "array", "string", "integer", "number", "boolean", "null"]
_CLOSED = (["string"], ["string", "null"])


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        # As in JSON schema itself, 1200.0 is a whole number; others may make the field one of fractions.
        return "integer" if value.is_integer() else "number"
    return "array" if isinstance(value, list) else "object"


def _is_format(value: str, name: str, reader: Any) -> bool:
    # Of all that ISO 8601 allows, only the form that people write: 2026-03-14, not 20260314 or 2026-W11-6.
    if not (value[4:5] == "-" and value[7:8] == "-" and (len(value) == 10) == (name == "date")):
        return False
    try:
        reader(value)
    except ValueError:
        return False
    return True
