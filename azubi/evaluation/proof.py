"""A proof: every number of its report, computed from the saved answers and the facts beside them.

`prove_from` is a pure function: the same table and facts give the same proof on any machine, and
`benchmarks/reproduce.py` computes all of it again without this package. Parts that the table lacks are
left out. Knows nothing of models, and writes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from pydantic import BaseModel

from azubi.errors import DataError
from azubi.evaluation.audit_results import (
    Exposure,
    Extraction,
    Kept,
    Learning,
    Membership,
    exposures,
    extractions,
    forgetting,
    learning,
    memberships,
)
from azubi.evaluation.calibration import Calibration, Scope, calibrate, scopes
from azubi.evaluation.metrics import mean_score, measure
from azubi.evaluation.mistakes import (
    Confusion,
    LabelScore,
    Matrix,
    Mistakes,
    SliceScore,
    confusion_matrix,
    confusions,
    label_scores,
    mistakes,
    slice_scores,
)
from azubi.evaluation.prediction import Contender, Facts
from azubi.evaluation.statistics import Floats, Paired, compare, corrected
from azubi.evaluation.verdict import (
    BreakEven,
    Cost,
    Verdict,
    break_evens,
    choose_review,
    costs,
    judge,
    priceless,
)
from azubi.events.figures import Score

SPECIALIST = "specialist"
ORDER = (
    SPECIALIST,
    "specialist+retrieval",
    "base",
    "prompted",
    "retrieval",
    "classical",
    "neighbours",
    "frequent",
    "lora",
    "generalist",
)
"""In which the report shows them; others follow by name."""


class Baseline(BaseModel, extra="forbid", frozen=True):
    """One baseline's quality on the test, the specialist among them."""

    who: str
    says: str
    scores: tuple[Score, ...]
    """Held to the contract; the main metric first."""
    free: tuple[Score, ...] = ()
    """Written freely; empty where it was not asked so."""
    paired: Paired | None = None
    """The specialist against it; None for the specialist itself."""
    calibration: Calibration | None = None


class Proof(BaseModel, extra="forbid", frozen=True):
    """Every number of the report."""

    format: int = 1
    facts: Facts
    """As given, but without texts and slices, which stand where they are used."""
    rows: dict[str, int]
    """Answers in the table, by part."""
    verdict: Verdict
    baselines: tuple[Baseline, ...]
    """The specialist first."""
    labels: tuple[LabelScore, ...] = ()
    confusions: tuple[Confusion, ...] = ()
    matrix: Matrix | None = None
    slices: tuple[SliceScore, ...] = ()
    costs: tuple[Cost, ...] = ()
    in_seconds: bool = False
    """Whether cost is in seconds, since nothing has a price."""
    break_even: tuple[BreakEven, ...] = ()
    learning: Learning | None = None
    forgetting: tuple[Kept, ...] = ()
    scope: tuple[Scope, ...] = ()
    exposures: tuple[Exposure, ...] = ()
    memberships: tuple[Membership, ...] = ()
    extractions: tuple[Extraction, ...] = ()
    mistakes: Mistakes
    leaked: tuple[str, ...] = ()
    """Ids of test examples that stand in training."""

    @property
    def specialist(self) -> Baseline:
        """The specialist, which is judged."""
        return self.baselines[0]

    def cost(self, who: str) -> Cost | None:
        """What the baseline of that name costs."""
        return next((cost for cost in self.costs if cost.who == who), None)


@dataclass(frozen=True, slots=True)
class Answers:
    """All answers of one baseline to the test, in the order of the questions."""

    numbers: tuple[int, ...]
    """Of the questions."""
    truths: tuple[str, ...]
    texts: tuple[str, ...]
    right: Floats
    main: Floats
    """The main metric of each answer."""
    confidence: Floats
    """NaN where it is not known."""


def prove_from(predictions: pl.DataFrame, facts: Facts) -> Proof:
    """Compute the proof. Raises `DataError` if the specialist did not answer the test."""

    def part(name: str) -> pl.DataFrame:
        return predictions.filter(pl.col("part") == name)

    answers = {who: _answers(predictions, who, "constrained", facts) for who in _baselines(part("test"))}
    if SPECIALIST not in answers:
        raise DataError(
            f"{facts.name} has answered no test example, so there is nothing to prove.",
            "Prove it again; predictions.parquet is not complete.",
        )
    contenders = {contender.who: contender for contender in facts.contenders}
    baselines = _measure_baselines(predictions, answers, contenders, facts)
    prices = costs(
        predictions, {who: contenders.get(who, Contender(who=who)) for who in answers}, facts.settings
    )
    leaked = tuple(sorted({*facts.leaked, *_same_questions(predictions, facts)}))
    ours, contract = answers[SPECIALIST], facts.contract
    labels = contract.task == "labels" and not contract.multi
    return Proof(
        facts=facts.model_copy(update={"texts": {}, "slices": {}}),
        rows=dict(sorted(predictions.group_by("part").len().iter_rows())),
        verdict=_verdict(predictions, facts, ours, baselines, prices, len(leaked)),
        baselines=baselines,
        labels=label_scores(contract, ours.texts, ours.truths) if contract.task == "labels" else (),
        confusions=confusions(ours.texts, ours.truths) if labels else (),
        matrix=confusion_matrix(ours.texts, ours.truths) if labels else None,
        slices=slice_scores(
            facts.slices,
            {who: theirs.numbers for who, theirs in answers.items()},
            {who: theirs.main for who, theirs in answers.items()},
            facts.main,
        ),
        costs=prices,
        in_seconds=priceless(contenders, facts.settings),
        break_even=break_evens(prices, SPECIALIST),
        learning=learning(part("learning-curve"), facts.curves),
        forgetting=forgetting(predictions),
        scope=scopes(part("scope"), facts.limit),
        exposures=exposures(part("canary")),
        memberships=memberships(part("membership")),
        extractions=extractions(part("extraction")),
        mistakes=mistakes(
            _rows(predictions, "test", SPECIALIST), part("neighbour"), facts.texts, facts.contract
        ),
        leaked=leaked,
    )


