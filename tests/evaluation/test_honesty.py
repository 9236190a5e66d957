"""Cases whose truth is known: what must not be said of luck, and what must be said of a real difference."""

import numpy as np
import pytest
from scipy.stats import binomtest

from azubi.evaluation.prediction import Facts, Prediction, table
from azubi.evaluation.proof import Proof, prove_from
from azubi.evaluation.statistics import compare, corrected
from azubi.settings import ProofSettings
from tests.evaluation.proof_sample import sample

COMPARISONS = 200


def proof(levels: dict[str, float], n: int = 400, seed: int = 0, **settings: float) -> Proof:
    rows, facts = sample(n, seed, levels, parts=False, settings=ProofSettings(**settings))  # type: ignore[arg-type]
    return prove_from(table(rows), facts)


def most_by_chance(share: float) -> int:
    """So many of 200 are within binomial error of the share (99.9 %)."""
    return next(k for k in range(COMPARISONS) if binomtest(k, COMPARISONS, share, "greater").pvalue < 0.001)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer resamples, where McNemar's test decides and not the bootstrap."""
    monkeypatch.setattr("azubi.evaluation.statistics.PAIRED_RESAMPLES", 499)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("n", [40, 200])
def test_two_equal_models_are_rarely_called_better(n: int) -> None:
    rng = np.random.default_rng(n)
    said = []
    for _ in range(COMPARISONS):
        hard = rng.random(n)
        ours, theirs = ((hard * 0.5 + rng.random(n) * 0.5 < 0.7).astype(float) for _ in range(2))
        said.append(compare("prompted", "accuracy", ours, theirs, ours, theirs).says)
    assert said.count("better") <= 0.05 * COMPARISONS
    assert said.count("better") + said.count("worse") <= most_by_chance(0.05)


def test_two_equal_scores_are_rarely_called_better() -> None:
    rng = np.random.default_rng(3)
    said = []
    for _ in range(COMPARISONS):
        hard = rng.beta(4, 2, 100)
        ours, theirs = (np.clip(hard + rng.normal(0, 0.15, 100), 0, 1) for _ in range(2))
        none = np.zeros(100)
        said.append(compare("prompted", "chrf", ours, theirs, none, none).says)
    assert said.count("better") <= 0.05 * COMPARISONS
    assert said.count("better") + said.count("worse") <= most_by_chance(0.05)


@pytest.mark.usefixtures("quick")
def test_many_baselines_do_not_make_a_false_alarm_likelier() -> None:
    rng = np.random.default_rng(4)
    alarms = 0
    for _ in range(COMPARISONS):
        ours = (rng.random(150) < 0.6).astype(float)
        baselines = [(rng.random(150) < 0.6).astype(float) for _ in range(6)]
        result = corrected(
            [
                compare(f"r{i}", "accuracy", ours, baseline, ours, baseline)
                for i, baseline in enumerate(baselines)
            ]
        )
        alarms += any(paired.says != "cannot tell" for paired in result)
    assert alarms <= most_by_chance(0.05)


@pytest.mark.usefixtures("quick")
def test_equal_models_never_end_in_deploy() -> None:
    kinds = [
        proof({"specialist": 0.95, "base": 0.1, "prompted": 0.95}, n=150, seed=seed).verdict.kind
        for seed in range(20)
    ]
    assert kinds.count("deploy") + kinds.count("review") <= 1


def test_a_better_specialist_is_deployed() -> None:
    result = proof({"specialist": 0.97, "base": 0.1, "prompted": 0.6, "classical": 0.8})
    assert result.verdict.kind == "deploy" and result.verdict.passes


def test_a_baseline_that_is_better_is_named() -> None:
    result = proof({"specialist": 0.7, "base": 0.1, "prompted": 0.85, "lora": 0.7})
    assert (result.verdict.kind, result.verdict.baseline) == ("worse", "prompted")
    assert not result.verdict.passes
    assert proof({"specialist": 0.7, "base": 0.1, "lora": 0.9}).verdict.baseline == "lora"


@pytest.mark.parametrize(
    ("baseline", "kind"),
    [("base", "base"), ("prompted", "prompt"), ("retrieval", "retrieval"), ("classical", "simpler")],
)
def test_a_baseline_that_does_as_well_is_named(baseline: str, kind: str) -> None:
    levels = {"specialist": 0.95, "base": 0.1} | {baseline: 0.96}
    result = proof(levels, n=4_000)
    assert (result.verdict.kind, result.verdict.baseline) == (kind, baseline)


