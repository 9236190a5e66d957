"""New tails are trained as the specialist was: with its examples and seed it comes out the same."""

from dataclasses import replace

import pytest
import torch

from azubi.data.example import Example, Turn
from azubi.data.splits import splitting
from azubi.engine.model import weights
from azubi.evaluation import metrics, retraining
from azubi.evaluation.audit_results import memberships
from azubi.evaluation.leaks import membership
from azubi.evaluation.prediction import table
from azubi.evaluation.retraining import expected_seconds
from azubi.evaluation.retraining import learning_curve as curve_rows
from azubi.events.events import finish, translate


def test_the_specialist_is_made_again(trained, retrainer):
    steps = []
    both = finish(translate(retrainer.train(trained.split.train, 0), steps.append))
    own, again = weights.trained(trained.specialist.tail), weights.trained(both.tail)
    assert own.keys() == again.keys()
    assert all(torch.equal(own[name], again[name]) for name in own)
    assert [step.done for step in steps] == list(range(1, steps[-1].total + 1))
    # Not just another seed: where a regression is kept, that changes nothing.
    other = finish(retrainer.train(trained.split.train[1:], 1))
    assert any(not torch.equal(own[name], weight) for name, weight in weights.trained(other.tail).items())


def test_the_curve_has_nested_samples_and_all_answers(trained, retrainer):
    steps = []
    work = curve_rows(
        retrainer,
        trained.card.contract,
        trained.split.train,
        trained.split.test,
        trained.longest,
        shares=(0.25, 1.0),
        seeds=(0, 5),
    )
    curves, answers = finish(translate(work, steps.append))
    whole = len(trained.split.train)
    assert [(curve.variant, curve.examples, curve.seed) for curve in curves] == [
        ("25 %, seed 0", round(whole / 4), 0),
        ("100 %, seed 0", whole, 0),
        ("25 %, seed 5", round(whole / 4), 5),
        ("100 %, seed 5", whole, 5),
    ]
    assert all(curve.seconds > 0 for curve in curves)
    assert steps == sorted(steps) and steps[-1][:2] == (1000, 1000)
    assert len(answers) == 4 * len(trained.split.test)
    full = [answer for answer in answers if answer.variant == "100 %, seed 0"]
    texts = [example.answer for example in full]
    scores = next(
        iter(metrics.per_example(trained.card.contract, texts, [row.truth for row in full]).values())
    )
    assert [row.score for row in full] == scores.tolist()
    # With all examples and its own seed it is the specialist itself.
    assert scores.mean() == pytest.approx(trained.card.scores["specialist"][0].value)


def test_smaller_samples_are_part_of_larger_ones(trained):
    small, large = (
        splitting.sample(trained.split.train, round(share * len(trained.split.train)), 2)
        for share in (0.25, 0.5)
    )
    assert set(row.id for row in small) < set(row.id for row in large)


def test_what_takes_longer_is_said_to():
    stages = {"tail": 100.0, "evaluate": 20.0}
    assert expected_seconds(stages, 0.5, 3) == 150.0
    assert retraining.learning_curve_seconds(stages, (0.5, 1.0), (0, 1)) == 2 * (50 + 10) + 2 * (100 + 10)


def test_members_and_others_are_as_many_and_each_has_its_loss(trained, tails):
    split = trained.split
    rows = finish(membership(trained.specialist, tails, split.train, split.test, most=8))
    assert [row.who for row in rows] == ["base"] * 16 + ["specialist"] * 16
    assert [row.truth for row in rows[:16]] == ["member"] * 8 + ["other"] * 8
    assert [row.id for row in rows[:16]] == [row.id for row in rows[16:]]
    ids = {example.id for example in split.train}
    assert all((row.id in ids) == (row.truth == "member") for row in rows)
    (scored,) = memberships(table(rows))
    assert scored.calibrated


def test_a_tail_that_learned_by_heart_is_found_out(trained, retrainer):
    """Answers that follow from nothing can only be learned by heart; those held out stay unknown."""
    if trained.base_kind != "encoder":
        pytest.skip("a random decoder this small learns nothing by heart")
    dice = torch.Generator().manual_seed(0)
    known = sorted({example.answer for example in trained.split.train})

    def invented(count, mark):
        places = torch.randint(len(known), (count,), generator=dice).tolist()
        return [Example((Turn("user", f"{mark} {n}"),), known[at]) for n, at in enumerate(places)]

    members, others = invented(24, "The roof"), invented(24, "The hotel")
    recipe = retrainer.recipe.model_copy(update={"epochs": 40})
    both = finish(replace(retrainer, recipe=recipe, validation=members).train(members, 0))
    tails = {"base": both.base_tail(), "specialist": both.tail}
    (scored,) = memberships(table(finish(membership(both, tails, members, others))))
    assert scored.detection.auroc.value > 0.8


def test_an_answer_that_a_head_does_not_know_is_left_out(trained, tails):
    others = [*trained.split.test[:3], Example((Turn("user", "x"),), "never seen")]
    rows = finish(membership(trained.specialist, tails, trained.split.train, others))
    left = sum(row.truth == "other" for row in rows) / 2
    assert left == (3 if trained.base_kind == "encoder" else 4)
