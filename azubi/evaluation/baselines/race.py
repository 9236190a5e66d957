"""Choosing among candidates on validation examples within a time.

Successive halving (Jamieson and Talwalkar, AISTATS 2016, algorithm 1) with thirds: all candidates answer a
few questions, the better third of them more, until one is left.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from azubi.data.example import Example
from azubi.engine.inference.answering import Answering
from azubi.evaluation.baselines.asking import row
from azubi.evaluation.baselines.task import EvaluationTask
from azubi.evaluation.prediction import Prediction
from azubi.events.work import Step, Work, part_of

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
