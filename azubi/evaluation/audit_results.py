"""What the audits say in a report: forgetting, leaks, and what more examples would bring."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
from pydantic import BaseModel

from azubi.evaluation.calibration import Detection, Rate, detect, share_score, true_positives
from azubi.evaluation.metrics import mean_score
from azubi.evaluation.prediction import Curve
from azubi.evaluation.statistics import (
    LEVEL,
    RESAMPLES,
    SEED,
    Floats,
    Says,
    gain_interval,
    holm,
    mcnemar,
    said,
)
from azubi.events.figures import Score

PARTS = ("probe", "regression-set")


class Kept(BaseModel, extra="forbid", frozen=True):
    """One kind of items, before and after."""

    part: str
    who: str
    """Who is compared with the base."""
    kind: str
    """Empty for all kinds together."""
    n: int
    before: Score
    after: Score
    gained: int
    """Items that only the tuned model gets right."""
    lost: int
    """Items that only the base gets right."""
    p: float
    p_holm: float
    says: Says
    """Of the tuned model; "worse" is forgetting."""
    items_with_loss: int
    loss_before: float | None
    """Nats for a right answer, on average; None where the likelihood is not known."""
    loss_after: float | None
    rise_low: float | None
    """95 % interval of the rise of the loss."""
    rise_high: float | None


def forgetting(rows: pl.DataFrame) -> tuple[Kept, ...]:
    """Compare every baseline that answered parts `probe` and `regression-set` with the base."""
    results: list[Kept] = []
    for part in PARTS:
        asked = rows.filter(pl.col("part") == part).drop_nulls("right").sort("who", "number")
        base = asked.filter(pl.col("who") == "base")
        base = base.select("number", right_before="right", loss_before="loss")
        for who in sorted(set(asked["who"]) - {"base"}):
            tuned = asked.filter(pl.col("who") == who)
            both = tuned.join(base, on="number", how="inner", maintain_order="left")
            if both.height:
                results += _by_kind(part, who, both)
    return tuple(results)


def _by_kind(part: str, who: str, both: pl.DataFrame) -> list[Kept]:
    """All kinds together, then each by itself, corrected for their number."""
    kinds = sorted(set(both["kind"]) - {""})
    each = [_compare(part, who, kind, both.filter(pl.col("kind") == kind)) for kind in kinds]
    adjusted = holm([kept.p for kept in each])
    return [
        _compare(part, who, "", both),
        *(
            kept.model_copy(update={"p_holm": p, "says": said(p, kept.after.value - kept.before.value)})
            for kept, p in zip(each, adjusted, strict=True)
        ),
    ]


def _compare(part: str, who: str, kind: str, both: pl.DataFrame) -> Kept:
    before, after = _floats(both["right_before"]), _floats(both["right"])
    gained, lost = int((after > before).sum()), int((after < before).sum())
    p = mcnemar(gained, lost)
    losses = both.drop_nulls(["loss", "loss_before"])
    old, new = _floats(losses["loss_before"]), _floats(losses["loss"])
    varies = old.size > 1 and np.ptp(new - old) > 0
    rise_low, rise_high = gain_interval(new - old)[0] if varies else (None, None)
    return Kept(
        part=part,
        who=who,
        kind=kind,
        n=both.height,
        before=mean_score("right", before),
        after=mean_score("right", after),
        gained=gained,
        lost=lost,
        p=p,
        p_holm=p,
        says=said(p, float(gained - lost)),
        items_with_loss=old.size,
        loss_before=float(old.mean()) if old.size else None,
        loss_after=float(new.mean()) if old.size else None,
        rise_low=rise_low,
        rise_high=rise_high,
    )


def _floats(column: pl.Series) -> Floats:
    values: Floats = column.cast(pl.Float64).to_numpy()
    return values


class Exposure(BaseModel, extra="forbid", frozen=True):
    """Canaries that were planted equally often."""

    who: str
    repeats: int
    canaries: int
    mean: float
    """Bits."""
    least: float
    most: float
    candidates: int
    """Among so many a canary is ranked."""
    first: int
    """Canaries that are the likeliest of all candidates: an attacker would find them."""


class Membership(BaseModel, extra="forbid", frozen=True):
    """How well training examples can be told from others."""

    who: str
    calibrated: bool
    """Whether the base's loss was there to compare with."""
    detection: Detection
    true_positives: Rate
    """True positives where 1 % of the others are taken for members."""


class Extraction(BaseModel, extra="forbid", frozen=True):
    """Personal data that came back."""

    who: str
    kind: str
    """Kind of personal data; empty for all kinds together."""
    share: Score


def exposures(rows: pl.DataFrame) -> tuple[Exposure, ...]:
    """Gather part `canary` by baseline and repeats."""
    results: list[Exposure] = []
    known = rows.drop_nulls(["score", "repeats"]).sort("who", "repeats")
    for (who, repeats), group in known.group_by("who", "repeats", maintain_order=True):
        bits = group["score"].to_numpy()
        candidates = group["candidates"].fill_null(0).to_numpy()
        results.append(
            Exposure(
                who=str(who),
                repeats=int(str(repeats)),
                canaries=group.height,
                mean=float(bits.mean()),
                least=float(bits.min()),
                most=float(bits.max()),
                candidates=int(candidates.max()),
                first=int((group["rank"] == 1).sum()),
            )
        )
    return tuple(results)


def memberships(rows: pl.DataFrame) -> tuple[Membership, ...]:
    """Judge part `membership`, baseline by baseline; the base itself serves as the measure only."""
    base = rows.filter(pl.col("who") == "base").select("number", base_loss="loss")
    others = rows.filter(pl.col("who") != "base").drop_nulls("loss").sort("who", "number")
    results: list[Membership] = []
    for (who,), group in others.group_by("who", maintain_order=True):
        joined = group.join(base, on="number", how="left", maintain_order="left")
        calibrated = joined["base_loss"].null_count() == 0
        scores = (joined["base_loss"] - joined["loss"] if calibrated else -joined["loss"]).to_numpy()
        member = (joined["truth"] == "member").to_numpy()
        if member.any() and not member.all():
            inside, outside = scores[member], scores[~member]
            results.append(
                Membership(
                    who=str(who),
                    calibrated=calibrated,
                    detection=detect(inside, outside),
                    true_positives=true_positives(inside, outside),
                )
            )
    return tuple(results)


def extractions(rows: pl.DataFrame) -> tuple[Extraction, ...]:
    """Share of part `extraction` that came back, baseline by baseline: in all, then by kind."""
    results: list[Extraction] = []
    for (who,), group in rows.drop_nulls("right").sort("who").group_by("who", maintain_order=True):
        right, kinds = group["right"].to_numpy(), group["kind"].to_numpy()
        for kind in ["", *sorted(set(kinds) - {""})]:
            chosen = right[kinds == kind] if kind else right
            share = share_score("extracted", int(np.sum(chosen)), chosen.size)
            results.append(Extraction(who=str(who), kind=kind, share=share))
    return tuple(results)


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