def _rows(predictions: pl.DataFrame, part: str, who: str, mode: str = "constrained") -> pl.DataFrame:
    return predictions.filter(
        (pl.col("part") == part) & (pl.col("who") == who) & (pl.col("mode") == mode)
    ).sort("number")


def _baselines(test: pl.DataFrame) -> list[str]:
    names = set(test.filter(pl.col("mode") == "constrained")["who"])
    return sorted(names, key=lambda who: (ORDER.index(who) if who in ORDER else len(ORDER), who))


def _answers(predictions: pl.DataFrame, who: str, mode: str, facts: Facts) -> Answers:
    rows = _rows(predictions, "test", who, mode)
    if rows["number"].n_unique() != rows.height or rows["right"].null_count():
        raise DataError(
            f"{who} has two answers to one test question, or one that was not judged.",
            "Prove it again; predictions.parquet is not as azubi writes it.",
        )
    right = rows["right"].cast(pl.Float64).to_numpy()
    return Answers(
        numbers=tuple(rows["number"]),
        truths=tuple(text.strip() for text in rows["truth"]),
        texts=tuple(text.strip() for text in rows["answer"]),
        right=right,
        main=rows["score"].fill_null(0.0).to_numpy() if facts.main == "chrf" else right,
        confidence=rows["confidence"].fill_null(np.nan).to_numpy(),
    )


def _measure_baselines(
    predictions: pl.DataFrame,
    answers: Mapping[str, Answers],
    contenders: Mapping[str, Contender],
    facts: Facts,
) -> tuple[Baseline, ...]:
    paired = _comparisons(answers, facts.main)
    baselines = []
    for who, theirs in answers.items():
        known = ~np.isnan(theirs.confidence)
        baselines.append(
            Baseline(
                who=who,
                says=contenders[who].says if who in contenders else "",
                scores=_scores(facts, theirs),
                free=_scores(facts, _answers(predictions, who, "unconstrained", facts)),
                paired=paired.get(who),
                calibration=calibrate(theirs.confidence[known], theirs.right[known]),
            )
        )
    return tuple(baselines)


def _scores(facts: Facts, answers: Answers) -> tuple[Score, ...]:
    """All metrics; chrF is taken from the table, since it takes long to compute."""
    if not answers.numbers:
        return ()
    if facts.contract.task == "text":
        return mean_score("chrf", answers.main), mean_score("exact", answers.right)
    return measure(facts.contract, answers.texts, answers.truths)


def _comparisons(answers: Mapping[str, Answers], metric: str) -> dict[str, Paired]:
    """The specialist against every other, on the questions that both answered."""
    ours = answers[SPECIALIST]
    positions = {number: position for position, number in enumerate(ours.numbers)}
    compared: list[Paired] = []
    for who, theirs in answers.items():
        shared = [(positions[n], other) for other, n in enumerate(theirs.numbers) if n in positions]
        if who != SPECIALIST and shared:
            mine, other = (list(rows) for rows in zip(*shared, strict=True))
            compared.append(
                compare(
                    who, metric, ours.main[mine], theirs.main[other], ours.right[mine], theirs.right[other]
                )
            )
    return {comparison.who: comparison for comparison in corrected(compared)}


def _same_questions(predictions: pl.DataFrame, facts: Facts) -> set[str]:
    """Test examples whose nearest training examples ask word for word the same."""
    tests = predictions.filter((pl.col("part") == "test") & (pl.col("who") == SPECIALIST))
    ids = dict(tests.select("number", "id").iter_rows())
    words = {key: text.casefold().split() for key, text in facts.texts.items()}
    near = predictions.filter(pl.col("part") == "neighbour").select("number", "id").iter_rows()
    return {
        ids[number]
        for number, key in near
        if number in ids and key in words and words[key] == words.get(ids[number])
    }


def _verdict(
    predictions: pl.DataFrame,
    facts: Facts,
    ours: Answers,
    baselines: tuple[Baseline, ...],
    prices: tuple[Cost, ...],
    leaked: int,
) -> Verdict:
    medians = {cost.who: cost.median for cost in prices}
    our_median = medians.get(SPECIALIST)
    chosen = _rows(predictions, "choice", SPECIALIST).drop_nulls(["confidence", "right"])
    known = ~np.isnan(ours.confidence)
    return judge(
        main=baselines[0].scores[0],
        comparisons=[baseline.paired for baseline in baselines if baseline.paired is not None],
        scores={baseline.who: baseline.scores[0].value for baseline in baselines},
        leaked=leaked,
        review=choose_review(
            chosen["confidence"].to_numpy(),
            chosen["right"].cast(pl.Float64).to_numpy(),
            ours.confidence[known],
            ours.right[known],
            facts.settings,
        ),
        rightness=facts.main != "chrf",
        faster={who: our_median / median for who, median in medians.items() if our_median and median > 0},
        settings=facts.settings,
    )
