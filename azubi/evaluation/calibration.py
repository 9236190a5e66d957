"""Whether a confidence of 80 % means right in 80 of 100 cases. Knows numbers only.

The expected calibration error is the mean gap between confidence and share of right answers over bins
that hold equally many answers (Nguyen and O'Connor, EMNLP 2015), which leaves no bin empty. The Brier score
(Monthly Weather Review 78, 1950) is the mean squared gap between confidence and outcome.
"""

from math import floor

import numpy as np
import polars as pl
from pydantic import BaseModel

from azubi.evaluation.metrics import mean_score
from azubi.evaluation.statistics import (
    LEVEL,
    RESAMPLES,
    SEED,
    Floats,
    Interval,
    clopper_pearson,
    percentiles,
    unseen_bound,
)
from azubi.events.figures import Score

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


class Detection(BaseModel, extra="forbid", frozen=True):
    """Positives against negatives."""

    positives: int
    negatives: int
    auroc: Score


class Rate(BaseModel, extra="forbid", frozen=True):
    """A share of one kind at a limit that was chosen on the other."""

    limit: float
    """Scores from here on count as positive."""
    share: Score


class Scope(BaseModel, extra="forbid", frozen=True):
    """How well one baseline knows what is not its job; questions of its job are the positives."""

    who: str
    kind: str
    """Source of the questions out of scope; empty for all of them together."""
    detection: Detection
    false_alarms: Rate
    """Questions out of scope that are taken for its job, where 95 % of its job are kept."""
    limit: float | None
    """The specialist's own limit, if it has one."""
    kept: Score | None
    """Share of questions of its job that its own limit keeps."""
    let_in: Score | None
    """Share of questions out of scope that its own limit lets in."""


def scopes(rows: pl.DataFrame, limit: float | None = None) -> tuple[Scope, ...]:
    """Judge part `scope` for each baseline: against all out of scope, then by source."""
    results: list[Scope] = []
    for (who,), group in rows.drop_nulls("score").sort("who", "number").group_by("who", maintain_order=True):
        inside = group.filter(pl.col("truth") == "in")["score"].to_numpy()
        out = group.filter(pl.col("truth") == "out")
        kinds = sorted(set(out["kind"]) - {""})
        for kind in ["", *(kinds if len(kinds) > 1 else [])]:
            outside = (out.filter(pl.col("kind") == kind) if kind else out)["score"].to_numpy()
            if inside.size and outside.size:
                own_limit = limit if who == "specialist" else None
                results.append(_scope(str(who), kind, inside, outside, own_limit))
    return tuple(results)


def _scope(who: str, kind: str, inside: Floats, outside: Floats, limit: float | None) -> Scope:
    return Scope(
        who=who,
        kind=kind,
        detection=detect(inside, outside),
        false_alarms=false_alarms(inside, outside),
        limit=limit,
        kept=None if limit is None else _share_from(limit, "kept", inside),
        let_in=None if limit is None else _share_from(limit, "let_in", outside),
    )


def detect(positive: Floats, negative: Floats) -> Detection:
    """AUROC of the scores of positives and negatives, with its interval."""
    value, low, high = auroc(positive, negative)
    score = Score(name="auroc", value=value, low=low, high=high, n=positive.size + negative.size)
    return Detection(positives=positive.size, negatives=negative.size, auroc=score)


def false_alarms(positive: Floats, negative: Floats, recall: float = 0.95) -> Rate:
    """Share of negatives that pass at the highest limit which lets `recall` of the positives pass."""
    kept = int(np.ceil(recall * positive.size - 1e-9))
    limit = float(np.sort(positive)[positive.size - kept])
    return Rate(limit=limit, share=_share_from(limit, "false_alarms", negative))


def true_positives(positive: Floats, negative: Floats, alarms: float = 0.01) -> Rate:
    """Share of positives above the lowest limit that at most `alarms` of the negatives reach."""
    allowed = floor(alarms * negative.size + 1e-9)
    limit = float(np.nextafter(np.sort(negative)[negative.size - allowed - 1], np.inf))
    return Rate(limit=limit, share=_share_from(limit, "found", positive))


def share_score(name: str, count: int, n: int) -> Score:
    """`count` of `n` with its exact interval."""
    low, high = clopper_pearson(count, n)
    return Score(name=name, value=count / n, low=low, high=high, n=n)


def _share_from(limit: float, name: str, scores: Floats) -> Score:
    return share_score(name, int((scores >= limit).sum()), scores.size)


def auroc(positive: Floats, negative: Floats) -> tuple[float, float, float]:
    """AUROC, and the ends of its interval."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([positive, negative]))
    wins = (ranks[: positive.size] - rankdata(positive)) / negative.size
    losses = 1 - (ranks[positive.size :] - rankdata(negative)) / positive.size
    value = float(wins.mean())
    return value, *_delong(value, wins, losses)


def _delong(value: float, wins: Floats, losses: Floats) -> Interval:
    from scipy.special import expit, logit
    from scipy.stats import norm

    variance = sum(float(part.var(ddof=1)) / part.size for part in (wins, losses) if part.size > 1)
    fewer = min(wins.size, losses.size)
    if variance <= 0 or value in (0.0, 1.0) or fewer == 1:
        seen = unseen_bound(fewer)
        return value * seen, value * seen + 1 - seen
    reach = norm.ppf((1 + LEVEL) / 2) * np.sqrt(variance) / (value * (1 - value))
    return float(expit(logit(value) - reach)), float(expit(logit(value) + reach))
