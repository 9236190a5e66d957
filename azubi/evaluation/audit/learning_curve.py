"""Tails trained on shares of the training examples: what would more examples bring?

For each seed the smaller sample is part of the larger one. The curve through them is in
`evaluation.learning`.
"""

import time
from collections.abc import Mapping, Sequence

from azubi.data.contract import Contract
from azubi.data.example import Example
from azubi.data.splits import splitting
from azubi.engine.inference.answering import Answer, in_order
from azubi.evaluation import metrics, retraining
from azubi.evaluation.prediction import Curve, Prediction
from azubi.evaluation.retraining import Retrainer
from azubi.events.work import Step, Work, part_of

SHARES = (0.12, 0.25, 0.5, 1.0)
SEEDS = (0, 1, 2)


def learning_curve(
    retrainer: Retrainer,
    contract: Contract,
    train: Sequence[Example],
    test: Sequence[Example],
    longest: int,
    shares: Sequence[float] = SHARES,
    seeds: Sequence[int] = SEEDS,
) -> Work[tuple[list[Curve], list[Prediction]]]:
    """Part learning-curve: for each seed and share how long the training took, and its answers to `test`.

    `longest`: most tokens of an answer. A share of fewer than two examples is left out, as is one that gives
    no more than a smaller one.

    Raises:
        TrainingError: the loss keeps exploding, and no epoch was finished.
    """
    curves, rows = list[Curve](), list[Prediction]()
    whole, done = sum(shares) * len(seeds), 0.0
    for seed in seeds:
        before = 1
        for share in sorted(shares):
            examples = splitting.sample(train, round(share * len(train)), seed)
            if len(examples) > before:
                before, started = len(examples), time.monotonic()
                training = retrainer.train(examples, seed)
                tuned = yield from part_of(training, done / whole, (done + share) / whole)
                variant = f"{share:.0%}, seed {seed}".replace("%", " %")
                seconds = time.monotonic() - started
                curves.append(Curve(variant=variant, examples=len(examples), seed=seed, seconds=seconds))
                answers = in_order(tuned.answering(longest), [example.turns for example in test])
                rows += _rows(contract, test, answers, variant)
            done += share
            yield Step(round(1000 * done / whole), 1000)
    return curves, rows


def expected_seconds(
    stage_seconds: Mapping[str, float], shares: Sequence[float] = SHARES, seeds: Sequence[int] = SEEDS
) -> float:
    """How long the curve will take, from the seconds of the specialist's stages on its card."""
    return sum(retraining.expected_seconds(stage_seconds, share, len(seeds), tested=1.0) for share in shares)


def _rows(
    contract: Contract, test: Sequence[Example], answers: Sequence[Answer], variant: str
) -> list[Prediction]:
    texts, truths = [answer.text for answer in answers], [example.answer for example in test]
    scores = next(iter(metrics.per_example(contract, texts, truths).values()))
    return [
        Prediction(
            part="learning-curve",
            who="specialist",
            number=number,
            id=example.name,
            variant=variant,
            truth=example.answer,
            answer=answer.text,
            confidence=answer.confidence,
            right=metrics.right(contract, answer.text, example.answer),
            score=float(scores[number]),
        )
        for number, (example, answer) in enumerate(zip(test, answers, strict=True))
    ]
