"""Questions in and out of scope get the score that asking gives them."""

import pytest

from azubi.data.example import Turn
from azubi.engine.inference.answering import in_order
from azubi.evaluation.probe import out_of_scope, probe_items, scope_row
from azubi.events.events import finish, translate
from azubi.pipeline import ask


def test_scores_are_those_of_asking(trained):
    scope = ask.scope_of(trained.card)
    questions = [example.turns for example in trained.split.test]
    others = {
        "probe": [item.turns for item in probe_items()[:12]],
        "file": [(Turn("user", "The window was hit"),)],
    }
    steps, answering = [], trained.specialist.answering(trained.longest)
    inside = [
        scope_row(scope, answer, number, kind="test", in_scope=True)
        for number, answer in enumerate(in_order(answering, questions))
    ]
    outside = finish(
        translate(
            out_of_scope(answering, scope, others, first=len(inside)), lambda step: steps.append(step[:2])
        )
    )
    assert steps == [(done, 13) for done in range(1, 14)]
    ordered = sorted([*inside, *outside], key=lambda row: row.number)
    assert [row.number for row in ordered] == list(range(len(inside) + 13))
    assert [row.kind for row in ordered] == ["test"] * len(inside) + ["probe"] * 12 + ["file"]
    assert [row.truth for row in ordered] == ["in"] * len(inside) + ["out"] * 13
    prompts = [example.prompt for example in trained.split.test]
    answers = ask.answer(trained.home, "tiny", prompts)
    assert [row.score for row in ordered[: len(inside)]] == pytest.approx(
        [answer.scope for answer in answers], rel=1e-3, abs=1e-3
    )
    assert all(row.right == ((row.score >= scope.limit) == (row.truth == "in")) for row in ordered)
