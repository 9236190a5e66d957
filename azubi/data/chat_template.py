"""Turns an example into token ids. The only place that knows chat templates.

A rendered conversation is cut where the content of the first turn begins. What stands before is the
instruction's part, the same for all examples that share the instruction; the two parts are tokenised apart,
so that the instruction's tokens never depend on the example. Templates are rendered with marks in the place
of contents, and contents are put in afterwards: a template cannot be steered by what they say.
Knows nothing of models, nor whether a base understands its own template.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import takewhile
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from azubi.data.example import Example, Turn
from azubi.errors import BaseModelError, DataError

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


PLAIN = (
    "{{ bos_token or '' }}"
    "{% for message in messages %}"
    "{% if message.role == 'system' %}{{ message.content }}\n\n"
    "{% elif message.role == 'user' %}{{ message.content }}\n"
    "{% else %}Answer: {{ message.content }}{{ eos_token or '' }}\n\n"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Answer:{% endif %}"
)
"""The template of bases that bring none: instruction, what was asked, `Answer:`."""

TODAY = {
    **{"%d": "26", "%m": "07", "%y": "24", "%Y": "2024", "%b": "Jul", "%B": "July"},
    **{"%a": "Fri", "%A": "Friday", "%H": "12", "%M": "00", "%S": "00"},
}
"""What a template that writes the date is given: with the real one, every day would need a new cache."""

_INSTRUCTION_MARK = "AzubiInstructionMark"
_VERSION = "azubi template 1"
"""Part of the fingerprint: changes when this module makes other tokens of the same example."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """An example as token ids: instruction, then prompt, then answer (empty if there is none yet)."""

    instruction_ids: tuple[int, ...]
    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...] = ()
    learned: tuple[tuple[int, int], ...] = ()
    """Where in the prompt earlier answers that are learned begin and end, each with its end token."""

    def __len__(self) -> int:
        """Tokens in all."""
        return len(self.instruction_ids) + len(self.prompt_ids) + len(self.answer_ids)


class Template:
    """A tokenizer and its chat template, or `PLAIN` where it has none.

    `instruction_ids` depend on the instruction alone. To keep it so, turns are first brought into the order
    user, assistant, …, user: see `alternating`.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Find out what the template does by rendering marks.

        Raises:
            BaseModelError: it cannot write a conversation, or nothing ends an answer.
        """
        self._tokenizer = tokenizer
        self._template = _with_fixed_date(tokenizer.get_chat_template() if tokenizer.chat_template else PLAIN)
        self._guard = Guard(tokenizer, self._template)
        self._frames: dict[tuple[bool, int], tuple[str, ...]] = {}
        self._instructions: dict[str, tuple[int, ...]] = {}
        self._has_system_role = self._writes_system_messages()
        self._trims = {role: self._trims_content(role) for role in ("user", "assistant")}
        self._lead, self._end = "", ""
        """What stands before an answer, such as an empty thought, and behind it."""
        prompt, answered = (self._rendered_frame(False, turns, self._has_system_role) for turns in (1, 2))
        if prompt is not None and answered is not None:
            before, self._end = answered[-2:]
            self._lead = before.removeprefix(prompt[-1]) if before.startswith(prompt[-1]) else ""
        self._gap = _spaces_at_end(self._frame(False, 1)[-1] + self._lead)
        self.end_id = self._end_id()
        """The token that ends an answer."""
        self.fingerprint = _fingerprint(tokenizer, self._template)
        """Changes whenever the same example could become other tokens."""

    def encode(self, instruction: str, turns: Sequence[Turn], answer: str | None = None) -> Encoded:
        """The token ids of an example; the answer's end with the token that ends an answer.

        A space at the end of the text before a content goes to the content, as tokenizers join them.
        """
        instruction_ids = self.instruction_ids(instruction)
        opening = not instruction_ids
        turns = alternating(turns)
        pieces = self._prompt_pieces(bool(instruction.strip()), turns)
        prompt_ids = self._guard.ids(pieces, opening=opening, followed=True)
        learned = tuple(
            self._span(pieces, 1 + 2 * index, prompt_ids, opening=opening)
            for index, turn in enumerate(turns)
            if turn.learned
        )
        return Encoded(
            instruction_ids, prompt_ids, () if answer is None else self.answer_ids(answer), learned
        )

    def instruction_ids(self, instruction: str) -> tuple[int, ...]:
        """The tokens that all examples with this instruction begin with; may be none if it is empty."""
        instruction = instruction.strip()
        if instruction not in self._instructions:
            texts = self._frame(bool(instruction), 1)
            pieces = [Piece(texts[0].rstrip(" "), True)]
            if instruction:
                pieces = [
                    Piece(texts[0], True),
                    Piece(instruction, False),
                    Piece(texts[1].rstrip(" "), True),
                ]
            self._instructions[instruction] = self._guard.ids(pieces, opening=True, followed=True)
        return self._instructions[instruction]

    def invocation_ids(self) -> tuple[int, ...]:
        """The tokens that open an answer, with which every prompt ends: `<|im_start|>assistant` and the like.

        What ends the user's message is no part of them, where the template has a token for that.
        """
        # Some tokenizers join a line break or a space at the end of a text with what follows.
        texts = ("a", "7", "b.", "é!", "c\n", "d ", "e:")
        prompts = [self.encode("", [Turn("user", text)]).prompt_ids for text in texts]
        shared = takewhile(lambda ids: len({*ids}) == 1, zip(*map(reversed, prompts), strict=False))
        ending = tuple(ids[0] for ids in shared)[::-1]
        if self.end_id not in ending:
            return ending
        after = len(ending) - ending[::-1].index(self.end_id)
        controls = [place for place, id in enumerate(ending) if id in self._guard.controls.values()]
        return ending[next((place for place in controls if place >= after), after) :]

    def with_instruction(self, instruction: str) -> str:
        """The chat template as text, for programs other than azubi.

        It puts `instruction` before a conversation that brings no system message, and opens answers as
        azubi does: behind an empty thought, say, where the template has one.
        """
        text, instruction = self._template, instruction.strip()
        if instruction and self._has_system_role:
            system = f"{{'role': 'system', 'content': {_quoted(instruction)}}}"
            text = _UNLESS_SYSTEM.format(f"[{system}] + messages") + text
        elif instruction:
            content = f"{_quoted(instruction + chr(10) * 2)} + messages[0]['content']"
            first = f"{{'role': 'user', 'content': {content}}}"
            text = _UNLESS_SYSTEM.format(f"[{first}] + messages[1:]") + text
        if self._lead:
            text += f"{{% if add_generation_prompt %}}{{{{ {_quoted(self._lead)} }}}}{{% endif %}}"
        if self._gap:  # the space before an answer belongs to the answer
            shown = "{{ text.rstrip(' ') if add_generation_prompt else text }}"
            text = f"{{% set text %}}{text}{{% endset %}}{shown}"
        return text

    def frame(self) -> tuple[str, str, str, str, str]:
        """What stands before the instruction, between it and a message, before a further message without
        one, behind a message, and behind an answer."""
        before, between, after, closing, _ = (*self._frame(True, 3), "")[:5]
        return before, between, closing.removeprefix(self._end), after + self._lead, self._end

    def answer_ids(self, answer: str) -> tuple[int, ...]:
        """The token ids of an answer, the last the one that ends it."""
        pieces = [Piece(self._gap, True), Piece(self._content(Turn("assistant", answer)), False)]
        return (*self._guard.ids(pieces), self.end_id)

    def decode(self, ids: Sequence[int]) -> str:
        """The answer that `ids` say, up to the token that ends it."""
        answer = list(takewhile(lambda id: id != self.end_id, ids))
        text = self._tokenizer.decode(answer, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text).removeprefix(self._gap)

    def _prompt_pieces(self, instructed: bool, turns: Sequence[Turn]) -> list[Piece]:
        texts = self._frame(instructed, len(turns))
        before, *after = texts[1:] if instructed else texts
        after[-1] = (after[-1] + self._lead).rstrip(" ")
        pieces = [Piece(_spaces_at_end(before), True)]
        for turn, text in zip(turns, after, strict=True):
            pieces += [Piece(self._content(turn), False), Piece(text, True)]
        return pieces

    def _span(
        self, pieces: Sequence[Piece], index: int, ids: tuple[int, ...], *, opening: bool
    ) -> tuple[int, int]:
        """Where among `ids`, which all pieces make, the piece `index` stands, with what ends it."""
        after = pieces[index + 1].text
        control = self._guard.first_control(after)
        end = after[: after.index(control) + len(control)] if control is not None else ""
        start, stop = (
            _common_length(self._guard.ids(part, opening=opening, followed=True), ids)
            for part in (pieces[:index], [*pieces[: index + 1], Piece(end, True)])
        )
        return start, stop

    def _content(self, turn: Turn) -> str:
        return turn.content.strip() if self._trims[turn.role] else turn.content

    # Finding out what the template does

    def _frame(self, instructed: bool, turns: int) -> tuple[str, ...]:
        """The template's own text around the instruction (if any) and around so many turns."""
        key = (instructed, turns)
        if key not in self._frames:
            frame = self._rendered_frame(instructed, turns, self._has_system_role)
            if frame is None:
                raise BaseModelError(
                    f"The base's chat template cannot write a conversation of {turns} messages.",
                    "Use examples with fewer turns, or another base.",
                )
            self._frames[key] = frame
        return self._frames[key]

    def _rendered_frame(self, instructed: bool, turns: int, system: bool) -> tuple[str, ...] | None:
        """Render marks and split the text at them; None if the template refuses, drops or reorders them."""
        marks = [f"AzubiMark{index}End" for index in range(turns)]
        messages = [
            {"role": ("user", "assistant")[index % 2], "content": mark} for index, mark in enumerate(marks)
        ]
        if instructed and system:
            messages.insert(0, {"role": "system", "content": _INSTRUCTION_MARK})
        elif instructed:
            messages[0]["content"] = f"{_INSTRUCTION_MARK}\n\n{marks[0]}"
        text = self._render(messages)
        return None if text is None else _split(text, [_INSTRUCTION_MARK, *marks] if instructed else marks)

    def _render(self, messages: list[dict[str, str]]) -> str | None:
        try:
            text = self._tokenizer.apply_chat_template(
                messages,
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=messages[-1]["role"] == "user",
            )
        except (TemplateError, TypeError, ValueError, KeyError):
            return None
        return str(text)

    def _writes_system_messages(self) -> bool:
        """Whether the instruction goes into a system message, as opposed to the first message of the user."""
        frames = {}
        for system in (True, False):
            frames[system], long = (self._rendered_frame(True, turns, system) for turns in (1, 3))
            if (short := frames[system]) is not None and long is not None and short[:2] == long[:2]:
                return system
        for system, frame in frames.items():
            if frame is not None:
                return system
        raise BaseModelError(
            "The base's chat template cannot write a message of the user whole and in its place.",
            "Use another base, or mend the chat template in its folder.",
        )

    def _trims_content(self, role: str) -> bool:
        spaced = " AzubiMarkEnd "
        messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": spaced}]
        text = self._render(messages if role == "assistant" else [{"role": "user", "content": spaced}])
        return text is not None and spaced not in text

    def _end_id(self) -> int:
        control = self._guard.first_control(self._end)
        if control is not None:
            return self._guard.controls[control]
        if self._tokenizer.eos_token_id is None:
            raise BaseModelError(
                "The base's tokenizer has no token that ends an answer.",
                "Set eos_token in its tokenizer_config.json, or use another base.",
            )
        return int(self._tokenizer.eos_token_id)


