"""JSON as RFC 8259 has it: one parser of what is brought, one writer of what goes out, and the mending
of what is nearly JSON.

Python's own parser takes NaN, keeps the last of equal keys, makes 1e999 infinite, and reads half a character;
its writer writes all of that. Knows nothing of files, rows or records.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

DEEPEST = 100
"""Levels of objects and lists."""
_MOST_DIGITS = 308
"""Digits of a whole number: with more of them it is no number to most programs."""
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")

Record = Mapping[str, Any]
"""A JSON object: an answer with fields."""


class NotJson(ValueError):
    """Says what keeps a text from being JSON, in a few words."""


def parse(text: str) -> Any:
    """The value that a text is.

    Raises:
        NotJson: it is none by RFC 8259, or has equal keys, half a character (a lone surrogate), a number that
            is out of range, or more than `DEEPEST` levels.
    """
    try:
        value = _STRICT.decode(text.rstrip(" \t\r\n"))
    except json.JSONDecodeError as error:
        line = f"line {error.lineno:,}, " if error.lineno > 1 else ""
        raise NotJson(f"{error.msg} at {line}column {error.colno:,}") from None
    except RecursionError:
        raise NotJson("it is nested too deeply") from None
    if text.count("{") + text.count("[") > DEEPEST and _is_too_deep(value):
        raise NotJson("it is nested too deeply")
    try:
        (json.dumps(value, ensure_ascii=False) if _HALF_CHARACTER.search(text) else text).encode()
    except UnicodeEncodeError as error:
        code = ord(error.object[error.start])
        raise NotJson(f"\\u{code:04x} is half a character (a lone surrogate)") from None
    return value


def write(value: object, **options: Any) -> str:
    """A value as JSON that every parser reads; `options` go to `json.dumps`.

    A number that JSON does not have becomes null, as in pydantic's files; half a character becomes `?`.
    """
    options = {"ensure_ascii": False, **options}
    try:
        text = json.dumps(value, allow_nan=False, **options)
    except ValueError:
        # Keys too may be such numbers; what Python's own writer makes of them is read back.
        text = json.dumps(json.loads(json.dumps(value, **options), parse_constant=lambda _: None), **options)
    return text if text.isascii() else text.encode(errors="replace").decode()


def shortly(value: Any) -> str:
    """A value as JSON, cut to 60 characters, for messages."""
    text = write(value)
    return text if len(text) <= 60 else text[:59] + "…"


def same(first: object, second: object) -> bool:
    """Whether two JSON values are the same.

    1 and 1.0 are; true and 1 are not; lists count in the order written; the order of keys does not.
    """
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in value if names.count(name) > 1)
        raise NotJson(f"the key “{twice[:60]}” occurs twice in one object")
    return value


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise NotJson(f"a number has {len(digits):,} digits")
    return int(digits)


def _fraction(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise NotJson(f"the number {digits[:60]} is out of range")
    return number


def _constant(name: str) -> Any:
    raise NotJson(f"{name} is no JSON value")


_STRICT = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_whole, parse_float=_fraction, parse_constant=_constant
)


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        inside = [part for outer in level for part in (outer.values() if isinstance(outer, dict) else outer)]
        level = [part for part in inside if isinstance(part, dict | list)]
    return bool(level)


# What is nearly JSON

REPAIR = "--repair mends it"
"""Stands in the fault of whatever `repair` mends."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """What a text that is nearly JSON means, and how it departs from JSON."""

    value: Any
    faults: tuple[str, ...]


def fault(text: str, error: NotJson) -> str:
    """What keeps a text from being JSON, as one that `repair` mends or as the parser's `error` has it."""
    repaired = repair(text)
    return f"is not JSON, but {REPAIR}: {', '.join(repaired.faults)}" if repaired else f"is not JSON: {error}"


_WORDS = {"None": "null", "True": "true", "False": "false", "NaN": "null", "nan": "null", "undefined": "null"}
"""What is written for a word of Python or JavaScript."""
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    |(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<comment>//[^\n]*|/\*.*?\*/|\#[^\n]*)
    |(?P<sign>[{}\[\],:])
    |(?P<key>[A-Za-z_$][\w$]*(?=\s*:))
    |(?P<word>[A-Za-z]+)
    |(?P<number>-?[0-9][0-9.eE+-]*)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U00(?:0[0-9a-fA-F]|10)[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPED_SIGNS = {**dict(zip("nrtbf", "\n\r\t\b\f", strict=True)), **{sign: sign for sign in "\"'\\/"}}


def repair(text: str) -> Repaired | None:
    """The value of a text that is JSON but for what Python and JavaScript write otherwise; else None.

    Repaired is only what can be meant in one way: quotes, None, True and False, commas before a closing
    bracket, comments, keys without quotes, line breaks within texts, escapes. NaN becomes null.
    Equal keys, Infinity and whatever breaks off stay faults.
    """
    faults: dict[str, None] = {}
    try:
        value = parse(" ".join(_tokens(text, faults)))
    except NotJson:
        return None
    return Repaired(value, tuple(faults)) if faults else None


def find_end(text: str, start: int, most: int) -> int | None:
    """Where the object or list ends that begins at `start` and is JSON, or nearly so.

    None if that is not seen within `most` characters.
    """
    depth, position = 0, start
    while match := _TOKEN.match(text, position, start + most):
        position, sign = match.end(), match["sign"]
        depth += (sign in ("{", "[")) - (sign in ("}", "]"))
        if not depth and sign:
            return position
    return None


def _tokens(text: str, faults: dict[str, None]) -> Iterator[str]:
    """The text as JSON, a token at a time; `faults` takes up what was otherwise.

    Raises:
        NotJson: something is neither JSON nor nearly so.
    """
    position, comma, opened = 0, False, True
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise NotJson(f"no value begins with {text[position : position + 10]}")
        position, kind, token = match.end(), match.lastgroup, match[0]
        if kind == "comment":
            faults["a comment"] = None
        if kind in ("comment", "space"):
            continue
        if comma:
            if token in ("}", "]"):
                faults["a comma before the closing bracket"] = None
            else:
                yield ","
        comma = token == "," and not opened
        if not comma:
            yield _token(str(kind), token, faults)
        opened = token in ("{", "[", ",")


def _token(kind: str, token: str, faults: dict[str, None]) -> str:
    if kind == "text":
        return _text(token, faults)
    if kind == "key":
        faults["keys without quotes"] = None
        return json.dumps(token)
    if kind == "word" and token in _WORDS:
        faults[token] = None
        return _WORDS[token]
    return token


def _text(token: str, faults: dict[str, None]) -> str:
    if token.startswith("'"):
        faults["single quotes, as in a Python dict"] = None
    else:
        try:
            json.loads(token)
        except ValueError:
            unprintable = re.search(r"[\x00-\x1f]", token)
            faults[
                "a line break or tab within a text" if unprintable else "an escape that JSON does not have"
            ] = None
        else:
            return token
    return json.dumps(_ESCAPE.sub(_unescaped, token[1:-1]))


def _unescaped(match: re.Match[str]) -> str:
    sign = match[1]
    if len(sign) > 1:
        return chr(int(sign[1:], 16))
    if sign not in _ESCAPED_SIGNS:
        raise NotJson(f"\\{sign} means nothing")
    return _ESCAPED_SIGNS[sign]
