"""The JSON schema that record answers follow: inferred from them, or given, and checked against.

What nearly all records do is the schema; the few that do otherwise break it and are named. So a schema that
was inferred from records with faults in them finds those faults. Knows nothing of files' rows, rules between
fields, or whether a value is true.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

from azubi.data import strict_json
from azubi.data.finding import SHOWN, Case, Finding
from azubi.data.strict_json import Record, shortly
from azubi.errors import DataError

Schema = dict[str, Any]

DRAFT = "https://json-schema.org/draft/2020-12/schema"
RARE = 0.02
"""A smaller share of the values is taken for faults."""
MOST_CHOICES = 50
"""Distinct texts of a field that is a closed set."""
FEWEST_REPEATS = 3
"""Texts of a closed set occur at least so often."""
DEEPEST = 8
"""Levels of objects and lists that are looked into."""
_MOST_KEPT = 1_000
"""Distinct texts of one field that are counted before it is taken for free text."""
_REMEMBERED = 50_000
"""Values whose faults are remembered, since most values come again and again."""

_FORMATS = {"date": date.fromisoformat, "date-time": datetime.fromisoformat}
_SAMPLES = {"date": "2026-03-14", "date-time": "2026-03-14T09:30:00"}
_TYPES = ["object", "array", "string", "integer", "number", "boolean", "null"]


def infer(records: Iterable[Record]) -> Schema:
    """The schema that nearly all of `records` follow."""
    inference = SchemaInference()
    for record in records:
        inference.add(record)
    return inference.schema()


def load(path: Path) -> Schema:
    """Read a schema that the user gave.

    Raises:
        DataError: the file is not there, no JSON, no JSON schema, or not one of an object.
    """
    from jsonschema import Draft202012Validator, SchemaError

    remedy = "Give a file with a JSON schema of the records, or leave `schema` out: azubi tells it from them."
    try:
        schema = strict_json.parse(path.read_text(encoding="utf-8-sig"))
        Draft202012Validator.check_schema(schema)
    except OSError as error:
        raise DataError(f"The schema {path} cannot be read: {error.strerror}.", remedy) from error
    except ValueError as error:
        raise DataError(f"The schema {path} is not JSON: {error}.", remedy) from error
    except SchemaError as error:
        raise DataError(f"The schema {path} is no JSON schema: {error.message}.", remedy) from error
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        raise DataError(f"The schema {path} is not one of a JSON object.", remedy)
    if remote := next((name for name in _references(schema) if not name.startswith("#")), None):
        raise DataError(
            f"The schema {path} refers to {remote}, which is outside the file and is never fetched.",
            "Put that part into the file, under $defs.",
        )
    return schema


def described(part: Schema) -> str:
    """What a field may be, in a few words: one of 6 texts (motor, pet, …); date or null."""
    choices = [str(choice) for choice in part.get("enum", ()) if choice is not None]
    words = {
        "integer": "whole number",
        "boolean": "true or false",
        "string": part.get("format", "text"),
        "array": f"list of {described(part['items']) if isinstance(part.get('items'), dict) else 'anything'}",
        "object": f"object of {', '.join(part.get('properties', {})) or 'anything'}",
    }
    if choices:
        more = ", …" if len(choices) > 6 else ""
        words["string"] = f"one of {len(choices)} texts ({', '.join(choices[:6])}{more})"
    return " or ".join(str(words.get(kind, kind)) for kind in _types(part)) or "anything"


def number_kind(schema: Schema, name: str) -> type[int] | type[float] | None:
    """Whether the numbers of a field are whole or have fractions; None if the schema does not say."""
    part = schema.get("properties", {}).get(name, {})
    types = _types(part) if isinstance(part, dict) else []
    return float if "number" in types else int if "integer" in types else None


def _types(part: Schema) -> list[str]:
    types = part.get("type", [])
    return [types] if isinstance(types, str) else list(types)


# Checking


class Checker:
    """Says what in a record breaks a schema."""

    def __init__(self, schema: Schema) -> None:
        """`schema` is a valid one; see `load`."""
        from jsonschema import Draft202012Validator, FormatChecker

        formats = FormatChecker(formats=())
        for name, reader in _FORMATS.items():
            formats.checks(name, raises=ValueError)(
                lambda value, reader=reader: not isinstance(value, str) or bool(reader(value))
            )
        self._schema = schema
        self._validator = Draft202012Validator(schema, format_checker=formats)
        # A schema that judges each field for itself lets values be judged once, which is far faster.
        self._of_field = {
            name: Draft202012Validator(part, format_checker=formats)
            for name, part in _independent_fields(schema).items()
        }
        self._known: dict[tuple[str, str], list[str]] = {}

    def faults(self, record: Record) -> list[str]:
        """What is wrong with the record, each in a few words; empty if nothing is."""
        if not self._of_field:
            return [_in_words(error) for error in self._validator.iter_errors(record)]
        faults = [f"{name} is missing" for name in self._schema.get("required", ()) if name not in record]
        for name, value in record.items():
            if name in self._of_field:
                faults += self._faults_of_field(name, value)
            elif self._schema.get("additionalProperties") is False:
                faults.append(f"{name} is a field that no other record has")
        return faults

    def _faults_of_field(self, name: str, value: Any) -> list[str]:
        key = (name, strict_json.write(value, sort_keys=True))
        faults = self._known.get(key)
        if faults is None:
            faults = [_in_words(error, name) for error in self._of_field[name].iter_errors(value)]
            if len(self._known) < _REMEMBERED:
                self._known[key] = faults
        return faults


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


def _independent_fields(schema: Schema) -> dict[str, Schema]:
    """The schemas of fields, if nothing but they, their presence and their names is asked for."""
    simple = {"$schema", "type", "properties", "required", "additionalProperties", "title", "description"}
    fields = schema.get("properties")
    closed = schema.get("additionalProperties") in (None, True, False)
    if not set(schema) <= simple or not closed or any(_references(schema)):
        return {}
    return fields if isinstance(fields, dict) else {}


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from (schema[name] for name in ("$ref", "$dynamicRef") if isinstance(schema.get(name), str))
    values = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    for value in values:
        yield from _references(value)


def _in_words(error: Any, name: str = "") -> str:
    """What jsonschema found, as a person says it."""
    path, value = name, shortly(error.instance)
    for step in error.absolute_path:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    match error.validator, error.validator_value:
        case "enum", choices:
            return f"{path} is {value}, which is none of its {len(choices)} values"
        case "type", types:
            return f"{path} is {value}, not {types if isinstance(types, str) else ' or '.join(types)}"
        case "format", name_of_format:
            return f"{path} is {value}, not a {name_of_format} such as {_SAMPLES[name_of_format]}"
        case "required", names:
            lacking = next(field for field in names if field not in error.instance)
            return f"{path or 'it'} lacks {lacking}"
    return f"{path}: {error.message}" if path else str(error.message)


# Inference


class SchemaInference:
    """Infers the schema of records (or of the values of one place in them), added one at a time."""

    def __init__(self, depth: int = 0) -> None:
        self._depth = depth
        self._types: Counter[str] = Counter()
        self._texts: Counter[str] | None = Counter()
        """None if there were too many distinct ones to count."""
        self._formats: Counter[str] = Counter()
        self._properties: dict[str, SchemaInference] = {}
        self._items: SchemaInference | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All fields that any record had, as first written."""
        return tuple(self._properties)

    def add(self, value: Any) -> None:
        """Take one record into account."""
        kind = _type(value)
        self._types[kind] += 1
        if kind == "string":
            self._add_text(value)
        elif kind == "object" and self._depth < DEEPEST:
            for name, part in value.items():
                self._properties.setdefault(name, SchemaInference(self._depth + 1)).add(part)
        elif kind == "array" and self._depth < DEEPEST:
            self._items = self._items or SchemaInference(self._depth + 1)
            for item in value:
                self._items.add(item)

    def schema(self) -> Schema:
        """What nearly all of them have in common."""
        types = self._usual_types()
        schema: Schema = {} if self._depth else {"$schema": DRAFT}
        if types:
            schema["type"] = types[0] if len(types) == 1 else types
        if "string" in types:
            schema |= self._text_schema(types)
        if "object" in types and self._properties:
            schema |= self._object_schema()
        if "array" in types and self._items is not None and self._items._types:
            schema["items"] = self._items.schema()
        return schema

    def _add_text(self, text: str) -> None:
        if self._texts is not None:
            self._texts[text] += 1
            if len(self._texts) > _MOST_KEPT:
                self._texts = None
        self._formats.update(name for name in _FORMATS if _has_format(text, name))

    def _usual_types(self) -> list[str]:
        counts = self._types
        usual = {kind for kind, count in counts.items() if count >= RARE * counts.total()}
        # A field that is empty now and then is no fault, as long as it is empty more than once.
        if counts["null"] > 1:
            usual.add("null")
        # Nor are a few fractions among whole numbers: money is often a round sum.
        if "integer" in usual and counts["number"] > 1:
            usual = (usual - {"integer"}) | {"number"}
        return sorted(usual, key=_TYPES.index)

    def _text_schema(self, types: list[str]) -> Schema:
        nearly_all = (1 - RARE) * self._types["string"]
        for name, count in self._formats.items():
            if count >= nearly_all:
                return {"format": name}
        texts = self._texts or Counter()
        choices: list[str | None] = [*sorted(text for text in texts if texts[text] >= FEWEST_REPEATS)]
        covered = sum(count for count in texts.values() if count >= FEWEST_REPEATS)
        if not 0 < len(choices) <= MOST_CHOICES or covered < nearly_all or set(types) - {"string", "null"}:
            return {}
        return {"enum": [*choices, None] if "null" in types else choices}

    def _object_schema(self) -> Schema:
        total = self._types["object"]
        counts = {name: part._types.total() for name, part in self._properties.items()}
        usual = [name for name, count in counts.items() if count >= RARE * total]
        return {
            "properties": {name: self._properties[name].schema() for name in usual},
            "required": [name for name in usual if counts[name] >= (1 - RARE) * total],
            "additionalProperties": False,
        }


def _type(value: Any) -> str:
    # As in JSON schema itself, 1200.0 is a whole number; others may make the field one of fractions.
    if isinstance(value, float):
        return "integer" if value.is_integer() else "number"
    types = {type(None): "null", bool: "boolean", str: "string", int: "integer", list: "array"}
    return types.get(type(value), "object")


def _has_format(text: str, name: str) -> bool:
    # Of all that ISO 8601 allows, only the form that people write: 2026-03-14, not 20260314 or 2026-W11-6.
    if text[4:5] != "-" or text[7:8] != "-" or (len(text) == 10) != (name == "date"):
        return False
    try:
        return bool(_FORMATS[name](text))
    except ValueError:
        return False
