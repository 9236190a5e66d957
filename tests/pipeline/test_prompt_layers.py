"""`prompt_layers` from recipe to answer: trained, resumed, asked, gone on from, erased; what is refused."""

from contextlib import closing

import pytest
import torch
from safetensors.torch import load_file

from azubi.cli import main
from azubi.engine import specialist, split_model
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.errors import SettingError
from azubi.events import events as ev
from azubi.pipeline import ask, erase, run
from azubi.pipeline.stages import packaging
from azubi.registry import card as cards
from azubi.registry import lineage
from azubi.registry.store import Store
from tests import tiny
from tests.pipeline.runs import folder_of, only

CUTS = [(3, 0), (3, 1)]
"""`tail_layers` and `prompt_layers`."""


@pytest.fixture
def trained(recipe, home):
    """Train a specialist that says different things to different prompts; gives its events."""

    def train(depth, prompt_layers, **settings):
        given = {"tail_layers": depth, "prompt_layers": prompt_layers, "split": {"test": 0.3}}
        rows = tiny.texts()
        for number, row in enumerate(rows):
            row["key"] = f"row {number}"
        return list(run.run(recipe("text", "decoder", rows, id="key", **given | settings), home))

    return train


@pytest.mark.parametrize(("depth", "prompt_layers"), CUTS)
def test_it_answers_as_it_was_measured(depth, prompt_layers, trained, home, monkeypatch, capsys):
    reports, render = [], packaging.render
    monkeypatch.setattr(
        packaging, "render", lambda report, lang: reports.append(report) or render(report, lang)
    )
    events = trained(depth, prompt_layers, epochs=12, patience=99, learning_rate=1e-2)
    ready = only(events, ev.BaseReady)
    assert (ready.tail_layers, ready.prompt_layers) == (depth, prompt_layers)
    card = Store(home).get("tiny")
    assert (card.tail_layers, card.prompt_layers) == (depth, prompt_layers)
    assert card.recipe["prompt_layers"] == prompt_layers
    loaded = ask.loaded(card, home)
    assert (loaded.tail_layers, loaded.prompt_layers) == (depth, prompt_layers)
    report = (card.folder / cards.REPORT).read_text()
    where = "the base reads the prompt" if prompt_layers == 0 else "in the last layer they act on the prompt"
    assert where in report
    compared = reports[0].comparisons
    answers = ask.answer(home, "tiny", [each.prompt for each in compared])
    assert [answer.text for answer in answers] == [each.specialist for each in compared]
    assert len({answer.text for answer in answers}) > 1
    assert main(["show", "tiny", "--home", str(home)]) == 0
    shown = capsys.readouterr().out
    assert ("(the base reads the prompt)" if prompt_layers == 0 else "1 of them act") in " ".join(
        shown.split()
    )


@pytest.mark.parametrize(("depth", "prompt_layers"), CUTS)
def test_a_run_that_was_stopped_ends_with_the_same_weights(depth, prompt_layers, recipe, home, tmp_path):
    rows = tiny.texts()
    given = recipe("text", "decoder", rows, tail_layers=depth, prompt_layers=prompt_layers, epochs=3)
    whole = folder_of(list(run.run(given, tmp_path / "whole")))
    stopped = run.run(given, home)
    for event in stopped:
        if isinstance(event, ev.EpochDone):
            break
    stopped.close()
    again = list(run.run(given, home))
    assert any(isinstance(event, ev.TrainingResumed) for event in again)
    assert only(again, ev.TrunkDone).computed == 0
    weights, other = (load_file(folder / cards.TAIL) for folder in (whole, folder_of(again)))
    assert all(torch.equal(weights[name], other[name]) for name in weights)


