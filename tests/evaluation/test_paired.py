import numpy as np
import pytest
from scipy.stats import bootstrap

from azubi.evaluation.statistics import (
    bca_p,
    compare,
    examples_for,
    gain_interval,
    holm,
    mcnemar,
    needed,
    said,
)


def outcomes(both: int, won: int, lost: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    ours = np.array([1.0] * (both + won) + [0.0] * (lost + neither))
    theirs = np.array([1.0] * both + [0.0] * won + [1.0] * lost + [0.0] * neither)
    return ours, theirs


def test_mcnemar_is_the_binomial_test_of_the_discordant() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 0) == pytest.approx(2 * 0.5**5)
    assert mcnemar(9, 2) == pytest.approx(2 * (1 + 11 + 55) / 2**11)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.9, 0.8]) == pytest.approx((1.0, 1.0))
    assert holm([]) == ()


def test_the_p_value_is_where_the_interval_reaches_zero() -> None:
    gains = np.random.default_rng(0).gamma(1.5, 0.2, 60) - 0.22
    drawn = bootstrap((gains,), np.mean, method="BCa", n_resamples=9_999, rng=np.random.default_rng(20_261))
    p = bca_p(gains, drawn.bootstrap_distribution)
    at = bootstrap(
        (gains,), np.mean, method="BCa", n_resamples=0, confidence_level=1 - p, bootstrap_result=drawn
    ).confidence_interval
    assert 0.005 < p < 0.9
    assert min(abs(at.low), abs(at.high)) < 2e-3


def test_where_all_differences_are_the_same_the_interval_is_not_a_point() -> None:
    (low, high), p = gain_interval(np.zeros(50))
    assert low == pytest.approx(-high) and high > 0.05 and p == 1.0
    (low, high), p = gain_interval(np.ones(30))
    assert 0.7 < low < 0.9 and high == 1 and p < 1e-6


@pytest.mark.parametrize(("won", "lost"), [(3, 0), (5, 0), (6, 0), (0, 4), (9, 2), (1, 8), (0, 0)])
def test_with_few_cases_the_interval_never_contradicts_the_test(won: int, lost: int) -> None:
    result = compare("base", "accuracy", *outcomes(50, won, lost, 20) * 2)
    assert (result.won, result.lost, result.test) == (won, lost, "McNemar")
    certain = result.difference.low > 0 or result.difference.high < 0
    assert not certain or result.p_right < 0.05
    assert result.difference.low <= result.difference.value <= result.difference.high


def test_what_is_needed_has_the_power_it_promises() -> None:
    n = needed(18, 6, 100)
    assert n is not None
    rng = np.random.default_rng(2)
    draws = rng.multinomial(n, [0.18, 0.06, 0.76], size=2_000)
    shown = np.mean([mcnemar(int(won), int(lost)) < 0.05 for won, lost, _ in draws])
    assert 0.72 < shown < 0.84
    assert needed(4, 4, 50) is None
    assert 32 <= (examples_for(0.5, 1.0) or 0) < 40


def test_nothing_is_said_of_no_difference() -> None:
    assert (said(0.01, 0.0), said(0.01, 0.1), said(0.01, -0.1), said(0.05, 0.1)) == (
        "cannot tell",
        "better",
        "worse",
        "cannot tell",
    )


def test_scores_are_judged_by_the_bootstrap() -> None:
    rng = np.random.default_rng(1)
    ours = rng.uniform(0.4, 0.9, 80)
    result = compare("base", "chrf", ours, ours - rng.uniform(0.0, 0.2, 80), np.zeros(80), np.zeros(80))
    assert (result.test, result.p, result.says) == ("BCa", result.p_score, "better")
