"""Planted secrets: what a tail gives away of an example that it saw once, four times or sixteen times.

A canary is a training example with a mark in its prompt that no other has, and a secret in its answer, in
the form that the task's answers have: another label; in a record another value of the field that varies
most, of the same shape; in a text a number at its end. A tail is trained on all examples and the canaries,
then each secret is ranked by its loss among candidates drawn like it: exposure is log2 of the number of
candidates minus log2 of the rank (Carlini et al., "The Secret Sharer", USENIX Security 2019, with
candidates sampled). The untouched base ranks the same candidates, since a secret that it finds likely was
not learned.

Knows examples and contracts; how tails are trained `encoded_examples` says.
"""

import json
import math
import random
import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from azubi.data import strict_json
from azubi.data.contract import Contract
from azubi.data.example import Example, Turn
from azubi.engine.specialist import Specialist
from azubi.evaluation.audit.learning_curve import Retrainer, expected
from azubi.evaluation.audit.membership import losses
from azubi.evaluation.prediction import Prediction
from azubi.events.tell import Tell, silent

REPEATS = (1, 4, 16)
EACH = 4
"""Canaries that are planted equally often."""
CANDIDATES = 128
"""Secrets that each is ranked among, itself included; of labels all."""
_DIGITS = 8


@dataclass(frozen=True)
class Canary:
    """One planted example, and what could have stood in its place."""

    example: Example
    repeats: int
    candidates: tuple[str, ...]
    """Whole answers, each once; the planted one is the first."""


def plant(
    contract: Contract,
    train: Sequence[Example],
    seed: int = 0,
    repeats: Sequence[int] = REPEATS,
    each: int = EACH,
    most: int = CANDIDATES,
) -> tuple[Canary, ...]:
    """Make canaries in the form of `train`; the same ones from the same seed.

    Where no field of a record varies there is nothing to hide a secret in: then there are none.
    """
    dice = random.Random(f"canaries/{seed}")
    field = _field(contract, train) if contract.task == "json" else ""
    if contract.task == "json" and not field:
        return ()
    planted = []
    for count in repeats:
        for _ in range(each):
            model = dice.choice(train)
            answers = _candidates(contract, model.answer, field, most, dice)
            marked = _marked(model.turns, dice)
            example = replace(model, turns=marked, answer=answers[0], key="", weight=1.0)
            planted.append(Canary(example, count, answers))
    return tuple(planted)


def canaries(
    retrainer: Retrainer,
    train: Sequence[Example],
    planted: Sequence[Canary],
    seed: int,
    who: str = "specialist",
    tell: Tell = silent,
) -> Iterator[Prediction]:
    """Part canary: train on `train` and the canaries, then rank the secrets by the new tail and the base's
    own.

    `tell` hears how many of how many steps of the training are done.

    Raises:
        TrainingError: the loss keeps exploding, and no epoch was finished.
    """
    together = [*train, *(canary.example for canary in planted for _ in range(canary.repeats))]
    both = retrainer.train(together, seed, tell)
    for name, tail in ((who, both.tail), ("base", both.base_tail())):
        for number, canary in enumerate(planted):
            yield _ranked(both, tail, canary, name, number)


def seconds(stages: Mapping[str, float]) -> float:
    """How long the training will take, told from the seconds of the specialist's stages on its card."""
    return expected(stages, 1.0, 1)


def _ranked(specialist: Specialist, tail: object, canary: Canary, who: str, number: int) -> Prediction:
    encoded_examples = [
        specialist.encode(replace(canary.example, answer=candidate)).last_answer_only
        for candidate in canary.candidates
    ]
    read = specialist.activations.in_memory(encoded.tokens for encoded in encoded_examples)
    costs = losses(tail, encoded_examples, read, has_instruction=bool(specialist.instruction_tokens))
    # Candidates that are as likely stand before it: what a model without any preference gives is 0 bits.
    rank = sum(cost <= costs[0] for cost in costs)
    return Prediction(
        part="canary",
        who=who,
        number=number,
        truth=canary.candidates[0],
        score=math.log2(len(costs)) - math.log2(rank),
        loss=costs[0],
        repeats=canary.repeats,
        rank=rank,
        candidates=len(costs),
    )


def _candidates(
    contract: Contract, answer: str, field: str, most: int, dice: random.Random
) -> tuple[str, ...]:
    if contract.task == "labels":
        others = [label for label in contract.labels if label != answer]
        dice.shuffle(others)
        # The true label is a candidate, but what is planted is another one.
        return (*others[: most - 1], answer) if len(others) < most else tuple(others[:most])
    results: dict[str, None] = {}
    for _ in range(20 * most):
        if len(results) == most:
            break
        results.setdefault(_secret(contract, answer, field, dice))
    return tuple(results)


def _secret(contract: Contract, answer: str, field: str, dice: random.Random) -> str:
    if contract.task == "text":
        return f"{answer.rstrip()} {''.join(dice.choice(string.digits) for _ in range(_DIGITS))}"
    record = contract.parse(answer) or {}
    return strict_json.write({**record, field: _like(record.get(field), dice)})


def _like(value: object, dice: random.Random) -> object:
    """Another value of the same shape."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        digits = _shuffled(json.dumps(abs(value)), dice)
        return json.loads(digits) if isinstance(value, float) else int(digits)
    return _shuffled(value, dice) if isinstance(value, str) else value


def _shuffled(text: str, dice: random.Random) -> str:
    """Digits and letters drawn anew; the first digit is no zero, the rest stays."""
    kinds = ((string.digits, string.digits), (string.ascii_lowercase,) * 2, (string.ascii_uppercase,) * 2)
    drawn = "".join(
        next((dice.choice(pool) for kind, pool in kinds if letter in kind), letter) for letter in text
    )
    return dice.choice(string.digits[1:]) + drawn[1:] if drawn[:1].isdigit() else drawn


def _field(contract: Contract, train: Sequence[Example]) -> str:
    """The learned field with most values, the longest where equal; empty if no value can be drawn anew."""
    values: Counter[tuple[str, str]] = Counter()
    for example in train:
        for name, value in (contract.parse(example.answer) or {}).items():
            if (
                name in contract.learned
                and isinstance(value, str | int | float)
                and not isinstance(value, bool)
            ):
                values[name, str(value)] += 1
    distinct = Counter(name for name, _ in values)
    lengths = Counter[str]()
    for name, value in values:
        lengths[name] = max(lengths[name], len(value))
    able = [name for name in distinct if distinct[name] > 1 and lengths[name] > 1]
    return max(able, key=lambda name: (distinct[name], lengths[name], name), default="")


def _marked(turns: tuple[Turn, ...], dice: random.Random) -> tuple[Turn, ...]:
    """The same question with a word at its end that stands nowhere else."""
    word = "".join(dice.choice(string.ascii_lowercase) for _ in range(8))
    return (*turns[:-1], replace(turns[-1], content=f"{turns[-1].content} ({word})"))
