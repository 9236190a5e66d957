"""What training took away of what the base could do: the same items before and after.

Right and wrong are compared by McNemar's exact test, kind by kind, with Holm's correction over the kinds of a
part; the likelihood of the right answer by the paired BCa bootstrap. Knows nothing of what the items ask.
"""

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict

from azubi.evaluation.bootstrap import Floats
from azubi.evaluation.metrics import mean_score
from azubi.evaluation.paired import Says, gain_interval, holm, mcnemar, said
from azubi.events.score import Score

PARTS = ("probe", "regression-set")


class Kept(BaseModel):
    """One kind of items, before and after."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
        asked = rows.filter((pl.col("part") == part) & pl.col("right").is_not_null()).sort("who", "number")
        base = asked.filter(pl.col("who") == "base").select(
            "number", right_before="right", loss_before="loss"
        )
        for who in sorted(set(asked["who"]) - {"base"}):
            both = asked.filter(pl.col("who") == who).join(
                base, on="number", how="inner", maintain_order="left"
            )
            if both.height:
                results += _by_kind(part, who, both)
    return tuple(results)


def _by_kind(part: str, who: str, both: pl.DataFrame) -> list[Kept]:
    kinds = sorted(set(both["kind"]) - {""})
    alone = [_kept(part, who, kind, both.filter(pl.col("kind") == kind)) for kind in kinds]
    adjusted = holm([result.p for result in alone])
    return [
        _kept(part, who, "", both),
        *(
            result.model_copy(update={"p_holm": p, "says": said(p, result.after.value - result.before.value)})
            for result, p in zip(alone, adjusted, strict=True)
        ),
    ]


def _kept(part: str, who: str, kind: str, both: pl.DataFrame) -> Kept:
    before, after = _numbers(both["right_before"]), _numbers(both["right"])
    gained, lost = int((after > before).sum()), int((after < before).sum())
    p = mcnemar(gained, lost)
    losses = both.filter(pl.col("loss").is_not_null() & pl.col("loss_before").is_not_null())
    old, new = _numbers(losses["loss_before"]), _numbers(losses["loss"])
    rise = gain_interval(new - old)[0] if old.size > 1 and np.ptp(new - old) > 0 else None
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
        rise_low=rise[0] if rise else None,
        rise_high=rise[1] if rise else None,
    )


def _numbers(column: pl.Series) -> Floats:
    values: Floats = column.cast(pl.Float64).to_numpy()
    return values
