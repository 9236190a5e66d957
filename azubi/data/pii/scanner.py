r"""Where personal data stands in a text: detectors, custom patterns and names together, without overlaps.

A text may be JSON. There a line break is `\n`, which looks like a letter before a number, and ü may be
`\u00fc`. So detectors look at the text that is meant, and what takes a value's place is written as JSON.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from azubi.data import strict_json
from azubi.data.pii import kinds
from azubi.data.pii.custom import NameRecogniser, compile_patterns
from azubi.data.pii.detectors import DETECTORS, detect
from azubi.data.pii.kinds import Span, fold

ENOUGH = 10_000
"""Texts from which on all cores are used: about a second of work on one."""
_BATCH = 1_000


class Scanner:
    """Finds personal data."""

    def __init__(self, patterns: Mapping[str, str] | None = None, names: Path | None = None) -> None:
        """Take the company's own `patterns` by name and, to find names, the folder of a recogniser.

        Raises:
            SettingError: a pattern cannot be used.
        """
        self.patterns = compile_patterns(patterns or {})
        self._names = NameRecogniser(names) if names is not None else None
        self.kinds = (*DETECTORS, *([kinds.NAME] if names is not None else []), *self.patterns)
        ranked = [*self.patterns, *DETECTORS, kinds.NAME]
        self._rank = {kind: rank for rank, kind in enumerate(ranked)}
        self._placeholder = re.compile("|".join(re.escape(kinds.placeholder(kind)) for kind in ranked))

    def find(self, text: str) -> list[Span]:
        """The spans in one text, in order.

        Raises:
            DataError: one of the company's patterns took too long.
        """
        return self._find_batch([text])[0]

    def find_all(self, texts: Sequence[str], processes: int = -1) -> list[list[Span]]:
        """The spans in each text; of many texts all cores look through some, or so many `processes`."""
        # A recogniser of names has threads of its own: it stays in this process.
        if self._names is not None or len(texts) < ENOUGH:
            return self._find_batch(texts)
        from joblib import Parallel, delayed

        batches = (texts[begin : begin + _BATCH] for begin in range(0, len(texts), _BATCH))
        spans = Parallel(n_jobs=processes)(delayed(self._find_batch)(batch) for batch in batches)
        return list(chain.from_iterable(spans))

    def _find_batch(self, texts: Sequence[str]) -> list[list[Span]]:
        readings = [read(text) for text in texts]
        names = (
            self._names.find_all([reading.meant for reading in readings])
            if self._names
            else [[]] * len(texts)
        )
        return [
            self._without_overlaps(text, reading, [*self._matches(reading.meant), *spans])
            for text, reading, spans in zip(texts, readings, names, strict=True)
        ]

    def _matches(self, meant: str) -> Iterable[Span]:
        yield from detect(fold(meant))
        for pattern in self.patterns.values():
            yield from pattern.find(meant)

    def _without_overlaps(self, text: str, reading: "JsonText", spans: Sequence[Span]) -> list[Span]:
        """The longest of those that overlap; of equally long ones the company's own, then by rank."""
        if not spans:
            return []
        taken = bytearray(len(text))
        for mask in self._placeholder.finditer(text):
            taken[mask.start() : mask.end()] = b"\1" * len(mask[0])
        kept: list[Span] = []
        for span in sorted(
            spans, key=lambda span: (span.start - span.end, self._rank[span.kind], span.start)
        ):
            start, end = reading.positions[span.start], reading.positions[span.end]
            if 1 not in taken[start:end]:
                taken[start:end] = b"\1" * (end - start)
                kept.append(Span(span.kind, start, end))
        return sorted(kept, key=lambda span: span.start)


_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)")


@dataclass(frozen=True)
class JsonText:
    """A text that may be JSON, and what it means."""

    text: str
    meant: str
    """Without JSON's escapes."""
    positions: Sequence[int]
    """For each character of `meant` its position in `text`; then the text's end."""
    strings: Sequence[tuple[int, int]] | None
    """Where JSON's strings begin and end, quotes included; None if the text is no JSON."""

    def value(self, span: Span) -> str:
        """What a span of `text` means."""
        written = span.of(self.text)
        return written if self.strings is None else _ESCAPE.sub(lambda match: _unescape(match[0]), written)

    def replace(self, replacements: Iterable[tuple[Span, str]]) -> str:
        """The text with other values in place of spans, which are in order."""
        parts, at = [], 0
        for span, value in replacements:
            parts += [self.text[at : span.start], self._written(value, span)]
            at = span.end
        return "".join(parts) + self.text[at:]

    def _written(self, value: str, span: Span) -> str:
        """A value as it is written in the place of a span."""
        if self.strings is None:
            return value
        at = bisect_right(self.strings, (span.start, span.start)) - 1
        if at >= 0 and self.strings[at][0] < span.start and span.end < self.strings[at][1]:
            return json.dumps(value, ensure_ascii=False)[1:-1]
        # The span is a number without quotes: what is no number needs them.
        return value if _is_number(value) else json.dumps(value, ensure_ascii=False)


def read(text: str) -> JsonText:
    """Read a text: as JSON if it is an object or a list, else as it is."""
    identity = range(len(text) + 1)
    if text.lstrip()[:1] not in ("{", "[") or not _is_json(text):
        return JsonText(text, text, identity, None)
    strings = [match.span() for match in _STRING.finditer(text)]
    if "\\" not in text:
        return JsonText(text, text, identity, strings)
    meant: list[str] = []
    positions: list[int] = []
    at = 0
    for match in _ESCAPE.finditer(text):
        meant.append(text[at : match.start()])
        positions.extend(range(at, match.start() + 1))
        # One character for one escape, also where it stands for two.
        meant.append(_unescape(match[0]) if len(_unescape(match[0])) == 1 else "\ufffd")
        at = match.end()
    meant.append(text[at:])
    positions.extend(range(at, len(text) + 1))
    return JsonText(text, "".join(meant), positions, strings)


def _unescape(escape: str) -> str:
    return str(json.loads(f'"{escape}"'))


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
