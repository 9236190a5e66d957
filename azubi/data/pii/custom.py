"""What a company brings to find personal data: patterns of its own, and a recogniser of people's names.

A regular expression can take exponential time on a text that nearly matches. So each pattern is tried on hard
texts when the recipe is read; each search has a deadline (the `regex` module's); and a missed deadline is an
error, since the text would go on unmasked.

azubi has no recogniser of names itself: that takes a model and a language. The folder that is given holds a
token classification model in Hugging Face format with weights in safetensors. Nothing is fetched, and no code
of the folder is run. How well it finds names, azubi cannot know.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import regex

from azubi.data.pii import kinds
from azubi.data.pii.kinds import Span
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
