"""What stands where in a text: detectors, own patterns and names together, without overlaps.

Knows nothing of what becomes of it.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from azubi.data.pii import custom_patterns, kinds, script
from azubi.data.pii.custom_patterns import OwnPattern
from azubi.data.pii.detectors import DETECTORS, detected
from azubi.data.pii.names import Names
from azubi.data.pii.numbers import fold
from azubi.data.pii.span import Span


class Scanner:
    """Finds personal data; the same patterns and names folder find the same, in every process."""

    def __init__(self, patterns: Mapping[str, str] | None = None, names: Path | None = None) -> None:
        """Take the company's own `patterns` and, to find names, the folder of a recogniser.

        Raises:
            SettingError: a pattern cannot be used.
        """
        self.patterns = dict(patterns or {})
        self.own: Mapping[str, OwnPattern] = {
            one.name: one for one in custom_patterns.compiled(self.patterns)
        }
        self.names = Names(names) if names is not None else None
        order = [*self.own, *DETECTORS, kinds.NAME]
        self._rank = {kind: rank for rank, kind in enumerate(order)}

    @property
    def kinds(self) -> tuple[str, ...]:
        """What it looks for."""
        return (*DETECTORS, *([kinds.NAME] if self.names else []), *self.own)

    @cached_property
    def _placeholders(self) -> re.Pattern[str]:
        return re.compile("|".join(re.escape(kinds.placeholder(kind)) for kind in self._rank))

    def find(self, text: str) -> list[Span]:
        """What stands in one text, in its order, as places in what is written.

        Raises:
            DataError: one of the company's patterns took too long.
        """
        return self.find_all([text])[0]

    def find_all(self, texts: Sequence[str]) -> list[list[Span]]:
        """The same for many texts; a name recogniser takes them in batches."""
        scripts = [script.read(text) for text in texts]
        named = self.names.find_all([one.meant for one in scripts]) if self.names else [[]] * len(texts)
        return [
            self._settled(text, one, [*self._matched(one.meant), *more])
            for text, one, more in zip(texts, scripts, named, strict=True)
        ]

    def _matched(self, meant: str) -> Iterable[Span]:
        yield from detected(fold(meant))
        for pattern in self.own.values():
            yield from pattern.find(meant)

    def _settled(self, text: str, form: script.Script, found: Sequence[Span]) -> list[Span]:
        """The longest of those that overlap; of the equally long, the company's own, then by rank."""
        if not found:
            return []
        taken = (
            _Taken(place.span() for place in self._placeholders.finditer(text)) if "[" in text else _Taken()
        )
        kept: list[Span] = []
        for span in sorted(found, key=lambda one: (one.start - one.end, self._rank[one.kind], one.start)):
            start, end = form.written(span.start, span.end)
            if taken.take(start, end):
                kept.append(Span(span.kind, start, end))
        return sorted(kept, key=lambda one: one.start)


class _Taken:
    """Stretches of a text that do not overlap, in order; a text of many megabytes may hold a million."""

    def __init__(self, places: Iterable[tuple[int, int]] = ()) -> None:
        self._places = list(places)

    def take(self, start: int, end: int) -> bool:
        """Take a stretch, unless some of it is taken."""
        at = bisect_left(self._places, (start, end))
        before, after = self._places[at - 1 : at] if at else [], self._places[at : at + 1]
        if (before and before[0][1] > start) or (after and after[0][0] < end):
            return False
        self._places.insert(at, (start, end))
        return True
