"""The verdict: rules with measured figures, and the kind of verdict that follows from them.

The rules, in the order in which they apply:

1. No test example stands in training. Else nothing that was measured counts.
2. No baseline is better than the specialist, by the corrected paired test.
3. The specialist is better than everything simpler: the untouched base, prompts, retrieval, classical.
   Where that is not shown, a baseline *does as well* if a gain above the margin is excluded (the interval
   of the difference lies below it) or the test was large enough to show one (80 % power); else the
   test is too small to tell.
4. It is right often enough to go without review: the lower end of its interval reaches `min_accuracy`.
5. Else there is a confidence above which it is: chosen on validation examples, confirmed on the test.

A difference that is not shown is never taken for none, and one that is too small to matter is never taken
for a reason to train. LoRA on all layers and an endpoint are not simpler, so they only count where they
are better. The specialist with retrieval is ours as well, and never counts against it. Knows no language:
`azubi.evaluation.report` has the texts.
"""

from collections.abc import Mapping, Sequence
from math import ceil, sqrt
from typing import Literal

import numpy as np
import polars as pl
from pydantic import BaseModel

from azubi.evaluation.calibration import share_score
from azubi.evaluation.prediction import Contender
from azubi.evaluation.statistics import Floats, Paired, examples_for
from azubi.events.figures import Score
from azubi.settings import ProofSettings

OURS = ("specialist+retrieval",)
"""Ours as well: shown, but no reason against the specialist."""
NOT_SIMPLER = ("lora", "generalist")
"""Baselines that take as much or more: they only count where they are better."""
MIN_GAIN = 0.02
"""A baseline does as well if it is at most so much worse than the specialist (share of right answers)."""
REVIEW_SHARE = 0.5
"""Deploying with review is not worth it if more than this share has to be reviewed."""
_Z = 1.96
_WORTH_SAYING = 1.5
"""A baseline that is faster by less than this is not called faster."""

Pass = Literal["deploy", "review"]
Refusal = Literal["leaked", "worse", "base", "prompt", "retrieval", "simpler", "poor", "few", "unproven"]
Kind = Pass | Refusal
"""deploy, and review below a confidence; the others are "do not deploy": test data leaked into training, a
baseline is better, a baseline does as well (base, prompt, retrieval, simpler), it is wrong too often, too few
examples to tell, nothing to compare with."""
Standing = Literal["better", "as well", "worse", "too few"]
"""What is known of the specialist against a baseline."""
_EQUAL: dict[str, Kind] = {"base": "base", "prompted": "prompt", "retrieval": "retrieval"}
"""The verdict where this baseline does as well; "simpler" for others."""


class Review(BaseModel, extra="forbid", frozen=True):
    """Answers below a confidence are looked at by a person."""

    confidence: float
    chosen_on: int
    """Validation examples that it was chosen on."""
    chosen_reviewed: float
    """Share of them below it."""
    chosen_wrong: float
    """Share of wrong answers above it, there."""
    reviewed: Score
    """On the test: share to be reviewed."""
    wrong: Score | None
    """On the test: share of wrong answers among those that go out; None if none does."""


class Rule(BaseModel, extra="forbid", frozen=True):
    """One rule, what was measured for it, and whether it held."""

    name: Literal["unseen", "baseline", "not worse", "min_accuracy", "review"]
    baseline: str = ""
    holds: bool | None
    """None where it does not apply or cannot be judged."""
    standing: Standing | None = None
    figures: dict[str, float] = {}


class Verdict(BaseModel, extra="forbid", frozen=True):
    """What to do, and why."""

    kind: Kind
    baseline: str = ""
    """The one that decided it."""
    n: int
    """Test examples."""
    needed: int | None = None
    """Test examples that it would take to tell, about."""
    times: float | None = None
    """How many times faster the baseline answers."""
    main: Score
    """The specialist's main metric."""
    review: Review | None = None
    rules: tuple[Rule, ...]

    @property
    def passes(self) -> bool:
        """Whether it may be deployed, with or without review."""
        return self.kind in ("deploy", "review")


