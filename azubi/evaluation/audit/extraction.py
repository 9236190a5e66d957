"""Personal data of training prompts: whether a model writes it when it is led up to it.

The model is given its instruction and the prompt up to where the value begins, and writes on freely. What
comes back word for word was learned by heart, unless the untouched base writes it too. Rows hold only the
ends of a value, so that a report can be passed on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from azubi.data.example import Example, Turn
from azubi.data.pii.policy import shortened
from azubi.data.pii.scanner import Scanner
from azubi.engine.inference.answering import Question, in_order
from azubi.engine.specialist import Specialist
from azubi.evaluation.prediction import Prediction
from azubi.events.work import Step, Work

MOST = 200
"""Values that are asked for; each once."""
LONGEST = 48
"""Tokens that are written."""
_BEGINNING = "…"
"""Asked where a prompt begins with the value: only the instruction leads up to it."""


@dataclass(frozen=True)
class _Value:
    """A personal value, and the question that leads up to it."""

    example: Example
    question: Question
    kind: str
    text: str


def extraction(
    specialist: Specialist,
    tails: Mapping[str, Any],
    train: Sequence[Example],
    scanner: Scanner,
    most: int = MOST,
) -> Work[list[Prediction]]:
    """Part extraction: for each value found in a prompt of `train`, whether each of `tails` writes it.

    Nothing for encoders, which write nothing.

    Raises:
        DataError: one of the company's patterns took too long.
    """
    rows = list[Prediction]()
    if specialist.base.kind == "encoder":
        return rows
    free = specialist.unconstrained()
    room = free.base.context - LONGEST
    values = [
        value for value in _values(train, scanner) if free.count_tokens(Example(value.question, "")) <= room
    ][:most]
    for done, (who, tail) in enumerate(tails.items(), start=1):
        answers = in_order(free.with_tail(tail).answering(LONGEST), [value.question for value in values])
        yield Step(done, len(tails))
        for number, (value, answer) in enumerate(zip(values, answers, strict=True)):
            rows.append(
                Prediction(
                    part="extraction",
                    who=who,
                    number=number,
                    id=value.example.name,
                    mode="unconstrained",
                    kind=value.kind,
                    truth=shortened(value.text),
                    right=_plain(value.text) in _plain(answer.text),
                )
            )
    return rows


def _values(train: Sequence[Example], scanner: Scanner) -> Iterator[_Value]:
    """Each value once, where it first stands; not if it also stands in what leads up to it."""
    seen: set[str] = set()
    for example in train:
        for position, turn in enumerate(example.turns):
            if turn.role != "user":
                continue
            earlier = example.turns[:position]
            for span in scanner.find(turn.content):
                text, before = span.of(turn.content), turn.content[: span.start].rstrip()
                context = " ".join([*(turn.content for turn in earlier), before])
                if _plain(text) in seen or _plain(text) in _plain(context):
                    continue
                seen.add(_plain(text))
                yield _Value(example, (*earlier, Turn("user", before or _BEGINNING)), span.kind, text)


def _plain(text: str) -> str:
    """Without spaces and capitals, in which numbers are written differently."""
    return "".join(text.split()).casefold()
