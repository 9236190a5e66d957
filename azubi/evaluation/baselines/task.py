"""What all baselines are given: the contract, examples to learn and choose from, the company's instruction.

No baseline ever sees a test example before it is asked about it. Knows nothing of who the baselines are.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from azubi.data import strict_json
from azubi.data.contract import Contract
from azubi.data.example import Example
from azubi.data.rules.derivation import Derivation
from azubi.engine.inference.answering import Answer, AnswerMode, Question
from azubi.evaluation import metrics
from azubi.evaluation.facts import Contender
from azubi.evaluation.prediction import Prediction
from azubi.events.tell import Tell


@dataclass(frozen=True)
class EvaluationTask:
    """One specialist's task, as its baselines meet it."""

    contract: Contract
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    """Both with whole answers, derived fields and all."""
    instruction: str
    """The company's: the specialist's."""
    longest: int
    """Most tokens of an answer."""
    seed: int = 0

    @cached_property
    def taught(self) -> tuple[Example, ...]:
        """The training examples as they are shown to models: without derived fields."""
        return self._derivation.taught(self.train) if self.contract.derived else self.train

    @cached_property
    def taught_checks(self) -> tuple[Example, ...]:
        """The same of the validation examples, in their own order."""
        return self._derivation.taught(self.validation) if self.contract.derived else self.validation

    @property
    def like(self) -> str:
        """An answer whose whitespace is the one to write."""
        return self.taught[0].answer if self.taught else ""

    @cached_property
    def checks(self) -> tuple[Example, ...]:
        """The validation examples in an order by chance, so that the first of them stand for all."""
        return tuple(self.validation[place] for place in order(len(self.validation), self.seed))

    def completed(self, answer: str) -> str:
        """A record's text with its derived fields computed; other answers as they are."""
        record = self.contract.parse(answer) if self.contract.derived else None
        return answer if record is None else strict_json.write(self._derivation.complete(record).record)

    def scores(self, answer: str, truth: str) -> tuple[float, float]:
        """The main metric of one answer, and a finer one: the share of right fields, for records."""
        metrics_by_name = metrics.per_example(self.contract, [answer], [truth])
        main = float(next(iter(metrics_by_name.values()))[0])
        fields = [float(value[0]) for name, value in metrics_by_name.items() if name.startswith("field:")]
        return main, sum(fields) / len(fields) if fields else main

    @cached_property
    def _derivation(self) -> Derivation:
        return Derivation(self.contract)


def order(count: int, seed: int) -> list[int]:
    """Numbers 0 to `count`-1 in an order that follows from the seed.

    The first so many of them are a fair sample, and smaller samples lie within larger ones: a baseline
    that is asked fewer questions gets some of the others'.
    """
    numbers = list(range(count))
    random.Random(f"rivals/{seed}").shuffle(numbers)
    return numbers


def subset(examples: Sequence[Example], count: int, seed: int) -> list[int]:
    """The numbers of at most `count` examples to ask about, in their order."""
    return sorted(order(len(examples), seed)[: max(1, count)])


class Baseline(Protocol):
    """Somebody who answers the questions of a task."""

    @property
    def who(self) -> str:
        """As in the table of predictions."""

    @property
    def modes(self) -> tuple[AnswerMode, ...]:
        """In which modes it can answer, the one that counts first."""

    @property
    def choice(self) -> Sequence[Prediction]:
        """What it answered to validation questions while it chose; empty if it has nothing to choose."""

    @property
    def pace(self) -> float:
        """Seconds per question, many asked together, as seen in `prepare`; 0 where it is next to nothing."""

    @property
    def shared(self) -> int:
        """Tokens of the instruction, which are read once for all questions."""

    @property
    def notes(self) -> Sequence[str]:
        """What the reader of the proof has to know."""

    def prepare(self, tell: Tell) -> None:
        """All that comes before the first answer: fitting, choosing on validation examples."""

    def answer(
        self, questions: Sequence[Question], mode: AnswerMode = "constrained"
    ) -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) as they are done; confidence is NaN where it is not known.

        Raises DataError if a question is too long.
        """

    def contender(self) -> Contender:
        """How it was set up and what that took."""
