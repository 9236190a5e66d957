"""Names of people, by a recogniser that the company brings: a folder with a token classification model.

azubi has none of its own: telling a name from other words takes a model and a language, and one that misses
every fifth name would be worse than the plain word that names are not looked for. The folder is in Hugging
Face format with weights in safetensors; nothing is fetched, and no code of the folder is run. torch and
transformers are imported when the first text comes. How well it finds names is the model's matter: azubi
cannot know.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from azubi.data.pii import kinds
from azubi.data.pii.kinds import Span
from azubi.errors import SettingError

_PERSON = ("PER", "PERSON", "NAME", "FIRSTNAME", "LASTNAME", "GIVENNAME", "SURNAME", "MIDDLENAME")
_BATCH = 16
_OVERLAP = 32
"""Tokens that two windows of a text longer than the model reads have in common."""


class Names:
    """The recogniser in a folder."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; it is read with the first text."""
        self.folder = folder

    def find_all(self, texts: Sequence[str]) -> list[list[Span]]:
        """The names in each text.

        Raises:
            SettingError: the folder holds no recogniser of names.
        """
        wanted = [text for text in texts if text.strip()]
        entities = iter(self._recognise(wanted, batch_size=_BATCH) if wanted else [])
        return [self._spans(text, next(entities)) if text.strip() else [] for text in texts]

    def _spans(self, text: str, entities: Sequence[dict[str, Any]]) -> list[Span]:
        spans = []
        for entity in entities:
            start, end = int(entity["start"]), int(entity["end"])
            while start < end and text[start].isspace():
                start += 1
            if entity["entity_group"].upper() in _PERSON and start < end:
                spans.append(Span(kinds.NAME, start, end))
        return _joined(spans)

    @cached_property
    def _recognise(self) -> Any:
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
        self._refuse_random(loading_info)
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
        limit = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", 512) or 512)
        tokenizer.model_max_length = limit
        return pipeline(
            "token-classification",
            model=model,
            tokenizer=tokenizer,
            aggregation_strategy="first",
            stride=min(_OVERLAP, limit // 4),
        )

    def _refuse_random(self, loading_info: dict[str, Any]) -> None:
        """Refuse weights that Transformers would fill with random numbers, or layers that it would drop."""
        odd = {*loading_info["missing_keys"], *(name for name, *_ in loading_info["mismatched_keys"])}
        odd |= {name for name in loading_info["unexpected_keys"] if re.search(r"\.\d+\.", name)}
        if odd:
            raise SettingError(
                f"The weights of the name recogniser in {self.folder} do not fit its config.json: "
                f"{min(odd)} is missing, left over or of another shape ({len(odd)} tensors in all).",
                "Give the folder of a model that was trained to find names, whole.",
            )


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Overlapping ones as one."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda span: span.start):
        if joined and span.start < joined[-1].end:
            last = joined.pop()
            span = Span(span.kind, last.start, max(last.end, span.end))
        joined.append(span)
    return joined
