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
_LONGEST_WHOLE = 308
"""Digits of a whole number: with more of them it is no number to most programs."""
_HALF = re.compile(r"\\u[dD][89a-fA-F]")


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
    if text.count("{") + text.count("[") > DEEPEST and _too_deep(value):
        raise NotJson("it is nested too deeply")
    try:
        (json.dumps(value, ensure_ascii=False) if _HALF.search(text) else text).encode()
    except UnicodeEncodeError as error:
        code = ord(error.object[error.start])
        raise NotJson(f"\\u{code:04x} is half a character (a lone surrogate)") from None
    return value


def write(value: object, **how: Any) -> str:
    """A value as JSON that every parser reads; `how` goes to `json.dumps`.

    A number that JSON does not have becomes null, as in pydantic's files; half a character becomes `?`.
    """
    how = {"ensure_ascii": False, **how}
    try:
        text = json.dumps(value, allow_nan=False, **how)
    except ValueError:
        # Keys too may be such numbers; what Python's own writer makes of them is read back.
        text = json.dumps(json.loads(json.dumps(value, **how), parse_constant=lambda _: None), **how)
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
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise NotJson(f"the key “{twice[:60]}” occurs twice in one object")
    return found


def _whole(digits: str) -> int:
    if len(digits) > _LONGEST_WHOLE:
        raise NotJson(f"a number has {len(digits):,} digits")
    return int(digits)


def _fraction(digits: str) -> float:
    found = float(digits)
    if math.isinf(found):
        raise NotJson(f"the number {digits[:60]} is out of range")
    return found


def _constant(name: str) -> Any:
    raise NotJson(f"{name} is no JSON value")


_STRICT = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_whole, parse_float=_fraction, parse_constant=_constant
)


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        inside = [part for one in level for part in (one.values() if isinstance(one, dict) else one)]
        level = [part for part in inside if isinstance(part, dict | list)]
    return bool(level)


# What is nearly JSON

REPAIR = "--repair mends it"
"""Stands in the fault of whatever `mended` mends."""


def fault(text: str, error: NotJson) -> str:
    """What keeps a text from being JSON, as one that `mended` mends or as the parser's `error` has it."""
    nearly = mended(text)
    return f"is not JSON, but {REPAIR}: {nearly}" if nearly else f"is not JSON: {error}"


@dataclass(frozen=True, slots=True)
class Mended:
    """What a text that is nearly JSON means, and how it departs from JSON."""

    value: Any
    faults: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(self.faults)


_SINGLE = "single quotes, as in a Python dict"
_UNQUOTED = "keys without quotes"
_TRAILING = "a comma before the closing bracket"
_COMMENT = "a comment"
_ESCAPE_FAULT = "an escape that JSON does not have"
_BREAK = "a line break or tab within a text"
_WORDS = {
    **dict.fromkeys(("true", "false", "null"), ("", "")),
    "None": ("null", "None"),
    "True": ("true", "True"),
    "False": ("false", "False"),
    "NaN": ("null", "NaN"),
    "nan": ("null", "nan"),
    "undefined": ("null", "undefined"),
}
"""What is written for a word, and what is said of it."""
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
_LETTERS = {
    **dict(zip("nrtbf", "\n\r\t\b\f", strict=True)),
    **{one: one for one in "\"'\\/"},
}


def mended(text: str) -> Mended | None:
    """The value of a text that is JSON but for what Python and JavaScript write otherwise; else None.

    Mended is only what can be meant in one way: quotes, None, True and False, commas before a closing
    bracket, comments, keys without quotes, line breaks within texts, escapes. NaN becomes null.
    Equal keys, Infinity and whatever breaks off stay faults.
    """
    faults: dict[str, None] = {}
    try:
        value = parse(" ".join(_tokens(text, faults)))
    except NotJson:
        return None
    return Mended(value, tuple(faults)) if faults else None


def end(text: str, at: int, most: int) -> int | None:
    """Where the object or list ends that begins at `at` and is JSON, or nearly so.

    None if that is not seen within `most` characters.
    """
    depth, stop = 0, at + most
    while found := _TOKEN.match(text, at, stop):
        at, sign = found.end(), found["sign"]
        depth += (sign in ("{", "[")) - (sign in ("}", "]"))
        if not depth and sign:
            return at
    return None


def _tokens(text: str, faults: dict[str, None]) -> Iterator[str]:
    """The text as JSON, a token at a time; `faults` takes up what was otherwise.

    Raises:
        NotJson: something is neither JSON nor nearly so.
    """
    at, comma, opened = 0, False, True
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise NotJson(f"no value begins with {text[at : at + 10]}")
        at, kind, token = found.end(), found.lastgroup, found[0]
        if kind == "comment":
            faults[_COMMENT] = None
        if kind in ("comment", "space"):
            continue
        if comma:
            if token in ("}", "]"):
                faults[_TRAILING] = None
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
        faults[_UNQUOTED] = None
        return json.dumps(token)
    if kind == "word":
        written, fault = _WORDS.get(token, (token, ""))
        if fault:
            faults[fault] = None
        return written or token
    return token


def _text(token: str, faults: dict[str, None]) -> str:
    if token.startswith("'"):
        faults[_SINGLE] = None
    else:
        try:
            json.loads(token)
        except ValueError:
            faults[_BREAK if re.search(r"[\x00-\x1f]", token) else _ESCAPE_FAULT] = None
        else:
            return token
    return json.dumps(_ESCAPE.sub(_escaped, token[1:-1]))


def _escaped(found: re.Match[str]) -> str:
    sign = found[1]
    if len(sign) > 1:
        return chr(int(sign[1:], 16))
    if sign not in _LETTERS:
        raise NotJson(f"\\{sign} means nothing")
    return _LETTERS[sign]
