"""Baselines without a language model: the most frequent answer, nearest neighbours, logistic regression.

The latter two read frozen features of a small encoder. Records: the most frequent value per field, the
nearest example's record, and a regression for each field of a closed set.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from azubi.data import strict_json
from azubi.data.contract import written_labels
from azubi.data.example import Example
from azubi.engine.inference.answering import Answer, AnswerMode, Question
from azubi.engine.model import label_sets, linear_head, words
from azubi.evaluation.baselines.asking import Baseline, Candidate, EvaluationTask
from azubi.evaluation.baselines.retrieval import Vectors
from azubi.evaluation.prediction import Contender
from azubi.events.events import Step, Work

INVERSE_PENALTIES = (0.1, 1.0, 10.0, 100.0)
"""Values of C that are tried."""
NEIGHBOURS = (1, 3, 5, 9, 15)
"""Numbers of neighbours that are tried."""
MOST_CHOICES = 50
"""A field with more distinct values is no closed set."""

Matrix = npt.NDArray[np.float32]
Predictor = Callable[[Matrix], Sequence[tuple[str, float]]]
"""Turns features [texts, hidden] into answers, each with its probability."""
_ABSENT = "absent"
"""No JSON: stands for a field that a record does not have."""


def most_frequent(task: EvaluationTask) -> Work[Baseline]:
    """What was most often right, field by field for records."""
    answer = most_frequent_answer(task)
    share = sum(example.answer == answer for example in task.learned_train) / len(task.learned_train)

    def predict(features: Matrix) -> list[tuple[str, float]]:
        return [(answer, share)] * len(features)

    def no_features(texts: Sequence[str]) -> Matrix:
        return np.zeros((len(texts), 0), dtype=np.float32)

    return _choose("frequent", task, {"the most frequent": (no_features, lambda _: predict)})


def nearest_neighbours(task: EvaluationTask, vectors: Vectors) -> Work[Baseline]:
    """The most similar examples vote on labels; of other answers the nearest one's is taken."""
    answers = [example.answer for example in task.learned_train]
    counts = NEIGHBOURS if task.contract.task == "labels" else NEIGHBOURS[:1]

    def fit(count: int, known: Matrix) -> Predictor:
        return lambda features: [vote(known @ row, answers, count) for row in features]

    fits = {f"{count} nearest": (vectors, partial(fit, count)) for count in counts if count <= len(answers)}
    return _choose("neighbours", task, fits)


def regression(task: EvaluationTask, vectors: Vectors, *, with_words: bool = False) -> Work[Baseline] | None:
    """Logistic regression; None for free text and for records without a field of a closed set.

    `with_words`: labels are also tried from TF-IDF of the letters of the words, without any model.
    """
    fit: Callable[[float, Matrix], Predictor]
    if task.contract.multi:
        fit = partial(_fit_sets, task)
    elif task.contract.task == "labels":
        fit = partial(_fit_regression, [example.answer for example in task.learned_train])
    elif task.contract.task == "json" and closed_fields(task):
        fit = partial(_fit_fields, task)
    else:
        return None
    fits = {f"logistic regression, C = {c:g}": (vectors, partial(fit, c)) for c in INVERSE_PENALTIES}
    if with_words and task.contract.task == "labels" and not task.contract.multi:
        tfidf = _tfidf([example.prompt for example in task.train])
        for c in INVERSE_PENALTIES:
            fits[f"logistic regression on words, C = {c:g}"] = (tfidf, partial(fit, c))
    return _choose("classical", task, fits)


def _tfidf(texts: Sequence[str]) -> Vectors:
    """TF-IDF of the letters of words (`engine.model.words`), rare as they are in `texts`; sparse."""
    rarity = words.rarity(words.features(texts))

    def features(asked: Sequence[str]) -> Any:
        return words.features(asked).multiply(rarity[None]).tocsr()

    return features


def most_frequent_answer(task: EvaluationTask) -> str:
    """For records, of the most frequent value of each field."""
    if task.contract.task != "json":
        return _most([example.answer for example in task.learned_train])
    return _record(_most_values(task))


def closed_fields(task: EvaluationTask) -> tuple[str, ...]:
    """Learned fields with few values that come again: what a classifier can choose from."""
    columns = _columns(task)
    return tuple(
        name
        for name, column in columns.items()
        if 2 <= len(set(column)) <= MOST_CHOICES and len(column) >= 3 * len(set(column))
    )


def vote(similarity: npt.NDArray[Any], answers: Sequence[str], count: int) -> tuple[str, float]:
    """The answer of the `count` most similar, weighted by similarity, and its share of all votes."""
    votes: dict[str, float] = {}
    for number in np.argsort(-similarity, kind="stable")[:count]:
        votes[answers[number]] = votes.get(answers[number], 0.0) + max(1e-6, float(similarity[number]))
    best = max(votes, key=lambda answer: votes[answer])
    return best, votes[best] / sum(votes.values())


def cached(vectors: Vectors) -> Vectors:
    """The same, but each text is read once for all baselines."""
    known: dict[str, npt.NDArray[np.float32]] = {}

    def read(texts: Sequence[str]) -> Matrix:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, vectors(new), strict=True))
        return np.stack([known[text] for text in texts])

    return read


