"""The prime: the instruction that all examples share.

Found in the data, given by the user, or written from the contract. Knows nothing of tokens or
models, nor how well an instruction works.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from azubi.data.contract import Contract
from azubi.data.example import Example
from azubi.errors import DataError


def shared_system(examples: Sequence[Example]) -> str | None:
    """The system message with which every example begins, or None."""
    first = {example.turns[0] for example in examples}
    if len(first) != 1:
        return None
    turn = first.pop()
    return turn.content.strip() or None if turn.role == "system" else None


def strip_system(examples: Sequence[Example]) -> tuple[Example, ...]:
    """The examples without the system message at their beginning, for when it has become the prime."""
    return tuple(_stripped(example) for example in examples)


def write(contract: Contract) -> str:
    """A plain instruction made from the form of the answers: labels and fields are listed by name."""
    if contract.task == "labels":
        return f"Answer with exactly one of these labels and nothing else: {', '.join(contract.labels)}."
    if contract.task == "json":
        fields = ", ".join(contract.fields)
        return f"Answer with one JSON object and nothing else. Its fields, in this order: {fields}."
    return "Read the message and write the answer to it, and nothing else."


def given(value: str) -> str:
    """The instruction that the user gave: the value itself or, for `@path`, that file's text.

    An empty value is taken at its word: no instruction. `@@` stands for an instruction that begins with @.
    """
    if value.startswith("@@"):
        return value[1:].strip()
    return _file(Path(value[1:]).expanduser()) if value.startswith("@") else value.strip()


def literal(text: str) -> str:
    """What `given` takes for exactly `text`."""
    return f"@{text}" if text.startswith("@") else text


def _stripped(example: Example) -> Example:
    return replace(example, turns=example.turns[1:]) if example.turns[0].role == "system" else example


def _file(path: Path) -> str:
    remedy = "Check the path after the @ of --prime, or give the instruction itself."
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        raise DataError(f"The instruction file {path} cannot be read: {error.strerror}.", remedy) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"The instruction file {path} is not UTF-8 text.", "Save it with the encoding UTF-8."
        ) from error
    if not text:
        raise DataError(
            f"The instruction file {path} is empty.", 'Write into it, or give --prime "" for none.'
        )
    return text
