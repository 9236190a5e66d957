"""Macro-F1: the mean over labels of the harmonic mean of precision and recall.

Equals scikit-learn's `f1_score(average="macro")` over the labels that occur; written on confusion
counts, so that 2,000 resamples cost one matrix product. Knows nothing of models.
"""

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from azubi.evaluation.bootstrap import Floats, percentiles, resample
from azubi.events.score import Score


def macro_f1(answers: Sequence[str], truths: Sequence[str], labels: Collection[str]) -> Score:
    """Score answers over the labels that occur in truths or answers.

    An answer that is no label counts as a miss of the true one, and adds no label of its own.
    A resample in which a label does not occur takes the mean over those that do. With about one
    example a label that bends the resamples to one side; the interval is stretched to hold the value.
    """
    known = sorted(set(truths) | (set(answers) & set(labels)))
    cells = Counter(zip(truths, answers, strict=True))
    counts = np.array(list(cells.values()), dtype=np.int64)
    true = _indicator([truth for truth, _ in cells], known)
    said = _indicator([answer for _, answer in cells], known)

    def mean_f1(drawn: Floats) -> Floats:
        occurrences = drawn @ (true + said)
        f1 = np.divide(2 * (drawn @ (true * said)), occurrences, where=occurrences > 0, out=occurrences * 0)
        means: Floats = f1.sum(axis=1) / (occurrences > 0).sum(axis=1)
        return means

    value = float(mean_f1(counts[None].astype(np.float64))[0])
    low, high = percentiles(resample(counts, mean_f1), len(truths))
    return Score(name="macro_f1", value=value, low=min(low, value), high=max(high, value), n=len(truths))


def _indicator(names: Sequence[str], labels: Sequence[str]) -> Floats:
    """One row per name, one column per label: 1 where they are the same."""
    column = {label: position for position, label in enumerate(labels)}
    table = np.zeros((len(names), len(labels)))
    for row, name in enumerate(names):
        if name in column:
            table[row, column[name]] = 1
    return table
