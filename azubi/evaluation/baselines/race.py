"""Choosing among candidates on validation examples, within a budget of time.

Successive halving (Jamieson and Talwalkar, AISTATS 2016, algorithm 1) with thirds: all candidates answer a
few questions, the better third of them more, until one is left. Knows candidates as something that answers;
nothing of prompts, penalties or limits.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from azubi.data.example import Example
from azubi.engine.inference.answering import Answer, Question
from azubi.evaluation.baselines.asking import row
from azubi.evaluation.baselines.task import EvaluationTask
from azubi.evaluation.prediction import Prediction
from azubi.events.tell import Tell

_FIRST = 6
"""Questions that every candidate is asked at least, as long as there is time for any."""
_MOST = 200
"""More validation questions hardly change which candidate is the best."""
_KEPT = 3
"""One in so many goes on."""


@dataclass
class Candidate:
    """One way to answer."""

    says: str
    """Which one it is, for the table: "instruction 2, 4 examples"."""
    answer: Callable[[Sequence[Question]], Iterator[tuple[int, Answer]]]
    rows: list[Prediction] = field(default_factory=list)
    fine: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def judge(self, who: str, task: EvaluationTask, examples: Sequence[Example]) -> None:
        """Ask more of the validation questions, which follow on those that were asked."""
        if not examples:
            return
        done, begun = len(self.rows), time.perf_counter()
        answers = dict(self.answer([example.turns for example in examples]))
        took = time.perf_counter() - begun
        self.seconds += took
        for place, example in enumerate(examples):
            made = row(
                task,
                "choice",
                who,
                done + place,
                example,
                answers[place],
                "constrained",
                self.says,
                seconds=took / len(examples),
            )
            self.rows.append(made)
            self.fine.append(task.scores(made.answer, made.truth)[1])

    @property
    def merit(self) -> tuple[float, float]:
        """Mean main metric, then the mean of the finer one, where the main one cannot tell."""
        scores = [prediction.score or 0.0 for prediction in self.rows]
        return _mean(scores), _mean(self.fine)

    @property
    def pace(self) -> float:
        """Seconds per question."""
        return self.seconds / len(self.rows) if self.rows else 0.0


@dataclass(frozen=True)
class RaceResult:
    """Who won, and all that was answered."""

    front: tuple[Candidate, ...]
    """Those that were left, the best first."""
    rows: tuple[Prediction, ...]
    asked: int
    """Questions that the winner was asked."""
    left_out: int
    """Candidates that there was no time for."""

    @property
    def best(self) -> Candidate:
        """Who won."""
        return self.front[0]


def race(
    who: str, candidates: Sequence[Candidate], task: EvaluationTask, seconds: float, tell: Tell, keep: int = 1
) -> RaceResult:
    """Find the `keep` candidates that answer validation questions best; of equal ones the first.

    Each round may take an equal share of `seconds`. A candidate is only compared with others on the same
    questions: those that all of the round were asked.
    """
    if len(candidates) <= keep or not task.checks:
        return RaceResult(tuple(candidates[:keep]), (), 0, 0)
    deadline = time.perf_counter() + seconds
    running: list[Candidate] = []
    for candidate in candidates:
        if running and time.perf_counter() > deadline:
            break
        candidate.judge(who, task, task.checks[len(candidate.rows) : min(_FIRST, _limit(task))])
        running.append(candidate)
        tell(len(running), 2 * len(candidates))
    left_out = len(candidates) - len(running)
    rounds = max(1, math.ceil(math.log(len(candidates), _KEPT)))
    for turn in range(rounds):
        reach = _reach(running, task, (deadline - time.perf_counter()) / (rounds - turn))
        for place, candidate in enumerate(running):
            candidate.judge(who, task, task.checks[len(candidate.rows) : reach])
            done = (turn + (place + 1) / len(running)) / rounds
            tell(round(len(candidates) * (1 + done)), 2 * len(candidates))
        running.sort(key=lambda candidate: candidate.merit, reverse=True)
        running = running[: keep if turn == rounds - 1 else max(keep, len(running) // _KEPT)]
    rows = [prediction for candidate in candidates for prediction in candidate.rows]
    return RaceResult(tuple(running), tuple(rows), len(running[0].rows), left_out)


def race_in_two_stages(
    who: str,
    first: Sequence[Candidate],
    then: Callable[[Sequence[Candidate]], Sequence[Candidate]],
    task: EvaluationTask,
    seconds: float,
    tell: Tell,
    *,
    keep: int,
) -> RaceResult:
    """Choose one thing, then another: far fewer candidates than every combination of both.

    The `keep` best of `first` decide which candidates `then` makes; the first race may take half of
    `seconds`. What is in both is asked anew, and only counted once.
    """
    begun, half = time.perf_counter(), seconds / 2
    front = race(who, first, task, half, lambda done, total: tell(done, 2 * total), keep)
    later = then(front.front)
    spent = time.perf_counter() - begun
    result = race(who, later, task, seconds - spent, lambda done, total: tell(total + done, 2 * total))
    names = {candidate.says for candidate in later if candidate.rows}
    rows = [candidate for candidate in front.rows if candidate.variant not in names]
    return RaceResult(result.front, (*rows, *result.rows), result.asked, front.left_out + result.left_out)


def _reach(running: Sequence[Candidate], task: EvaluationTask, seconds: float) -> int:
    """How many questions each of the candidates shall have answered, if that may take so many seconds."""
    done = max(len(candidate.rows) for candidate in running)
    more = int(seconds / max(1e-9, sum(candidate.pace for candidate in running)))
    return min(_limit(task), done + max(0, more))


def _limit(task: EvaluationTask) -> int:
    return min(_MOST, len(task.checks))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
