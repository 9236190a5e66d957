"""Turns an example into token ids. The only place that knows chat templates.

A rendered conversation is cut where the content of the first turn begins. What stands before is
the prime's part, the same for all examples that share the prime; the two parts are tokenised apart,
so that the prime's tokens never depend on the example. Templates are rendered with marks in the place
of contents, and contents are put in afterwards: a template cannot be steered by what they say.
Knows nothing of models, nor whether a base understands its own template.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from jinja2 import TemplateError

from azubi.data.example import Example, Turn
from azubi.data.tokenizer import Guard, Piece, Tokenizer
from azubi.errors import BaseModelError, DataError

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
    **{
        "%d": "26",
        "%m": "07",
        "%y": "24",
        "%Y": "2024",
        "%b": "Jul",
        "%B": "July",
        "%a": "Fri",
        "%A": "Friday",
    },
    **{"%H": "12", "%M": "00", "%S": "00"},
}
"""What a template that writes the date is told: with the real one, every day would need a new cache."""

_PRIME_MARK = "AzubiPrimeMark"
_FORM = "azubi template 1"


@dataclass(frozen=True, slots=True)
class Encoded:
    """An example as token ids: prime, then prompt, then answer (empty if there is none yet)."""

    instruction_ids: tuple[int, ...]
    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...] = ()
    learned: tuple[tuple[int, int], ...] = ()
    """Where in the prompt earlier answers that are learned begin and end, each with its end token."""

    def __len__(self) -> int:
        """Tokens in all."""
        return len(self.instruction_ids) + len(self.prompt_ids) + len(self.answer_ids)


@dataclass(frozen=True, slots=True)
class _Form:
    """What a template does, found out by rendering marks."""

    system: bool
    """Whether the prime goes into a system message, as opposed to the first message of the user."""
    trims_prompt: bool
    trims_answer: bool
    lead: str
    """What stands between the generation prompt and the answer, such as an empty thought."""
    end: str
    """What stands behind an answer."""


class Template:
    """A tokenizer and its chat template, or `PLAIN` where it has none.

    `instruction_ids` depend on the prime alone. To keep it so, turns are first brought into the order
    user, assistant, …, user: a system message of an example's own, or an assistant's greeting, is put before
    the user's message that follows it, and messages of one role in a row become one.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Find out what the template does; raises BaseModelError if it cannot write a conversation."""
        self._tokenizer = tokenizer
        self._template = _dated(tokenizer.get_chat_template() if tokenizer.chat_template else PLAIN)
        self._guard = Guard(tokenizer, self._template)
        self._form = self._probe()
        self._frames: dict[tuple[bool, int], tuple[str, ...]] = {}
        self._primes: dict[str, tuple[int, ...]] = {}
        self._gap = _spaces_at_end(self._frame(False, 1)[-1] + self._form.lead)
        self.end_id = self._end_id()
        """The token that ends an answer."""
        self.fingerprint = _fingerprint(tokenizer, self._template)
        """Changes whenever the same example could become other tokens."""

    def encode(self, prime: str, turns: Sequence[Turn], answer: str | None = None) -> Encoded:
        """The token ids of an example; the answer's end with the token that ends an answer.

        A space at the end of the text before a content goes to the content, as tokenizers join them.
        """
        instruction_ids = self.instruction_ids(prime)
        ordered = alternating(turns)
        pieces = self._prompt(bool(prime.strip()), ordered)
        prompt_ids = self._guard.ids(pieces, opening=not instruction_ids, followed=True)
        answer_ids = () if answer is None else self.answer_ids(answer)
        learned = tuple(
            self._span(pieces, 1 + 2 * place, prompt_ids, opening=not instruction_ids)
            for place, turn in enumerate(ordered)
            if turn.learned
        )
        return Encoded(instruction_ids, prompt_ids, answer_ids, learned)

    def instruction_ids(self, prime: str) -> tuple[int, ...]:
        """The tokens that all examples with this prime begin with; may be none if the prime is empty."""
        prime = prime.strip()
        if prime not in self._primes:
            texts = self._frame(bool(prime), 1)
            head = [Piece(texts[0].rstrip(" "), True)]
            if prime:
                head = [Piece(texts[0], True), Piece(prime, False), Piece(texts[1].rstrip(" "), True)]
            self._primes[prime] = self._guard.ids(head, opening=True, followed=True)
        return self._primes[prime]

    def decode(self, ids: Sequence[int]) -> str:
        """The answer that `ids` say, up to the token that ends it."""
        kept = list(ids)
        if self.end_id in kept:
            kept = kept[: kept.index(self.end_id)]
        text = self._tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text).removeprefix(self._gap)

    def _prompt(self, instructed: bool, turns: Sequence[Turn]) -> list[Piece]:
        texts = self._frame(instructed, len(turns))
        before, *after = texts[1:] if instructed else texts
        after[-1] = (after[-1] + self._form.lead).rstrip(" ")
        pieces = [Piece(_spaces_at_end(before), True)]
        for turn, text in zip(turns, after, strict=True):
            pieces += [Piece(self._trimmed(turn), False), Piece(text, True)]
        return pieces

    def _span(
        self, pieces: Sequence[Piece], content: int, ids: tuple[int, ...], *, opening: bool
    ) -> tuple[int, int]:
        """Where among `ids`, which all pieces make, the piece `content` stands, with what ends it."""
        before, after = list(pieces[:content]), pieces[content + 1].text
        control = self._guard.first_control(after)
        end = after[: after.index(control) + len(control)] if control is not None else ""
        ended = [*before, pieces[content], Piece(end, True)]
        start, stop = (
            _common(self._guard.ids(part, opening=opening, followed=True), ids) for part in (before, ended)
        )
        return start, stop

    def answer_ids(self, answer: str) -> tuple[int, ...]:
        """The token ids of an answer, the last the one that ends it."""
        content = self._trimmed(Turn("assistant", answer))
        pieces = [Piece(self._gap, True), Piece(content, False)]
        return (*self._guard.ids(pieces), self.end_id)

    def _trimmed(self, turn: Turn) -> str:
        trims = self._form.trims_answer if turn.role == "assistant" else self._form.trims_prompt
        return turn.content.strip() if trims else turn.content

    # Finding out what the template does

    def _frame(self, instructed: bool, turns: int) -> tuple[str, ...]:
        """The template's own text around the prime (if any) and around so many turns."""
        key = (instructed, turns)
        if key not in self._frames:
            frame = self._marked(instructed, turns, self._form.system)
            if frame is None:
                raise BaseModelError(
                    f"The base's chat template cannot write a conversation of {turns} messages.",
                    "Use examples with fewer turns, or another base.",
                )
            self._frames[key] = frame
        return self._frames[key]

    def _marked(self, instructed: bool, turns: int, system: bool) -> tuple[str, ...] | None:
        """Render marks and part the text at them; None if the template refuses, drops or reorders them."""
        marks = [f"AzubiMark{index}End" for index in range(turns)]
        messages = _messages(marks, _PRIME_MARK if instructed else "", system)
        text = self._render(messages)
        return None if text is None else _parted(text, [_PRIME_MARK, *marks] if instructed else marks)

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

    def _probe(self) -> _Form:
        system = self._find_place_of_prime()
        asked = self._marked(False, 1, system)
        answered = self._marked(False, 2, system)
        lead, end = "", ""
        if asked is not None and answered is not None:
            before, end = answered[-2:]
            lead = before[len(asked[-1]) :] if before.startswith(asked[-1]) else ""
        return _Form(system, self._trims("user"), self._trims("assistant"), lead, end)

    def _find_place_of_prime(self) -> bool:
        """True for a system message, False for the first user message: whichever the template can write."""
        can_write = {}
        for system in (True, False):
            short, long = self._marked(True, 1, system), self._marked(True, 3, system)
            if short is not None and long is not None and short[:2] == long[:2]:
                return system
            can_write[system] = short is not None
        for system, can in can_write.items():
            if can:
                return system
        raise BaseModelError(
            "The base's chat template cannot write a message of the user whole and in its place.",
            "Use another base, or mend the chat template in its folder.",
        )

    def _trims(self, role: str) -> bool:
        spaced = " AzubiMarkEnd "
        messages = [{"role": "user", "content": spaced}]
        if role == "assistant":
            messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": spaced}]
        text = self._render(messages)
        return text is not None and spaced not in text

    def _end_id(self) -> int:
        control = self._guard.first_control(self._form.end)
        if control is not None:
            return self._guard.controls[control]
        if self._tokenizer.eos_token_id is None:
            raise BaseModelError(
                "The base's tokenizer has no token that ends an answer.",
                "Set eos_token in its tokenizer_config.json, or use another base.",
            )
        return self._tokenizer.eos_token_id


