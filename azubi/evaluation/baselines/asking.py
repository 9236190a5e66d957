"""Asking a baseline about examples, and noting its answers as rows of the table of predictions.

Knows baselines and the table; nothing of how a baseline comes to its answers.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from azubi.data.example import Example
from azubi.engine.base import hardware
from azubi.engine.inference.answering import Answer, AnswerMode
from azubi.evaluation import metrics
from azubi.evaluation.baselines.task import Baseline, EvaluationTask, order
from azubi.evaluation.facts import Contender
from azubi.evaluation.prediction import Part, Prediction
from azubi.events.tell import Tell

_ALONE = 20
"""Questions that are asked one at a time for the time that one takes."""
_FEWEST = 3


def ask(
    baseline: Baseline,
    task: EvaluationTask,
    examples: Sequence[Example],
    numbers: Sequence[int],
    tell: Tell,
    *,
    part: Part = "test",
    mode: AnswerMode = "constrained",
    variant: str = "",
) -> list[Prediction]:
    """The baseline's answers to the examples of these numbers, in that order.

    `seconds` of a row is its share of the time that all of them took.
    """
    return spread(_asked(baseline, task, examples, numbers, tell, part, mode, variant), baseline.shared)


def _asked(
    baseline: Baseline,
    task: EvaluationTask,
    examples: Sequence[Example],
    numbers: Sequence[int],
    tell: Tell,
    part: Part,
    mode: AnswerMode,
    variant: str,
) -> list[Prediction]:
    """Rows that do not know of the instruction that all questions share."""
    asked = [examples[number] for number in numbers]
    hardware.reset_peak_memory()
    begun, answers = time.perf_counter(), dict[int, Answer]()
    for place, answer in baseline.answer([example.turns for example in asked], mode):
        answers[place] = answer
        tell(len(answers), len(asked))
    share = (time.perf_counter() - begun) / max(1, len(asked))
    return [
        row(task, part, baseline.who, number, example, answers[place], mode, variant, seconds=share)
        for place, (number, example) in enumerate(zip(numbers, asked, strict=True))
    ]


def spread(rows: Sequence[Prediction], shared: int) -> list[Prediction]:
    """The same rows, with the tokens that are read once for all spread evenly over them."""
    each = shared / max(1, len(rows))
    return [replace(prediction, tokens_in=round((prediction.tokens_in or 0) + each)) for prediction in rows]


def _counted(tell: Tell, before: int, total: int, done: int, _: int) -> None:
    tell(before + done, total)


def row(
    task: EvaluationTask,
    part: Part,
    who: str,
    number: int,
    example: Example,
    answer: Answer,
    mode: AnswerMode = "constrained",
    variant: str = "",
    *,
    seconds: float | None = None,
) -> Prediction:
    """One answer, judged against the example's own, as a row of the table."""
    truth = task.completed(example.answer) if part == "choice" else example.answer
    return Prediction(
        part=part,
        who=who,
        number=number,
        id=example.name,
        mode=mode,
        variant=variant,
        truth=truth,
        answer=answer.text,
        confidence=None if math.isnan(answer.confidence) else answer.confidence,
        right=metrics.right(task.contract, answer.text, truth),
        score=task.scores(answer.text, truth)[0],
        seconds=seconds,
        tokens_in=answer.read,
        tokens_out=answer.wrote,
    )


def latency(
    baseline: Baseline, task: EvaluationTask, examples: Sequence[Example], tell: Tell, seconds: float = 30.0
) -> Iterator[Prediction]:
    """Ask held-out questions one at a time; fewer than twenty once `seconds` are used up, but three at least.

    One more is asked before them and thrown away: the first brings weights and code into memory.
    """
    numbers = order(len(examples), task.seed)[:_ALONE]
    for _ in baseline.answer([examples[numbers[0]].turns]):
        pass
    begun = time.perf_counter()
    for done, number in enumerate(numbers):
        if done >= _FEWEST and time.perf_counter() - begun > seconds:
            return
        asked = time.perf_counter()
        ((_, answer),) = baseline.answer([examples[number].turns])
        took = time.perf_counter() - asked
        tell(done + 1, len(numbers))
        yield row(task, "latency", baseline.who, number, examples[number], answer, seconds=took)


def ask_within(
    baseline: Baseline,
    task: EvaluationTask,
    examples: Sequence[Example],
    seconds: float,
    tell: Tell,
    *,
    mode: AnswerMode = "constrained",
    fewest: int = 30,
) -> list[Prediction]:
    """The baseline's answers to as many of the examples, chosen by chance, as it can give in about `seconds`.

    At least `fewest`. Many together are answered faster than the few that its pace was seen with, so the
    first part takes half of the time, and the second as many as fit into the rest. Rows stand in the
    examples' order.
    """
    numbers, begun = order(len(examples), task.seed), time.perf_counter()
    rows: list[Prediction] = []
    pace, part = baseline.pace, 0.5
    while len(rows) < len(numbers):
        left = part * (seconds - (time.perf_counter() - begun))
        more = len(numbers) if pace <= 0 else int(left / pace)
        if not rows:
            more = max(fewest, more)
        some = numbers[len(rows) : len(rows) + max(0, more)]
        if not some:
            break
        done, started = len(rows), time.perf_counter()
        total = min(len(numbers), done + len(some))
        rows += _asked(baseline, task, examples, some, partial(_counted, tell, done, total), "test", mode, "")
        pace, part = (time.perf_counter() - started) / len(some), 1.0
        if done:
            break
    return sorted(spread(rows, baseline.shared), key=lambda prediction: prediction.number)


def with_peak_memory(contender: Contender) -> Contender:
    """The contender with the most memory that was held since `ask` began."""
    return contender.model_copy(update={"memory": hardware.peak_memory()})
