"""The text of an answer while it is written: what surely belongs to it, and where a stop text ends it.

A token may end in the middle of a letter, and a stop text may span tokens; what may yet become part of either
is held back. Knows templates and tokens; nothing of how they are chosen.
"""

from collections.abc import Sequence

from azubi.data.chat_template import Template
from azubi.engine.inference.sampling import PartialAnswer, TokenChance

_UNFINISHED = "\ufffd"
"""What a tokenizer writes for a letter of which bytes are missing."""


class WrittenText:
    """The text of one answer, given out piece by piece."""

    def __init__(self, template: Template, row: PartialAnswer, stop: Sequence[str] = ()) -> None:
        """`row` is being written; it is dropped where one of `stop` begins."""
        self._template, self._row, self._stop = template, row, tuple(filter(None, stop))
        self._given = 0
        self._ends: list[int] = []
        """How many letters there are after each token."""
        self._scored = 0
        self.text = ""
        """All that belongs to the answer so far, held back parts included."""
        self.stopped = False
        """Whether a stop text ended it."""

    def read(self) -> None:
        """Take in what was written since; ends the row at a stop text."""
        row = self._row
        if row.alternatives is not None:
            new = range(len(self._ends) + 1, len(row.tokens) + 1)
            self._ends += [len(self._template.decode(row.tokens[:count])) for count in new]
        text = self._template.decode(row.tokens)
        places = [place for stop in self._stop if (place := text.find(stop)) >= 0]
        if places:
            text, self.stopped, row.dropped = text[: min(places)], True, True
        self.text = text

    def piece(self, *, last: bool) -> tuple[str, list[TokenChance]]:
        """The text since the last piece, and its tokens; with `last` all that is left."""
        end = len(self.text) if last else self._sure()
        new, self._given = self.text[self._given : end], max(self._given, end)
        scored = sum(1 for reach in self._ends if reach <= end)
        if last:  # a token of which a part was cut off belongs to it, too
            scored = sum(1 for start in (0, *self._ends[:-1]) if start < end) if self._ends else 0
        chances = self._row.chances[self._scored : scored]
        self._scored = max(self._scored, scored)
        return new, chances

    def _sure(self) -> int:
        """How many letters cannot become part of a stop text, or another letter."""
        end = len(self.text.rstrip(_UNFINISHED))
        longest = max(map(len, self._stop), default=1) - 1
        for start in range(max(self._given, end - longest), end):
            if any(stop.startswith(self.text[start:end]) for stop in self._stop):
                return start
        return end
