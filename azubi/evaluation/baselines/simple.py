"""The simpler ways: no language model at all.

`frequent` says what was most often right, `neighbours` what the most similar examples say, `classical` is
logistic regression; both of the latter read frozen features of a small encoder. For records: the most
frequent value per field, the nearest example's record, and logistic regression for each field of a closed
set.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from azubi.data import strict_json
from azubi.data.example import Example
from azubi.engine.inference.answering import Answer, AnswerMode, Question
from azubi.evaluation.baselines.race import Candidate
from azubi.evaluation.baselines.retrieval import Vectors
from azubi.evaluation.baselines.task import EvaluationTask
from azubi.evaluation.facts import Contender
from azubi.evaluation.prediction import Prediction
from azubi.events.tell import Tell

PENALTIES = (0.1, 1.0, 10.0, 100.0)
"""The inverse penalties C that are tried."""
NEIGHBOURS = (1, 3, 5, 9, 15)
"""How many neighbours vote."""
MOST_CHOICES = 50
"""A field with more distinct values is no closed set."""

Matrix = npt.NDArray[np.float32]
Predictor = Callable[[Matrix], list[tuple[str, float]]]
"""What turns features [texts, hidden] into answers with their probability."""
_Setting = TypeVar("_Setting", int, float)


class SimpleBaseline:
    """A baseline that reads features, chosen among several on validation examples."""

    modes: tuple[AnswerMode, ...] = ("constrained",)
    pace = 0.0
    shared = 0

    def __init__(
        self,
        who: str,
        task: EvaluationTask,
        vectors: Vectors,
        fit: Callable[[Matrix], Mapping[str, Predictor]],
    ) -> None:
        """`fit` makes the candidates, by what they are called, from the training prompts' features."""
        self.who = who
        self.choice: Sequence[Prediction] = ()
        self.notes: list[str] = []
        self._task, self._vectors, self._fit = task, vectors, fit
        self._says, self._upfront = "", 0.0
        self._best: Predictor | None = None

    def prepare(self, tell: Tell) -> None:
        """Fit all candidates and choose the one that is best on all validation examples."""
        begun, task = time.perf_counter(), self._task
        known = self._vectors([example.prompt for example in task.train])
        fitted = self._fit(known)
        candidates = [Candidate(says, partial(self._asked, predict)) for says, predict in fitted.items()]
        checks = self._vectors([example.prompt for example in task.checks]) if task.checks else None
        for done, candidate in enumerate(candidates, start=1):
            if checks is not None and len(candidates) > 1:
                candidate.judge(self.who, task, task.checks)
            tell(done, len(candidates))
        best = max(candidates, key=lambda candidate: candidate.merit)
        self._best = fitted[best.says]
        self.choice = [row for candidate in candidates for row in candidate.rows]
        more = (
            f"; the best of {len(candidates)} on {len(best.rows)} validation questions" if best.rows else ""
        )
        self._says = best.says + more
        self._upfront = time.perf_counter() - begun

    def answer(
        self, questions: Sequence[Question], mode: AnswerMode = "constrained"
    ) -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) in order."""
        assert self._best is not None, "prepare comes first"
        return self._asked(self._best, questions)

    def contender(self) -> Contender:
        """What was chosen, and what fitting took."""
        return Contender(who=self.who, says=self._says, upfront=self._upfront)

    def _asked(self, predict: Predictor, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        features = self._vectors([Example(question, "").prompt for question in questions])
        for number, (text, confidence) in enumerate(predict(features)):
            yield number, Answer(self._task.completed(text), confidence)


def classical(task: EvaluationTask, vectors: Vectors) -> SimpleBaseline | None:
    """Logistic regression; None for free text and for records without a field of a closed set."""
    if task.contract.task == "labels":
        fit: Callable[[float, Matrix], Predictor] = partial(
            _regression, [example.answer for example in task.taught]
        )
    elif task.contract.task == "json" and (fields := closed_fields(task)):
        fit = partial(_regressions, task, fields)
    else:
        return None
    return SimpleBaseline(
        "classical", task, vectors, partial(_each, PENALTIES, "logistic regression, C = {:g}", fit)
    )


def neighbours(task: EvaluationTask, vectors: Vectors) -> SimpleBaseline:
    """The most similar examples: they vote on labels; of other answers the nearest one's is taken."""
    vote = partial(_vote, [example.answer for example in task.taught])
    counts = (
        [choice for choice in NEIGHBOURS if choice <= len(task.taught)]
        if task.contract.task == "labels"
        else [1]
    )
    return SimpleBaseline("neighbours", task, vectors, partial(_each, counts, "{} nearest", vote))


