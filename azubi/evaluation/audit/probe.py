"""What a tail still knows of what is not its job: the general probe, and the user's own examples.

Base and specialist are asked on the same trunk, without the specialist's instruction, since with it the base
too would be told to do something else. Small models write poorly, so the probe does not have them write: an
item is right if its right answer is the likeliest of its choices per token, with the token that ends it.
(Other harnesses do so per byte and call it acc_norm.) Deterministic.

An encoder writes nothing and has no likelihood of texts: there the probe only serves as questions that are
out of scope (`outside`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from azubi.data.example import Example, Turn
from azubi.engine.inference.answering import in_order
from azubi.engine.specialist import Specialist
from azubi.evaluation.audit.membership import losses
from azubi.evaluation.prediction import Prediction
from azubi.events.tell import Tell, silent

KINDS = ("arithmetic", "facts", "grammar", "format", "refusing")


class Item(BaseModel):
    """One question."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["arithmetic", "facts", "grammar", "format", "refusing"]
    language: Literal["en", "de"]
    prompt: str
    choices: tuple[str, ...]
    right: int
    """Place of the right one among `choices`."""

    @property
    def answer(self) -> str:
        """The right one."""
        return self.choices[self.right]


def probe_items() -> tuple[Item, ...]:
    """All items, in the order of the file."""
    text = resources.files("azubi.evaluation.audit").joinpath("probe.jsonl").read_text(encoding="utf-8")
    return tuple(Item.model_validate_json(line) for line in text.splitlines())


NOT_PROBED = (
    "The base is an encoder: it writes nothing, so there is nothing that it could forget how to write. "
    "The general probe only served as questions out of scope."
)
_LONGEST = 128
"""Tokens that an answer to the user's own questions may have, if the right ones are not longer."""


def probe(
    specialist: Specialist, tails: Mapping[str, Any], items: Sequence[Item], tell: Tell = silent
) -> Iterator[Prediction]:
    """Part probe: each of `items` by each of `tails`, which are named as baselines are; nothing for encoders.

    `loss` is that of the right answer; `confidence` is the share of the chosen answer among the choices when
    each counts by its probability per token.
    """
    if specialist.base.kind == "encoder":
        return
    free = specialist.without_instruction()
    encoded_examples = [
        free.encode(Example((Turn("user", item.prompt),), choice))
        for item in items
        for choice in item.choices
    ]
    read, has_instruction = (
        free.activations.in_memory(encoded.tokens for encoded in encoded_examples),
        bool(free.instruction_tokens),
    )
    for turn, (who, tail) in enumerate(tails.items()):
        before = turn * len(encoded_examples)
        telling = _part_of(tell, before, len(tails) * len(encoded_examples))
        costs = losses(tail, encoded_examples, read, has_instruction=has_instruction, tell=telling)
        each = iter(zip(encoded_examples, costs, strict=True))
        for number, item in enumerate(items):
            yield _judged(who, number, item, [next(each) for _ in item.choices])


def retained(
    specialist: Specialist, tails: Mapping[str, Any], examples: Sequence[Example], tell: Tell = silent
) -> Iterator[Prediction]:
    """Part regression-set: likelihood of the answers, and whether they are written to the letter.

    Asked of each of `tails`, which are named as baselines are. Nothing for encoders.

    Raises:
        DataError: an example is longer than the base reads.
    """
    if specialist.base.kind == "encoder":
        return
    free = specialist.without_instruction()
    encoded_examples = [free.encode(example).last_answer_only for example in examples]
    read, has_instruction = (
        free.activations.in_memory(encoded.tokens for encoded in encoded_examples),
        bool(free.instruction_tokens),
    )
    longest = max([_LONGEST, *(len(encoded.targets) for encoded in encoded_examples)])
    longest = min(
        longest, free.base.context - max((free.count_tokens(example) for example in examples), default=0)
    )
    for who, tail in tails.items():
        costs = losses(tail, encoded_examples, read, has_instruction=has_instruction)
        answers = in_order(
            free.with_tail(tail).answering(max(1, longest)), [example.turns for example in examples]
        )
        for number, (example, answer, loss) in enumerate(zip(examples, answers, costs, strict=True)):
            right = answer.text.strip() == example.answer.strip()
            tell(number + 1, len(examples))
            yield Prediction(
                part="regression-set",
                who=who,
                number=number,
                id=example.name,
                mode="unconstrained",
                truth=example.answer,
                answer=answer.text,
                confidence=answer.confidence,
                right=right,
                score=float(right),
                loss=loss,
            )


def _judged(who: str, number: int, item: Item, each: Sequence[tuple[Any, float]]) -> Prediction:
    per_token = [loss / len(lesson.targets) for lesson, loss in each]
    best = min(range(len(per_token)), key=lambda place: (per_token[place], place))
    shares = [math.exp(min(per_token) - cost) for cost in per_token]
    return Prediction(
        part="probe",
        who=who,
        number=number,
        id=item.prompt,
        kind=item.kind,
        truth=item.answer,
        answer=item.choices[best],
        confidence=shares[best] / sum(shares),
        right=best == item.right,
        score=float(best == item.right),
        loss=each[item.right][1],
    )


def _part_of(tell: Tell, before: int, total: int) -> Tell:
    return lambda done, _: tell(before + done, total)
