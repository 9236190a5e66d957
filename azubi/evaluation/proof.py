"""A proof: every number of the report, computed from the saved answers and the facts beside them.

`prove_from` is a pure function: the same table and facts give the same proof, on any machine, and
`benchmarks/reproduce.py` computes all of it again without this package. Parts that the table lacks are
left out. Knows nothing of models, and writes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict

from azubi.errors import DataError
from azubi.evaluation.bootstrap import Floats
from azubi.evaluation.calibration import Calibration, calibrate
from azubi.evaluation.comparison import same_field
from azubi.evaluation.cost import BreakEven, Cost, break_even, costs, priceless
from azubi.evaluation.detection import Scope, scopes
from azubi.evaluation.facts import Contender, Facts
from azubi.evaluation.forgetting import Kept, forgetting
from azubi.evaluation.leaks import Exposure, Extraction, Membership, exposures, extractions, memberships
from azubi.evaluation.learning import Learning, learning
from azubi.evaluation.metrics import macro_f1, mean_score
from azubi.evaluation.mistakes import Mistakes, mistakes
from azubi.evaluation.paired import Paired, compare, corrected
from azubi.evaluation.slices import (
    Confusion,
    LabelScore,
    Matrix,
    SliceScore,
    confusion_matrix,
    confusions,
    label_scores,
    slice_scores,
)
from azubi.evaluation.verdict import Review, Verdict, choose_review, judge
from azubi.events.score import Score

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


class Baseline(BaseModel):
    """One baseline's quality on the test, the specialist among them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    who: str
    says: str
    scores: tuple[Score, ...]
    """Held to the contract; the main metric first."""
    free: tuple[Score, ...] = ()
    """Written freely; empty where it was not asked so."""
    paired: Paired | None = None
    """The specialist against it; None for the specialist itself."""
    calibration: Calibration | None = None


