"""95 % intervals by resampling examples. Knows numbers only, no answers and no metrics.

The interval is the percentile bootstrap (Efron and Tibshirani, *An Introduction to the Bootstrap*,
1993, chapter 13): draw n examples with replacement, 2,000 times, and take the middle 95 % of the
results. Drawing examples one by one and drawing how often each *distinct* outcome occurs (a
multinomial draw) give the same distribution; the second is much faster, so that is what happens here.

The bootstrap cannot imagine what it has not seen. When all of 20 answers are right it says
"100 to 100 %", which misleads. So:

* A share of right answers (every value 0 or 1) whose bootstrap interval reaches 0 or 1, which
  happens with about three or fewer cases on one side, is widened to the exact interval of Clopper
  and Pearson (Biometrika 26, 1934). Widening only at exactly 0 and 1 would make 20 of 20 look less
  certain than 19 of 20.
* If every resample gives the same number v, an outcome that was never seen still has, with 95 %
  confidence, a share of up to 1 - 0.025 ** (1 / n) (the same exact bound), and there the value could
  be anything that the metric allows. For a mean this is a safe bound; for macro-F1 a rule of thumb.

It does not know of dependence between examples: ten notes of one policyholder count as ten.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Interval = tuple[float, float]

RESAMPLES = 2_000
SEED = 20_261
LEVEL = 0.95

_MEMORY = 4_000_000
_SAME = 1e-12


def mean_interval(values: Floats, lowest: float = 0.0) -> Interval:
    """Interval of the mean of per-example values that lie between `lowest` and 1."""
    distinct, counts = np.unique(values, return_counts=True)
    means = resample(counts, lambda drawn: drawn @ distinct / values.size)
    interval = percentiles(means, values.size, lowest)
    if lowest == 0.0 and np.isin(distinct, (0.0, 1.0)).all():
        return _reach(interval, right=int(values.sum()), n=values.size)
    return interval


def resample(counts: NDArray[np.int64], statistic: Callable[[Floats], Floats]) -> Floats:
    """Give the statistic of 2,000 resamples.

    `counts` says how often each distinct outcome was seen; `statistic` gets a matrix of one resample
    a row, how often each outcome was drawn, and returns one number a row.
    """
    rng = np.random.default_rng(SEED)
    n = int(counts.sum())
    rows = max(1, min(RESAMPLES, _MEMORY // counts.size))
    parts: list[Floats] = []
    for start in range(0, RESAMPLES, rows):
        drawn = rng.multinomial(n, counts / n, size=min(rows, RESAMPLES - start))
        parts.append(statistic(drawn.astype(np.float64)))
    return np.concatenate(parts)


def percentiles(results: Floats, n: int, lowest: float = 0.0) -> Interval:
    """Middle 95 % of the resamples' results; widened if they are all the same."""
    low, high = (float(q) for q in np.quantile(results, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)))
    if float(np.ptp(results)) > _SAME:
        return low, high
    seen = unseen_bound(n)
    return low * seen + lowest * (1 - seen), high * seen + (1 - seen)


def unseen_bound(n: int) -> float:
    """Smallest share that something can have which happened n times of n (Clopper and Pearson)."""
    return float(((1 - LEVEL) / 2) ** (1 / n))


def clopper_pearson(right: int, n: int) -> Interval:
    """Exact 95 % interval of a share of `right` in `n`."""
    from scipy.special import betaincinv

    tail = (1 - LEVEL) / 2
    low = 0.0 if right == 0 else float(betaincinv(right, n - right + 1, tail))
    high = 1.0 if right == n else float(betaincinv(right + 1, n - right, 1 - tail))
    return low, high


def _reach(interval: Interval, right: int, n: int) -> Interval:
    """Widen the interval to the exact one where it reaches 0 or 1."""
    low, high = interval
    if low > 0 and high < 1:
        return interval
    exact_low, exact_high = clopper_pearson(right, n)
    return min(low, exact_low), max(high, exact_high)
