"""Where personal data stands in a text: detectors, custom patterns and names together, without overlaps.

A text may be JSON. There a line break is `\n`, which looks like a letter before a number, and ü may be
`\u00fc`. So detectors look at the text that is meant, and what takes a value's place is written as JSON.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import regex

from azubi.data import strict_json
from azubi.data.pii import kinds
from azubi.data.pii.detectors import DETECTORS, detect
from azubi.data.pii.kinds import Span, fold
from azubi.errors import DataError, SettingError

MAX_PATTERNS = 50
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
_MAX_LENGTH = 500
_TRIAL_LENGTH = 2_000
"""Characters of a text on which a pattern is tried."""
_TRIAL_SECONDS = 0.25
"""A linear pattern takes about 20 µs."""
_SIMPLER = "Write it without repetitions inside repetitions, such as (a+)+, and with bounds, such as {1,20}."
_SECONDS = 2.0
"""Deadline of one search, and as much again per million characters."""


@dataclass(frozen=True)
class CustomPattern:
    """One pattern by its name."""

    name: str
    regex: Any
    """Compiled by `regex`, which has no type for it."""

    def find(self, text: str) -> Iterator[Span]:
        """All matches that are not empty.

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
        """Whether the whole text matches; one that takes too long does not."""
        try:
            return self.regex.fullmatch(text, timeout=_SECONDS) is not None
        except TimeoutError:
            return False


def compile_patterns(patterns: Mapping[str, str]) -> dict[str, CustomPattern]:
    """Compile the patterns and try them on hard texts.

    Raises:
        SettingError: a name or a pattern cannot be used; says which and why.
    """
    if len(patterns) > MAX_PATTERNS:
        raise SettingError(
            f"There are {len(patterns)} patterns; azubi takes {MAX_PATTERNS}.", "Join some with |."
        )
    return {name: _compile(name, pattern) for name, pattern in patterns.items()}


@lru_cache(maxsize=4 * MAX_PATTERNS)
def _compile(name: str, pattern: str) -> CustomPattern:
    where = f"The pattern `{name}`"
    if not _NAME.fullmatch(name):
        raise SettingError(
            f"A pattern is called {name!r}.",
            "Call it by small letters, digits and _, beginning with a letter: policy, claim_no.",
        )
    if name in kinds.WORDS:
        raise SettingError(f"{where} has the name of a kind that azubi knows.", "Choose another name for it.")
    if len(pattern) > _MAX_LENGTH:
        raise SettingError(
            f"{where} has {len(pattern):,} characters.", f"Write it with {_MAX_LENGTH} at most."
        )
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
    """Long texts that nearly match: one character or two in turns, then an end that does not fit.

    The pattern's own characters are part of that end: without them `regex` may see at once that nothing
    matches.
    """
    used = list(dict.fromkeys(pattern))
    typical = [character for character in used if character.isalnum() or character in " -_./:,"][:20]
    letters = list(dict.fromkeys([*typical, *"aA0 -"]))
    end = "\0" + "".join(used)
    for character in letters:
        yield character * _TRIAL_LENGTH + end
    for first, second in pairwise(letters):
        yield (first + second) * (_TRIAL_LENGTH // 2) + end


# Names of people

_PERSON = ("PER", "PERSON", "NAME", "FIRSTNAME", "LASTNAME", "GIVENNAME", "SURNAME", "MIDDLENAME")
_BATCH = 16
_OVERLAP = 32
"""Tokens that two windows of a text longer than the model reads have in common."""


class NameRecogniser:
    """The recogniser in a folder, which is read with the first text."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_all(self, texts: Sequence[str]) -> list[list[Span]]:
        """The names in each text.

        Raises:
            SettingError: the folder holds no recogniser of names.
        """
        texts_to_read = [text for text in texts if text.strip()]
        entities = iter(self._pipeline(texts_to_read, batch_size=_BATCH) if texts_to_read else [])
        return [self._spans(text, next(entities)) if text.strip() else [] for text in texts]

    def _spans(self, text: str, entities: Sequence[dict[str, Any]]) -> list[Span]:
        """The people among the entities; those that overlap as one."""
        spans: list[Span] = []
        for entity in sorted(entities, key=lambda entity: int(entity["start"])):
            start, end = int(entity["start"]), int(entity["end"])
            start += len(text[start:end]) - len(text[start:end].lstrip())
            if entity["entity_group"].upper() not in _PERSON or start >= end:
                continue
            if spans and start < spans[-1].end:
                before = spans.pop()
                start, end = before.start, max(before.end, end)
            spans.append(Span(kinds.NAME, start, end))
        return spans

    @cached_property
    def _pipeline(self) -> Any:
        if not (self.folder / "config.json").is_file():
            raise SettingError(
                f"There is no name recogniser in {self.folder}: it has no config.json.",
                "Give the folder of a token classification model in Hugging Face format with `names`.",
            )
        from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

        try:
            model, loading_info = AutoModelForTokenClassification.from_pretrained(
                self.folder,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
            tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise SettingError(
                f"The name recogniser in {self.folder} cannot be loaded: {str(error).splitlines()[0]}",
                "Give the folder of a token classification model with its tokenizer and model.safetensors.",
            ) from error
        self._check(model, tokenizer, loading_info)
        limit = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", 512) or 512)
        tokenizer.model_max_length = limit
        return pipeline(
            "token-classification",
            model=model,
            tokenizer=tokenizer,
            aggregation_strategy="first",
            stride=min(_OVERLAP, limit // 4),
        )

    def _check(self, model: Any, tokenizer: Any, loading_info: dict[str, Any]) -> None:
        """Refuse weights that are random or dropped, and models that find no people."""
        odd = {*loading_info["missing_keys"], *(name for name, *_ in loading_info["mismatched_keys"])}
        odd |= {name for name in loading_info["unexpected_keys"] if re.search(r"\.\d+\.", name)}
        if odd:
            raise SettingError(
                f"The weights of the name recogniser in {self.folder} do not fit its config.json: "
                f"{min(odd)} is missing, left over or of another shape ({len(odd)} tensors in all).",
                "Give the folder of a model that was trained to find names, whole.",
            )
        labels = {str(label).upper().rpartition("-")[2] for label in model.config.id2label.values()}
        if not labels & set(_PERSON):
            raise SettingError(
                f"The model in {self.folder} knows no people; its labels are {', '.join(sorted(labels))}.",
                f"Give one that has one of the labels {', '.join(_PERSON)}.",
            )
        if not tokenizer.is_fast:
            raise SettingError(
                f"The tokenizer in {self.folder} does not say where in the text its tokens stand.",
                "Give a model with a tokenizer.json.",
            )


ENOUGH = 10_000
"""Texts from which on all cores are used: about a second of work on one."""
_SCANNER_BATCH = 1_000


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

        batches = (texts[begin : begin + _SCANNER_BATCH] for begin in range(0, len(texts), _SCANNER_BATCH))
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
