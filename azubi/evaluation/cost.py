"""Cost of a question, cost up front, and the number of questions after which the specialist pays for itself.

Cost is machine time at a price per hour, plus what a provider asks per question; no energy, no people.
Where an endpoint answers, only its price counts, since this machine just waits. Without any price, cost is in
seconds.
"""

from collections.abc import Mapping
from math import ceil
from typing import Literal

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict

from azubi.evaluation.facts import Contender
from azubi.settings import ProofSettings

ELSEWHERE = "generalist"
"""The baseline that does not run on this machine."""

Pays = Literal["from the first", "after", "until", "never"]


class Cost(BaseModel):
    """What one baseline costs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    who: str
    upfront: float
    """Seconds before its first answer."""
    questions: int
    """So many were timed."""
    alone: bool
    """Whether they were asked one at a time; else the times are shares of a batch's."""
    mean: float
    """Seconds for a question."""
    median: float
    p95: float
    tokens_in: float | None
    """Mean for a question."""
    tokens_out: float | None
    memory: int
    """Most bytes while answering; 0 if not known."""
    fixed: float
    """Up-front cost, in the currency (seconds if nothing has a price)."""
    each: float
    """Cost of a question, in the same."""


class BreakEven(BaseModel):
    """The specialist's total cost against one baseline's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    who: str
    pays: Pays
    """after: the specialist is cheaper after so many questions. until: only for fewer. from the first:
    always. never: the baseline stays cheaper however many are asked."""
    questions: int | None
    """Where the two curves of total cost cross; None for "from the first" and "never"."""


def costs(
    rows: pl.DataFrame, contenders: Mapping[str, Contender], settings: ProofSettings
) -> tuple[Cost, ...]:
    """What each baseline costs, from parts `latency` (or, where there is none, `test`)."""
    free = priceless(contenders, settings)
    priced = (
        _cost(who, _timed(rows, who), contender, settings, free) for who, contender in contenders.items()
    )
    return tuple(cost for cost in priced if cost is not None)


def priceless(contenders: Mapping[str, Contender], settings: ProofSettings) -> bool:
    """Whether nothing has a price, so that cost is in seconds."""
    return settings.price_per_hour == 0 and not any(
        contender.price_per_question for contender in contenders.values()
    )


def break_even(ours: Cost, theirs: Cost) -> BreakEven:
    """After how many questions the curves of total cost cross."""
    extra, saved = ours.fixed - theirs.fixed, theirs.each - ours.each
    if extra <= 0 and saved >= 0:
        return BreakEven(who=theirs.who, pays="from the first", questions=None)
    if extra >= 0 and saved <= 0:
        return BreakEven(who=theirs.who, pays="never", questions=None)
    count = ceil(extra / saved - 1e-9)
    return BreakEven(
        who=theirs.who,
        pays="after" if saved > 0 else "until",
        questions=count,
    )


def _timed(rows: pl.DataFrame, who: str) -> pl.DataFrame:
    """Its timed answers: one at a time if there are such, else those of the test."""
    mine = rows.filter(
        (pl.col("who") == who) & (pl.col("mode") == "constrained") & pl.col("seconds").is_not_null()
    )
    alone = mine.filter(pl.col("part") == "latency")
    return alone if alone.height else mine.filter(pl.col("part") == "test")


def _cost(
    who: str, timed: pl.DataFrame, contender: Contender, settings: ProofSettings, free: bool
) -> Cost | None:
    if not timed.height:
        return None
    seconds = timed["seconds"].to_numpy()
    mean = float(seconds.mean())
    price = 1.0 if free else settings.price_per_hour / 3600
    running = 0.0 if who == ELSEWHERE and not free else mean * price
    return Cost(
        who=who,
        upfront=contender.upfront,
        questions=seconds.size,
        alone=timed["part"][0] == "latency",
        mean=mean,
        median=float(np.median(seconds)),
        p95=float(np.quantile(seconds, 0.95)),
        tokens_in=_mean(timed["tokens_in"]),
        tokens_out=_mean(timed["tokens_out"]),
        memory=contender.memory,
        fixed=contender.upfront * price,
        each=running + contender.price_per_question,
    )


def _mean(column: pl.Series) -> float | None:
    mean = column.mean()
    return float(mean) if isinstance(mean, float | int) else None