def frequent(task: EvaluationTask) -> SimpleBaseline:
    """What was most often right, field by field for records."""
    answer = commonest(task)
    share = sum(example.answer == answer for example in task.taught) / len(task.taught)
    said = (answer, share)
    return SimpleBaseline(
        "frequent", task, _lengths, lambda _: {"the most frequent": lambda rows: [said] * len(rows)}
    )


def commonest(task: EvaluationTask) -> str:
    """The most frequent answer; for records, of the most frequent values."""
    if task.contract.task != "json":
        return _most([example.answer for example in task.taught])
    records = [task.contract.parse(example.answer) or {} for example in task.taught]
    return strict_json.write(
        _without_absent({name: _most_value(records, name) for name in task.contract.learned})
    )


def closed_fields(task: EvaluationTask) -> tuple[str, ...]:
    """Learned fields whose values are few and come again: what a classifier can choose from."""
    records = [task.contract.parse(example.answer) or {} for example in task.taught]
    closed = []
    for name in task.contract.learned:
        values = Counter(_key(record, name) for record in records)
        if 2 <= len(values) <= MOST_CHOICES and len(records) >= 3 * len(values):
            closed.append(name)
    return tuple(closed)


def _each(
    settings: Sequence[_Setting], says: str, fit: Callable[[_Setting, Matrix], Predictor], known: Matrix
) -> dict[str, Predictor]:
    return {says.format(choice): fit(choice, known) for choice in settings}


def _regression(answers: Sequence[str], penalty: float, known: Matrix) -> Predictor:
    from sklearn.linear_model import LogisticRegression

    if len(set(answers)) == 1:
        return lambda rows: [(answers[0], 1.0)] * len(rows)
    model = LogisticRegression(C=penalty, max_iter=1_000).fit(known, list(answers))

    def says(rows: Matrix) -> list[tuple[str, float]]:
        chances = model.predict_proba(rows)
        best = chances.argmax(1)
        return [
            (str(model.classes_[place]), float(row[place])) for place, row in zip(best, chances, strict=True)
        ]

    return says


def _regressions(task: EvaluationTask, fields: Sequence[str], penalty: float, known: Matrix) -> Predictor:
    """A regression for each field of a closed set; the most frequent value for the others."""
    records = [task.contract.parse(example.answer) or {} for example in task.taught]
    common = {name: _most_value(records, name) for name in task.contract.learned}
    predictors = {
        name: _regression([_key(record, name) for record in records], penalty, known) for name in fields
    }

    def says(rows: Matrix) -> list[tuple[str, float]]:
        predictions = {name: predict(rows) for name, predict in predictors.items()}
        answers = []
        for place in range(len(rows)):
            chosen = {name: _value(field[place][0]) for name, field in predictions.items()}
            chance = float(np.prod([field[place][1] for field in predictions.values()]))
            answers.append((strict_json.write(_without_absent({**common, **chosen})), chance))
        return answers

    return says


def _vote(answers: Sequence[str], count: int, known: Matrix) -> Predictor:
    def says(rows: Matrix) -> list[tuple[str, float]]:
        return [_voted(known @ row, answers, count) for row in rows]

    return says


def _voted(likeness: npt.NDArray[Any], answers: Sequence[str], count: int) -> tuple[str, float]:
    """Each neighbour's vote counts as much as it is like; its share of all votes is the probability."""
    nearest = np.argsort(-likeness, kind="stable")[:count]
    votes: dict[str, float] = {}
    for place in nearest:
        votes[answers[place]] = votes.get(answers[place], 0.0) + max(1e-6, float(likeness[place]))
    best = max(votes, key=lambda answer: votes[answer])
    return best, votes[best] / sum(votes.values())


_ABSENT = "absent"
"""No JSON: a field that a record does not have."""


def _key(record: Mapping[str, Any], name: str) -> str:
    return json.dumps(record[name], sort_keys=True, ensure_ascii=False) if name in record else _ABSENT


def _value(key: str) -> Any:
    return _ABSENT_VALUE if key == _ABSENT else json.loads(key)


_ABSENT_VALUE = object()


def _most_value(records: Sequence[Mapping[str, Any]], name: str) -> Any:
    return _value(_most([_key(record, name) for record in records]))


def _without_absent(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if value is not _ABSENT_VALUE}


def _most(values: Sequence[str]) -> str:
    return Counter(values).most_common(1)[0][0]


def _lengths(texts: Sequence[str]) -> Matrix:
    """No features: how many texts there are is all that is asked for."""
    return np.zeros((len(texts), 0), dtype=np.float32)


@dataclass
class CachedFeatures:
    """Features that are computed once for each text, for all baselines that read them."""

    vectors: Vectors

    def __post_init__(self) -> None:
        self._known: dict[str, npt.NDArray[np.float32]] = {}

    def __call__(self, texts: Sequence[str]) -> Matrix:
        """[texts, hidden]."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known |= dict(zip(new, self.vectors(new), strict=True))
        return np.stack([self._known[text] for text in texts])
