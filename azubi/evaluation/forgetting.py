"""What training took away of what the base could do: the same items before and after.

Right and wrong are compared by McNemar's exact test, kind by kind, with Holm's correction over the kinds of a
part; the likelihood of the right answer by the paired BCa bootstrap. Knows nothing of what the items ask.
"""

import numpy as np
import polars as pl
from pydantic import BaseModel

from azubi.evaluation.bootstrap import Floats
from azubi.evaluation.metrics import mean_score
from azubi.evaluation.paired import Says, gain_interval, holm, mcnemar, said
from azubi.events.score import Score

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