def test_a_faster_classifier_is_called_faster() -> None:
    verdict = proof({"specialist": 0.95, "classical": 0.96}, n=4_000).verdict
    assert verdict.times is not None and 50 < verdict.times < 100


def test_a_small_test_is_called_too_small_and_what_it_takes_is_enough() -> None:
    levels = {"specialist": 0.8, "base": 0.05, "prompted": 0.68}
    verdict = proof(levels, n=31, seed=4, min_accuracy=0.5).verdict
    assert verdict.kind == "few" and verdict.n == 31
    assert verdict.needed is not None and 31 < verdict.needed < 2_000


@pytest.mark.usefixtures("quick")
def test_shuffled_labels_are_not_deployed() -> None:
    """Training on shuffled labels teaches nothing: all are as good as guessing among six."""
    guessing = {"specialist": 1 / 6, "base": 1 / 6, "prompted": 1 / 6, "classical": 1 / 6}
    for seed in range(5):
        verdict = proof(guessing, n=200, seed=seed).verdict
        assert not verdict.passes
        assert verdict.kind in ("poor", "base", "prompt", "simpler", "worse")


def test_answers_that_are_shuffled_are_not_deployed() -> None:
    rows, facts = sample(300, 1, parts=False)
    rng = np.random.default_rng(1)
    ours = [row for row in rows if row.who == "specialist" and row.part == "test"]
    order = rng.permutation(len(ours))
    shuffled = [
        _judged(row, ours[place].answer, ours[place].confidence)
        for row, place in zip(ours, order, strict=True)
    ]
    others = [row for row in rows if row not in ours]
    assert not prove_from(table([*others, *shuffled]), facts).verdict.passes


def test_leaked_test_data_is_found_and_refused() -> None:
    rows, facts = sample(200, 2, {"specialist": 0.97, "base": 0.1}, parts=False)
    clean = prove_from(table(rows), facts)
    assert clean.verdict.passes and clean.leaked == ()
    named = prove_from(table(rows), facts.model_copy(update={"leaked": ("test-3",)}))
    assert named.verdict.kind == "leaked" and not named.verdict.passes
    near = Prediction(part="neighbour", who="specialist", number=7, id="train-1", answer="Glass", score=0.99)
    texts = {**facts.texts, "train-1": f"  {facts.texts['test-7'].upper()} "}
    result = prove_from(table([*rows, near]), facts.model_copy(update={"texts": texts}))
    assert result.leaked == ("test-7",) and result.verdict.kind == "leaked"


def test_review_is_offered_where_confidence_tells_right_from_wrong() -> None:
    rows, facts = _with_telling_confidence()
    result = prove_from(table(rows), facts)
    assert result.verdict.kind == "review" and result.verdict.passes
    review = result.verdict.review
    assert review is not None and review.wrong is not None
    assert review.wrong.value <= facts.settings.review_error
    assert review.reviewed.value == pytest.approx(0.3, abs=0.1)


def test_a_confidence_that_tells_nothing_is_no_ground_for_review() -> None:
    rows, facts = _with_telling_confidence()
    blind = [_judged(row, row.answer, 0.9) if row.who == "specialist" else row for row in rows]
    assert prove_from(table(blind), facts).verdict.kind == "poor"


def test_nothing_to_compare_with_proves_nothing() -> None:
    assert proof({"specialist": 0.97}).verdict.kind == "unproven"


def _with_telling_confidence() -> tuple[list[Prediction], Facts]:
    """Right in all of 70 % and sure of them; wrong in half of the others, and unsure."""
    rows, facts = sample(400, 5, {"specialist": 0.5, "base": 0.02}, parts=False, choice=400)
    rng = np.random.default_rng(5)
    result = []
    for row in rows:
        if row.who == "specialist":
            sure = rng.random() < 0.7
            answer = row.truth if sure or rng.random() < 0.4 else "none"
            row = _judged(row, answer, rng.uniform(0.8, 1.0) if sure else rng.uniform(0.2, 0.7))
        result.append(row)
    return result, facts


def _judged(row: Prediction, answer: str, confidence: float | None) -> Prediction:
    from dataclasses import replace

    right = answer == row.truth
    return replace(row, answer=answer, right=right, score=float(right), confidence=confidence)
