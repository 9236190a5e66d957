"""Asking a baseline about examples: its answers become rows of the table of predictions."""

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from azubi.data import strict_json
from azubi.data.contract import Contract
from azubi.data.example import Example
from azubi.data.rules.derivation import Derivation
from azubi.engine.inference.answering import Answer, Answering, AnswerMode, Question
from azubi.engine.specialist import Specialist
from azubi.evaluation import metrics
from azubi.evaluation.prediction import UNANSWERED, Contender, Part, Prediction
from azubi.events.events import Step, Work, part_of, translate


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
        return self._derivation.without_derived(self.train) if self.contract.derived else self.train

    @cached_property
    def learned_validation(self) -> tuple[Example, ...]:
        """The validation examples without derived fields, in their own order."""
        return self._derivation.without_derived(self.validation) if self.contract.derived else self.validation

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


_ALONE = 20
"""Questions that are asked one at a time for the time that one takes."""
_FEWEST_ALONE = 3


def row(
    task: EvaluationTask,
    part: Part,
    who: str,
    number: int,
    example: Example,
    answer: Answer,
    mode: AnswerMode = "constrained",
    *,
    variant: str = "",
    seconds: float | None = None,
) -> Prediction:
    """One answer, judged against the example's own."""
    truth = task.complete(example.answer) if part == "choice" else example.answer
    return Prediction(
        part=part,
        who=who,
        number=number,
        id=example.name,
        mode=mode,
        variant=variant,
        kind=UNANSWERED if answer.by == "nobody" else "",
        truth=truth,
        answer=answer.text,
        confidence=None if math.isnan(answer.confidence) else answer.confidence,
        right=metrics.right(task.contract, answer.text, truth),
        score=task.scores(answer.text, truth)[0],
        seconds=seconds,
        tokens_in=answer.read,
        tokens_out=answer.wrote,
    )


def ask(
    baseline: Baseline,
    task: EvaluationTask,
    examples: Sequence[Example],
    numbers: Sequence[int],
    *,
    part: Part = "test",
    mode: AnswerMode = "constrained",
) -> Work[list[Prediction]]:
    """Ask about the examples of these numbers; rows in that order, each with its share of the time."""
    rows = yield from _ask(baseline, task, examples, numbers, part, mode)
    return spread_shared_tokens(rows, baseline.shared_tokens)


def ask_within(
    baseline: Baseline,
    task: EvaluationTask,
    examples: Sequence[Example],
    seconds: float,
    *,
    mode: AnswerMode = "constrained",
    fewest: int = 30,
) -> Work[list[Prediction]]:
    """Ask about as many of the examples, chosen at random, as fit into about `seconds`; at least `fewest`.

    Many questions together are answered faster than the few of the preparation. So the first part may take
    half of the time, and the second as much as is left at the pace of the first.
    """
    order, started = sample_order(len(examples), task.seed), time.perf_counter()
    pace = baseline.seconds_per_question
    count = len(order) if pace <= 0 else max(fewest, int(seconds / 2 / pace))
    first, rest = order[:count], order[count:]
    rows = yield from _ask(baseline, task, examples, first, "test", mode)
    spent = time.perf_counter() - started
    asked, count = len(first), int((seconds - spent) / (spent / len(first)))
    if rest and count > 0:
        more = _ask(baseline, task, examples, rest[:count], "test", mode)
        rows += yield from translate(more, lambda step: Step(asked + step.done, asked + step.total))
    return sorted(
        spread_shared_tokens(rows, baseline.shared_tokens), key=lambda prediction: prediction.number
    )


def measure_latency(
    baseline: Baseline, task: EvaluationTask, examples: Sequence[Example], seconds: float = 30.0
) -> Work[list[Prediction]]:
    """Ask twenty questions one at a time; fewer once `seconds` are used up, but three at least.

    One more is asked before them and not counted: the first brings weights and code into memory.
    """
    numbers = sample_order(len(examples), task.seed)[:_ALONE]
    list(baseline.answer([examples[numbers[0]].turns], "constrained"))
    started, rows = time.perf_counter(), list[Prediction]()
    for number in numbers:
        if len(rows) >= _FEWEST_ALONE and time.perf_counter() - started > seconds:
            break
        asked = time.perf_counter()
        ((_, answer),) = baseline.answer([examples[number].turns], "constrained")
        took = time.perf_counter() - asked
        rows.append(row(task, "latency", baseline.who, number, examples[number], answer, seconds=took))
        yield Step(len(rows), len(numbers))
    return rows


def spread_shared_tokens(rows: Sequence[Prediction], shared: int) -> list[Prediction]:
    """The same rows, with the tokens that are read once for all spread evenly over them."""
    each = shared / max(1, len(rows))
    return [replace(prediction, tokens_in=round((prediction.tokens_in or 0) + each)) for prediction in rows]


