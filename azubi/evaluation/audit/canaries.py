"""Planted secrets: what a tail gives away of an example that it saw once, four times or sixteen times.

A canary is a training example with a unique word in its prompt and a secret in its answer, in the form of
the task: another label; in a record another value, of the same shape, in the field that varies most; in a
text a number at its end. A tail is trained on all examples and the canaries. Then each secret is ranked by
its loss among candidates drawn like it: exposure is log2 of the number of candidates minus log2 of the rank
(Carlini et al., "The Secret Sharer", USENIX Security 2019, with candidates sampled). The untouched base
ranks the same candidates, since a secret that it finds likely was not learned.
"""

import json
import math
import random
import string
from collections.abc import Sequence
from dataclasses import dataclass, replace

from azubi.data import strict_json
from azubi.data.contract import Contract
from azubi.data.example import Example, Turn
from azubi.evaluation.audit.membership import losses_by_tail
from azubi.evaluation.prediction import Prediction
from azubi.evaluation.retraining import Retrainer
from azubi.events.work import Work

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
    """Make canaries in the form of `train`; none where no field of a record varies."""
    rng = random.Random(f"canaries/{seed}")
    field = _most_varied_field(contract, train) if contract.task == "json" else ""
    if contract.task == "json" and not field:
        return ()
    planted = []
    for count in repeats:
        for _ in range(each):
            model = rng.choice(train)
            answers = _candidates(contract, model.answer, field, most, rng)
            turns = _with_unique_word(model.turns, rng)
            example = replace(model, turns=turns, answer=answers[0], key="", weight=1.0)
            planted.append(Canary(example, count, answers))
    return tuple(planted)


def canaries(
    retrainer: Retrainer, train: Sequence[Example], planted: Sequence[Canary], seed: int
) -> Work[list[Prediction]]:
    """Part canary: train on `train` and the canaries; the new tail and the base's own rank the secrets.

    Raises:
        TrainingError: the loss keeps exploding, and no epoch was finished.
    """
    together = [*train, *(canary.example for canary in planted for _ in range(canary.repeats))]
    specialist = yield from retrainer.train(together, seed)
    tails = {"specialist": specialist.tail, "base": specialist.base_tail()}
    rows = []
    for number, canary in enumerate(planted):
        encoded = [
            specialist.encode(replace(canary.example, answer=candidate)).last_answer_only
            for candidate in canary.candidates
        ]
        losses = yield from losses_by_tail(specialist, tails, encoded)
        rows += [_rank(who, number, canary, of_tail) for who, of_tail in losses.items()]
    return rows


def _rank(who: str, number: int, canary: Canary, losses: Sequence[float]) -> Prediction:
    # Candidates that are as likely count as better: a model without any preference gives 0 bits.
    rank = sum(loss <= losses[0] for loss in losses)
    return Prediction(
        part="canary",
        who=who,
        number=number,
        truth=canary.candidates[0],
        score=math.log2(len(losses)) - math.log2(rank),
        loss=losses[0],
        repeats=canary.repeats,
        rank=rank,
        candidates=len(losses),
    )


def _candidates(
    contract: Contract, answer: str, field: str, most: int, rng: random.Random
) -> tuple[str, ...]:
    if contract.task == "labels":
        others = [label for label in contract.labels if label != answer]
        rng.shuffle(others)
        # The true label is a candidate, but another one is planted.
        return (*others[: most - 1], answer) if len(others) < most else tuple(others[:most])
    secrets: dict[str, None] = {}
    for _ in range(20 * most):
        if len(secrets) < most:
            secrets.setdefault(_secret(contract, answer, field, rng))
    return tuple(secrets)


def _secret(contract: Contract, answer: str, field: str, rng: random.Random) -> str:
    if contract.task == "text":
        return f"{answer.rstrip()} {''.join(rng.choice(string.digits) for _ in range(_DIGITS))}"
    record = contract.parse(answer) or {}
    return strict_json.write({**record, field: _other_value(record.get(field), rng)})


def _other_value(value: object, rng: random.Random) -> object:
    """A value of the same shape."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return value
    if isinstance(value, str):
        return _other_characters(value, rng)
    digits = _other_characters(json.dumps(abs(value)), rng)
    return json.loads(digits) if isinstance(value, float) else int(digits)


def _other_characters(text: str, rng: random.Random) -> str:
    """Digits and letters drawn anew; the first digit is no zero, the rest stays."""
    pools = (string.digits, string.ascii_lowercase, string.ascii_uppercase)
    drawn = "".join(
        next((rng.choice(pool) for pool in pools if character in pool), character) for character in text
    )
    return rng.choice(string.digits[1:]) + drawn[1:] if drawn[:1].isdigit() else drawn


def _most_varied_field(contract: Contract, train: Sequence[Example]) -> str:
    """The learned field with most values, the longest where equal; empty if none can be drawn anew."""
    values: dict[str, set[str]] = {}
    for example in train:
        for name, value in (contract.parse(example.answer) or {}).items():
            plain = isinstance(value, str | int | float) and not isinstance(value, bool)
            if plain and name in contract.learned:
                values.setdefault(name, set()).add(str(value))
    varied = {
        name: (len(texts), max(map(len, texts)))
        for name, texts in values.items()
        if len(texts) > 1 and max(map(len, texts)) > 1
    }
    return max(varied, key=lambda name: (*varied[name], name), default="")


def _with_unique_word(turns: tuple[Turn, ...], rng: random.Random) -> tuple[Turn, ...]:
    """The same question with a word at its end that stands nowhere else."""
    word = "".join(rng.choice(string.ascii_lowercase) for _ in range(8))
    return (*turns[:-1], replace(turns[-1], content=f"{turns[-1].content} ({word})"))
