"""The parts of a proof against known truths."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import brier_score_loss, confusion_matrix, roc_auc_score

from azubi.data.contract import Contract
from azubi.evaluation.audit_results import (
    EXPONENTS,
    curve,
    exposures,
    extractions,
    fit,
    forgetting,
    learning,
    memberships,
)
from azubi.evaluation.calibration import calibrate, detect, false_alarms, scopes, true_positives
from azubi.evaluation.mistakes import confusion_matrix as matrix_of
from azubi.evaluation.mistakes import label_scores, slice_scores
from azubi.evaluation.prediction import Contender, Curve, Prediction, table
from azubi.evaluation.verdict import Cost, break_even, costs
from azubi.settings import ProofSettings


def test_calibration_of_a_confidence_that_is_true_and_one_that_boasts() -> None:
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, 4_000)
    right = (rng.random(4_000) < sure).astype(float)
    true, boasting = calibrate(sure, right), calibrate(np.full(4_000, 0.99), right)
    assert true is not None and boasting is not None
    assert true.ece.value < 0.03 and len(true.bins) == 10
    assert {bin.right.n for bin in true.bins} == {400}
    assert boasting.ece.value == pytest.approx(0.99 - right.mean(), abs=0.02)
    assert true.brier.value == pytest.approx(brier_score_loss(right, sure))
    assert true.ece.low <= true.ece.value <= true.ece.high
    assert calibrate(np.zeros(0), np.zeros(0)) is None


def test_auroc_is_scikit_learns_and_its_interval_covers() -> None:
    rng = np.random.default_rng(1)
    truth = np.array([1] * 60 + [0] * 80)
    covered = 0
    for _ in range(300):
        scores = np.round(np.where(truth, 1.0, 0.0) + rng.normal(0, 1, 140), 1)
        result = detect(scores[truth == 1], scores[truth == 0]).auroc
        assert result.value == pytest.approx(roc_auc_score(truth, scores))
        covered += result.low <= 0.7602 <= result.high
    assert covered >= 275


def test_two_that_are_parted_wholly_are_not_taken_for_certain() -> None:
    result = detect(np.array([2.0, 3.0, 4.0]), np.array([0.0, 1.0])).auroc
    assert result.value == result.high == 1.0 and result.low < 0.5


def test_rates_at_a_limit() -> None:
    inside, outside = np.arange(100) / 100 + 0.5, np.array([0.2] * 9 + [0.55])
    result = false_alarms(inside, outside)
    assert result.limit == 0.55 and result.share.value == 0.1
    assert float((inside >= result.limit).mean()) >= 0.95
    none = true_positives(np.array([1.0, 2.0, 3.0]), np.array([2.5] * 50))
    assert none.share.value == pytest.approx(1 / 3)
    one_allowed = true_positives(np.array([1.0, 2.0, 3.0]), np.array([9.0] + [1.5] * 99))
    assert one_allowed.share.value == pytest.approx(2 / 3)


def test_scope_by_source_and_at_the_specialists_own_limit() -> None:
    rows = (
        [("in", "", 0.9)] * 9 + [("in", "", 0.3)] + [("out", "probe", 0.1)] * 5 + [("out", "file", 0.8)] * 5
    )
    result = scopes(
        table(
            Prediction(part="scope", who="specialist", number=i, truth=t, kind=k, score=s)
            for i, (t, k, s) in enumerate(rows)
        ),
        0.5,
    )
    assert [source.kind for source in result] == ["", "file", "probe"]
    assert result[0].kept is not None and result[0].kept.value == 0.9
    assert result[0].let_in is not None and result[0].let_in.value == 0.5
    assert result[2].detection.auroc.value == 1.0 and result[1].detection.auroc.value == pytest.approx(0.9)


def cost(who: str, fixed: float, each: float) -> Cost:
    return Cost(
        who=who, upfront=0, questions=1, alone=True, mean=0, median=0, p95=0,
        tokens_in=None, tokens_out=None, memory=0, fixed=fixed, each=each,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("theirs", "pays", "questions"),
    [
        ((0.0, 0.3), "after", 50),
        ((10.0, 0.2), "from the first", None),
        ((20.0, 0.05), "until", 200),
        ((0.0, 0.1), "never", None),
        ((0.0, 0.05), "never", None),
        ((10.0, 0.1), "from the first", None),
    ],
)
def test_break_even(theirs: tuple[float, float], pays: str, questions: int | None) -> None:
    result = break_even(cost("specialist", 10.0, 0.1), cost("base", *theirs))
    assert (result.pays, result.questions) == (pays, questions)


def test_what_a_question_costs() -> None:
    rows = [
        Prediction(part=part, who=who, number=i, seconds=s, tokens_in=10)  # type: ignore[arg-type]
        for part, who, times in (
            ("latency", "specialist", (1.0, 2.0, 6.0)),
            ("test", "specialist", (0.1, 0.1, 0.1)),
            ("test", "base", (0.5, 0.5)),
            ("latency", "generalist", (9.0,)),
        )
        for i, s in enumerate(times)
    ]
    contenders = {
        "specialist": Contender(who="specialist", upfront=3600),
        "base": Contender(who="base"),
        "generalist": Contender(who="generalist", price_per_question=0.01),
        "silent": Contender(who="silent"),
    }
    ours, base, larger = costs(table(rows), contenders, ProofSettings(price_per_hour=0.36))
    assert (ours.mean, ours.median, ours.alone, ours.fixed) == (3.0, 2.0, True, pytest.approx(0.36))
    assert ours.each == pytest.approx(3e-4) and ours.tokens_in == 10 and ours.tokens_out is None
    assert not base.alone and larger.each == 0.01
    free = {"specialist": contenders["specialist"], "base": contenders["base"]}
    assert costs(table(rows), free, ProofSettings(price_per_hour=0))[0].fixed == 3600


def test_labels_and_the_matrix() -> None:
    truths, answers = ["a", "a", "b", "b", "c"], ["a", "b", "b", "x", "a"]
    result = {
        label_score.label: label_score
        for label_score in label_scores(Contract(task="labels"), answers, truths)
    }
    assert (result["a"].recall.value, result["a"].given, result["a"].precision) != (0, 0, None)
    assert result["a"].precision is not None and result["a"].precision.value == 0.5
    assert result["c"].recall.value == 0 and result["c"].precision is None
    matrix = matrix_of(answers, truths)
    assert matrix.labels == ("a", "b", "c", "")
    expected = confusion_matrix(truths, ["a", "b", "b", "none", "a"], labels=["a", "b", "c", "none"])
    assert [list(row) for row in matrix.counts] == expected.tolist()


def test_a_large_matrix_keeps_all_counts() -> None:
    rng = np.random.default_rng(0)
    names = [f"label {i}" for i in range(50)]
    truths = [names[i] for i in rng.integers(0, 50, 600)]
    answers = [t if rng.random() < 0.7 else names[int(rng.integers(0, 50))] for t in truths]
    matrix = matrix_of(answers, truths)
    assert len(matrix.labels) == 21 and matrix.labels[-1] == ""
    assert sum(map(sum, matrix.counts)) == 600


def test_slices() -> None:
    result = slice_scores(
        {"line": ("x", "x", "y")}, {"s": [0, 1, 2]}, {"s": np.array([1.0, 0.0, 1.0])}, "accuracy"
    )
    assert [(part.value, part.n, part.scores["s"].value) for part in result] == [("x", 2, 0.5), ("y", 1, 1.0)]


def test_forgetting_is_found_kind_by_kind() -> None:
    rows = [
        Prediction(part="probe", who=who, number=i, kind=kind, right=right, loss=1.0 + (not right))
        for i, kind in enumerate(["facts", "format"] * 40)
        for who, right in (("base", True), ("specialist", kind == "facts" or i % 4 == 3))
    ]
    result = {row.kind: row for row in forgetting(table(rows))}
    assert result["format"].says == "worse" and result["format"].lost == 20
    assert result["facts"].says == "cannot tell" and result["facts"].rise_low is None
    assert result[""].after.value == 0.75 and result[""].loss_after == pytest.approx(1.25)
    assert forgetting(table(row for row in rows if row.who == "base")) == ()


def test_exposure_membership_and_extraction() -> None:
    canaries = [
        Prediction(part="canary", who="specialist", number=i, repeats=r, score=s, rank=k, candidates=1024)
        for i, (r, s, k) in enumerate([(1, 1.0, 512), (1, 3.0, 128), (16, 10.0, 1)])
    ]
    once, often = exposures(table(canaries))
    assert (once.repeats, once.mean, once.first, often.most, often.first) == (1, 2.0, 0, 10.0, 1)
    rng = np.random.default_rng(0)
    rows = []
    for i in range(400):
        hard, member = rng.uniform(1, 9), i % 2 == 0
        truth = "member" if member else "other"
        rows += [
            Prediction(part="membership", who="base", number=i, truth=truth, loss=hard),
            Prediction(part="membership", who="specialist", number=i, truth=truth, loss=hard - member),
        ]
    (result,) = memberships(table(rows))
    assert (
        result.calibrated and result.detection.auroc.value > 0.99 and result.true_positives.share.value == 1
    )
    (plain,) = memberships(table(row for row in rows if row.who != "base"))
    assert not plain.calibrated and plain.detection.auroc.value < 0.7
    pieces = [
        Prediction(part="extraction", who="specialist", number=i, kind=k, right=r)
        for i, (k, r) in enumerate([("iban", True), ("iban", False), ("name", False)])
    ]
    assert [(extraction.kind, extraction.share.value) for extraction in extractions(table(pieces))] == [
        ("", pytest.approx(1 / 3)),
        ("iban", 0.5),
        ("name", 0.0),
    ]


def trainings(means: dict[int, float], n: int = 400, noise: float = 0.01) -> tuple[pl.DataFrame, list[Curve]]:
    rng = np.random.default_rng(5)
    hard = rng.random(n)
    rows, curves = [], []
    for examples, mean in means.items():
        for seed in (1, 2, 3):
            variant = f"{examples}, seed {seed}"
            curves.append(Curve(variant=variant, examples=examples, seed=seed, seconds=1))
            level = mean + rng.normal(0, noise)
            rows += [
                Prediction(
                    part="learning-curve",
                    who="specialist",
                    number=i,
                    variant=variant,
                    score=float(hard[i] < level),
                )
                for i in range(n)
            ]
    return table(rows), curves


def test_a_known_law_is_found_again() -> None:
    n = np.array([100.0, 200.0, 400.0, 800.0])
    for exponent in (EXPONENTS[20], EXPONENTS[40]):
        law = (np.array([0.95]), np.array([2.0]), np.array([exponent]))
        a, b, c = fit(n, curve(*law, n))
        assert (a[0], b[0], c[0]) == pytest.approx((0.95, 2.0, exponent), abs=1e-6)
    flat = fit(n, np.array([[0.9, 0.8, 0.7, 0.6]]))
    assert flat[1][0] == 0
    steep = fit(n, np.array([[0.2, 0.4, 0.7, 0.99]]))
    assert steep[0][0] <= 1


def test_the_forecast_holds_what_twice_the_examples_bring() -> None:
    def law(n: int) -> float:
        return float(0.95 - 2.5 * n**-0.5)

    result = learning(*trainings({n: law(n) for n in (100, 200, 400, 800)}))
    assert (
        result is not None
        and result.forecast is not None
        and result.low is not None
        and result.high is not None
    )
    assert result.reason == "" and result.examples == 1600
    assert result.low <= law(1600) <= result.high and result.high - result.low < 0.2
    assert result.gain is not None and result.gain >= 0


@pytest.mark.parametrize(
    ("means", "reason"),
    [
        ({100: 0.5, 200: 0.7}, "too few sizes"),
        ({100: 0.7, 200: 0.71, 400: 0.7, 800: 0.7}, "no rise"),
        ({100: 0.3, 200: 0.8, 400: 0.4, 800: 0.85}, "no fit"),
    ],
)
def test_what_cannot_be_told_is_not_told(means: dict[int, float], reason: str) -> None:
    result = learning(*trainings(means))
    assert result is not None and result.reason == reason and result.forecast is None
    assert learning(table([]), []) is None
