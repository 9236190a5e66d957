"""The language of a text, and what many texts are like.

py3langid tells languages by the letters. It is often wrong about a few words, so short texts are read
together.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

_SHORTEST_TEXT = 40
"""Letters that a text must have."""
_SURE = 0.95
"""How likely the language must be."""
_CLEAR = 0.999
"""How likely it is where there is no doubt,"""
_LONG_TEXT = 150
"""in a text with so many letters."""
_LOOKED_AT = 400
"""Characters of a text."""
_SAMPLE = 500
"""Texts that stand for all."""


def detect_language(text: str) -> tuple[str, bool]:
    """The ISO 639-1 code, empty if it is not clear; and whether there is no doubt."""
    start = text[:_LOOKED_AT]
    letters = sum(map(str.isalpha, start))
    if letters < _SHORTEST_TEXT:
        return "", False
    code, sure = _identifier().classify(start)
    return (str(code), sure >= _CLEAR and letters >= _LONG_TEXT) if sure >= _SURE else ("", False)


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


class TextProfile(NamedTuple):
    """What texts are like, as far as the choice of a base depends on it."""

    language: str = ""
    """ISO 639-1 code of the most frequent language; empty if none is clear."""
    share: float = 0.0
    """Of the texts whose language is clear, those in that one."""
    english: float = 0.0
    """The same for English."""
    long: float = 0.0
    """Share of the texts with more than `LONG` characters."""


LONG = 2_000
"""Characters of a text that is longer than what small encoders read: 512 tokens of about four letters."""


def profile_of(texts: Sequence[str]) -> TextProfile:
    """What texts are like, by a sample that is evenly spread."""
    sample = texts[:: max(1, len(texts) // _SAMPLE)]
    long = sum(len(text) > LONG for text in sample) / max(1, len(sample))
    counts = Counter(code for part in _joined(sample) if (code := detect_language(part)[0]))
    if not counts:
        return TextProfile(long=long)
    (language, count), total = counts.most_common(1)[0], counts.total()
    return TextProfile(language, count / total, counts["en"] / total, long)


def _joined(texts: Sequence[str]) -> Iterator[str]:
    """The texts, each joined with those that follow until they are long enough."""
    part = ""
    for text in texts:
        part = f"{part} {text[:_LOOKED_AT]}".strip()
        if len(part) >= _LONG_TEXT:
            yield part
            part = ""
    yield part
