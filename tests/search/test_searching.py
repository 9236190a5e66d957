"""A search from begin to end on tiny bases: what it chooses, what it leaves, and how it keeps to its time."""

import math
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from azubi import events as ev
from azubi import files
from azubi.activations import ActivationCache
from azubi.base import probe
from azubi.cli.recipe_file import recipe_from
from azubi.data import reading, splitting
from azubi.data.contract import infer
from azubi.errors import SettingError, TrainingError
from azubi.recipe import run
from azubi.search import bench, searching
from azubi.search.allowance import Allowance
from azubi.search.searching import Quest, search
from azubi.settings import Recipe
from azubi.tail import training
from tests import tiny


@pytest.fixture(autouse=True)
def few_trials(monkeypatch):
    monkeypatch.setattr(searching, "_MOST", 7)


@pytest.fixture
def recipe(bases, tmp_path):
    def make(task="labels", base="encoder", **settings):
        rows = {"labels": tiny.labels, "json": tiny.records, "text": tiny.texts}[task]()
        named = ",".join(str(getattr(bases, one)) for one in base.split("+"))
        told = {
            "name": "tiny", "data": tiny.write(tmp_path / "notes.jsonl", rows), "base": named,
            "task": task, "epochs": 2, "dtype": "float32", "threads": 1, "budget": "1h",
        }  # fmt: skip
        return Recipe(**told | settings)

    return make


def events_of(events, kind):
    return [event for event in events if isinstance(event, kind)]


def searched(recipe, home, deadline=1e6, clock=lambda: 0.0, earlier=()):
    """The events of a search without the run around it, and what it found. Time stands still."""
    examples = reading.read(recipe.data, "prompt", "answer").examples
    split = splitting.split(examples, 0.2, 0.2)
    contract = infer([one.answer for one in examples], recipe.task)
    quest = Quest(recipe, contract, split, None, probe.probe(recipe.dtype, recipe.threads), home)
    folder, events = home / "run", []
    folder.mkdir(parents=True, exist_ok=True)
    with closing(ActivationCache(home, "of the test")) as cache:
        going = search(quest, Allowance(deadline, clock), cache, folder, earlier)
        while True:
            try:
                events.append(next(going))
            except StopIteration as end:
                return events, end.value


def comparable(trials):
    curves = [[epoch.model_dump(exclude={"seconds"}) for epoch in one.curve] for one in trials]
    return [one.model_dump(exclude={"cost", "seconds", "curve"}) for one in trials], curves


@pytest.mark.parametrize(("base", "task"), [("encoder", "labels"), ("decoder", "json"), ("decoder", "text")])
def test_the_recipe_that_is_left_repeats_the_winner_without_a_search(base, task, recipe, home, tmp_path):
    events = list(run(recipe(task, base), home))
    (ended,) = events_of(events, ev.SearchEnded)
    trials = {event.trial.number: event.trial for event in events_of(events, ev.TrialDone)}
    chosen = trials[ended.chosen]
    (ready,) = events_of(events, ev.BaseReady)
    assert (ready.tail_layers, ready.rank) == (chosen.tail_layers, chosen.rank)
    best = [event for event in events_of(events, ev.EpochDone) if event.best][-1]
    told = math.exp(-best.validation_loss) if task == "text" else best.validation_accuracy
    assert told == chosen.score and chosen.trained == len(events_of(events, ev.EpochDone))
    assert all(0 < one.error < 0.5 for one in trials.values() if one.state == "done")
    (packaged,) = events_of(events, ev.Packaged)
    left = yaml.safe_load((Path(packaged.folder) / "recipe.yaml").read_text())
    assert left["budget"] is None and left["learning_rate"] == chosen.learning_rate
    assert "How the settings were found" in Path(packaged.report).read_text(encoding="utf-8")
    again = list(run(recipe_from(Path(packaged.folder) / "recipe.yaml", {}), tmp_path / "other"))
    assert not events_of(again, ev.SearchPlanned)
    (repeated,) = events_of(again, ev.Packaged)
    weights = [files.sha256(Path(one.folder) / "tail.safetensors") for one in (packaged, repeated)]
    assert weights[0] == weights[1]


def test_the_same_seed_tries_and_chooses_the_same(recipe, home, tmp_path):
    (_, one), (_, two) = (searched(recipe(), folder) for folder in (home, tmp_path / "other"))
    assert comparable(one.trials) == comparable(two.trials)
    assert one.recipe == two.recipe
    _, other = searched(recipe(seed=1), home)
    assert comparable(one.trials) != comparable(other.trials)


def test_all_depths_come_from_one_trunk_pass(recipe, home, monkeypatch):
    passes = []
    fill = bench.Bench.fill

    def counted(self, *given):
        *_, last = done = list(fill(self, *given))
        passes.append((last.total, last.reused))
        return iter(done)

    monkeypatch.setattr(bench.Bench, "fill", counted)
    events = list(run(recipe(), home))
    trials = [event.trial for event in events_of(events, ev.TrialDone)]
    assert {0, 2, 3} <= {one.tail_layers for one in trials}
    assert len(passes) == 1 and passes[0][1] == 0
    for done in events_of(events, ev.TrunkDone):
        assert done.computed == 0  # the run itself finds everything there