def _choose(
    who: str, task: EvaluationTask, fits: Mapping[str, tuple[Vectors, Callable[[Matrix], Predictor]]]
) -> Work[Baseline]:
    """Fit all candidates on features of the training prompts; the best on the validation examples answers."""
    started = time.perf_counter()
    prompts = [example.prompt for example in task.train]

    def answer(
        vectors: Vectors, predict: Predictor, questions: Sequence[Question]
    ) -> Iterator[tuple[int, Answer]]:
        features = vectors([Example(question, "").prompt for question in questions])
        for number, (text, confidence) in enumerate(predict(features)):
            yield number, Answer(task.complete(text), confidence)

    known = {vectors: vectors(prompts) for vectors in dict.fromkeys(vectors for vectors, _ in fits.values())}
    candidates = [
        Candidate(name, partial(answer, vectors, fit(known[vectors])))
        for name, (vectors, fit) in fits.items()
    ]
    if task.checks:
        for vectors in known:
            vectors([example.prompt for example in task.checks])  # read once, in no candidate's time
    for done, candidate in enumerate(candidates, start=1):
        if len(candidates) > 1:
            candidate.judge(who, task, task.checks)
        yield Step(done, len(candidates))
    best = max(candidates, key=lambda candidate: candidate.merit)
    setup = best.name
    if best.rows:
        setup += f"; the best of {len(candidates)} on {len(best.rows)} validation questions"

    def answer_best(questions: Sequence[Question], mode: AnswerMode) -> Iterator[tuple[int, Answer]]:
        return best.answer(questions)

    return Baseline(
        Contender(who=who, says=setup, upfront=time.perf_counter() - started),
        answer_best,
        choice=[row for candidate in candidates for row in candidate.rows],
    )


def _fit_regression(answers: Sequence[str], inverse_penalty: float, known: Matrix) -> Predictor:
    from sklearn.linear_model import LogisticRegression

    labels = len(set(answers))
    if labels == 1:
        return lambda features: [(answers[0], 1.0)] * len(features)
    model = LogisticRegression(C=inverse_penalty, max_iter=1_000, tol=linear_head.tolerance(labels))
    model.fit(known, list(answers))

    def predict(features: Matrix) -> list[tuple[str, float]]:
        probabilities = model.predict_proba(features)
        best = probabilities.argmax(1)
        return list(zip(model.classes_[best].tolist(), probabilities.max(1).tolist(), strict=True))

    return predict


def _fit_sets(task: EvaluationTask, inverse_penalty: float, known: Matrix) -> Predictor:
    """A regression for each label against the rest; a text gets the labels that are likelier than not."""
    contract = task.contract
    sets = [contract.label_set(example.answer) or frozenset() for example in task.learned_train]
    targets = torch.tensor([[int(label in each) for label in contract.labels] for each in sets])
    examples = label_sets.Examples(torch.from_numpy(known), targets, torch.ones(len(known)))
    rows, bias = label_sets.regression(examples, inverse_penalty)
    half = (label_sets.HALF,) * len(contract.labels)

    def predict(features: Matrix) -> list[tuple[str, float]]:
        answers = []
        for chances in torch.nn.functional.linear(torch.from_numpy(features), rows, bias).sigmoid().tolist():
            given = label_sets.chosen(chances, half, contract.may_be_empty)
            whole = prod(chance if n in given else 1 - chance for n, chance in enumerate(chances))
            answers.append((written_labels(contract.labels[n] for n in given), whole))
        return answers

    return predict


def _fit_fields(task: EvaluationTask, inverse_penalty: float, known: Matrix) -> Predictor:
    """A regression for each field of a closed set; the most frequent value for the others."""
    columns, usual = _columns(task), _most_values(task)
    predictors = {
        name: _fit_regression(columns[name], inverse_penalty, known) for name in closed_fields(task)
    }

    def predict(features: Matrix) -> list[tuple[str, float]]:
        by_field = [predict_field(features) for predict_field in predictors.values()]
        answers = []
        for fields in zip(*by_field, strict=True):
            chosen = {name: value for name, (value, _) in zip(predictors, fields, strict=True)}
            answers.append((_record(usual | chosen), prod(probability for _, probability in fields)))
        return answers

    return predict


def _columns(task: EvaluationTask) -> dict[str, list[str]]:
    """The values of each learned field in all training examples, as JSON."""
    records = [task.contract.parse(example.answer) or {} for example in task.learned_train]
    return {
        name: [
            json.dumps(record[name], sort_keys=True, ensure_ascii=False) if name in record else _ABSENT
            for record in records
        ]
        for name in task.contract.learned
    }


def _most_values(task: EvaluationTask) -> dict[str, str]:
    return {name: _most(column) for name, column in _columns(task).items()}


def _record(values: Mapping[str, str]) -> str:
    """The text of a record from its fields' values as JSON."""
    return strict_json.write({name: json.loads(value) for name, value in values.items() if value != _ABSENT})


def _most(values: Sequence[str]) -> str:
    return Counter(values).most_common(1)[0][0]
