"""A specialist that goes on from another: its weights, its contract, its papers; and what does not fit."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from azubi.cli.recipe_file import recipe_from
from azubi.engine.specialist import Specialist
from azubi.errors import CorruptFile, SettingError, UnknownSpecialist
from azubi.events import events as ev
from azubi.pipeline.run import run
from azubi.registry.store import Store
from azubi.settings import Recipe
from tests import tiny

MAKERS = {"labels": tiny.labels, "json": tiny.records, "text": tiny.texts}
PETS = [{"prompt": f"A dog was hit by hail, {number}", "answer": "pets"} for number in range(30)]


@pytest.fixture
def go(bases, tmp_path, home):
    """Run a small recipe on rows; gives its events."""

    def going(base, rows, **more):
        settings = {
            "name": "tiny",
            "data": tiny.write(tmp_path / "notes.jsonl", rows),
            "base": str(getattr(bases, str(base), base or "auto")),
            "epochs": 1,
            "learning_rate": 1e-3,
            "dtype": "float32",
            "threads": 1,
        }
        return list(run(Recipe.model_validate(settings | more), home))

    return going


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


def state(home, name):
    return load_file(Store(home).get(name).folder / "tail.safetensors")


@pytest.mark.parametrize(
    ("base", "task", "depth", "rank"),
    [
        ("encoder", "labels", 2, 0),
        ("encoder", "labels", 0, 0),
        ("decoder", "json", 2, 4),
        ("decoder", "text", 1, 0),
        ("decoder", "labels", 1, 0),
    ],
)
def test_it_begins_with_the_parents_weights_and_only_new_examples_go_through_the_trunk(
    base, task, depth, rank, go, home, monkeypatch
):
    rows = MAKERS[task]()
    first = go(base, rows, tail_layers=depth, rank=rank)
    began = []
    new = [row for row in MAKERS[task](24, seed=1) if row not in rows]
    # No step moves anything: what comes out is what it began with.
    more = {"from": "tiny@1", "learning_rate": 1e-30}
    start = Specialist.init_from_data
    monkeypatch.setattr(Specialist, "init_from_data", lambda *given: began.append(1) or start(*given))
    again = go(None, [*rows, *new], **more)
    assert began
    old, now = state(home, "tiny@1"), state(home, "tiny@2")
    assert old.keys() == now.keys() and all(torch.allclose(old[name], now[name]) for name in old)
    (done,) = of(ev.TrunkDone, again)
    (ready,) = of(ev.DataReady, again)
    (before,) = of(ev.TrunkDone, first)
    assert done.reused >= before.computed - 2 and 0 < done.computed <= len(new)
    assert done.computed + done.reused == ready.train + ready.validation
    card, parent = Store(home).get("tiny@2"), Store(home).get("tiny@1")
    assert (card.parent, card.parent_sha256) == ("tiny@1", parent.tail_sha256)
    assert (card.base, card.tail_layers, card.rank) == (parent.base, depth, rank)
    assert (card.instruction, card.contract) == (parent.instruction, parent.contract)
    assert card.recipe["from"] == "tiny@1" and "from_" not in card.recipe
    assert parent.tail_sha256 in (card.folder / "report.html").read_text()


@pytest.mark.parametrize("base", ["encoder", "decoder"])
def test_labels_may_come_new_and_may_be_missing(base, go, home):
    go(base, tiny.labels(), tail_layers=1)
    only_two = [row for row in tiny.labels(seed=3) if row["answer"] != "home"]
    go(None, [*only_two, *PETS], **{"from": "tiny", "learning_rate": 1e-30})
    card = Store(home).get("tiny@2")
    assert card.contract.labels == ("home", "motor", "pets", "travel")
    assert card.parent == "tiny@1"
    if base == "encoder":
        old, now = state(home, "tiny@1"), state(home, "tiny@2")
        rows = [card.contract.labels.index(label) for label in ("home", "motor", "travel")]
        assert torch.allclose(now["head.weight"][rows], old["head.weight"])
        assert torch.allclose(now["head.bias"][rows], old["head.bias"])
        fresh = now["head.weight"][2]
        assert float(fresh.norm()) == pytest.approx(16.0, rel=1e-3), "a new label begins at its mean"
    else:
        assert "pets" in card.instruction


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"tail_layers": 2}, "tail_layers is 2, but tiny@1, from which to go on, has 1"),
        ({"rank": 4}, "rank is 4, but tiny@1"),
        ({"task": "text"}, "tiny@1 answers with labels, but the new examples with free text"),
    ],
)
def test_what_does_not_fit(more, words, go):
    go("encoder", tiny.labels(), tail_layers=1)
    with pytest.raises(SettingError, match=words):
        go(None, tiny.labels(), **{"from": "tiny"}, **more)


def test_another_base_does_not_fit(go, tmp_path):
    go("encoder", tiny.labels(), tail_layers=1)
    other = tiny.encoder(tmp_path / "other", seed=9)
    with pytest.raises(SettingError, match="another base"):
        go(str(other), tiny.labels(), **{"from": "tiny"})


def test_no_such_parent_and_a_damaged_one(go, home):
    with pytest.raises(UnknownSpecialist, match="nobody"):
        go("encoder", tiny.labels(), **{"from": "nobody"})
    go("encoder", tiny.labels(), tail_layers=1)
    tail = Store(home).get("tiny").folder / "tail.safetensors"
    tail.write_bytes(tail.read_bytes()[:-1] + b"x")
    with pytest.raises(CorruptFile, match="not the file that was packaged"):
        go(None, tiny.labels(), **{"from": "tiny"})


def test_from_is_a_flag_and_a_line_of_a_recipe(tmp_path):
    assert recipe_from(Path("d.csv"), {"from_": "claims@1"}).from_ == "claims@1"
    file = tmp_path / "r.yaml"
    file.write_text("data: d.csv\nfrom: claims@1\n")
    assert recipe_from(file, {}).from_ == "claims@1"
    assert recipe_from(file, {"from_": "claims@2"}).from_ == "claims@2"
    file.write_text("data: d.csv\nfrom: 3\n")
    with pytest.raises(SettingError, match="`from` in"):
        recipe_from(file, {})
