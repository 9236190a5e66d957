"""A stretch of text that holds personal data.

Knows nothing of how it was found or what becomes of it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """What stands in a text from `start` up to `end`, in characters."""

    kind: str
    """A name of `kinds`, or that of one of the company's own patterns."""
    start: int
    end: int

    def of(self, text: str) -> str:
        """The stretch itself."""
        return text[self.start : self.end]
