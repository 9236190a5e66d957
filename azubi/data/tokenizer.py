"""What azubi asks of a tokenizer, and tokenising text that must not smuggle in control tokens.

Knows nothing of chat templates or examples.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from azubi.errors import DataError


class AddedToken(Protocol):
    """A token that stands outside the tokenizer's trained vocabulary."""

    @property
    def content(self) -> str:
        """The token as text."""

    @property
    def special(self) -> bool:
        """Whether it steers the model, as opposed to being a word of its own."""


class Tokenizer(Protocol):
    """The part of a Transformers tokenizer that azubi uses."""

    @property
    def chat_template(self) -> Any:
        """The chat template, several by name, or None."""

    @property
    def eos_token_id(self) -> int | None:
        """The token that ends a text."""

    @property
    def unk_token_id(self) -> int | None:
        """The token for what the vocabulary does not have."""

    @property
    def special_tokens_map(self) -> Mapping[str, Any]:
        """The special tokens by their role: bos_token, eos_token, …"""

    @property
    def added_tokens_decoder(self) -> Mapping[int, Any]:
        """The added tokens by id."""

    def get_chat_template(self) -> str:
        """The chat template that is used if none is named."""

    def get_vocab(self) -> dict[str, int]:
        """All tokens and their ids."""

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any:
        """Write a conversation as text, as the template says."""

    def encode(self, text: str, **options: Any) -> list[int]:
        """Text to token ids."""

    def decode(self, token_ids: Any, **options: Any) -> Any:
        """Token ids to text."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text, and whether control tokens in it are meant."""

    text: str
    ours: bool
    """True for text of the template, False for text that a person wrote."""


class Guard:
    """Tokenises template text and people's text together, and lets only the template use control tokens.

    Where people's text holds no control token as text, the ids are those of tokenising the whole
    text at once. Where it does, the text is cut after that token's first character, so that the
    tokenizer never sees it whole; it comes out as ordinary tokens that decode to the same text.
    """

    def __init__(self, tokenizer: Tokenizer, template: str) -> None:
        """Find the control tokens of a tokenizer and its chat template."""
        self._tokenizer = tokenizer
        self.controls = _controls(tokenizer, template)
        longest_first = sorted(self.controls, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._watched = set(self.controls.values()) - {tokenizer.unk_token_id}
        self._line_break = self._encode("\n")
        self._word = self._continued("x")

    def first_control(self, text: str) -> str | None:
        """The control token with which `text` begins, whitespace apart."""
        found = self._pattern.match(text.lstrip())
        return found[0] if found else None

    def ids(
        self, pieces: Sequence[Piece], *, opening: bool = False, followed: bool = False
    ) -> tuple[int, ...]:
        """The token ids of the pieces put together.

        `opening` if nothing stands before them, `followed` if something comes after them.
        """
        text = "".join(piece.text for piece in pieces)
        meant, cuts = self._scan(text, pieces)
        ends = [*cuts, len(text)]
        ids: list[int] = []
        for start, end in zip([0, *cuts], ends, strict=True):
            encode = self._encode if opening and not start else self._continued
            ids += self._followed(text[start:end], encode) if followed else encode(text[start:end])
        if sum(id in self._watched for id in ids) > meant:
            self._refuse(ids)
        return tuple(ids)

    def _scan(self, text: str, pieces: Sequence[Piece]) -> tuple[int, list[int]]:
        """How many control tokens are meant, and where to cut those that are not."""
        ours = _spans(pieces)
        meant, cuts, at = 0, [], 0
        while found := self._pattern.search(text, at):
            if any(start <= found.start() and found.end() <= end for start, end in ours):
                meant, at = meant + 1, found.end()
            else:
                at = found.start() + 1
                cuts.append(at)
        return meant, [cut for cut in cuts if cut < len(text)]

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False, verbose=False) if text else []

    def _continued(self, text: str) -> list[int]:
        """Tokenise text that does not open the sequence.

        Some tokenizers put a space before whatever they are given. A line break before the text takes
        it, and is removed again; where the line break merges with the text, the text is taken alone.
        """
        ids = self._encode("\n" + text) if text else []
        size = len(self._line_break)
        return ids[size:] if ids[:size] == self._line_break else self._encode(text)

    def _followed(self, text: str, encode: Callable[[str], list[int]]) -> list[int]:
        """Tokenise text that others follow.

        Some tokenizers join line breaks at the very end of a text, but not before a word; so a word
        follows here, and is removed again.
        """
        if not text.endswith("\n"):
            return encode(text)
        ids, size = encode(text + "x"), len(self._word)
        return ids[:-size] if self._word and ids[-size:] == self._word else encode(text)

    def _refuse(self, ids: Sequence[int]) -> None:
        names = {id: name for name, id in self.controls.items()}
        found = ", ".join(sorted({names[id] for id in ids if id in self._watched}))
        raise DataError(
            f"The text of an example becomes a control token of the model (one of {found}).",
            "Take that token out of the example, or use another base.",
        )


def _spans(pieces: Sequence[Piece]) -> list[tuple[int, int]]:
    spans, at = [], 0
    for piece in pieces:
        if piece.ours:
            spans.append((at, at + len(piece.text)))
        at += len(piece.text)
    return spans


def _controls(tokenizer: Tokenizer, template: str) -> dict[str, int]:
    """The added tokens that steer the model: the special ones, and those that the template writes."""
    return {
        token.content: id
        for id, token in tokenizer.added_tokens_decoder.items()
        if token.content.strip() and (token.special or token.content in template)
    }
