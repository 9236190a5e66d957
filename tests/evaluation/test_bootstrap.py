import numpy as np
import pytest
from scipy.stats import binomtest

from azubi.evaluation.statistics import clopper_pearson, mean_interval, resample


def outcomes(right: int, n: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([1.0] * right + [0.0] * (n - right))


def test_the_middle_is_the_percentile_bootstrap() -> None:
    rng = np.random.default_rng(1)
    values = rng.random(200)
    means = rng.choice(values, size=(4_000, 200)).mean(axis=1)
    low, high = mean_interval(values)
    assert low == pytest.approx(np.quantile(means, 0.025), abs=0.004)
    assert high == pytest.approx(np.quantile(means, 0.975), abs=0.004)


@pytest.mark.parametrize(("right", "n"), [(0, 20), (20, 20), (0, 1), (1, 1), (19, 20), (2, 120), (118, 120)])
def test_near_all_or_nothing_the_interval_holds_the_exact_one(right: int, n: int) -> None:
    exact = binomtest(right, n).proportion_ci(0.95, method="exact")
    low, high = mean_interval(outcomes(right, n))
    assert low <= exact.low + 1e-9 and exact.high - 1e-9 <= high
    assert 0 <= low < high <= 1
    assert clopper_pearson(right, n) == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize("n", [20, 120])
def test_more_right_answers_never_lower_the_interval_near_the_top(n: int) -> None:
    lows = [mean_interval(outcomes(right, n))[0] for right in range(n - 3, n + 1)]
    assert lows == sorted(lows)


def test_one_value_that_never_varies_is_not_taken_for_certain() -> None:
    assert mean_interval(np.array([0.4])) == pytest.approx((0.4 * 0.025, 0.4 * 0.025 + 0.975))
    low, high = mean_interval(np.zeros(100), lowest=-1.0)
    assert (low, high) == pytest.approx((-high, high))
    assert 0.02 < high < 0.05


@pytest.mark.parametrize(("share", "n"), [(0.5, 60), (0.9, 120), (0.02, 60), (0.97, 40)])
def test_the_interval_covers_the_truth_about_as_often_as_it_says(share: float, n: int) -> None:
    rng = np.random.default_rng(2)
    cache: dict[int, tuple[float, float]] = {}
    covered = 0
    for right in rng.binomial(n, share, size=1_000):
        low, high = cache.setdefault(int(right), mean_interval(outcomes(int(right), n)))
        covered += low <= share <= high
    assert covered >= 920


def test_resamples_do_not_depend_on_how_they_are_cut_to_fit_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = np.array([5, 3, 2])
    whole = resample(counts, lambda drawn: drawn[:, 0])
    monkeypatch.setattr("azubi.evaluation.statistics._MEMORY", 300)
    assert (resample(counts, lambda drawn: drawn[:, 0]) == whole).all()
    assert whole.size == 2_000
