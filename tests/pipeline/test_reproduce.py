"""A version trained again: bit-equal where nothing changed, and what differs where something did."""

import json
import shutil

import pytest

from azubi.cli import main
from azubi.errors import DataError
from azubi.events import events as ev
from azubi.pipeline import reproduce, run
from azubi.registry.store import Store
from azubi.settings import Recipe
from tests import tiny


@pytest.fixture(scope="module")
def made(bases, tmp_path_factory):
    """claims@1, and follow@1 that went on from it."""
    folder = tmp_path_factory.mktemp("again")
    rows = [row | {"id": f"C-{number}"} for number, row in enumerate(tiny.labels(80))]
    settings = {
        "name": "claims",
        "data": tiny.write(folder / "notes.jsonl", rows),
        "base": str(bases.encoder),
        "id": "id",
        "tail_layers": 1,
        "epochs": 1,
        "dtype": "float32",
        "threads": 1,
        "split": {"test": 0.3},
    }
    for changes in ({}, {"name": "follow", "from": "claims@1"}):
        for _ in run.run(Recipe(**settings | changes), folder / "home"):
            pass
    return folder


@pytest.fixture
def copied(made, tmp_path):
    return shutil.copytree(made / "home", tmp_path / "copied")


def finished(events):
    while True:
        try:
            next(events)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("name", ["claims@1", "follow@1"])
def test_the_same_weights_come_out(name, copied):
    before = [entry.hash for entry in Store(copied).log.entries()]
    result = finished(reproduce.reproduce(name, copied))
    assert result.same_weights and result.differences == {}
    assert "bit for bit" in result.text
    assert [entry.hash for entry in Store(copied).log.entries()] == before, "no version is made of it"


def test_other_weights_are_compared_by_their_answers(copied, monkeypatch):
    real = run.run

    def otherwise(recipe, home, fresh):
        return real(recipe.model_copy(update={"tail_layers": 0}), home, fresh=fresh)

    monkeypatch.setattr(run, "run", otherwise)
    result = finished(reproduce.reproduce("claims", copied))
    assert not result.same_weights and 0 <= result.same_answers <= result.asked > 10
    assert "its weights differ" in result.text


def test_a_source_that_has_changed_is_refused(copied, made, capsys):
    path = made / "notes.jsonl"
    content = path.read_text()
    path.write_text(content + content.splitlines()[0].replace("C-0", "C-99") + "\n")
    try:
        with pytest.raises(DataError, match="its source gives"):
            finished(reproduce.reproduce("claims", copied))
    finally:
        path.write_text(content)


def test_erased_rows_are_unlearned_by_training_again(copied, capsys):
    card = Store(copied).get("claims")
    assert main(["data", "erase", "--id", "C-5", "--retrain", "--json", "--home", str(copied)]) == 0
    document = json.loads(capsys.readouterr().out)
    learners = {learner["name"] for learner in document["specialists"] if learner["split"] != "test"}
    if not learners:
        pytest.skip("the row stood in the test")
    store = Store(copied)
    assert document["retrained"] == {"claims@1": "claims@2", "follow@1": "follow@2"}
    assert store.get("follow@2").parent == "claims@2"
    assert store.get("claims@2").tail_sha256 != card.tail_sha256
    assert store.with_erased_rows() == {"claims@1", "follow@1"}
    assert main(["show", "claims@1", "--home", str(copied)]) == 0
    assert "learned from rows that were erased since" in capsys.readouterr().out
    assert main(["promote", "claims@1", "--home", str(copied)]) == 1
    assert "learned from rows that were erased" in capsys.readouterr().err


def test_events_of_all_runs_are_passed_on(copied):
    kinds = [event.kind for event in reproduce.reproduce("claims@1", copied)]
    assert kinds[0] == ev.RunStarted(name="", folder="", settings={}).kind and kinds[-1] == "run_ended"
