"""What stands where in a text: detectors, custom patterns and names together, without overlaps.

Knows nothing of what becomes of it.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from azubi.data.pii import custom_patterns, json_text, kinds
from azubi.data.pii.custom_patterns import CustomPattern
from azubi.data.pii.detectors import DETECTORS, detect
from azubi.data.pii.kinds import Span
from azubi.data.pii.names import Names
from azubi.data.pii.numbers import fold


class Scanner:
    """Finds personal data; the same patterns and names folder find the same, in every process."""

    def __init__(self, patterns: Mapping[str, str] | None = None, names: Path | None = None) -> None:
        """Take the company's own `patterns` and, to find names, the folder of a recogniser.

        Raises:
            SettingError: a pattern cannot be used.
        """
        self.patterns = dict(patterns or {})
        self.custom: Mapping[str, CustomPattern] = {
            pattern.name: pattern for pattern in custom_patterns.compiled(self.patterns)
        }
        self.names = Names(names) if names is not None else None
        order = [*self.custom, *DETECTORS, kinds.NAME]
        self._rank = {kind: rank for rank, kind in enumerate(order)}

    @property
    def kinds(self) -> tuple[str, ...]:
        """What it looks for."""
        return (*DETECTORS, *([kinds.NAME] if self.names else []), *self.custom)

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
        parsed = [json_text.read(text) for text in texts]
        named = self.names.find_all([source.meant for source in parsed]) if self.names else [[]] * len(texts)
        return [
            self._without_overlaps(text, source, [*self._matched(source.meant), *more])
            for text, source, more in zip(texts, parsed, named, strict=True)
        ]

    def _matched(self, meant: str) -> Iterable[Span]:
        yield from detect(fold(meant))
        for pattern in self.custom.values():
            yield from pattern.find(meant)

    def _without_overlaps(self, text: str, source: json_text.JsonText, spans: Sequence[Span]) -> list[Span]:
        """The longest of those that overlap; of the equally long, the company's own, then by rank."""
        if not spans:
            return []
        taken = (
            _Taken(place.span() for place in self._placeholders.finditer(text)) if "[" in text else _Taken()
        )
        kept: list[Span] = []
        for span in sorted(
            spans, key=lambda span: (span.start - span.end, self._rank[span.kind], span.start)
        ):
            start, end = source.written(span.start, span.end)
            if taken.take(start, end):
                kept.append(Span(span.kind, start, end))
        return sorted(kept, key=lambda span: span.start)


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
