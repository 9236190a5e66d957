"""The company's custom patterns: compiled, tried on texts that are hard for them, and held to a time limit.

A regular expression can take exponential time on a text that nearly matches. Three things guard against it:
each pattern is tried, when the recipe is read, on long texts made of its own characters, and refused if it
takes long; each search has a deadline (the `regex` module's); and a search that misses its deadline is an
error, not a text without findings, since that text would go on unmasked. Knows no other kinds of personal
data.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import regex

from azubi.data.pii import kinds
from azubi.data.pii.kinds import Span
from azubi.errors import DataError, SettingError

MOST = 50
"""Patterns that may be given."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
_LONGEST = 500
_TRIAL = 2_000
"""Characters of a text on which a pattern is tried, …"""
_TRIAL_SECONDS = 0.25
"""… and how long it may take (one that is linear takes about 20 µs)."""
_SIMPLER = "Write it without repetitions inside repetitions, such as (a+)+, and with bounds, such as {1,20}."
_SECONDS = 2.0
"""How long one search may take, and as much again per million characters."""


@dataclass(frozen=True)
class CustomPattern:
    """One pattern by its name."""

    name: str
    regex: Any
    """Compiled by `regex`, which has no type for it."""

    def find(self, text: str) -> Iterator[Span]:
        """What matches.

        Raises:
            DataError: the search took too long.
        """
        limit = _SECONDS * (1 + len(text) / 1e6)
        try:
            for match in self.regex.finditer(text, timeout=limit):
                if match.start() < match.end():
                    yield Span(self.name, match.start(), match.end())
        except TimeoutError:
            raise DataError(
                f"The pattern `{self.name}` took more than {limit:.0f} seconds on one text "
                f"of {len(text):,} characters.",
                _SIMPLER,
            ) from None

    def matches(self, text: str) -> bool:
        """Whether the whole text matches, standing alone; one that takes too long counts as no match."""
        try:
            return self.regex.fullmatch(text, timeout=_SECONDS) is not None
        except TimeoutError:
            return False


def compiled(patterns: Mapping[str, str]) -> tuple[CustomPattern, ...]:
    """Compile and try the patterns, by their names.

    Raises:
        SettingError: a name or a pattern cannot be used; says which and why.
    """
    if len(patterns) > MOST:
        raise SettingError(f"There are {len(patterns)} patterns; azubi takes {MOST}.", "Join some with |.")
    return tuple(_compiled(name, pattern) for name, pattern in patterns.items())


@lru_cache(maxsize=4 * MOST)
def _compiled(name: str, pattern: str) -> CustomPattern:
    where = f"The pattern `{name}`"
    if not _NAME.fullmatch(name):
        raise SettingError(
            f"A pattern is called {name!r}.",
            "Call it by small letters, digits and _, beginning with a letter: policy, claim_no.",
        )
    if name in kinds.WORDS:
        raise SettingError(f"{where} has the name of a kind that azubi knows.", "Choose another name for it.")
    if len(pattern) > _LONGEST:
        raise SettingError(f"{where} has {len(pattern):,} characters.", f"Write it with {_LONGEST} at most.")
    try:
        expression = regex.compile(pattern, regex.V0)
    except regex.error as error:
        raise SettingError(
            f"{where} is no regular expression: {error}.", r"Correct it, such as P-\d{8}."
        ) from None
    if expression.fullmatch("") is not None:
        raise SettingError(
            f"{where}, {pattern}, matches an empty text.", "Make at least one character obligatory."
        )
    _try_out(where, pattern, expression)
    return CustomPattern(name, expression)


def _try_out(where: str, pattern: str, expression: Any) -> None:
    for text in _hard_texts(pattern):
        try:
            for _ in expression.finditer(text, timeout=_TRIAL_SECONDS):
                pass
        except TimeoutError:
            raise SettingError(
                f"{where}, {pattern}, takes too long on long texts that nearly match "
                f"({len(text):,} characters, such as “{text[:12]}…”).",
                _SIMPLER,
            ) from None


def _hard_texts(pattern: str) -> Iterator[str]:
    """Long texts that nearly match: one character over and over, or two in turns, then an end that does not
    fit.

    The pattern's own characters follow behind a zero byte: without them `regex` may see at once that nothing
    matches.
    """
    used = list(dict.fromkeys(pattern))
    letters = list(
        dict.fromkeys(
            [
                *[character for character in used if character.isalnum() or character in " -_./:,"][:20],
                *"aA0 -",
            ]
        )
    )
    end = "\0" + "".join(used)
    for character in letters:
        yield character * _TRIAL + end
    for character, other in pairwise(letters):
        yield (character + other) * (_TRIAL // 2) + end
