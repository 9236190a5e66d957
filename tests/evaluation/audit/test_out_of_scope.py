"""Questions in and out of scope get the score that asking gives them."""

import pytest

from azubi.data.example import Turn
from azubi.evaluation.audit.out_of_scope import as_questions, out_of_scope
from azubi.evaluation.audit.probe import probe_items
from azubi.pipeline import ask


def test_scores_are_those_of_asking(trained):
    scope = ask.scope_of(trained.card)
    inside = [one.turns for one in trained.split.test]
    others = {"probe": as_questions(probe_items()[:12]), "file": [(Turn("user", "The window was hit"),)]}
    heard = []
    answering = trained.specialist.answering(trained.longest)
    rows = list(
        out_of_scope(answering, scope, inside, others, tell=lambda done, total: heard.append((done, total)))
    )
    total = len(inside) + 13
    assert heard == [(done, total) for done in range(1, total + 1)]
    ordered = sorted(rows, key=lambda one: one.number)
    assert [one.number for one in ordered] == list(range(total))
    assert [one.kind for one in ordered] == ["test"] * len(inside) + ["probe"] * 12 + ["file"]
    assert [one.truth for one in ordered] == ["in"] * len(inside) + ["out"] * 13
    prompts = [one.prompt for one in trained.split.test]
    told = ask.answer(trained.home, "tiny", prompts)
    assert [one.score for one in ordered[: len(inside)]] == pytest.approx(
        [one.scope for one in told], rel=1e-3, abs=1e-3
    )
    assert all(one.right == ((one.score >= scope.limit) == (one.truth == "in")) for one in rows)
