"""The baselines stage: the specialist and everybody else answer the same held-out questions."""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from azubi.data.contract import Task
from azubi.engine.inference.answering import Answer, AnswerMode, Question
from azubi.engine.specialist import Specialist
from azubi.evaluation import metrics
from azubi.evaluation.baselines import asking, baseline_set
from azubi.evaluation.baselines.baseline_set import BaselineResult
from azubi.evaluation.baselines.task import Baseline
from azubi.evaluation.facts import Contender
from azubi.evaluation.prediction import Prediction
from azubi.events import events as ev
from azubi.pipeline.proof.context import ProofContext, show_progress
from azubi.pipeline.proof.examples import ProofExamples
from azubi.planning.eta import Eta

_CHECKS = 400
"""Validation questions that the specialist is asked at most, to choose below which confidence to review."""


@dataclass(frozen=True)
class Baselines:
    """What everybody answered."""

    rows: tuple[Prediction, ...]
    contenders: tuple[Contender, ...]
    answers: dict[Question, Answer]
    """The specialist's, as it is served, with the trunk's activations of each question."""
    lora: Specialist | None
    notes: tuple[str, ...]


def compare_baselines(
    context: ProofContext, examples: ProofExamples, eta: Eta
) -> Generator[ev.Event, None, Baselines]:
    """Ask the specialist, then its baselines in an order in which each takes its share of the time.

    Raises whatever preparing or answering raises.
    """
    options, task, test = context.options, examples.task, examples.test
    baselines = baseline_set.baseline_set(
        examples.specialist,
        task,
        context.home,
        examples.recipe,
        upfront=sum(context.card.seconds.values()),
        seconds=options.seconds,
        against=options.against,
    )
    notes = yield from _tell_new(baselines.notes, [])
    specialist, answers = _recorded(baselines.specialist, task.contract.task)
    checks = task.checks[:_CHECKS]
    choosing = asking.ask(specialist, task, checks, range(len(checks)), part="choice")
    note = "specialist answers validation questions"
    rows = yield from show_progress(eta, "baselines", choosing, note, stop=0.0)
    contenders, trained = list[Contender](), None
    working = [baseline_set.examine(baselines, specialist, task, test)]
    working += [
        baseline_set.prepare_and_examine(baselines, who, task, test) for who in baselines.preparations
    ]
    for number, work in enumerate(working):
        started, count = time.monotonic(), len(working)
        share, next_share = number / count, (number + 1) / count
        result = yield from show_progress(eta, "baselines", work, start=share, stop=next_share)
        rows += result.rows
        contenders.append(result.contender)
        notes += yield from _tell_new(result.notes, notes)
        if result.contender.who == "lora":
            trained = result.baseline.specialist
        yield _measured(context, result, time.monotonic() - started)
    return Baselines(tuple(rows), tuple(contenders), answers, trained, tuple(notes))


def _recorded(baseline: Baseline, task: Task) -> tuple[Baseline, dict[Question, Answer]]:
    """The same baseline, and a record of its answers; if in several modes, as they are served."""
    answers: dict[Question, Answer] = {}
    mode = "unconstrained" if task == "json" else "constrained"

    def answer(questions: Sequence[Question], asked_mode: AnswerMode) -> Iterator[tuple[int, Answer]]:
        for number, given in baseline.answer(questions, asked_mode):
            if asked_mode == mode or questions[number] not in answers:
                answers[questions[number]] = given
            yield number, given

    return replace(baseline, answer=answer), answers


def _measured(context: ProofContext, result: BaselineResult, seconds: float) -> ev.Event:
    scores = [row.score for row in result.rows if row.part == "test" and row.mode == "constrained"]
    return ev.BaselineMeasured(
        who=result.contender.who,
        says=result.contender.says,
        score=metrics.mean_score(context.metric, np.array(scores, dtype=np.float64)),
        seconds=seconds,
    )


def _tell_new(notes: Sequence[str], known: Sequence[str]) -> Generator[ev.Event, None, list[str]]:
    new = [note for note in dict.fromkeys(notes) if note not in known]
    for note in new:
        yield ev.Notice(text=note)
    return new
