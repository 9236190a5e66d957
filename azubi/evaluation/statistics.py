"""Intervals by bootstrap, and paired tests of two on the same questions."""

from collections.abc import Callable, Sequence
from math import ceil, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

Floats = NDArray[np.float64]
Interval = tuple[float, float]

RESAMPLES = 2_000
SEED = 20_261
LEVEL = 0.95

_MEMORY = 4_000_000
_SAME = 1e-12


class Difference(BaseModel, extra="forbid", frozen=True):
    """The specialist's main metric minus the base's, with a paired 95 % interval."""

    name: str
    """The metric whose difference this is: accuracy, record_exact or chrf."""
    value: float
    """Between -1 and 1; above 0 where the specialist is better."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end of the 95 % interval."""
    n: int
    """How many examples both answered."""

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out 0: chance alone would rarely give such a difference."""
        return self.low > 0 or self.high < 0


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


SIGNIFICANCE = 0.05
POWER = 0.8
PAIRED_RESAMPLES = 9_999
FEW = 3
"""With so few examples for one side or fewer, the interval is widened to the exact one."""

Says = Literal["better", "worse", "cannot tell"]

_BATCH = 2_000_000
_PAIRED_SAME = 1e-12


class Paired(BaseModel, extra="forbid", frozen=True):
    """The specialist against one baseline, on the examples that both answered."""

    who: str
    """The baseline."""
    difference: Difference
    """The specialist's mean minus the baseline's, with its 95 % interval."""
    won: int
    """Examples that only the specialist got right."""
    lost: int
    """Examples that only the baseline got right."""
    spread: float
    """Standard deviation of the differences, example by example."""
    p_right: float
    """McNemar's exact test of right against wrong."""
    p_score: float
    """Of the difference of scores, from the BCa bootstrap."""
    test: Literal["McNemar", "BCa"]
    """Which of the two decides: McNemar's where the main metric is a share of right answers."""
    p: float
    """Its p-value."""
    p_holm: float
    """The same, corrected for the number of baselines."""
    says: Says
    """What the corrected test says of the specialist."""
    needed: int | None
    """Examples that it takes to tell a difference of the size that was seen; None if none was seen."""


def compare(
    who: str, metric: str, ours: Floats, theirs: Floats, right: Floats, baseline_right: Floats
) -> Paired:
    """Compare scores (`ours`, `theirs`) and right answers (1 or 0), example by example; uncorrected."""
    gains = ours - theirs
    won, lost = int(np.sum(right > baseline_right)), int(np.sum(right < baseline_right))
    binary = bool(np.array_equal(ours, right) and np.array_equal(theirs, baseline_right))
    interval, p_score = gain_interval(gains)
    if binary:
        interval = _exact_where_few(interval, won, lost, gains.size)
    p_right = mcnemar(won, lost)
    p = p_right if binary else p_score
    value, spread = float(gains.mean()), float(gains.std())
    low, high = interval
    return Paired(
        who=who,
        difference=Difference(name=metric, value=value, low=low, high=high, n=gains.size),
        won=won,
        lost=lost,
        spread=spread,
        p_right=p_right,
        p_score=p_score,
        test="McNemar" if binary else "BCa",
        p=p,
        p_holm=p,
        says=said(p, value),
        needed=needed(won, lost, gains.size) if binary else examples_for(value, spread),
    )


def corrected(comparisons: Sequence[Paired]) -> tuple[Paired, ...]:
    """The same comparisons, with Holm's correction over all of them."""
    adjusted = holm([comparison.p for comparison in comparisons])
    return tuple(
        comparison.model_copy(update={"p_holm": p, "says": said(p, comparison.difference.value)})
        for comparison, p in zip(comparisons, adjusted, strict=True)
    )


def mcnemar(won: int, lost: int) -> float:
    """Two-sided p-value of McNemar's exact test."""
    from scipy.stats import binomtest

    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0


