"""Whether a confidence of 80 % means right in 80 of 100 cases. Knows numbers only.

The expected calibration error is the mean gap between confidence and share of right answers over bins
that hold equally many answers (Nguyen and O'Connor, EMNLP 2015), which leaves no bin empty. The Brier score
(Monthly Weather Review 78, 1950) is the mean squared gap between confidence and outcome.
"""

import numpy as np
from pydantic import BaseModel, ConfigDict

from azubi.evaluate.bootstrap import Floats, mean_interval, percentiles, resample
from azubi.evaluate.score import Score

BINS = 10
LEAST_IN_BIN = 20
"""With fewer answers than ten times this there are fewer bins."""


class Bin(BaseModel):
    """Answers of like confidence."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    confidence: float
    """Mean confidence."""
    right: Score
    """Share of right answers, with its interval."""


class Calibration(BaseModel):
    """How far the confidence of one answerer can be trusted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
    order = np.argsort(confidence, kind="stable")
    count = max(1, min(BINS, confidence.size // LEAST_IN_BIN))
    parts = np.array_split(order, count)
    gaps = np.zeros((confidence.size, count))
    for column, part in enumerate(parts):
        gaps[part, column] = right[part] - confidence[part]

    def error(drawn: Floats) -> Floats:
        summed: Floats = np.abs(drawn @ gaps).sum(axis=1) / confidence.size
        return summed

    value = float(error(np.ones((1, confidence.size)))[0])
    low, high = percentiles(resample(np.ones(confidence.size, dtype=np.int64), error), confidence.size)
    return Calibration(
        bins=tuple(
            Bin(confidence=float(confidence[part].mean()), right=mean_score("right", right[part]))
            for part in parts
        ),
        ece=Score(name="ece", value=value, low=min(low, value), high=max(high, value), n=confidence.size),
        brier=mean_score("brier", (confidence - right) ** 2),
        confidence=float(confidence.mean()),
    )


def mean_score(name: str, values: Floats) -> Score:
    """The mean of per-example values between 0 and 1, with its 95 % interval."""
    low, high = mean_interval(values)
    return Score(name=name, value=float(values.mean()), low=low, high=high, n=values.size)
