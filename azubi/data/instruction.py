"""The instruction: the text that all examples share, put before every prompt.

Found in the data, given by the user, or written from the contract. Knows nothing of tokens or models, nor
how well an instruction works.
"""

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from os.path import commonprefix
from pathlib import Path

from azubi.data.contract import Contract
from azubi.data.example import Example, Turn
from azubi.errors import DataError

NEARLY_ALL = 0.9
"""Share of the prompts that begin with a text which may be the instruction."""
_FEWEST = 20
"""Prompts that begin with it at least."""
_SHORTEST = 8
"""Words of it at least: a salutation is none."""
_HEAD = 32
"""Characters by which prompts with the same beginning are found."""
_END = re.compile(r"[.:!?]\s+|\n\s*")
"""Where a sentence or a line ends."""
_SHOWN = 4
_LONGEST_SHOWN = 300
"""Characters of prompt and answer. The instruction goes through the tail at every step: it is kept short."""


def common_beginning(examples: Sequence[Example]) -> tuple[str, int]:
    """The text with which (nearly) all prompts begin, and how many do; empty if there is none.

    It ends with a sentence or a line, has a few words at least, and something stands behind it in each one.
    """
    texts = [example.turns[0].content for example in examples if example.turns[0].role == "user"]
    heads = Counter(text[:_HEAD] for text in texts)
    head, count = heads.most_common(1)[0] if heads else ("", 0)
    if count < max(_FEWEST, NEARLY_ALL * len(examples)):
        return "", 0
    family = [text for text in texts if text.startswith(head)]
    ends = [match.end() for match in _END.finditer(commonprefix(family))]  # noqa: RUF071 - of texts
    text = family[0][: ends[-1]] if ends else ""
    fits = len(text.split()) >= _SHORTEST and all(prompt[len(text) :].strip() for prompt in family)
    return (text, count) if fits else ("", 0)


def with_system(examples: Sequence[Example], text: str) -> tuple[Example, ...]:
    """The examples with the beginning of their prompts as a system message; those without it get it, too."""
    return tuple(
        replace(example, turns=(Turn("system", text), *_without_beginning(example.turns, text)))
        for example in examples
    )


def _without_beginning(turns: tuple[Turn, ...], text: str) -> tuple[Turn, ...]:
    """A question without a text with which its first message begins."""
    first, *others = turns
    rest = first.content[len(text) :]
    if not text or first.role != "user" or not first.content.startswith(text) or not rest.strip():
        return turns
    return (replace(first, content=rest), *others)


def shared_system(examples: Sequence[Example]) -> str | None:
    """The system message with which every example begins, or None."""
    first = {example.turns[0] for example in examples}
    if len(first) != 1:
        return None
    turn = first.pop()
    return turn.content.strip() or None if turn.role == "system" else None


def strip_system(examples: Sequence[Example]) -> tuple[Example, ...]:
    """The examples without the system message at their beginning, for when it has become the instruction."""
    return tuple(
        replace(example, turns=example.turns[1:]) if example.turns[0].role == "system" else example
        for example in examples
    )


def without_system(turns: tuple[Turn, ...], system: str) -> tuple[Turn, ...]:
    """A question without the system message that every example began with; `system` may be empty."""
    if len(turns) > 1 and turns[0].role == "system" and turns[0].content.strip() == system:
        return turns[1:]
    first, *others = _without_beginning(turns, system)
    return turns if first == turns[0] else (replace(first, content=first.content.lstrip()), *others)


def from_contract(contract: Contract) -> str:
    """A plain instruction made from the contract: labels and fields are listed by name."""
    if contract.multi:
        listed = ", ".join(contract.labels)
        return f"Answer with a JSON list of all of these labels that apply, and nothing else: {listed}."
    if contract.task == "labels":
        return f"Answer with exactly one of these labels and nothing else: {', '.join(contract.labels)}."
    if contract.task == "json":
        fields = ", ".join(contract.learned)
        return f"Answer with one JSON object and nothing else. Its fields, in this order: {fields}."
    return "Read the message and write the answer to it, and nothing else."


def with_examples(text: str, examples: Sequence[Example], seed: int) -> str | None:
    """The instruction with up to four short worked examples of different answers; None if none is short.

    Which ones follows from `seed`. They stay among the examples to learn from.
    """
    short = [
        example
        for example in examples
        if len(example.turns) == 1 and len(example.prompt) + len(example.answer) <= _LONGEST_SHOWN
    ]
    random.Random(f"prime/{seed}").shuffle(short)
    by_answer: dict[str, Example] = {}
    for example in short:
        by_answer.setdefault(example.answer, example)
    chosen = list(by_answer.values())[:_SHOWN]
    if not chosen:
        return None
    worked = "\n\n".join(f"Message: {example.prompt}\nAnswer: {example.answer}" for example in chosen)
    return f"{text}\n\nExamples:\n\n{worked}".strip()


def choose(value: str | None, system: str | None, contract: Contract) -> str:
    """The instruction of a run: what the user gave, what the examples begin with, or one that is made."""
    return from_setting(value) if value is not None else system or from_contract(contract)


def from_setting(value: str) -> str:
    """The instruction that the user gave: the value itself or, for `@path`, that file's text.

    An empty value is taken at its word: no instruction. `@@` stands for an instruction that begins with @.
    """
    if value.startswith("@@"):
        return value[1:].strip()
    return _read(Path(value[1:]).expanduser()) if value.startswith("@") else value.strip()


def to_setting(text: str) -> str:
    """What `from_setting` takes for exactly `text`."""
    return f"@{text}" if text.startswith("@") else text


def _read(path: Path) -> str:
    remedy = "Check the path after the @ of --instruction, or give the instruction itself."
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        raise DataError(f"The instruction file {path} cannot be read: {error.strerror}.", remedy) from error
    except UnicodeDecodeError as error:
        remedy = "Save it with the encoding UTF-8."
        raise DataError(f"The instruction file {path} is not UTF-8 text.", remedy) from error
    if not text:
        remedy = 'Write into it, or give --instruction "" for none.'
        raise DataError(f"The instruction file {path} is empty.", remedy)
    return text