class Proof(BaseModel):
    """Every number of the report."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
        """The one that is judged."""
        return self.baselines[0]

    def baseline(self, who: str) -> Baseline | None:
        """The baseline of that name."""
        return next((baseline for baseline in self.baselines if baseline.who == who), None)

    def cost(self, who: str) -> Cost | None:
        """What the baseline of that name costs."""
        return next((cost for cost in self.costs if cost.who == who), None)


@dataclass(frozen=True, slots=True)
class Answered:
    """All answers of one baseline to the test, by the number of the question."""

    numbers: tuple[int, ...]
    truths: tuple[str, ...]
    answers: tuple[str, ...]
    right: Floats
    score: Floats
    confidence: Floats
    """NaN where it is not known."""


def prove_from(predictions: pl.DataFrame, facts: Facts) -> Proof:
    """Compute the proof. Raises `DataError` if the specialist did not answer the test."""
    test = predictions.filter(pl.col("part") == "test")
    answered = {who: _answered(test, who, "constrained") for who in _names(test)}
    if SPECIALIST not in answered:
        raise DataError(
            f"{facts.name} has answered no test example, so there is nothing to prove.",
            "Prove it again; predictions.parquet is not complete.",
        )
    ours = answered[SPECIALIST]
    contenders = {contender.who: contender for contender in facts.contenders}
    comparisons = _comparisons(answered, facts.main)
    baselines = tuple(
        _baseline(who, given, _answered(test, who, "unconstrained"), contenders, comparisons, facts)
        for who, given in answered.items()
    )
    prices = _sorted_costs(costs(predictions, _known(contenders, answered), facts.settings), tuple(answered))
    leaked = tuple(sorted({*facts.leaked, *_same_questions(predictions, facts)}))
    labels = facts.contract.task == "labels"
    return Proof(
        facts=facts.model_copy(update={"texts": {}, "slices": {}}),
        rows=dict(sorted(predictions.group_by("part").len().iter_rows())),
        verdict=_verdict(predictions, facts, answered, baselines, prices, len(leaked)),
        baselines=baselines,
        labels=label_scores(ours.answers, ours.truths) if labels else (),
        confusions=confusions(ours.answers, ours.truths) if labels else (),
        matrix=confusion_matrix(ours.answers, ours.truths) if labels else None,
        slices=_slices(facts, answered),
        costs=prices,
        in_seconds=priceless(contenders, facts.settings),
        break_even=_break_evens(prices),
        learning=learning(predictions.filter(pl.col("part") == "learning-curve"), facts.curves),
        forgetting=forgetting(predictions),
        scope=scopes(predictions.filter(pl.col("part") == "scope"), facts.limit),
        exposures=exposures(predictions.filter(pl.col("part") == "canary")),
        memberships=memberships(predictions.filter(pl.col("part") == "membership")),
        extractions=extractions(predictions.filter(pl.col("part") == "extraction")),
        mistakes=mistakes(
            test.filter((pl.col("who") == SPECIALIST) & (pl.col("mode") == "constrained")),
            predictions.filter(pl.col("part") == "neighbour"),
            facts.texts,
            facts.contract,
        ),
        leaked=leaked,
    )


def per_example(facts: Facts, answered: Answered) -> dict[str, Floats]:
    """Every metric that is a mean over examples, example by example; the main metric first."""
    contract = facts.contract
    if contract.task == "labels":
        return {"accuracy": answered.right}
    if contract.task == "text":
        return {"chrf": answered.score, "exact": answered.right}
    said = [contract.parse(answer) for answer in answered.answers]
    true = [contract.parse(truth) for truth in answered.truths]
    values = {
        "record_exact": answered.right,
        "parsable": np.array([record is not None for record in said], dtype=np.float64),
    }
    for name in contract.fields:
        same = [same_field(a, t, name) for a, t in zip(said, true, strict=True)]
        values[f"field:{name}"] = np.array(same, dtype=np.float64)
    return values


def _names(test: pl.DataFrame) -> list[str]:
    names = set(test.filter(pl.col("mode") == "constrained")["who"])
    return sorted(names, key=lambda who: (ORDER.index(who) if who in ORDER else len(ORDER), who))


def _answered(test: pl.DataFrame, who: str, mode: str) -> Answered:
    rows = test.filter((pl.col("who") == who) & (pl.col("mode") == mode)).sort("number")
    if rows["number"].n_unique() != rows.height or rows["right"].null_count():
        raise DataError(
            f"{who} has two answers to one test question, or one that was not judged.",
            "Prove it again; predictions.parquet is not as azubi writes it.",
        )
    right = rows["right"].cast(pl.Float64).to_numpy()
    return Answered(
        numbers=tuple(rows["number"]),
        truths=tuple(text.strip() for text in rows["truth"]),
        answers=tuple(text.strip() for text in rows["answer"]),
        right=right,
        score=rows["score"].fill_null(0.0).to_numpy(),
        confidence=rows["confidence"].fill_null(np.nan).to_numpy(),
    )


def _scores(facts: Facts, answered: Answered) -> tuple[Score, ...]:
    if not answered.numbers:
        return ()
    scores = [mean_score(name, values) for name, values in per_example(facts, answered).items()]
    if facts.contract.task == "labels":
        known = [label.strip() for label in facts.contract.labels]
        scores.append(macro_f1(answered.answers, answered.truths, known))
    return tuple(scores)


def _main(answered: Answered, metric: str) -> Floats:
    return answered.score if metric == "chrf" else answered.right


def _comparisons(answered: Mapping[str, Answered], metric: str) -> dict[str, Paired]:
    ours = answered[SPECIALIST]
    place = {number: row for row, number in enumerate(ours.numbers)}
    compared: list[Paired] = []
    for who, theirs in answered.items():
        shared = [(place[number], row) for row, number in enumerate(theirs.numbers) if number in place]
        if who == SPECIALIST or not shared:
            continue
        mine, other = (list(rows) for rows in zip(*shared, strict=True))
        compared.append(
            compare(
                who,
                metric,
                _main(ours, metric)[mine],
                _main(theirs, metric)[other],
                ours.right[mine],
                theirs.right[other],
            )
        )
    return {comparison.who: comparison for comparison in corrected(compared)}


def _baseline(
    who: str,
    answered: Answered,
    free: Answered,
    contenders: Mapping[str, Contender],
    comparisons: Mapping[str, Paired],
    facts: Facts,
) -> Baseline:
    sure = ~np.isnan(answered.confidence)
    return Baseline(
        who=who,
        says=contenders[who].says if who in contenders else "",
        scores=_scores(facts, answered),
        free=_scores(facts, free),
        paired=comparisons.get(who),
        calibration=calibrate(answered.confidence[sure], answered.right[sure]),
    )


def _known(contenders: Mapping[str, Contender], answered: Mapping[str, Answered]) -> dict[str, Contender]:
    return {who: contenders.get(who, Contender(who=who)) for who in answered}


def _sorted_costs(prices: tuple[Cost, ...], order: tuple[str, ...]) -> tuple[Cost, ...]:
    return tuple(sorted(prices, key=lambda cost: order.index(cost.who)))


def _break_evens(prices: tuple[Cost, ...]) -> tuple[BreakEven, ...]:
    ours = next((cost for cost in prices if cost.who == SPECIALIST), None)
    if ours is None:
        return ()
    return tuple(break_even(ours, cost) for cost in prices if cost.who != SPECIALIST)


def _slices(facts: Facts, answered: Mapping[str, Answered]) -> tuple[SliceScore, ...]:
    return slice_scores(
        facts.slices,
        {who: answers.numbers for who, answers in answered.items()},
        {who: _main(answers, facts.main) for who, answers in answered.items()},
        facts.main,
    )


def _same_questions(predictions: pl.DataFrame, facts: Facts) -> set[str]:
    """Test examples whose nearest training examples ask word for word the same."""
    tests = predictions.filter((pl.col("part") == "test") & (pl.col("who") == SPECIALIST))
    ids = dict(tests.select("number", "id").iter_rows())
    near = predictions.filter(pl.col("part") == "neighbour").select("number", "id").iter_rows()
    return {
        ids[number]
        for number, key in near
        if number in ids
        and key in facts.texts
        and _plain(facts.texts, key) == _plain(facts.texts, ids[number])
    }


def _plain(texts: Mapping[str, str], key: str) -> tuple[str, ...] | None:
    return tuple(texts[key].casefold().split()) if key in texts else None


def _review(predictions: pl.DataFrame, facts: Facts, ours: Answered) -> Review | None:
    chosen = predictions.filter(
        (pl.col("part") == "choice")
        & (pl.col("who") == SPECIALIST)
        & (pl.col("mode") == "constrained")
        & pl.col("confidence").is_not_null()
        & pl.col("right").is_not_null()
    ).sort("number")
    sure = ~np.isnan(ours.confidence)
    return choose_review(
        chosen["confidence"].to_numpy(),
        chosen["right"].cast(pl.Float64).to_numpy(),
        ours.confidence[sure],
        ours.right[sure],
        facts.settings,
    )


def _verdict(
    predictions: pl.DataFrame,
    facts: Facts,
    answered: Mapping[str, Answered],
    baselines: tuple[Baseline, ...],
    prices: tuple[Cost, ...],
    leaked: int,
) -> Verdict:
    medians = {cost.who: cost.median for cost in prices}
    ours = medians.get(SPECIALIST)
    return judge(
        main=baselines[0].scores[0],
        comparisons=[baseline.paired for baseline in baselines if baseline.paired is not None],
        scores={baseline.who: baseline.scores[0].value for baseline in baselines},
        leaked=leaked,
        review=_review(predictions, facts, answered[SPECIALIST]),
        rightness=facts.main != "chrf",
        faster={who: ours / median for who, median in medians.items() if ours and median > 0},
        settings=facts.settings,
    )
