"""A run with privacy: what it says, what it leaves out, and what it refuses."""

import math

import pytest

from azubi.errors import SettingError
from azubi.events import events as ev
from azubi.pipeline import ask, run
from azubi.registry.store import Store
from azubi.settings import Recipe
from tests import tiny


def settings(bases, folder, kind="encoder", **more):
    rows = tiny.labels() if kind == "encoder" else tiny.texts()
    settings = {
        "name": "tiny",
        "data": tiny.write(folder / "notes.jsonl", rows),
        "base": str(getattr(bases, kind)),
        "tail_layers": 0 if kind == "encoder" else 1,
        "rank": 0 if kind == "encoder" else 2,
        "epochs": 2,
        "dtype": "float32",
        "privacy": {"epsilon": 6},
    }
    return Recipe(**settings | more)


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_a_run_says_what_it_gave_away(bases, tmp_path, kind):
    events = list(run.run(settings(bases, tmp_path, kind), tmp_path / "home"))
    (ended,) = (event for event in events if isinstance(event, ev.TrainingEnded))
    assert math.isfinite(ended.epsilon) and 0 < ended.epsilon <= 6
    card = Store(tmp_path / "home").get("tiny")
    assert (card.epsilon, card.delta) == (ended.epsilon, ended.delta)
    assert card.delta == pytest.approx(0.1 / card.counts["train"])
    notices = [event.text for event in events if isinstance(event, ev.Notice)]
    assert any("out of scope is not learned" in notice for notice in notices)
    assert card.scope_sha256 == "" and ask.scope_of(card) is None
    (answer,) = ask.answer(tmp_path / "home", "tiny", ["The van was hit by hail, 12"])
    assert answer.in_scope is None


def test_the_head_starts_from_names_alone(bases, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "azubi.engine.model.label_tail.LabelTail.start_from_means",
        lambda *given: pytest.fail("means of examples"),
    )
    for _ in run.run(settings(bases, tmp_path), tmp_path / "home"):
        pass


def test_a_run_that_was_stopped_goes_on(bases, tmp_path):
    given = settings(bases, tmp_path, epochs=4)
    running = run.run(given, tmp_path / "home")
    for event in running:
        if isinstance(event, ev.EpochDone):
            break
    running.close()
    events = list(run.run(given, tmp_path / "home"))
    assert any(isinstance(event, ev.TrainingResumed) for event in events)
    (ended,) = (event for event in events if isinstance(event, ev.TrainingEnded))
    assert 0 < ended.epsilon <= 6


@pytest.mark.parametrize(
    "more",
    [
        {"budget": "1m", "tail_layers": "auto"},
        {"label_weights": "balanced"},
        {"from_": "other"},
        {"weight": "prompt"},
        {"accept_rules": True},
    ],
    ids=lambda more: next(iter(more)),
)
def test_what_could_not_be_counted_is_refused(bases, tmp_path, more):
    with pytest.raises(SettingError, match="privacy"):
        list(run.run(settings(bases, tmp_path, **more), tmp_path / "home"))


def test_without_opacus_it_is_refused_before_anything_runs(bases, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "opacus", None)
    events = []
    with pytest.raises(SettingError, match="opacus"):
        events += run.run(settings(bases, tmp_path), tmp_path / "home")
    assert not (tmp_path / "home" / "cache").exists()