def encode_plain(tokenizer: Tokenizer, turns: Sequence[Turn], prefix: str = "") -> tuple[int, ...]:
    """The token ids for an encoder, with the tokenizer's own special tokens around `prefix` and text.

    Special tokens that stand in the text are tokenised as ordinary text.
    """
    text = prefix + Example(tuple(turns), "").prompt
    return tuple(tokenizer.encode(text, add_special_tokens=True, split_special_tokens=True, verbose=False))


def check_length(
    examples: Sequence[Example], lengths: Sequence[int], limit: int, source: Path | str = "The examples"
) -> None:
    """Raise if an example has more tokens in all than the model reads at once; names the longest."""
    counted = zip(examples, lengths, strict=True)
    too_long = [(length, example.line) for example, length in counted if length > limit]
    if not too_long:
        return
    length, line = max(too_long)
    others = f" {len(too_long) - 1:,} other examples are too long as well." if len(too_long) > 1 else ""
    raise DataError(
        f"{source}, line {line:,}: {length:,} tokens, but the base reads at most {limit:,}.{others}",
        "Shorten or take out such examples, or use a base that reads more.",
    )


def alternating(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The turns as user, assistant, …, user: all that chat templates agree on.

    A system message of an example's own, or an assistant's greeting, is put before the user's message that
    follows it, and messages of one role in a row become one.
    """
    ordered: list[Turn] = []
    waiting: list[str] = []
    for turn in turns:
        if turn.role == "system" or (turn.role == "assistant" and not ordered):
            waiting.append(turn.content)
            continue
        content, learned = turn.content, turn.learned
        if turn.role == "user":
            content, waiting = "\n\n".join([*waiting, content]), []
        if ordered and ordered[-1].role == turn.role:
            last = ordered.pop()
            content, learned = f"{last.content}\n\n{content}", learned or last.learned
        ordered.append(Turn(turn.role, content, learned))
    if not ordered or ordered[-1].role != "user":
        raise DataError(
            "The conversation does not end with a message of the user.", "Ask something at its end."
        )
    return tuple(ordered)


_UNLESS_SYSTEM = "{{% if messages[0]['role'] != 'system' %}}{{% set messages = {} %}}{{% endif %}}"


def _quoted(text: str) -> str:
    """`text` as a literal of Jinja, which reads the escapes of JSON."""
    return json.dumps(text, ensure_ascii=False)


def _common_length(some: Sequence[int], others: Sequence[int]) -> int:
    """How many ids both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(some, others, strict=False)))


