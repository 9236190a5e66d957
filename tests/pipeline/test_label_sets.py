"""Several labels per text: from a column of tags to answers, with a report, a proof, and going on."""

import csv
import json
from pathlib import Path

import pytest

from azubi.data.contract import parse_labels
from azubi.errors import SettingError
from azubi.evaluation.baselines import baseline_set
from azubi.events import events as ev
from azubi.pipeline import ask
from azubi.pipeline.prove import prove
from azubi.pipeline.run import run
from azubi.registry.store import Store
from tests import tiny
from tests.pipeline.runs import notices, only

TAGS = {"tags": {"column": "tags", "separator": ","}}


def tagged(count=96, seed=0):
    """Notes as a person sorts them: a line of business, and whether it is urgent; in any order."""
    for number, row in enumerate(tiny.labels(count, seed)):
        tags = [row["answer"], *(["Urgent"] if "fire" in row["prompt"] or "storm" in row["prompt"] else [])]
        yield row["prompt"], ", ".join(tags if number % 2 else reversed(tags))


@pytest.fixture
def tags(recipe, tmp_path):
    """A recipe for the column of tags, as the check proposes it."""
    path = tmp_path / "tags.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("note", "tags"), *tagged()])

    def make(base="encoder", **settings):
        given = {"data": path, "prompt": "note", "answer": TAGS, "task": "labels"} | settings
        made = recipe(base=base, tail_layers=1)
        return made.model_validate(made.model_dump() | given)

    return make


def test_tags_become_sets_of_labels_that_are_learned_proved_and_asked(tags, home, bases, monkeypatch):
    events = list(run(tags(epochs=8, learning_rate=1e-2), home))
    ready = only(events, ev.DataReady)
    assert ready.multi and ready.labels == ("Urgent", "home", "motor", "travel")
    assert any("Each answer is a set of labels, 4 in all" in notice for notice in notices(events))
    card = Store(home).get("tiny")
    assert len(card.thresholds) == 4 and all(0 < limit < 1 for limit in card.thresholds)
    ours, base = ({score.name: score.value for score in card.scores[who]} for who in ("specialist", "base"))
    assert list(ours) == ["exact_set", "micro_f1", "macro_f1"]
    assert ours["exact_set"] > base["exact_set"] and ours["micro_f1"] > 0.8
    answers = ask.answer(home, "tiny", [prompt for prompt, _ in tagged(40, seed=7)])
    for answer in answers:
        given = parse_labels(answer.text)
        assert given and json.loads(answer.text) == list(given)
        chances = dict(zip(card.contract.labels, answer.probabilities.tolist(), strict=True))
        limits = dict(zip(card.contract.labels, card.thresholds, strict=True))
        above = {label for label in chances if chances[label] >= limits[label]}
        assert set(given) == above or (not above and len(given) == 1)
    assert "All labels right" in (card.folder / "report.html").read_text()
    monkeypatch.setattr(baseline_set, "WRITER", str(bases.decoder))
    monkeypatch.setattr(baseline_set, "LABELS_SECONDS", 2.0)
    *_, proved = prove("tiny", home)
    report = json.loads((home / "proofs" / "tiny" / "1").glob("*/report.json").__next__().read_text())
    baselines = {each["who"]: each["scores"][0] for each in report["baselines"]}
    assert baselines["classical"]["name"] == "exact_set" and baselines["classical"]["value"] > 0.5
    assert {entry["label"] for entry in report["labels"]} == {"Urgent", "home", "motor", "travel"}
    assert report["matrix"] is None and not report["confusions"]
    assert "All labels right" in Path(proved.report).read_text()


def test_another_version_goes_on_from_sets_and_not_from_single_labels(tags, recipe, home):
    list(run(tags(), home))
    events = list(run(tags(**{"from": "tiny"}), home))
    assert only(events, ev.Packaged).version == 2
    with pytest.raises(SettingError, match="answers with sets of labels, but the new examples with labels"):
        list(run(recipe(**{"from": "tiny"}), home))


def test_a_decoder_writes_lists_under_a_grammar(tags, home):
    list(run(tags(base="decoder"), home))
    answers = ask.answer(home, "tiny", [prompt for prompt, _ in tagged(6, seed=7)])
    labels = set(Store(home).get("tiny").contract.labels)
    assert all(parse_labels(answer.text) and set(parse_labels(answer.text)) <= labels for answer in answers)


@pytest.mark.parametrize("setting", [{"label_weights": "balanced"}, {"privacy": {"epsilon": 8}}])
def test_what_is_not_made_for_sets_is_refused(setting, tags, home):
    with pytest.raises(SettingError, match="cannot be had where each answer is a set of labels"):
        list(run(tags(**setting), home))
