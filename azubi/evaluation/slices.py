"""The same scores on parts of the test: by label, by slice, and which label is taken for which.

Knows answers as text and numbers only.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel

from azubi.evaluation.bootstrap import Floats
from azubi.evaluation.detection import share_score
from azubi.evaluation.metrics import mean_score
from azubi.events.score import Score

MOST_LABELS = 20
"""With more labels, the confusion matrix shows those that are in most mistakes; the rest stand together."""


class Confusion(BaseModel, extra="forbid", frozen=True):
    """One kind of mistake between two labels."""

    truth: str
    answer: str
    count: int
    """How many examples of `truth` were answered with `answer`."""
    of: int
    """How many examples of `truth` there are."""


class LabelScore(BaseModel, extra="forbid", frozen=True):
    """How one label is found and given."""

    label: str
    n: int
    """Examples of it."""
    given: int
    """Times that it was the answer."""
    recall: Score
    precision: Score | None
    """None if it never was the answer."""


class SliceScore(BaseModel, extra="forbid", frozen=True):
    """One slice of the test, and what each baseline is worth on it."""

    name: str
    """What it is sliced by."""
    value: str
    n: int
    scores: dict[str, Score]
    """The main metric, by baseline."""


class Matrix(BaseModel, extra="forbid", frozen=True):
    """The confusion matrix: rows are what is right, columns what was said."""

    labels: tuple[str, ...]
    """In order; the last is "" for all others, if there are any: further labels, or no label at all."""
    counts: tuple[tuple[int, ...], ...]


def confusions(answers: Sequence[str], truths: Sequence[str], most: int = 10) -> tuple[Confusion, ...]:
    """Give the most frequent mistakes, the most frequent first."""
    pairs = [(truth.strip(), answer.strip()) for truth, answer in zip(truths, answers, strict=True)]
    total = Counter(truth for truth, _ in pairs)
    wrong = Counter((truth, answer) for truth, answer in pairs if answer != truth)
    ranked = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))
    return tuple(
        Confusion(truth=truth, answer=answer, count=count, of=total[truth])
        for (truth, answer), count in ranked[:most]
    )


def label_scores(answers: Sequence[str], truths: Sequence[str]) -> tuple[LabelScore, ...]:
    """Score every label that occurs among the truths; the least well found first."""
    given = Counter(answers)
    right = Counter(truth for truth, answer in zip(truths, answers, strict=True) if truth == answer)
    rows = [
        LabelScore(
            label=label,
            n=n,
            given=given[label],
            recall=share_score("found", right[label], n),
            precision=share_score("held", right[label], given[label]) if given[label] else None,
        )
        for label, n in Counter(truths).items()
    ]
    return tuple(sorted(rows, key=lambda row: (row.recall.value, -row.n, row.label)))


def slice_scores(
    slices: Mapping[str, Sequence[str]],
    numbers: Mapping[str, Sequence[int]],
    values: Mapping[str, Floats],
    metric: str,
) -> tuple[SliceScore, ...]:
    """Score every slice. `numbers` and `values`: by baseline, its questions and their main metric."""
    rows: list[SliceScore] = []
    for name, column in slices.items():
        for value, n in sorted(Counter(column).items(), key=lambda item: (-item[1], item[0])):
            scores: dict[str, Score] = {}
            for who, answered in numbers.items():
                chosen = np.array([column[number] == value for number in answered], dtype=bool)
                if chosen.any():
                    scores[who] = mean_score(metric, values[who][chosen])
            rows.append(SliceScore(name=name, value=value, n=n, scores=scores))
    return tuple(rows)


def confusion_matrix(answers: Sequence[str], truths: Sequence[str]) -> Matrix:
    """Count what was taken for what; with many labels, for those that are in most mistakes."""
    cells = Counter(zip(truths, answers, strict=True))
    labels = sorted(set(truths))
    if len(labels) > MOST_LABELS:
        wrong: Counter[str] = Counter()
        for (truth, answer), count in cells.items():
            if truth != answer:
                wrong.update({truth: count, answer: count})
        labels = sorted(sorted(labels, key=lambda label: (-wrong[label], label))[:MOST_LABELS])
    position = {label: row for row, label in enumerate(labels)}
    counts = np.zeros((len(labels) + 1, len(labels) + 1), dtype=np.int64)
    for (truth, answer), count in cells.items():
        counts[position.get(truth, -1), position.get(answer, -1)] += count
    if counts[-1].any() or counts[:, -1].any():
        labels.append("")
    else:
        counts = counts[:-1, :-1]
    return Matrix(labels=tuple(labels), counts=tuple(tuple(row) for row in counts.tolist()))