def _ask(
    baseline: Baseline,
    task: EvaluationTask,
    examples: Sequence[Example],
    numbers: Sequence[int],
    part: Part,
    mode: AnswerMode,
) -> Work[list[Prediction]]:
    asked = [examples[number] for number in numbers]
    started, answers = time.perf_counter(), dict[int, Answer]()
    for position, answer in baseline.answer([example.turns for example in asked], mode):
        answers[position] = answer
        paused = time.perf_counter()
        yield Step(len(answers), len(asked))
        started += time.perf_counter() - paused  # drawing the progress is not the baseline's time
    seconds = (time.perf_counter() - started) / max(1, len(asked))
    return [
        row(task, part, baseline.who, number, example, answers[position], mode, seconds=seconds)
        for position, (number, example) in enumerate(zip(numbers, asked, strict=True))
    ]


_FIRST = 6
"""Questions that every candidate is asked at least, as long as there is time."""
_MOST = 200
"""More validation questions hardly change which candidate is the best."""
_KEPT = 3
"""One in so many goes on to the next round."""


@dataclass
class Candidate:
    """One way to answer, and how it did so far."""

    name: str
    """Its variant in the table: "instruction 2, 4 examples"."""
    answer: Answering
    rows: list[Prediction] = field(default_factory=list)
    finer_scores: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def judge(self, who: str, task: EvaluationTask, examples: Sequence[Example]) -> None:
        """Ask more validation questions, those that follow on the ones asked before."""
        if not examples:
            return
        started = time.perf_counter()
        answers = dict(self.answer([example.turns for example in examples]))
        seconds = time.perf_counter() - started
        self.seconds += seconds
        share, before = seconds / len(examples), len(self.rows)
        for position, example in enumerate(examples):
            number, answer = before + position, answers[position]
            new = row(task, "choice", who, number, example, answer, variant=self.name, seconds=share)
            self.rows.append(new)
            self.finer_scores.append(task.scores(new.answer, new.truth)[1])

    @property
    def merit(self) -> tuple[float, float]:
        """Mean main metric, then mean of the finer one, which decides where the main one is equal."""
        if not self.rows:
            return 0.0, 0.0
        main = sum(prediction.score or 0.0 for prediction in self.rows)
        return main / len(self.rows), sum(self.finer_scores) / len(self.rows)

    @property
    def seconds_per_question(self) -> float:
        """0 if it was asked nothing."""
        return self.seconds / len(self.rows) if self.rows else 0.0


@dataclass(frozen=True)
class RaceResult:
    """Who won, and all that was answered."""

    best: tuple[Candidate, ...]
    """Those that were left, the winner first."""
    rows: tuple[Prediction, ...] = ()
    not_tried: int = 0
    """Candidates for which there was no time."""


def race(
    who: str, candidates: Sequence[Candidate], task: EvaluationTask, seconds: float, keep: int = 1
) -> Work[RaceResult]:
    """Find the `keep` candidates that answer validation questions best; of equal ones the first.

    Each round may take an equal share of `seconds`. Candidates of a round are compared on the same questions.
    """
    if len(candidates) <= keep or not task.checks:
        return RaceResult(tuple(candidates[:keep]))
    deadline = time.perf_counter() + seconds
    running: list[Candidate] = []
    most = min(_MOST, len(task.checks))
    for candidate in candidates:
        if running and time.perf_counter() > deadline:
            break
        candidate.judge(who, task, task.checks[len(candidate.rows) : min(_FIRST, most)])
        running.append(candidate)
        yield Step(len(running), 2 * len(candidates))
    not_tried = len(candidates) - len(running)
    rounds = max(1, math.ceil(math.log(len(candidates), _KEPT)))
    for turn in range(rounds):
        asked = max(len(candidate.rows) for candidate in running)
        pace = max(1e-9, sum(candidate.seconds_per_question for candidate in running))
        more = int((deadline - time.perf_counter()) / (rounds - turn) / pace)
        for position, candidate in enumerate(running):
            candidate.judge(who, task, task.checks[len(candidate.rows) : min(most, asked + max(0, more))])
            done = (turn + (position + 1) / len(running)) / rounds
            yield Step(round(len(candidates) * (1 + done)), 2 * len(candidates))
        running.sort(key=lambda candidate: candidate.merit, reverse=True)
        running = running[: keep if turn == rounds - 1 else max(keep, len(running) // _KEPT)]
    rows = tuple(prediction for candidate in candidates for prediction in candidate.rows)
    return RaceResult(tuple(running), rows, not_tried)


def race_in_two_stages(
    who: str,
    first: Sequence[Candidate],
    then: Callable[[Sequence[Candidate]], Sequence[Candidate]],
    task: EvaluationTask,
    seconds: float,
    *,
    keep: int,
) -> Work[RaceResult]:
    """Choose one thing, then another: far fewer candidates than all combinations.

    The `keep` best of `first` decide which candidates `then` makes; the first race may take half of
    `seconds`. A candidate in both races is asked anew; its answers of the second count.
    """
    started = time.perf_counter()
    early = yield from part_of(race(who, first, task, seconds / 2, keep), 0.0, 0.5)
    later = then(early.best)
    left = seconds - (time.perf_counter() - started)
    result = yield from part_of(race(who, later, task, left), 0.5, 1.0)
    asked_again = {candidate.name for candidate in later if candidate.rows}
    rows = [prediction for prediction in early.rows if prediction.variant not in asked_again]
    return RaceResult(result.best, (*rows, *result.rows), early.not_tried + result.not_tried)