def encode_plain(tokenizer: Tokenizer, turns: Sequence[Turn]) -> tuple[int, ...]:
    """The token ids for an encoder, with the tokenizer's own special tokens around the text.

    Special tokens that stand in the text are tokenised as ordinary text.
    """
    text = Example(tuple(turns), "").prompt
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
    """The turns as user, assistant, …, user: all that chat templates agree on."""
    ordered: list[Turn] = []
    waiting: list[str] = []
    for turn in turns:
        if turn.role == "system" or (turn.role == "assistant" and not ordered):
            waiting.append(turn.content)
            continue
        content = "\n\n".join([*waiting, turn.content]) if turn.role == "user" else turn.content
        waiting = [] if turn.role == "user" else waiting
        learned = turn.learned
        if ordered and ordered[-1].role == turn.role:
            last = ordered.pop()
            content, learned = f"{last.content}\n\n{content}", learned or last.learned
        ordered.append(Turn(turn.role, content, learned))
    if not ordered or ordered[-1].role != "user":
        raise DataError(
            "The conversation does not end with a message of the user.", "Ask something at its end."
        )
    return tuple(ordered)


def _common(some: Sequence[int], others: Sequence[int]) -> int:
    """How many ids both begin with."""
    pairs = enumerate(zip(some, others, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(some), len(others)))