def gain_interval(gains: Floats) -> tuple[Interval, float]:
    """95 % interval of the mean of paired differences (between -1 and 1), and the p-value of "it is 0"."""
    from scipy.stats import bootstrap

    if float(np.ptp(gains)) <= _PAIRED_SAME:
        return _without_bca(gains)
    drawn = bootstrap(
        (gains,),
        np.mean,
        method="BCa",
        vectorized=True,
        axis=-1,
        n_resamples=PAIRED_RESAMPLES,
        confidence_level=LEVEL,
        batch=max(1, _BATCH // gains.size),
        rng=np.random.default_rng(SEED),
    )
    low, high = (float(end) for end in drawn.confidence_interval)
    if not (np.isfinite(low) and np.isfinite(high)):
        return _without_bca(gains)
    return (low, high), bca_p(gains, drawn.bootstrap_distribution)


def _without_bca(gains: Floats) -> tuple[Interval, float]:
    return mean_interval(gains, lowest=-1.0), mcnemar(int((gains > 0).sum()), int((gains < 0).sum()))


def bca_p(gains: Floats, means: Floats) -> float:
    """The smallest level at which the BCa interval of a mean leaves out 0, from the resamples' means.

    Not below 2 / (resamples + 1): less cannot be told from so many.
    """
    from scipy.stats import norm

    off = gains - gains.mean()
    acceleration = float(np.sum(off**3) / (6 * np.sum(off**2) ** 1.5))
    ends = 1 / (means.size + 1)
    bias = float(norm.ppf(np.clip(_share_below(means, float(gains.mean())), ends, 1 - ends)))
    zero = float(norm.ppf(np.clip(_share_below(means, 0.0), ends, 1 - ends)))
    shifted = zero - bias
    level = float(norm.cdf(shifted / (1 + acceleration * shifted) - bias))
    return float(np.clip(2 * min(level, 1 - level), 2 * ends, 1.0))


def holm(ps: Sequence[float]) -> tuple[float, ...]:
    """P-values corrected so that one false alarm among all of them is as rare as in a single test."""
    adjusted, highest = [0.0] * len(ps), 0.0
    for rank, (p, position) in enumerate(sorted((p, position) for position, p in enumerate(ps))):
        highest = max(highest, min(1.0, (len(ps) - rank) * p))
        adjusted[position] = highest
    return tuple(adjusted)


def said(p: float, difference: float) -> Says:
    """What may be said at `SIGNIFICANCE`."""
    if p >= SIGNIFICANCE or difference == 0:
        return "cannot tell"
    return "better" if difference > 0 else "worse"


def needed(n01: int, n10: int, n: int) -> int | None:
    """Test examples that it takes to tell a difference of the size seen, with 80 % power.

    `n01` and `n10` of `n` examples were got right by one of the two only. The sample size of McNemar's
    test by Connor (Biometrics 43, 1987); None if there is no difference.
    """
    difference, discordant = abs(n01 - n10) / n, (n01 + n10) / n
    return examples_for(difference, sqrt(max(discordant - difference**2, 0.0)))


def examples_for(difference: float, spread: float) -> int | None:
    """Examples that it takes to tell a mean difference, given the standard deviation of the differences.

    For right and wrong the deviation under "no difference" is sqrt(spread**2 + difference**2), the root of
    the share of examples that only one got right; so this is Connor's formula; for scores it errs a little on
    the safe side. None if there is no difference.
    """
    from scipy.stats import norm

    if difference == 0:
        return None
    no_difference = float(norm.ppf(1 - SIGNIFICANCE / 2)) * sqrt(spread**2 + difference**2)
    return ceil(((no_difference + float(norm.ppf(POWER)) * spread) / difference) ** 2)


def _share_below(means: Floats, value: float) -> float:
    """Share of resamples below a value; those that equal it count half, as in scipy's BCa."""
    return float(((means < value).sum() + (means <= value).sum()) / (2 * means.size))


def _exact_where_few(interval: Interval, won: int, lost: int, n: int) -> Interval:
    if min(won, lost) > FEW or won + lost == 0:
        return interval
    share_low, share_high = clopper_pearson(won, won + lost)
    discordant = (won + lost) / n
    low, high = discordant * (2 * share_low - 1), discordant * (2 * share_high - 1)
    return min(interval[0], low), max(interval[1], high)
