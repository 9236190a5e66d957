"""Training new tails as the specialist was trained: with other examples, settings, or shares of the examples.

For each seed of the learning curve the smaller sample is part of the larger one. The curve through them is in
`evaluation.audit_results`.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from azubi.data.contract import Contract
from azubi.data.example import Example
from azubi.data.splits import splitting
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.inference.answering import Answer, in_order
from azubi.engine.limits import learn_thresholds
from azubi.engine.model.batch import EncodedExample
from azubi.engine.specialist import Specialist
from azubi.engine.training import loop
from azubi.engine.training.defaults import config_from, prompt_layers
from azubi.evaluation import metrics
from azubi.evaluation.prediction import Curve, Prediction
from azubi.events.events import Step, Work, part_of
from azubi.settings import Recipe

SHARES = (0.12, 0.25, 0.5, 1.0)
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Retrainer:
    """All that a specialist was trained with, but the training examples."""

    specialist: Specialist
    """On its base new tails are put."""
    instruction: str
    recipe: Recipe
    """With every choice made, as the specialist's card holds it."""
    cache: ActivationCache | None
    """None if every layer is trained: then the trunk gives embeddings only, which are not kept."""
    validation: Sequence[Example]
    """They choose the best epoch."""

    def train(self, examples: Sequence[Example], seed: int) -> Work[Specialist]:
        """Train a new tail on `examples`.

        With the specialist's own examples and seed it is the specialist's tail, unless it was trained with
        differential privacy, whose noise never repeats.

        Raises:
            TrainingError: the loss keeps exploding, and no epoch was finished.
        """
        recipe = self.recipe.model_copy(update={"seed": seed})
        layers, rank = int(recipe.tail_layers), int(recipe.rank)
        specialist = self.specialist.with_new_tail(layers, rank, seed, prompt_layers(recipe))
        encoded, checks = self.encode(specialist, examples)
        if self.cache is not None:
            for _ in specialist.activations.fill(self.cache, [*encoded, *checks]):
                pass
        read = specialist.activations.reader(self.cache)
        start = None
        if recipe.privacy is not None:
            specialist.init_without_data()
        else:
            start = specialist.init_from_data(encoded, read, checks)
        config, has_instruction = config_from(recipe), bool(specialist.instruction_tokens)
        training = loop.train(
            specialist.tail,
            encoded,
            checks,
            read,
            config,
            has_instruction=has_instruction,
            simple=start.state if start is not None else None,
            refitted=start.refitted if start is not None else None,
        )
        for event in training:
            if isinstance(event, loop.Step):
                yield Step(event.step, event.steps)
        specialist.tail.eval()
        specialist.thresholds = learn_thresholds(specialist, self.validation, 0)
        return specialist

    def encode(
        self, specialist: Specialist, examples: Sequence[Example]
    ) -> tuple[list[EncodedExample], list[EncodedExample]]:
        """The training and validation examples as `specialist` is trained on them."""
        specialist.set_instruction(self.instruction)
        encoded = loop.as_trained(specialist.encode_training(examples), self.recipe)
        return encoded, [specialist.encode(example).last_answer_only for example in self.validation]


def expected_seconds(
    stage_seconds: Mapping[str, float], share: float, trainings: int, tested: float = 0.0
) -> float:
    """Seconds of `trainings` on a `share` of the examples, from those of the specialist's stages on its card.

    `tested` is the share of the test that each new tail then answers. The stage that measured the specialist
    had two models answer, base and specialist.
    """
    evaluation = stage_seconds.get("evaluate", 0.0) / 2
    return trainings * (share * stage_seconds.get("tail", 0.0) + tested * evaluation)


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


def learning_curve_seconds(
    stage_seconds: Mapping[str, float], shares: Sequence[float] = SHARES, seeds: Sequence[int] = SEEDS
) -> float:
    """How long the curve will take, from the seconds of the specialist's stages on its card."""
    return sum(expected_seconds(stage_seconds, share, len(seeds), tested=1.0) for share in shares)


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