def _split(text: str, marks: Sequence[str]) -> tuple[str, ...] | None:
    """The text between the marks; None unless each stands there once and in order."""
    parts = []
    for mark in marks:
        before, present, text = text.partition(mark)
        if not present or mark in text:
            return None
        parts.append(before)
    return None if any(mark in part for mark in marks for part in [*parts, text]) else (*parts, text)


def _spaces_at_end(text: str) -> str:
    return text[len(text.rstrip(" ")) :]


def _with_fixed_date(template: str) -> str:
    """The template with a clock that stands still, if it asks for the date."""
    if "strftime_now" not in template:
        return template
    steps = "".join(f" | replace('{code}', '{value}')" for code, value in TODAY.items())
    return f"{{% macro strftime_now(format) %}}{{{{ format{steps} }}}}{{% endmacro %}}{template}"


def _fingerprint(tokenizer: Tokenizer, template: str) -> str:
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    parts = [_VERSION, template, json.dumps(special, sort_keys=True), _serialised(tokenizer)]
    return sha256("\0".join(parts).encode()).hexdigest()


def _serialised(tokenizer: Tokenizer) -> str:
    """The tokenizer as text, without the settings that change with use (padding and truncation)."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or not hasattr(backend, "to_str"):
        return json.dumps([type(tokenizer).__name__, sorted(tokenizer.get_vocab().items())])
    parts: dict[str, Any] = json.loads(backend.to_str())
    return json.dumps({**parts, "padding": None, "truncation": None}, sort_keys=True)
