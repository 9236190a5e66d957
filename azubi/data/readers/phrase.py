"""The prompt as text with columns in braces: `{subject}: {body}`.

This language names columns and can do nothing else: what stands in the braces is looked up among the
columns as it is, so `{a.b}` and `{a[0]}` reach into nothing. `{{` and `}}` stand for braces.
Knows nothing of files.
"""

import re
from collections.abc import Mapping
from typing import Any

from azubi.data.readers.row import written
from azubi.errors import SettingError

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
_BRACES = {"{{": "{", "}}": "}"}


class Phrase:
    """Text with places for columns."""

    def __init__(self, text: str) -> None:
        """Take the text apart; without braces, it is the name of one column.

        Raises:
            SettingError: a brace stands alone, or no column is named.
        """
        self._parts: list[tuple[str, bool]] = []
        self.columns: tuple[str, ...]
        """The columns that it names, each once."""
        if "{" not in text and "}" not in text:
            self._parts.append((text, True))
            self.columns = (text,)
            return
        for found in _PART.finditer(text):
            if found[0] in ("{", "}"):
                raise SettingError(
                    f"The prompt {text!r} has a brace without its partner.",
                    "Write {column} for a column, and {{ or }} for a brace.",
                )
            named = found[1] is not None
            self._parts.append((found[1] if named else _BRACES.get(found[0], found[0]), named))
        self.columns = self._columns()
        if not self.columns:
            raise SettingError(
                f"The prompt {text!r} names no column: every example would ask the same.",
                "Write the name of a column in braces, such as {body}.",
            )

    @property
    def column(self) -> str | None:
        """The one column that it is, with nothing around it; None if it is more."""
        return self.columns[0] if len(self._parts) == 1 else None

    def _columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(text for text, named in self._parts if named))

    def fill(self, values: Mapping[str, Any]) -> str:
        """Put a row's values in; nothing if all of them are empty.

        Raises:
            Unusable: a value has no text.
        """
        if len(self._parts) == 1:
            return written(values[self.columns[0]])
        filled = {column: written(values[column]) for column in self.columns}
        if not any(text.strip() for text in filled.values()):
            return ""
        return "".join(filled[text] if named else text for text, named in self._parts)
