"""What every baseline is given, and what it becomes: `EvaluationTask` and `Baseline`.

No baseline sees a test example before it is asked about it.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from azubi.data import strict_json
from azubi.data.contract import Contract
from azubi.data.example import Example
from azubi.data.rules.derivation import Derivation
from azubi.engine.inference.answering import Answer, AnswerMode, Question
from azubi.engine.specialist import Specialist
from azubi.evaluation import metrics
from azubi.evaluation.facts import Contender
from azubi.evaluation.prediction import Prediction


@dataclass(frozen=True)
class EvaluationTask:
    """One specialist's task, as its baselines meet it."""

    contract: Contract
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    """Both with whole answers, derived fields included."""
    instruction: str
    """The company's: the specialist's."""
    longest: int
    """Most tokens of an answer."""
    seed: int = 0

    @cached_property
    def learned_train(self) -> tuple[Example, ...]:
        """The training examples as models see them: without derived fields."""
        return self._derivation.taught(self.train) if self.contract.derived else self.train

    @cached_property
    def learned_validation(self) -> tuple[Example, ...]:
        """The validation examples without derived fields, in their own order."""
        return self._derivation.taught(self.validation) if self.contract.derived else self.validation

    @cached_property
    def checks(self) -> tuple[Example, ...]:
        """The validation examples in random order, so that the first of them stand for all."""
        return tuple(self.validation[number] for number in sample_order(len(self.validation), self.seed))

    def complete(self, answer: str) -> str:
        """A record's text with its derived fields computed; other answers as they are."""
        record = self.contract.parse(answer) if self.contract.derived else None
        return answer if record is None else strict_json.write(self._derivation.complete(record).record)

    def scores(self, answer: str, truth: str) -> tuple[float, float]:
        """The main metric of one answer, and a finer one: of a record, the share of right fields."""
        values = metrics.per_example(self.contract, [answer], [truth])
        main = float(next(iter(values.values()))[0])
        fields = [float(value[0]) for name, value in values.items() if name.startswith("field:")]
        return main, sum(fields) / len(fields) if fields else main

    @cached_property
    def _derivation(self) -> Derivation:
        return Derivation(self.contract)


@dataclass(frozen=True)
class Baseline:
    """Somebody who answers the questions of a task, with all preparation done."""

    contender: Contender
    """Who it is, how it was set up and what that took."""
    answer: Callable[[Sequence[Question], AnswerMode], Iterator[tuple[int, Answer]]]
    """Yields (number of the question, answer) as they are done; a confidence that is not known is NaN.

    Raises DataError if a question is too long.
    """
    modes: tuple[AnswerMode, ...] = ("constrained",)
    """How it can answer; the mode that counts first."""
    shared_tokens: int = 0
    """Tokens of the instruction, which are read once for all questions."""
    seconds_per_question: float = 0.0
    """Many asked together, as measured in preparation; 0 if next to nothing or not measured."""
    choice: Sequence[Prediction] = ()
    """Its answers to the validation questions with which its settings were chosen."""
    notes: list[str] = field(default_factory=list)
    """What the reader of the proof has to know; may grow while it answers."""
    specialist: Specialist | None = None
    """The model, where one was trained for this baseline."""

    @property
    def who(self) -> str:
        """Its name in the table of predictions."""
        return self.contender.who


def sample_order(count: int, seed: int) -> list[int]:
    """Numbers 0 to `count`-1 in random order.

    The first n of them are a fair sample, and smaller samples lie within larger ones: a baseline that is
    asked fewer questions gets some of the others'.
    """
    numbers = list(range(count))
    random.Random(f"rivals/{seed}").shuffle(numbers)  # another word would draw other questions
    return numbers


def sample_numbers(examples: Sequence[Example], count: int, seed: int) -> list[int]:
    """The numbers of at most `count` examples to ask about, ascending."""
    return sorted(sample_order(len(examples), seed)[: max(1, count)])
