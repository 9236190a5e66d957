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

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict

from azubi.evaluation.bootstrap import LEVEL, RESAMPLES, SEED, Floats
from azubi.evaluation.facts import Curve
from azubi.evaluation.metrics import mean_score
from azubi.events.score import Score

EXPONENTS: Floats = np.geomspace(0.05, 3.0, 60)
LEAST_SIZES = 3
MISFIT = 0.01
"""Level below which the points do not lie on the curve."""

Reason = Literal["", "too few sizes", "no rise", "no fit"]


class Training(BaseModel):
    """One training on a share of the examples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    examples: int
    seed: int
    seconds: float
    score: Score


class Size(BaseModel):
    """All trainings with equally many examples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    examples: int
    score: float
    """Mean over seeds."""
    error: float
    """Standard error, seeds and test examples together."""


class Learning(BaseModel):
    """The curve, and what twice the examples would likely bring."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trainings: tuple[Training, ...]
    sizes: tuple[Size, ...]
    reason: Reason
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
    """Fit the rows of part `curve`; None if there are none."""
    known = {training.variant: training for training in curves}
    drawn = _scores({variant: rows.filter(pl.col("variant") == variant) for variant in known}, known)
    if not drawn:
        return None
    trainings = tuple(
        Training(
            examples=training.examples,
            seed=training.seed,
            seconds=training.seconds,
            score=mean_score("score", values),
        )
        for training, values in drawn
    )
    sizes = sorted({training.examples for training in trainings})
    counts = np.array(sizes, dtype=np.float64)
    seen = _means(drawn, sizes, None)
    again = resampled(drawn, sizes)
    errors = again.std(axis=0)
    points = tuple(
        Size(examples=n, score=float(mean), error=float(error))
        for n, mean, error in zip(sizes, seen, errors, strict=True)
    )
    if len(sizes) < LEAST_SIZES:
        return Learning(trainings=trainings, sizes=points, reason="too few sizes")
    if float(np.quantile(again[:, -1] - again[:, 0], (1 - LEVEL) / 2)) <= 0:
        return Learning(trainings=trainings, sizes=points, reason="no rise")
    a, b, c = fit(counts, seen[None])
    if _misfit(seen - curve(a, b, c, counts)[0], _shape_errors(again)) < MISFIT:
        return Learning(trainings=trainings, sizes=points, reason="no fit")
    twice, ends = np.array([2 * counts[-1]]), counts[-1:]
    laws = fit(counts, again)
    forecasts = curve(*laws, twice)[:, 0]
    gains = forecasts - curve(*laws, ends)[:, 0]
    tails = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    low, high = np.quantile(forecasts, tails)
    gain_low, gain_high = np.quantile(gains, tails)
    forecast = float(curve(a, b, c, twice)[0, 0])
    return Learning(
        trainings=trainings,
        sizes=points,
        reason="",
        ceiling=float(a[0]),
        drop=float(b[0]),
        exponent=float(c[0]),
        examples=2 * sizes[-1],
        forecast=forecast,
        low=min(float(low), forecast),
        high=max(float(high), forecast),
        gain=forecast - float(curve(a, b, c, ends)[0, 0]),
        gain_low=float(gain_low),
        gain_high=float(gain_high),
    )


def curve(a: Floats, b: Floats, c: Floats, n: Floats) -> Floats:
    """a - b n^-c, a row for each law and a column for each n."""
    scores: Floats = a[:, None] - b[:, None] * n[None] ** -c[:, None]
    return scores


def np_row(*values: float) -> Floats:
    """Values as `curve` takes them."""
    return np.array(values, dtype=np.float64)


def fit(n: Floats, scores: Floats) -> tuple[Floats, Floats, Floats]:
    """Fit the law to every row of scores (columns as in n); gives a, b and c, one of each a row."""
    best = np.full(scores.shape[0], np.inf)
    laws = [np.zeros(scores.shape[0]) for _ in range(3)]
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
    return laws[0], laws[1], laws[2]


def resampled(drawn: Sequence[tuple[Curve, Floats]], sizes: Sequence[int]) -> Floats:
    """Mean scores of 2,000 resamples (rows) at every size (columns).

    Each resample first draws how often every test example occurs, then the seeds of every size in order.
    """
    rng = np.random.default_rng(SEED)
    n = drawn[0][1].size
    return np.array([_means(drawn, sizes, rng, n) for _ in range(RESAMPLES)])


def _means(
    drawn: Sequence[tuple[Curve, Floats]], sizes: Sequence[int], rng: np.random.Generator | None, n: int = 0
) -> Floats:
    weights = None if rng is None else rng.multinomial(n, np.full(n, 1 / n)) / n
    means = []
    for size in sizes:
        scores = np.array(
            [
                values.mean() if weights is None else weights @ values
                for training, values in drawn
                if training.examples == size
            ]
        )
        chosen = scores if rng is None else scores[rng.integers(0, scores.size, scores.size)]
        means.append(chosen.mean())
    return np.array(means)


def _scores(parts: Mapping[str, pl.DataFrame], known: Mapping[str, Curve]) -> list[tuple[Curve, Floats]]:
    """The scores of every training in the order of the test, on the examples that all of them have."""
    scored = {
        variant: part.filter(pl.col("score").is_not_null()).select("number", "score").sort("number")
        for variant, part in parts.items()
    }
    filled = {variant: part for variant, part in scored.items() if part.height}
    if not filled:
        return []
    shared = set.intersection(*(set(part["number"]) for part in filled.values()))
    ordered = sorted(filled, key=lambda variant: (known[variant].examples, known[variant].seed, variant))
    if not shared:
        return []
    return [
        (known[variant], filled[variant].filter(pl.col("number").is_in(list(shared)))["score"].to_numpy())
        for variant in ordered
    ]


def _shape_errors(again: Floats) -> Floats:
    """How far chance moves each point against the others; an easier test would move all of them alike."""
    errors: Floats = (again - again.mean(axis=1, keepdims=True)).std(axis=0)
    return errors


def _misfit(residuals: Floats, errors: Floats) -> float:
    """Chance of points so far off the curve if it were the true one."""
    from scipy.stats import chi2

    free = max(1, residuals.size - 3)
    return float(chi2.sf(float(np.sum((residuals / np.maximum(errors, 1e-9)) ** 2)), free))
