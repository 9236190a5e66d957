"""The language of a text, as py3langid tells it by its letters. It is often wrong about a few words."""

from functools import cache
from typing import Any

SHORTEST = 40
"""Letters that a text must have."""
SURE = 0.95
"""How likely the language must be."""
CLEAR = 0.999
"""How likely it is where there is no doubt,"""
LONG = 150
"""in a text with so many letters."""
_LOOKED_AT = 400
"""Characters of a text."""


def language(text: str) -> tuple[str, bool]:
    """The ISO 639-1 code, empty if it is not clear; and whether there is no doubt."""
    start = text[:_LOOKED_AT]
    letters = sum(map(str.isalpha, start))
    if letters < SHORTEST:
        return "", False
    code, sure = _identifier().classify(start)
    return (str(code), sure >= CLEAR and letters >= LONG) if sure >= SURE else ("", False)


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