def test_what_is_given_is_not_searched(recipe, home):
    _, found = searched(recipe(tail_layers=1, learning_rate=3e-3), home)
    assert {(one.tail_layers, one.learning_rate, one.epochs) for one in found.trials} == {(1, 3e-3, 2)}
    assert {one.rank for one in found.trials} == {0, 4, 16}
    events, found = searched(recipe(tail_layers=1, learning_rate=3e-3, rank=4), home)
    assert [event.text for event in events] == ["There is nothing to search, since every setting is given."]
    assert (found.trials, found.recipe.rank, found.recipe.budget) == ((), 4, None)


def test_primes_with_and_without_examples_are_tried(recipe, home, monkeypatch):
    monkeypatch.setattr(searching, "_MOST", 10)
    events, found = searched(recipe("json", "decoder"), home)
    assert {one.prime for one in found.trials} == {"plain", "with examples"}
    ((texts),) = events[0].primes.values()
    assert texts["with examples"].startswith(texts["plain"]) and "Answer: {" in texts["with examples"]
    assert found.recipe.prime == texts[found.choice.chosen.prime]
    _, found = searched(recipe("json", "decoder", prime="Do it."), home)
    assert {one.prime for one in found.trials} == {"plain"} and found.recipe.prime == "Do it."


def test_several_bases_are_tried_and_what_does_not_fit_is_told(recipe, home):
    events, found = searched(recipe("labels", "encoder+decoder"), home)
    assert len({one.base for one in found.trials}) == 2
    events, found = searched(recipe("json", "decoder+encoder"), home)
    assert len({one.base for one in found.trials}) == 1
    assert "can only choose among labels" in events[0].left_out[0]
    with pytest.raises(SettingError, match="can only choose among labels"):
        searched(recipe("json", "encoder+decoder"), home)


def test_a_budget_too_small_for_a_search_takes_the_defaults_and_says_so(recipe, home):
    plain = list(run(recipe(budget=None), home))
    events = list(run(recipe(budget="1s"), home))
    assert "too small for a search" in events_of(events, ev.Notice)[0].text
    assert not events_of(events, ev.TrialDone)
    assert events_of(events, ev.BaseReady)[0].tail_layers == events_of(plain, ev.BaseReady)[0].tail_layers
    assert events_of(events, ev.EpochDone)[-1].loss == events_of(plain, ev.EpochDone)[-1].loss


def test_it_ends_in_time_for_what_comes_after(recipe, home, monkeypatch):
    """Time goes by with every look at the clock: a trial takes some seconds, far more than was planned."""
    monkeypatch.setattr(searching, "_MOST", 1000)
    now = [0.0]

    def clock():
        now[0] += 0.2
        return now[0]

    events, found = searched(recipe(), home, 100.0, clock)
    (ended,) = events_of(events, ev.SearchEnded)
    assert ended.reason == "the time is used up"
    assert 60 < now[0] < 95  # some seconds are kept for packaging
    assert any(one.state == "no time" for one in found.trials)
    assert found.choice is not None


def test_a_trial_that_takes_far_too_long_is_stopped(recipe, home):
    now = [0.0]

    def clock():
        now[0] += 1.0
        return now[0]

    events, found = searched(recipe(epochs=50), home, 60.0, clock)
    assert now[0] < 70  # a second per look, and a few more looks
    trials = [one.state for one in found.trials]
    assert trials[0] == "out of time" and found.choice is None
    assert "measured defaults" in events[-1].text
    assert (found.recipe.tail_layers, found.recipe.budget) == (2, None)


def test_a_trial_that_does_not_learn_is_no_end(recipe, home, monkeypatch):
    train = training.train

    def fragile(tail, lessons, validation, read, plan, **given):
        if plan.learning_rate == 1e-4:
            raise TrainingError("The loss became nan.", "")
        yield from train(tail, lessons, validation, read, plan, **given)

    monkeypatch.setattr(training, "train", fragile)
    _, found = searched(recipe(), home)
    assert found.trials[0].state == "failed" and found.trials[0].score is None
    assert found.choice.chosen.state == "done"


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("how", ["closed", "interrupted"])
def test_it_stops_cleanly_in_the_middle_of_a_trial(how, recipe, home, monkeypatch):
    events = run(recipe(), home)
    for event in events:
        if isinstance(event, ev.TrialDone) and event.trial.number == 2:
            break
    if how == "closed":
        events.close()
    else:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(training, "measure", interrupt)
            list(events)
    assert not list(home.glob("specialists/*/*"))
    (log,) = home.glob("runs/*/events.jsonl")
    told = [ev.parse(line) for line in log.read_text().splitlines()]
    assert [event.trial.number for event in told if isinstance(event, ev.TrialDone)] == [1, 2]
    assert events_of(list(run(recipe(), home)), ev.RunEnded)  # and nothing is in the next one's way


def test_trials_with_a_share_of_the_lessons_where_time_is_short(recipe, home, monkeypatch):
    whole = searched(recipe(), home)[0][0].lessons
    monkeypatch.setattr(searching, "_FEW", 5)
    monkeypatch.setattr(searching, "_ROOM", 1e9)
    events, found = searched(recipe(), home)
    (planned,) = events_of(events, ev.SearchPlanned)
    assert planned.lessons == round(0.2 * whole) >= 5
    assert found.choice is not None
