"""What more examples would bring: the learning curve, and its extrapolation to twice as many.

The score on n examples is fitted as a - b n^-c (the inverse power law with three parameters; Viering and
Loog, TPAMI 2023, review how well it fits), with b >= 0, a <= 1: for every c of a fixed grid, a and b
follow by least squares over the mean scores of the sizes; the c with the least error is taken. Its
uncertainty is a bootstrap over both sources of chance: the seeds of every size and the test examples,
which all trainings share, are drawn again, and the curve is fitted anew.

"Unknown" is an answer. It is given where there are fewer than three sizes, where the score did not
rise beyond chance from the smallest to the largest, or where the points lie off the fitted curve by more than
chance explains (chi-square of the residuals, 1 %).
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
from pydantic import BaseModel

from azubi.evaluation.bootstrap import LEVEL, RESAMPLES, SEED, Floats
from azubi.evaluation.facts import Curve
from azubi.evaluation.metrics import mean_score
from azubi.events.score import Score

EXPONENTS: Floats = np.geomspace(0.05, 3.0, 60)
LEAST_SIZES = 3
MISFIT = 0.01
"""Level below which the points do not lie on the curve."""


class Training(BaseModel, extra="forbid", frozen=True):
    """One training on a share of the examples."""

    examples: int
    seed: int
    seconds: float
    score: Score


class Size(BaseModel, extra="forbid", frozen=True):
    """All trainings with equally many examples."""

    examples: int
    score: float
    """Mean over seeds."""
    error: float
    """Standard error, seeds and test examples together."""


class Learning(BaseModel, extra="forbid", frozen=True):
    """The curve, and what twice the examples would likely bring."""

    trainings: tuple[Training, ...]
    sizes: tuple[Size, ...]
    reason: Literal["", "too few sizes", "no rise", "no fit"]
    """Why there is no forecast; empty if there is one."""
    ceiling: float | None = None
    """a: where the curve would end."""
    drop: float | None = None
    """b."""
    exponent: float | None = None
    """c."""
    examples: int | None = None
    """Twice the most examples that were trained with."""
    forecast: float | None = None
    low: float | None = None
    high: float | None = None
    """95 % interval of the forecast."""
    gain: float | None = None
    """Forecast minus the curve at the most examples; never below 0, since the law never falls."""
    gain_low: float | None = None
    gain_high: float | None = None


def learning(rows: pl.DataFrame, curves: Sequence[Curve]) -> Learning | None:
    """Fit the rows of part `learning-curve`; None if there are none."""
    scored = _scores(rows, curves)
    if not scored:
        return None
    trainings = tuple(
        Training(
            **training.model_dump(include={"examples", "seed", "seconds"}), score=mean_score("score", values)
        )
        for training, values in scored
    )
    examples = sorted({training.examples for training in trainings})
    means, again = _means(scored, examples, None), resampled(scored, examples)
    sizes = tuple(
        Size(examples=n, score=float(mean), error=float(error))
        for n, mean, error in zip(examples, means, again.std(axis=0), strict=True)
    )
    n = np.array(examples, dtype=np.float64)
    if len(examples) < LEAST_SIZES:
        return Learning(trainings=trainings, sizes=sizes, reason="too few sizes")
    if float(np.quantile(again[:, -1] - again[:, 0], (1 - LEVEL) / 2)) <= 0:
        return Learning(trainings=trainings, sizes=sizes, reason="no rise")
    law = fit(n, means[None])
    if _misfit(means - curve(*law, n)[0], again) < MISFIT:
        return Learning(trainings=trainings, sizes=sizes, reason="no fit")
    forecast = _forecast(n[-1], law, fit(n, again))
    return Learning(trainings=trainings, sizes=sizes, reason="", examples=2 * examples[-1], **forecast)


Law = tuple[Floats, Floats, Floats]
"""a, b and c, each a row of values."""


def curve(a: Floats, b: Floats, c: Floats, n: Floats) -> Floats:
    """a - b n^-c, a row for each law and a column for each n."""
    scores: Floats = a[:, None] - b[:, None] * n[None] ** -c[:, None]
    return scores


def fit(n: Floats, scores: Floats) -> Law:
    """Fit the law to every row of scores (columns as in n); gives a, b and c, one of each a row."""
    best = np.full(scores.shape[0], np.inf)
    laws = (np.zeros_like(best), np.zeros_like(best), np.zeros_like(best))
    for exponent in EXPONENTS:
        fall = n**-exponent
        centred = fall - fall.mean()
        b = np.maximum(-(scores @ centred) / (centred @ centred), 0.0)
        a = scores.mean(axis=1) + b * fall.mean()
        over = a > 1
        b = np.where(over, np.maximum((1 - scores) @ fall / (fall @ fall), 0.0), b)
        a = np.where(over, 1.0, a)
        error = ((scores - a[:, None] + b[:, None] * fall[None]) ** 2).sum(axis=1)
        better = error < best - 1e-15
        best = np.where(better, error, best)
        for kept, new in zip(laws, (a, b, np.full_like(a, exponent)), strict=True):
            kept[better] = new[better]
    return laws


def resampled(scored: Sequence[tuple[Curve, Floats]], sizes: Sequence[int]) -> Floats:
    """Mean scores of 2,000 resamples (rows) at every size (columns).

    Each resample first draws how often every test example occurs, then the seeds of every size in order.
    """
    rng = np.random.default_rng(SEED)
    return np.array([_means(scored, sizes, rng) for _ in range(RESAMPLES)])


def _means(
    scored: Sequence[tuple[Curve, Floats]], sizes: Sequence[int], rng: np.random.Generator | None
) -> Floats:
    """The mean score at every size: of what was measured, or of a resample."""
    n = scored[0][1].size
    weights = None if rng is None else rng.multinomial(n, np.full(n, 1 / n)) / n
    means = []
    for size in sizes:
        same_size = (values for training, values in scored if training.examples == size)
        scores = np.array([values.mean() if weights is None else weights @ values for values in same_size])
        chosen = scores if rng is None else scores[rng.integers(0, scores.size, scores.size)]
        means.append(chosen.mean())
    return np.array(means)


def _scores(rows: pl.DataFrame, curves: Sequence[Curve]) -> list[tuple[Curve, Floats]]:
    """The scores of every training in the order of the test, on the examples that all of them have."""
    known = rows.drop_nulls("score").sort("number")
    parts = [(training, known.filter(pl.col("variant") == training.variant)) for training in curves]
    parts = [(training, part) for training, part in parts if part.height]
    if not parts:
        return []
    shared = list(set.intersection(*(set(part["number"]) for _, part in parts)))
    if not shared:
        return []
    parts.sort(key=lambda pair: (pair[0].examples, pair[0].seed, pair[0].variant))
    return [
        (training, part.filter(pl.col("number").is_in(shared))["score"].to_numpy())
        for training, part in parts
    ]


def _forecast(most: float, law: Law, resampled_laws: Law) -> dict[str, Any]:
    """The law, what twice the most examples would bring, and the intervals of that."""
    ends = np.array([most, 2 * most])
    now, twice = (float(score) for score in curve(*law, ends)[0])
    drawn = curve(*resampled_laws, ends)
    levels = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    low, high = (float(end) for end in np.quantile(drawn[:, 1], levels))
    gain_low, gain_high = (float(end) for end in np.quantile(drawn[:, 1] - drawn[:, 0], levels))
    names = zip(("ceiling", "drop", "exponent"), law, strict=True)
    return {
        **{name: float(values[0]) for name, values in names},
        "forecast": twice,
        "low": min(low, twice),
        "high": max(high, twice),
        "gain": twice - now,
        "gain_low": gain_low,
        "gain_high": gain_high,
    }


def _misfit(residuals: Floats, again: Floats) -> float:
    """Chance of points so far off the curve if it were the true one.

    The errors are how far chance moves each point against the others: an easier test would move all alike.
    """
    from scipy.stats import chi2

    errors = (again - again.mean(axis=1, keepdims=True)).std(axis=0)
    freedom = max(1, residuals.size - 3)
    return float(chi2.sf(float(np.sum((residuals / np.maximum(errors, 1e-9)) ** 2)), freedom))
