"""Tails on shares of the training examples, so that it can be told what more examples would bring.

For each seed the smaller sample is part of the larger one. Knows examples and scores; nothing of the curve
that is laid through them (`evaluate.learning`).
"""

import time
from collections.abc import Iterator, Mapping, Sequence

from azubi.data.contract import Contract
from azubi.data.example import Example
from azubi.data.splits import splitting
from azubi.engine.inference.answering import in_order
from azubi.evaluation import metrics
from azubi.evaluation.audit.retraining import Retrainer, expected
from azubi.evaluation.facts import Curve
from azubi.evaluation.prediction import Prediction
from azubi.events.tell import Tell, silent

SHARES = (0.12, 0.25, 0.5, 1.0)
SEEDS = (0, 1, 2)


def curve(
    school: Retrainer,
    contract: Contract,
    train: Sequence[Example],
    test: Sequence[Example],
    longest: int,
    shares: Sequence[float] = SHARES,
    seeds: Sequence[int] = SEEDS,
    tell: Tell = silent,
) -> Iterator[Curve | Prediction]:
    """Part curve: for each seed and share, how long the training took, then its answers to `test`.

    `contract` is the specialist's, `longest` the most tokens of an answer. `tell` hears of thousandths of the
    whole. A share of fewer than two examples is left out, as is one that gives no more than a smaller one.

    Raises:
        TrainingError: the loss keeps exploding, and no epoch was finished.
    """
    whole, done = sum(shares) * len(seeds), 0.0
    for seed in seeds:
        before = 1
        for share in sorted(shares):
            examples = splitting.sample(train, round(share * len(train)), seed)
            if len(examples) > before:
                before = len(examples)
                yield from _one(
                    school, contract, examples, test, longest, share, seed, _scaled(tell, done, share, whole)
                )
            done += share
            tell(round(1000 * done / whole), 1000)


def seconds(
    stages: Mapping[str, float], shares: Sequence[float] = SHARES, seeds: Sequence[int] = SEEDS
) -> float:
    """How long the curve will take, told from the seconds of the specialist's stages on its card."""
    return sum(expected(stages, share, len(seeds), tested=1.0) for share in shares)


def _one(
    school: Retrainer,
    contract: Contract,
    examples: Sequence[Example],
    test: Sequence[Example],
    longest: int,
    share: float,
    seed: int,
    tell: Tell,
) -> Iterator[Curve | Prediction]:
    begun = time.monotonic()
    both = school.train(examples, seed, tell)
    taken = time.monotonic() - begun
    variant = f"{share:.0%}, seed {seed}".replace("%", " %")
    yield Curve(variant=variant, examples=len(examples), seed=seed, seconds=taken)
    answers = in_order(both.answering(longest), [one.turns for one in test])
    truths = [one.answer for one in test]
    scores = next(iter(metrics.per_example(contract, [one.text for one in answers], truths).values()))
    for number, (example, answer, score) in enumerate(zip(test, answers, scores, strict=True)):
        yield Prediction(
            part="curve",
            who="specialist",
            number=number,
            id=example.name,
            variant=variant,
            truth=example.answer,
            answer=answer.text,
            confidence=answer.confidence,
            right=metrics.right(contract, answer.text, example.answer),
            score=float(score),
        )


def _scaled(tell: Tell, before: float, share: float, whole: float) -> Tell:
    return lambda step, steps: tell(round(1000 * (before + share * step / steps) / whole), 1000)