def judge(
    main: Score,
    comparisons: Sequence[Paired],
    scores: dict[str, float],
    leaked: int,
    review: Review | None,
    rightness: bool,
    faster: dict[str, float],
    settings: ProofSettings,
) -> Verdict:
    """Apply the rules.

    `comparisons` are corrected; `scores` are the baselines' main metrics and `faster` how many times faster
    than the specialist each answers; `rightness` says whether the main metric is a share of right answers
    (chrF is not).
    """
    against = [paired for paired in comparisons if paired.who not in OURS]
    standings = {paired.who: standing(paired, MIN_GAIN) for paired in against}
    rules = (
        Rule(name="unseen", holds=leaked == 0, figures={"leaked": leaked, "n": main.n}),
        *(_baseline_rule(paired, standings[paired.who]) for paired in against),
        _accuracy_rule(main, rightness, settings),
        _review_rule(review, rightness, settings),
    )
    reviewable = rules[-1].holds is True
    kind, baseline, needed = _decide(
        main, against, standings, scores, bool(leaked), reviewable, rightness, settings
    )
    times = faster.get(baseline, 0.0)
    return Verdict(
        kind=kind,
        baseline=baseline,
        n=main.n,
        needed=needed,
        times=times if times >= _WORTH_SAYING else None,
        main=main,
        review=review,
        rules=rules,
    )


def _decide(
    main: Score,
    against: Sequence[Paired],
    standings: dict[str, Standing],
    scores: dict[str, float],
    leaked: bool,
    reviewable: bool,
    rightness: bool,
    settings: ProofSettings,
) -> tuple[Kind, str, int | None]:
    """The kind of verdict, the baseline that decided it, and the test examples that it would take to tell."""

    def best(names: list[str]) -> str:
        return max(names, key=lambda who: (scores.get(who, 0.0), who))

    simpler = [paired for paired in against if paired.who not in NOT_SIMPLER]
    if leaked:
        return "leaked", "", None
    if worse := [paired.who for paired in against if standings[paired.who] == "worse"]:
        return "worse", best(worse), None
    if equal := [paired.who for paired in simpler if standings[paired.who] == "as well"]:
        return _EQUAL.get(best(equal), "simpler"), best(equal), None
    if rightness and main.high < settings.min_accuracy and not reviewable:
        return "poor", "", None
    if unsure := [paired for paired in simpler if standings[paired.who] == "too few"]:
        hardest = max(unsure, key=lambda paired: examples_to_tell(paired, MIN_GAIN) or 0)
        return "few", hardest.who, examples_to_tell(hardest, MIN_GAIN)
    if not simpler:
        return "unproven", "", None
    if not rightness or main.low >= settings.min_accuracy:
        return "deploy", "", None
    if reviewable:
        return "review", "", None
    if main.value > settings.min_accuracy:
        return "few", "", _examples_for_share(main.value, settings.min_accuracy)
    return "poor", "", None


def standing(paired: Paired, margin: float) -> Standing:
    """What is known of the specialist against a baseline, given the gain that would be worth it."""
    if paired.says != "cannot tell":
        return paired.says
    enough = _examples_at(margin, paired)
    if paired.difference.high <= margin or (enough is not None and paired.difference.n >= enough):
        return "as well"
    return "too few"


def examples_to_tell(paired: Paired, margin: float) -> int | None:
    """Examples that it takes to tell the difference seen, or the margin if that is larger."""
    return _examples_at(max(abs(paired.difference.value), margin), paired)


