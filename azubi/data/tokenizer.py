"""Tokenises template text and people's text together; only the template may use control tokens.

Knows nothing of chat templates or examples.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from azubi.errors import DataError

Tokenizer = Any
"""A tokenizer of Transformers, which has no types."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text, and whether control tokens in it are meant."""

    text: str
    ours: bool
    """True for text of the template, False for text that a person wrote."""


class Guard:
    """Tokenises text in which people's text may spell control tokens.

    Where people's text holds no control token as text, the ids are those of tokenising the whole
    text at once. Where it does, the text is cut after that token's first character, so that the
    tokenizer never sees it whole; it comes out as ordinary tokens that decode to the same text.
    """

    def __init__(self, tokenizer: Tokenizer, template: str) -> None:
        """Find the control tokens: the special ones, and those that the chat template writes."""
        self._tokenizer = tokenizer
        self.controls: dict[str, int] = {
            token.content: id
            for id, token in tokenizer.added_tokens_decoder.items()
            if token.content.strip() and (token.special or token.content in template)
        }
        longest_first = sorted(self.controls, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._control_ids = set(self.controls.values()) - {tokenizer.unk_token_id}
        self._line_break = self._encode("\n")
        self._word = self._encode_continued("x")

    def first_control(self, text: str) -> str | None:
        """The control token with which `text` begins, whitespace apart."""
        match = self._pattern.match(text.lstrip())
        return match[0] if match else None

    def ids(
        self, pieces: Sequence[Piece], *, opening: bool = False, followed: bool = False
    ) -> tuple[int, ...]:
        """The token ids of the pieces put together.

        `opening` if nothing stands before them, `followed` if something comes after them.

        Raises:
            DataError: people's text becomes a control token all the same.
        """
        text = "".join(piece.text for piece in pieces)
        intended, cuts = self._scan(text, pieces)
        ids: list[int] = []
        for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
            encode = self._encode if opening and not start else self._encode_continued
            ids += self._encode_followed(text[start:end], encode) if followed else encode(text[start:end])
        controls = [id for id in ids if id in self._control_ids]
        if len(controls) > intended:
            names = ", ".join(sorted(name for name, id in self.controls.items() if id in controls))
            raise DataError(
                f"The text of an example becomes a control token of the model (one of {names}).",
                "Take that token out of the example, or use another base.",
            )
        return tuple(ids)

    def _scan(self, text: str, pieces: Sequence[Piece]) -> tuple[int, list[int]]:
        """How many control tokens are meant, and where to cut those that are not."""
        ours, position = [], 0
        for piece in pieces:
            if piece.ours:
                ours.append((position, position + len(piece.text)))
            position += len(piece.text)
        intended, cuts, position = 0, [], 0
        while match := self._pattern.search(text, position):
            if any(start <= match.start() and match.end() <= end for start, end in ours):
                intended, position = intended + 1, match.end()
            else:
                position = match.start() + 1
                cuts.append(position)
        return intended, [cut for cut in cuts if cut < len(text)]

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False, verbose=False) if text else []

    def _encode_continued(self, text: str) -> list[int]:
        """Tokenise text that does not open the sequence.

        Some tokenizers put a space before whatever they are given. A line break before the text takes
        it, and is removed again; where the line break merges with the text, the text is taken alone.
        """
        ids = self._encode("\n" + text) if text else []
        size = len(self._line_break)
        return ids[size:] if ids[:size] == self._line_break else self._encode(text)

    def _encode_followed(self, text: str, encode: Callable[[str], list[int]]) -> list[int]:
        """Tokenise text that others follow.

        Some tokenizers join line breaks at the very end of a text, but not before a word; so a word
        follows here, and is removed again.
        """
        if not text.endswith("\n"):
            return encode(text)
        ids, size = encode(text + "x"), len(self._word)
        return ids[:-size] if self._word and ids[-size:] == self._word else encode(text)
