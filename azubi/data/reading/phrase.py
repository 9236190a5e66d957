"""The prompt as text with columns in braces: `{subject}: {body}`.

This language names columns and can do nothing else: what stands in the braces is looked up among the
columns as it is, so `{a.b}` and `{a[0]}` reach into nothing. `{{` and `}}` stand for braces.
Knows nothing of files.
"""

import re
from collections.abc import Mapping
from typing import Any

from azubi.data.reading.row import written
from azubi.errors import SettingError

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")


class Phrase:
    """Text with places for columns."""

    def __init__(self, text: str) -> None:
        """Take the text apart; without braces, it is the name of one column.

        Raises:
            SettingError: a brace stands alone, or no column is named.
        """
        self._parts: list[tuple[str, bool]] = []
        if "{" not in text and "}" not in text:
            self._parts.append((text, True))
            return
        for found in _PART.finditer(text):
            if found[0] in ("{", "}"):
                raise SettingError(
                    f"The prompt {text!r} has a brace without its partner.",
                    "Write {column} for a column, and {{ or }} for a brace.",
                )
            column = found[1]
            self._parts.append(
                (found[0][:1], False)
                if column is None and found[0] in ("{{", "}}")
                else (found[0], False)
                if column is None
                else (column, True)
            )
        if not self.columns:
            raise SettingError(
                f"The prompt {text!r} names no column: every example would ask the same.",
                "Write the name of a column in braces, such as {body}.",
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it names, each once."""
        return tuple(dict.fromkeys(text for text, named in self._parts if named))

    def fill(self, values: Mapping[str, Any]) -> str:
        """Put a row's values in; nothing if all of them are empty.

        Raises:
            Unusable: a value has no text.
        """
        told = [(written(values[text]) if named else text, named) for text, named in self._parts]
        return (
            "".join(text for text, _ in told) if any(named and text.strip() for text, named in told) else ""
        )