@pytest.mark.parametrize(("depth", "prompt_layers"), CUTS)
def test_all_that_was_kept_of_an_erased_row_goes(depth, prompt_layers, trained, home):
    trained(depth, prompt_layers)
    card = Store(home).get("tiny")
    loaded = ask.loaded(card, home)
    split = lineage.of(card, home)
    encoded = {each.key: loaded.encode(each) for each in (*split.train, *split.validation)}
    name, gone = next(iter(encoded.items()))
    with closing(ActivationCache(home, card.data_version)) as cache:
        assert loaded.activations.missing(cache, list(encoded.values())) == []
        names = loaded.activations.names(loaded.activations.origins(cache), gone.tokens)
    report = erase.erase(home, [name])
    # Keys of each lower layer, mean, answer, and the prompt's states.
    parts = depth - prompt_layers + 2 + (prompt_layers > 0)
    assert report.activations == len(names) == parts
    with closing(ActivationCache(home, card.data_version)) as cache:
        assert len(list(cache.missing(names.values()))) == len(names)
        others = [each for key, each in encoded.items() if key != name]
        assert loaded.activations.missing(cache, others) == []


def test_going_on_takes_the_parents_and_tells_of_another(trained, home):
    trained(3, 1)
    again = trained("auto", "auto", **{"from": "tiny@1"}, rank="auto")
    assert only(again, ev.BaseReady).prompt_layers == 1 and only(again, ev.TrunkDone).computed == 0
    other = trained("auto", "all", **{"from": "tiny@1"}, rank="auto")
    assert only(other, ev.BaseReady).prompt_layers == 3
    texts = [event.text for event in other if isinstance(event, ev.Notice)]
    assert any("was trained with prompt_layers 1; its weights go on with 3" in text for text in texts)


@pytest.mark.parametrize(
    ("task", "base", "settings", "cause"),
    [
        ("labels", "encoder", {"tail_layers": 2, "prompt_layers": 1}, "is an encoder"),
        ("text", "decoder", {"tail_layers": 2, "prompt_layers": 3}, "tail_layers is 2"),
        (
            "text",
            "decoder",
            {"tail_layers": 2, "prompt_layers": 0, "turns": "all", "privacy": {"epsilon": 6}},
            "turns is all",
        ),
    ],
)
def test_what_cannot_be_is_refused(task, base, settings, cause, recipe, home):
    with pytest.raises(SettingError) as raised:
        list(run.run(recipe(task, base, **settings), home))
    assert "prompt_layers is" in raised.value.problem and cause in raised.value.problem
    assert "prompt_layers" in raised.value.remedy or "Choose at most 2" in raised.value.remedy


def test_a_base_that_allows_no_second_cut_has_one_and_says_why(recipe, home, monkeypatch):
    monkeypatch.setattr(split_model, "unsupported", lambda base, **_: "its layers keep a running state")
    events = list(run.plan(recipe("text", "decoder", tail_layers=2, prompt_layers=0), home))
    assert only(events, ev.BaseReady).prompt_layers == 2
    assert only(events, ev.Planned).settings["prompt_layers"] == "all"
    assert any("running state" in event.text for event in events if isinstance(event, ev.Notice))


@pytest.mark.parametrize("prompt_layers", ["auto", "all", 2])
def test_all_layers_of_the_tail_act_on_the_prompt_unless_fewer_are_given(prompt_layers, recipe, home):
    given = recipe("text", "decoder", tail_layers=2, prompt_layers=prompt_layers)
    ready = only(list(run.plan(given, home)), ev.BaseReady)
    assert ready.prompt_layers == ready.tail_layers == 2


def test_privacy_works_with_two_cuts(trained, home):
    pytest.importorskip("opacus")
    events = trained(3, 1, privacy={"epsilon": 6})
    assert 0 < only(events, ev.TrainingEnded).epsilon <= 6


@pytest.mark.parametrize("prompt_layers", [0, 1])
def test_a_base_that_is_streamed_trains_and_answers_the_same(prompt_layers, trained, home, monkeypatch):
    folder = folder_of(trained(2, prompt_layers))
    before = load_file(folder / cards.TAIL)
    monkeypatch.setattr(specialist, "must_stream", lambda *_: True)
    again = load_file(folder_of(trained(2, prompt_layers, name="streamed")) / cards.TAIL)
    assert all(torch.allclose(before[name], again[name], atol=1e-6) for name in before)
    asked = ["The roof was hit by hail."]
    texts = [ask.answer(home, name, asked)[0].text for name in ("tiny", "streamed")]
    assert texts[0] == texts[1]
