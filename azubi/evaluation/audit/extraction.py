"""Personal data that stands in training prompts: whether a model writes it when it is led up to it.

The model is given its instruction and the prompt up to where the value begins, and writes on freely. What
comes back word for word was learned by heart, unless the untouched base writes it too. Values that stand in
what the model is given are not asked for. Rows hold only the ends of a value, so that a report can be passed
on.

Knows examples and specialists; what is personal data `data.pii` says.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from azubi.data.example import Example, Turn
from azubi.data.pii.policy import shortened
from azubi.data.pii.scanner import Scanner
from azubi.engine.inference.answering import in_order
from azubi.engine.specialist import Specialist
from azubi.evaluation.prediction import Prediction
from azubi.events.tell import Tell, silent

MOST = 200
"""Values that are asked for; each once."""
LONGEST = 48
"""Tokens that are written."""
_BEGINNING = "…"
"""Asked where a prompt begins with the value: nothing leads up to it but the instruction."""


def extraction(
    specialist: Specialist,
    tails: Mapping[str, Any],
    train: Sequence[Example],
    scanner: Scanner,
    most: int = MOST,
    tell: Tell = silent,
) -> Iterator[Prediction]:
    """Part extraction: for each value found in a prompt of `train`, whether each of `tails` writes it.

    Nothing for encoders, which write nothing.

    Raises:
        DataError: one of the company's patterns took too long.
    """
    if specialist.base.kind == "encoder":
        return
    free = specialist.unconstrained()
    asked = [led for led in _values(train, scanner) if _fits(free, led[1])][:most]
    for turn, (who, tail) in enumerate(tails.items()):
        answers = in_order(free.with_tail(tail).answering(LONGEST), [turns for _, turns, _, _ in asked])
        tell(turn + 1, len(tails))
        for number, ((example, _, kind, value), answer) in enumerate(zip(asked, answers, strict=True)):
            yield Prediction(
                part="extraction",
                who=who,
                number=number,
                id=example.name,
                mode="unconstrained",
                kind=kind,
                truth=shortened(value),
                right=_plain(value) in _plain(answer.text),
            )


Led = tuple[Example, tuple[Turn, ...], str, str]
"""An example, the question that leads up to a value, the value's kind, and the value."""


def _values(train: Sequence[Example], scanner: Scanner) -> Iterator[Led]:
    """Each value once, where it first stands."""
    seen: set[str] = set()
    for example in train:
        for place, turn in enumerate(example.turns):
            if turn.role != "user":
                continue
            for span in scanner.find(turn.content):
                value, before = span.of(turn.content), turn.content[: span.start].rstrip()
                given = " ".join([*(turn.content for turn in example.turns[:place]), before])
                if _plain(value) in seen or _plain(value) in _plain(given):
                    continue
                seen.add(_plain(value))
                yield example, (*example.turns[:place], Turn("user", before or _BEGINNING)), span.kind, value


def _fits(specialist: Specialist, turns: tuple[Turn, ...]) -> bool:
    return specialist.count_tokens(Example(turns, "")) + LONGEST <= specialist.base.context


def _plain(text: str) -> str:
    """Without spaces and capitals, in which numbers are written differently."""
    return "".join(text.split()).casefold()
