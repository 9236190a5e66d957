"""What a tail still knows of what is not its job: the general probe, and the user's regression set.

Base and specialist are asked on the same trunk, without the specialist's instruction, which would tell the
base to do something else. Small models write poorly, so the probe does not have them write: an item is right
if its right answer is the likeliest of its choices per token, with the token that ends it. (Other harnesses
do so per byte and call it acc_norm.)

An encoder writes nothing and has no likelihood of texts: there the probe only serves as questions that are
out of scope.
"""

import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from azubi.data.example import Example, Turn
from azubi.engine.inference.answering import Answer, Answering, Question, in_order
from azubi.engine.inference.scope import Scope
from azubi.engine.specialist import Specialist
from azubi.evaluation.leaks import losses_by_tail
from azubi.evaluation.prediction import Prediction
from azubi.events.events import Step, Work

KINDS = ("arithmetic", "facts", "grammar", "format", "refusing")
NOT_PROBED = (
    "The base is an encoder: it writes nothing, so there is nothing that it could forget how to write. "
    "The general probe only served as questions out of scope."
)
_LONGEST = 128
"""Tokens that an answer to the user's own questions may have, if the right ones are not longer."""


class Item(BaseModel):
    """One question."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["arithmetic", "facts", "grammar", "format", "refusing"]
    language: Literal["en", "de"]
    prompt: str
    choices: tuple[str, ...]
    right: int
    """Position of the right one among `choices`."""

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The question as it is asked."""
        return (Turn("user", self.prompt),)

    @property
    def answer(self) -> str:
        """The right choice."""
        return self.choices[self.right]


def probe_items() -> tuple[Item, ...]:
    """All items, in the order of the file."""
    text = resources.files("azubi.evaluation").joinpath("probe.jsonl").read_text(encoding="utf-8")
    return tuple(Item.model_validate_json(line) for line in text.splitlines())


def probe(specialist: Specialist, tails: Mapping[str, Any], items: Sequence[Item]) -> Work[list[Prediction]]:
    """Part probe: each item by each of `tails`, which are named as baselines are; not for encoders.

    `loss` is that of the right answer; `confidence` is the share of the chosen answer among the choices when
    each counts by its probability per token.
    """
    free = specialist.without_instruction()
    encoded = [free.encode(Example(item.turns, choice)) for item in items for choice in item.choices]
    losses = yield from losses_by_tail(free, tails, encoded)
    rows = []
    for who, of_tail in losses.items():
        choices = iter(zip(of_tail, [len(choice.targets) for choice in encoded], strict=True))
        for number, item in enumerate(items):
            rows.append(_judge(who, number, item, [next(choices) for _ in item.choices]))
    return rows


def regression_set(
    specialist: Specialist, tails: Mapping[str, Any], examples: Sequence[Example]
) -> Work[list[Prediction]]:
    """Part regression-set: the loss of the answers, and whether they are written to the letter.

    Asked of each of `tails`, which are named as baselines are; not for encoders.

    Raises:
        DataError: an example is longer than the base reads.
    """
    free = specialist.without_instruction()
    encoded = [free.encode(example).last_answer_only for example in examples]
    losses = yield from losses_by_tail(free, tails, encoded)
    longest = max([_LONGEST, *(len(example.targets) for example in encoded)])
    room = free.base.context - max((free.count_tokens(example) for example in examples), default=0)
    rows = []
    for done, (who, tail) in enumerate(tails.items(), start=1):
        answering = free.with_tail(tail).answering(max(1, min(longest, room)))
        answers = in_order(answering, [example.turns for example in examples])
        yield Step(done, len(tails))
        for number, (example, answer) in enumerate(zip(examples, answers, strict=True)):
            right = answer.text.strip() == example.answer.strip()
            rows.append(
                Prediction(
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
                    loss=losses[who][number],
                )
            )
    return rows


def _judge(who: str, number: int, item: Item, choices: Sequence[tuple[float, int]]) -> Prediction:
    """`choices`: loss and number of tokens of each."""
    per_token = [loss / tokens for loss, tokens in choices]
    best = min(range(len(per_token)), key=lambda position: (per_token[position], position))
    weights = [math.exp(min(per_token) - loss) for loss in per_token]
    return Prediction(
        part="probe",
        who=who,
        number=number,
        id=item.prompt,
        kind=item.kind,
        truth=item.answer,
        answer=item.choices[best],
        confidence=weights[best] / sum(weights),
        right=best == item.right,
        score=float(best == item.right),
        loss=choices[item.right][0],
    )


def scope_row(
    scope: Scope, answer: Answer, number: int, *, kind: str, in_scope: bool, id: str = ""
) -> Prediction:
    """Part scope: the score of one question, from the specialist's answer to it."""
    assert answer.vector is not None, "a specialist's answers have it"
    score = scope.score(answer.vector, answer.evidence)
    return Prediction(
        part="scope",
        who="specialist",
        number=number,
        id=id,
        kind=kind,
        truth="in" if in_scope else "out",
        answer="in" if score >= scope.limit else "out",
        right=(score >= scope.limit) == in_scope,
        score=score,
        confidence=answer.confidence,
    )


def out_of_scope(
    answering: Answering, scope: Scope, questions: Mapping[str, Sequence[Question]], first: int = 0
) -> Work[list[Prediction]]:
    """Part scope: questions that are not the job, by where they are from; numbered from `first` on.

    `answering` is the specialist's. It answers each question, since its confidence is part of the score.
    """
    total, rows = sum(map(len, questions.values())), list[Prediction]()
    for kind, asked in questions.items():
        before = first + len(rows)
        for number, answer in answering(asked):
            rows.append(scope_row(scope, answer, before + number, kind=kind, in_scope=False))
            yield Step(len(rows), total)
    return rows