def choose_review(
    confidence: Floats, right: Floats, test_confidence: Floats, test_right: Floats, settings: ProofSettings
) -> Review | None:
    """The confidence below which answers should be reviewed; None if none brings the errors down.

    On validation: the lowest confidence above which the share of wrong answers, counted with one wrong
    answer more than was seen (so that a handful of lucky ones does not do), is at most `review_error`. The
    test only confirms it.
    """
    limit = certain_from(confidence, right, settings.review_error)
    if limit is None or not test_confidence.size:
        return None
    passed = confidence >= limit
    goes_out = test_confidence >= limit
    count = int(goes_out.sum())
    return Review(
        confidence=limit,
        chosen_on=confidence.size,
        chosen_reviewed=1 - float(passed.sum()) / confidence.size,
        chosen_wrong=float((1 - right[passed]).sum() / passed.sum()),
        reviewed=share_score("reviewed", int((~goes_out).sum()), goes_out.size),
        wrong=share_score("wrong", int((1 - test_right[goes_out]).sum()), count) if count else None,
    )


def certain_from(confidence: Floats, right: Floats, error: float) -> float | None:
    """The lowest confidence from which on at most a share `error` of the answers is wrong; None if none is.

    One wrong answer more is counted than was seen, so that a handful of lucky ones does not do.
    """
    order = np.argsort(-confidence, kind="stable")
    descending = confidence[order]
    passed = np.arange(1, descending.size + 1)
    wrong = np.cumsum(1 - right[order])
    last_of_equal = np.append(descending[1:] < descending[:-1], True)[: descending.size]
    fine = np.flatnonzero(((wrong + 1) / (passed + 1) <= error) & last_of_equal)
    return float(descending[fine[-1]]) if fine.size else None


def _baseline_rule(paired: Paired, stands: Standing) -> Rule:
    figures: dict[str, float] = {
        "difference": paired.difference.value,
        "low": paired.difference.low,
        "high": paired.difference.high,
        "p": paired.p_holm,
        "min_gain": MIN_GAIN,
        "n": paired.difference.n,
    }
    if (needed := examples_to_tell(paired, MIN_GAIN)) is not None:
        figures["needed"] = needed
    if paired.who in NOT_SIMPLER:
        holds = stands != "worse"
        return Rule(name="not worse", baseline=paired.who, holds=holds, standing=stands, figures=figures)
    holds = stands == "better"
    return Rule(name="baseline", baseline=paired.who, holds=holds, standing=stands, figures=figures)


def _accuracy_rule(main: Score, rightness: bool, settings: ProofSettings) -> Rule:
    figures = {**main.model_dump(include={"value", "low", "high"}), "min_accuracy": settings.min_accuracy}
    holds = main.low >= settings.min_accuracy if rightness else None
    return Rule(name="min_accuracy", holds=holds, figures=figures)


def _review_rule(review: Review | None, rightness: bool, settings: ProofSettings) -> Rule:
    figures = {"review_error": settings.review_error, "review_share": REVIEW_SHARE}
    if not rightness or review is None or review.wrong is None:
        return Rule(name="review", holds=False if rightness else None, figures=figures)
    figures |= {
        "confidence": review.confidence,
        "reviewed": review.reviewed.value,
        "wrong": review.wrong.value,
        "wrong_low": review.wrong.low,
        "wrong_high": review.wrong.high,
    }
    holds = review.wrong.value <= settings.review_error and review.reviewed.value <= REVIEW_SHARE
    return Rule(name="review", holds=holds, figures=figures)


def _examples_at(difference: float, paired: Paired) -> int | None:
    """Examples for a difference, with a spread that such a difference must at least have.

    Two that differ on a share d of examples differ by at most d, so the deviation is at least sqrt(d -
    d**2): without this, two that never differed on 30 examples would seem to need no more.
    """
    least = sqrt(max(difference - difference**2, 0.0)) if paired.test == "McNemar" else 0.0
    return examples_for(difference, max(paired.spread, least))


def _examples_for_share(share: float, least: float) -> int:
    """Examples with which a share's 95 % interval would lie above `least`, by the normal approximation."""
    return ceil(_Z**2 * max(share * (1 - share), 1e-9) / (share - least) ** 2)


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
