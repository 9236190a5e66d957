"""Cost of a question, cost up front, and the number of questions after which the specialist pays for itself.

Cost is machine time at a price per hour, plus what a provider asks per question; no energy, no people.
Where an endpoint answers, only its price counts, since this machine just waits. Without any price, cost is in
seconds.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Literal

import numpy as np
import polars as pl
from pydantic import BaseModel

from azubi.evaluation.facts import Contender
from azubi.settings import ProofSettings

ELSEWHERE = "generalist"
"""The baseline that does not run on this machine."""


class Cost(BaseModel, extra="forbid", frozen=True):
    """What one baseline costs."""

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


class BreakEven(BaseModel, extra="forbid", frozen=True):
    """The specialist's total cost against one baseline's."""

    who: str
    pays: Literal["from the first", "after", "until", "never"]
    """after: the specialist is cheaper after so many questions. until: only for fewer. from the first:
    always. never: the baseline stays cheaper however many are asked."""
    questions: int | None = None
    """Where the two lines of total cost cross; None for "from the first" and "never"."""


def costs(
    rows: pl.DataFrame, contenders: Mapping[str, Contender], settings: ProofSettings
) -> tuple[Cost, ...]:
    """What each baseline costs, from part `latency`, or where that has none of its answers, `test`."""
    free = priceless(contenders, settings)
    priced = (_cost(rows, who, contender, settings, free) for who, contender in contenders.items())
    return tuple(cost for cost in priced if cost is not None)


def priceless(contenders: Mapping[str, Contender], settings: ProofSettings) -> bool:
    """Whether nothing has a price, so that cost is in seconds."""
    prices = (contender.price_per_question for contender in contenders.values())
    return settings.price_per_hour == 0 and not any(prices)


def break_evens(prices: Sequence[Cost], who: str) -> tuple[BreakEven, ...]:
    """One of them against all others."""
    ours = next((cost for cost in prices if cost.who == who), None)
    if ours is None:
        return ()
    return tuple(break_even(ours, cost) for cost in prices if cost.who != who)


def break_even(ours: Cost, theirs: Cost) -> BreakEven:
    """After how many questions the lines of total cost cross."""
    extra, saved = ours.fixed - theirs.fixed, theirs.each - ours.each
    if extra <= 0 and saved >= 0:
        return BreakEven(who=theirs.who, pays="from the first")
    if extra >= 0 and saved <= 0:
        return BreakEven(who=theirs.who, pays="never")
    pays: Literal["after", "until"] = "after" if saved > 0 else "until"
    return BreakEven(who=theirs.who, pays=pays, questions=ceil(extra / saved - 1e-9))


def _cost(
    rows: pl.DataFrame, who: str, contender: Contender, settings: ProofSettings, free: bool
) -> Cost | None:
    answers = rows.filter((pl.col("who") == who) & (pl.col("mode") == "constrained")).drop_nulls("seconds")
    alone = answers.filter(pl.col("part") == "latency")
    timed = alone if alone.height else answers.filter(pl.col("part") == "test")
    if not timed.height:
        return None
    seconds = timed["seconds"].to_numpy()
    mean, price = float(seconds.mean()), 1.0 if free else settings.price_per_hour / 3600
    running = 0.0 if who == ELSEWHERE and not free else mean * price
    return Cost(
        who=who,
        upfront=contender.upfront,
        questions=seconds.size,
        alone=alone.height > 0,
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
