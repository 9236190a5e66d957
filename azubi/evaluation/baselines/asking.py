"""Asking a baseline about examples: its answers become rows of the table of predictions."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from azubi.data.example import Example
from azubi.engine.inference.answering import Answer, AnswerMode
from azubi.evaluation import metrics
from azubi.evaluation.baselines.task import Baseline, EvaluationTask, sample_order
from azubi.evaluation.prediction import Part, Prediction
from azubi.events.work import Step, Work, translate

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
