"""Whether a confidence of 80 % means right in 80 of 100 cases. Knows numbers only.

The expected calibration error is the mean gap between confidence and share of right answers over bins
that hold equally many answers (Nguyen and O'Connor, EMNLP 2015), which leaves no bin empty. The Brier score
(Monthly Weather Review 78, 1950) is the mean squared gap between confidence and outcome.
"""

import numpy as np
from pydantic import BaseModel

from azubi.evaluation.bootstrap import RESAMPLES, SEED, Floats, percentiles
from azubi.evaluation.metrics import mean_score
from azubi.events.score import Score

BINS = 10
LEAST_IN_BIN = 20
"""With fewer answers than ten times this there are fewer bins."""


class Bin(BaseModel, extra="forbid", frozen=True):
    """Answers of like confidence."""

    confidence: float
    """Mean confidence."""
    right: Score
    """Share of right answers, with its interval."""


class Calibration(BaseModel, extra="forbid", frozen=True):
    """How far the confidence of one baseline can be trusted."""

    bins: tuple[Bin, ...]
    """The reliability curve, from the least confident answers on."""
    ece: Score
    """Expected calibration error; 0 is best. Its interval holds the bins fixed; with few answers even a
    perfect confidence has an error above 0."""
    brier: Score
    """0 is best; always saying 50 % gives 0.25."""
    confidence: float
    """Mean over all answers."""


def calibrate(confidence: Floats, right: Floats) -> Calibration | None:
    """Measure confidences (0 to 1) against outcomes (1 or 0); None if there is nothing to measure."""
    if confidence.size == 0:
        return None
    n = confidence.size
    parts = np.array_split(np.argsort(confidence, kind="stable"), max(1, min(BINS, n // LEAST_IN_BIN)))
    bin_of = np.empty(n, dtype=np.int64)
    for number, part in enumerate(parts):
        bin_of[part] = number
    gaps, squares = right - confidence, (confidence - right) ** 2

    def error(chosen: slice | np.ndarray) -> float:
        return float(np.abs(np.bincount(bin_of[chosen], gaps[chosen], len(parts))).sum() / n)

    # Confidences are all different, so counting how often each was drawn (`bootstrap.resample`) is slower.
    rng = np.random.default_rng(SEED)
    errors, briers = np.empty(RESAMPLES), np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        drawn = rng.integers(0, n, n)
        errors[number], briers[number] = error(drawn), squares[drawn].mean()
    return Calibration(
        bins=tuple(
            Bin(confidence=float(confidence[part].mean()), right=mean_score("right", right[part]))
            for part in parts
        ),
        ece=_score("ece", error(slice(None)), errors, n),
        brier=_score("brier", float(squares.mean()), briers, n),
        confidence=float(confidence.mean()),
    )


def _score(name: str, value: float, drawn: Floats, n: int) -> Score:
    low, high = percentiles(drawn, n)
    return Score(name=name, value=value, low=min(low, value), high=max(high, value), n=n)