def _messages(contents: Sequence[str], prime: str, system: bool) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": content} for i, content in enumerate(contents)]
    if not prime:
        return messages
    if system:
        return [{"role": "system", "content": prime}, *messages]
    return [{"role": "user", "content": f"{prime}\n\n{contents[0]}"}, *messages[1:]]


def _parted(text: str, marks: Sequence[str]) -> tuple[str, ...] | None:
    parts = []
    for mark in marks:
        before, found, text = text.partition(mark)
        if not found or mark in text:
            return None
        parts.append(before)
    return None if any(mark in part for mark in marks for part in [*parts, text]) else (*parts, text)


def _spaces_at_end(text: str) -> str:
    return text[len(text.rstrip(" ")) :]


def _dated(template: str) -> str:
    """The template with a clock that stands still, if it asks for the date."""
    if "strftime_now" not in template:
        return template
    steps = "".join(f" | replace('{code}', '{value}')" for code, value in TODAY.items())
    return f"{{% macro strftime_now(format) %}}{{{{ format{steps} }}}}{{% endmacro %}}{template}"


def _fingerprint(tokenizer: Tokenizer, template: str) -> str:
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    parts = [_FORM, template, json.dumps(special, sort_keys=True), _serialised(tokenizer)]
    return sha256("\0".join(parts).encode()).hexdigest()


def _serialised(tokenizer: Tokenizer) -> str:
    """The tokenizer as text, without the settings that change with use (padding and truncation)."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    write: Callable[[], str] | None = getattr(backend, "to_str", None)
    if write is None:
        return json.dumps([type(tokenizer).__name__, sorted(tokenizer.get_vocab().items())])
    form = json.loads(write())
    return json.dumps({**form, "padding": None, "truncation": None}, sort_keys=True)
