"""Tails on shares of the training examples, so that it can be told what more examples would bring.

For each seed the smaller sample is part of the larger one. Knows examples and scores; nothing of the curve
that is laid through them (`evaluation.learning`).
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from azubi.data.contract import Contract
from azubi.data.example import Example
from azubi.data.splits import splitting
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.inference.answering import in_order
from azubi.engine.specialist import Specialist
from azubi.engine.training import loop
from azubi.engine.training.config import config_from
from azubi.evaluation import metrics
from azubi.evaluation.facts import Curve
from azubi.evaluation.prediction import Prediction
from azubi.events.tell import Tell, silent
from azubi.settings import Recipe


@dataclass(frozen=True)
class Retrainer:
    """All that a specialist was trained with, but the examples."""

    specialist: Specialist
    """The specialist, or a baseline on the same base: `with_new_tail` makes new ones from it."""
    instruction: str
    recipe: Recipe
    """With every choice made, as the specialist's card holds it."""
    cache: ActivationCache
    validation: Sequence[Example]
    """They choose the best epoch, as they did for the specialist."""

    def train(self, examples: Sequence[Example], seed: int, tell: Tell = silent) -> Specialist:
        """A new tail, trained on `examples`; `tell` hears how many of how many steps are done.

        With the specialist's own examples and seed it is the specialist's tail; with differential
        privacy, which is kept to as well, no two are the same.

        Raises:
            TrainingError: the loss keeps exploding, and no epoch was finished.
        """
        recipe = self.recipe.model_copy(update={"seed": seed})
        both = self.specialist.with_new_tail(int(recipe.tail_layers), int(recipe.rank), seed)
        has_instruction = bool(both.set_instruction(self.instruction))
        encoded_examples = loop.as_trained([both.encode(example) for example in examples], recipe)
        checks = [both.encode(example).last_answer_only for example in self.validation]
        for _ in both.activations.fill(self.cache, [*encoded_examples, *checks]):
            pass
        read = both.activations.reader(self.cache)
        if recipe.privacy is not None:
            both.init_without_data()
        else:
            both.init_from_data(encoded_examples, read)
        for happened in loop.train(
            both.tail,
            encoded_examples,
            checks,
            read,
            config_from(recipe),
            has_instruction=has_instruction,
        ):
            if isinstance(happened, loop.Step):
                tell(happened.step, happened.steps)
        both.tail.eval()
        return both


def expected(seconds: Mapping[str, float], share: float, trainings: int, tested: float = 0.0) -> float:
    """Seconds that `trainings` on a `share` of the examples will take, from what the specialist's took.

    `seconds` are those of its stages, as its card holds them. `tested` is the share of the test that each new
    tail then answers; the stage that measured the specialist had base and specialist answer.
    """
    return trainings * (share * seconds.get("tail", 0.0) + tested * seconds.get("evaluate", 0.0) / 2)


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
    tell: Tell = silent,
) -> Iterator[Curve | Prediction]:
    """Part learning-curve: for each seed and share, how long the training took, then its answers to `test`.

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
                yield from _answers_of(
                    retrainer,
                    contract,
                    examples,
                    test,
                    longest,
                    share,
                    seed,
                    _scaled(tell, done, share, whole),
                )
            done += share
            tell(round(1000 * done / whole), 1000)


def seconds(
    stages: Mapping[str, float], shares: Sequence[float] = SHARES, seeds: Sequence[int] = SEEDS
) -> float:
    """How long the curve will take, told from the seconds of the specialist's stages on its card."""
    return sum(expected(stages, share, len(seeds), tested=1.0) for share in shares)


def _answers_of(
    retrainer: Retrainer,
    contract: Contract,
    examples: Sequence[Example],
    test: Sequence[Example],
    longest: int,
    share: float,
    seed: int,
    tell: Tell,
) -> Iterator[Curve | Prediction]:
    begun = time.monotonic()
    both = retrainer.train(examples, seed, tell)
    taken = time.monotonic() - begun
    variant = f"{share:.0%}, seed {seed}".replace("%", " %")
    yield Curve(variant=variant, examples=len(examples), seed=seed, seconds=taken)
    answers = in_order(both.answering(longest), [example.turns for example in test])
    truths = [example.answer for example in test]
    scores = next(iter(metrics.per_example(contract, [answer.text for answer in answers], truths).values()))
    for number, (example, answer, score) in enumerate(zip(test, answers, scores, strict=True)):
        yield Prediction(
            part="learning-curve",
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
