r"""Texts that are JSON: read as what they say, and written so that they stay JSON.

In JSON a line break is `\n`, which looks like a letter before a number, and ü may be `\u00fc`. Detectors look
at the text that is meant; what takes a value's place is written as JSON writes it. Knows nothing of personal
data.
"""

import json
import re
from bisect import bisect_right
from dataclasses import dataclass

from azubi.data import strict_json

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)")


@dataclass(frozen=True)
class JsonText:
    """A text as it is meant, and where each of its characters is written."""

    meant: str
    places: tuple[int, ...] | None = None
    """Where the character is written, and where the text ends; None if it is written as it is meant."""
    strings: tuple[tuple[int, int], ...] | None = None
    """Where JSON's strings are written, quotes included; None if it is no JSON."""

    def written(self, start: int, end: int) -> tuple[int, int]:
        """Where a stretch of what is meant is written."""
        return (start, end) if self.places is None else (self.places[start], self.places[end])

    def put(self, text: str, start: int, end: int) -> str:
        """Write `text` in the place of what is written from `start` to `end`."""
        if self.strings is None:
            return text
        at = bisect_right(self.strings, (start, start)) - 1
        if at >= 0 and self.strings[at][0] < start and end < self.strings[at][1]:
            return json.dumps(text, ensure_ascii=False)[1:-1]
        # A number without quotes: what is no number any more needs them.
        return text if _is_number(text) else json.dumps(text, ensure_ascii=False)


def read(text: str) -> JsonText:
    """Read a text: as JSON if it is an object or a list, as it is if not."""
    if text.lstrip()[:1] not in ("{", "[") or not _is_json(text):
        return JsonText(text)
    strings = tuple(match.span() for match in _STRING.finditer(text))
    if "\\" not in text:
        return JsonText(text, None, strings)
    meant: list[str] = []
    places: list[int] = []
    at = 0
    for match in _ESCAPE.finditer(text):
        meant.append(text[at : match.start()])
        places.extend(range(at, match.start()))
        unescaped = json.loads(f'"{match[0]}"')
        # A quote that is meant would end nothing; a space keeps detectors from reading on across it.
        meant.append(unescaped if len(unescaped) == 1 else "\ufffd")
        places.append(match.start())
        at = match.end()
    meant.append(text[at:])
    places.extend(range(at, len(text) + 1))
    return JsonText("".join(meant), tuple(places), strings)


def meant(part: str, text: str) -> str:
    """What a stretch of `text` means, as it is written there."""
    return read_escapes(part) if "\\" in part and read(text).strings is not None else part


def read_escapes(part: str) -> str:
    """A stretch of a JSON string without its escapes."""
    return _ESCAPE.sub(lambda match: str(json.loads(f'"{match[0]}"')), part)


def _is_json(text: str) -> bool:
    try:
        strict_json.parse(text)
    except strict_json.NotJson:
        return False
    return True


def _is_number(text: str) -> bool:
    try:
        return isinstance(strict_json.parse(text), int | float)
    except strict_json.NotJson:
        return False
