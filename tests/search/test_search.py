"""A search from begin to end on tiny bases: what it chooses, what it leaves, and how it keeps to its time."""

import math
from contextlib import closing
from pathlib import Path

import pytest
import torch
import yaml

from azubi.cli.recipe_file import recipe_from
from azubi.data.contract import infer
from azubi.data.language import TextProfile
from azubi.data.readers.reading import read
from azubi.data.splits import splitting
from azubi.engine.base import hardware
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.cache.filling import Filled
from azubi.engine.training import loop
from azubi.errors import DiskFull, SettingError, TrainingError
from azubi.events import events as ev
from azubi.events.figures import TailShape
from azubi.pipeline.run import resume, run
from azubi.registry.runs import history
from azubi.search import search as searching
from azubi.search import trial_runner as runner
from azubi.search.search import search
from azubi.search.trial_runner import SearchTask, TimeBudget, TrialWeights
from azubi.settings import Recipe, SplitSettings
from azubi.storage import files
from tests import tiny


@pytest.fixture(autouse=True)
def few_trials(monkeypatch):
    monkeypatch.setattr(searching, "_MOST", 7)


@pytest.fixture
def recipe(bases, tmp_path):
    def make(task="labels", base="encoder", **settings):
        rows = {"labels": tiny.labels, "json": tiny.records, "text": tiny.texts}[task]()
        named = ",".join(str(getattr(bases, name)) for name in base.split("+"))
        given = {
            "name": "tiny", "data": tiny.write(tmp_path / "notes.jsonl", rows), "base": named,
            "task": task, "epochs": 2, "dtype": "float32", "threads": 1, "budget": "1h",
        }  # fmt: skip
        return Recipe(**given | settings)

    return make


def events_of(events, kind):
    return [event for event in events if isinstance(event, kind)]


def searched(recipe, home, deadline=1e6, clock=lambda: 0.0, machine=None):
    """The events of a search without the run around it, and what it found. Time stands still."""
    examples = read(recipe.data, "prompt", "answer").examples
    split = splitting.split(examples, SplitSettings(test=0.2))
    contract = infer([example.answer for example in examples], recipe.task)
    machine = machine or hardware.probe(recipe.dtype, recipe.threads)
    task = SearchTask(recipe, contract, split, None, machine, home, TextProfile())
    folder, events = home / f"run-{len(list(home.glob('run-*')))}", []
    folder.mkdir(parents=True, exist_ok=True)
    with closing(ActivationCache(home, "of the test")) as cache:
        going = search(task, TimeBudget(deadline, clock), cache, folder)
        while True:
            try:
                events.append(next(going))
            except StopIteration as end:
                return events, end.value


def comparable(trials):
    curves = [[epoch.model_dump(exclude={"seconds"}) for epoch in trial.curve] for trial in trials]
    return [trial.model_dump(exclude={"cost", "seconds", "curve"}) for trial in trials], curves


@pytest.mark.parametrize(("base", "task"), [("encoder", "labels"), ("decoder", "json"), ("decoder", "text")])
def test_the_recipe_that_is_left_repeats_the_winner_without_a_search(base, task, recipe, home, tmp_path):
    events = list(run(recipe(task, base), home))
    (ended,) = events_of(events, ev.SearchEnded)
    trials = {event.trial.number: event.trial for event in events_of(events, ev.TrialDone)}
    chosen = trials[ended.chosen]
    (ready,) = events_of(events, ev.BaseReady)
    assert (ready.tail_layers, ready.rank) == (chosen.tail_layers, chosen.rank)
    (trained,) = events_of(events, ev.TrainingEnded)
    if trained.best_epoch == 0:
        score = trained.simple_accuracy
    else:
        best = [event for event in events_of(events, ev.EpochDone) if event.best][-1]
        score = math.exp(-best.validation_loss) if task == "text" else best.validation_accuracy
    assert score == chosen.score and chosen.trained == len(events_of(events, ev.EpochDone))
    assert all(0 < event.error < 0.5 for event in trials.values() if event.state == "done")
    (packaged,) = events_of(events, ev.Packaged)
    left = yaml.safe_load((Path(packaged.folder) / "recipe.yaml").read_text())
    assert left["budget"] is None and left["learning_rate"] == chosen.learning_rate
    assert "How the settings were found" in Path(packaged.report).read_text(encoding="utf-8")
    again = list(run(recipe_from(Path(packaged.folder) / "recipe.yaml", {}), tmp_path / "other"))
    assert not events_of(again, ev.SearchPlanned)
    (repeated,) = events_of(again, ev.Packaged)
    weights = [files.sha256(Path(event.folder) / "tail.safetensors") for event in (packaged, repeated)]
    assert weights[0] == weights[1]


def test_the_same_seed_tries_and_chooses_the_same(recipe, home, tmp_path):
    (_, result), (_, two) = (searched(recipe(), folder) for folder in (home, tmp_path / "other"))
    assert comparable(result.trials) == comparable(two.trials)
    assert result.recipe == two.recipe
    _, other = searched(recipe(seed=1), home)
    assert comparable(result.trials) != comparable(other.trials)


@pytest.mark.parametrize(
    ("base", "task", "tails"),
    [
        ("encoder", "labels", {(0, 0), (2, 2), (3, 3)}),
        ("decoder", "text", {(2, 2), (2, 1), (2, 0), (4, 4)}),
    ],
)
def test_all_tails_come_from_one_trunk_pass(base, task, tails, recipe, home, monkeypatch):
    passes = []
    fill = runner.TrialRunner.fill

    def counted(self, *given):
        *_, last = done = list(fill(self, *given))
        passes.append((last.total, last.reused))
        return iter(done)

    monkeypatch.setattr(runner.TrialRunner, "fill", counted)
    events = list(run(recipe(task, base, instruction="Do it."), home))
    trials = [event.trial for event in events_of(events, ev.TrialDone)]
    assert tails <= {(trial.tail_layers, trial.prompt_layers) for trial in trials}
    assert len(passes) == 1 and passes[0][1] == 0
    for done in events_of(events, ev.TrunkDone):
        assert done.computed == 0  # the run itself finds everything there
    assert not events_of(events, ev.StepDone)  # nor is the winner trained again
    assert trials[0].work > trials[1].work > 0  # the first ran the trunk
    alike = {trial.prompt_layers: trial for trial in trials[:3] if (trial.tail_layers, trial.rank) == (2, 0)}
    costs = [alike[layers].cost for layers in sorted(alike)]
    assert costs == sorted(costs) and len(set(costs)) == len(alike)  # fewer layers on prompts are cheaper
    assert history(events).work == pytest.approx(sum(trial.work for trial in trials))


def test_what_is_given_is_not_searched(recipe, home):
    _, result = searched(recipe(tail_layers=1, learning_rate=3e-3), home)
    assert {(trial.tail_layers, trial.learning_rate, trial.epochs) for trial in result.trials} == {
        (1, 3e-3, 2)
    }
    assert {trial.rank for trial in result.trials} == {0, 4, 16}
    events, result = searched(recipe(tail_layers=1, learning_rate=3e-3, rank=4), home)
    assert [event.text for event in events] == ["There is nothing to search, since every setting is given."]
    assert (result.trials, result.recipe.rank, result.recipe.budget) == ((), 4, None)


def test_layers_on_the_prompt_are_searched_where_a_base_allows_it_and_none_are_given(recipe, home):
    _, result = searched(recipe("text", "decoder", tail_layers=2, rank=0, prompt_layers=0), home)
    assert {trial.prompt_layers for trial in result.trials} == {result.recipe.prompt_layers} == {0}
    _, result = searched(recipe("text", "decoder", prompt_layers=2, rank=0, learning_rate=3e-3), home)
    assert {(trial.tail_layers, trial.prompt_layers) for trial in result.trials} == {(2, 2), (4, 2)}
    _, result = searched(recipe("labels", "decoder", rank=0, learning_rate=3e-3, prompt_layers="all"), home)
    assert all(trial.prompt_layers == trial.tail_layers for trial in result.trials)
    with pytest.raises(SettingError, match="is an encoder"):
        searched(recipe(prompt_layers=1), home)


def test_primes_with_and_without_examples_are_tried(recipe, home, monkeypatch):
    monkeypatch.setattr(searching, "_MOST", 10)
    events, result = searched(recipe("json", "decoder"), home)
    assert {trial.instruction for trial in result.trials} == {"plain", "with examples"}
    ((texts),) = events[0].instructions.values()
    assert texts["with examples"].startswith(texts["plain"]) and "Answer: {" in texts["with examples"]
    assert result.recipe.instruction == texts[result.choice.chosen.instruction]
    _, result = searched(recipe("json", "decoder", instruction="Do it."), home)
    assert {trial.instruction for trial in result.trials} == {
        "plain"
    } and result.recipe.instruction == "Do it."


def test_several_bases_are_tried_and_what_does_not_fit_is_told(recipe, home):
    events, result = searched(recipe("labels", "encoder+decoder"), home)
    assert len({trial.base for trial in result.trials}) == 2
    events, result = searched(recipe("json", "decoder+encoder"), home)
    assert len({trial.base for trial in result.trials}) == 1
    assert "can only choose among labels" in events[0].left_out[0]
    with pytest.raises(SettingError, match="can only choose among labels"):
        searched(recipe("json", "encoder+decoder"), home)


def test_a_budget_too_small_for_a_search_takes_the_defaults_and_says_so(recipe, home):
    plain = list(run(recipe(budget=None), home))
    events = list(run(recipe(budget="1s"), home))
    assert "too small for a search" in events_of(events, ev.Notice)[0].text
    assert not events_of(events, ev.TrialDone)
    assert events_of(events, ev.BaseReady)[0].tail_layers == events_of(plain, ev.BaseReady)[0].tail_layers
    assert events_of(events, ev.EpochDone)[0].loss == events_of(plain, ev.EpochDone)[0].loss


def test_the_last_training_too_ends_in_time_at_an_epoch(recipe, home):
    """What comes after training alone takes longer than this budget, so no second epoch begins."""
    events = list(run(recipe(budget="1s"), home))
    assert len(events_of(events, ev.EpochDone)) == 1
    assert events_of(events, ev.TrainingEnded)[0].reason == "the time is used up"
    assert "allowed no more of the 2 epochs" in events_of(events, ev.Notice)[-1].text
    (packaged,) = events_of(events, ev.Packaged)
    assert yaml.safe_load((Path(packaged.folder) / "recipe.yaml").read_text())["epochs"] == 2


def test_no_search_goes_on_from_a_specialist(recipe, home):
    with pytest.raises(SettingError, match="cannot go on from claims@1"):
        list(run(recipe(**{"from": "claims@1"}), home))
    assert not list(home.glob("runs/*/*"))


def test_it_ends_in_time_for_what_comes_after(recipe, home, monkeypatch):
    """Time goes by with every look at the clock: a trial takes some seconds, far more than was planned."""
    monkeypatch.setattr(searching, "_MOST", 1000)
    now = [0.0]

    def clock():
        now[0] += 0.2
        return now[0]

    events, result = searched(recipe(), home, 100.0, clock)
    (ended,) = events_of(events, ev.SearchEnded)
    assert ended.reason == "the time is used up"
    assert 60 < now[0] < 95  # some seconds are kept for packaging
    assert any(trial.state == "no time" for trial in result.trials)
    assert result.choice is not None


def test_a_trial_that_takes_far_too_long_is_stopped(recipe, home):
    now = [0.0]

    def clock():
        now[0] += 1.0
        return now[0]

    events, result = searched(recipe(epochs=50), home, 60.0, clock)
    assert now[0] < 70  # a second per look, and a few more looks
    trials = [trial.state for trial in result.trials]
    assert trials[0] == "out of time" and result.choice is None
    assert "measured defaults" in events[-1].text
    assert (result.recipe.tail_layers, result.recipe.budget) == (2, None)


def test_a_trial_that_does_not_learn_is_no_end(recipe, home, monkeypatch):
    train = loop.train

    def fragile(tail, encoded, validation, read, plan, **given):
        if plan.learning_rate == 1e-4:
            raise TrainingError("The loss became nan.", "")
        yield from train(tail, encoded, validation, read, plan, **given)

    monkeypatch.setattr(loop, "train", fragile)
    _, result = searched(recipe(), home)
    assert result.trials[0].state == "failed" and result.trials[0].score is None
    assert result.choice.chosen.state == "done"


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
            patch.setattr(loop, "measure", interrupt)
            list(events)
    assert not list(home.glob("specialists/*/*"))
    (log,) = home.glob("runs/*/events.jsonl")
    logged = [ev.parse(line) for line in log.read_text().splitlines()]
    assert [event.trial.number for event in logged if isinstance(event, ev.TrialDone)] == [1, 2]


def until(events, number):
    """Hear a run until a trial is done, and close it."""
    heard = []
    for event in events:
        heard.append(event)
        if isinstance(event, ev.TrialDone) and event.trial.number == number:
            break
    events.close()
    return heard


def shelves(home):
    return sorted(path.name for path in home.glob("runs/*/trial-*"))


@pytest.mark.parametrize("stopped", [1, 4, 7])
def test_a_search_that_was_stopped_goes_on_behind_its_last_trial(stopped, recipe, home, tmp_path):
    whole = list(run(recipe(), tmp_path / "other"))
    until(run(recipe(), home), stopped)
    assert shelves(home)  # weights of what may yet be chosen
    rest = list(resume(home))
    (planned,) = events_of(rest, ev.SearchPlanned)
    assert [earlier.number for earlier in planned.earlier] == list(range(1, stopped + 1))
    assert [event.trial.number for event in events_of(rest, ev.TrialDone)] == list(range(stopped + 1, 8))
    trials = [*planned.earlier, *(event.trial for event in events_of(rest, ev.TrialDone))]
    assert comparable(trials) == comparable([event.trial for event in events_of(whole, ev.TrialDone)])
    assert made(rest) == made(whole)
    assert not shelves(home)


def made(events):
    (packaged,) = events_of(events, ev.Packaged)
    return files.sha256(Path(packaged.folder) / "tail.safetensors")


def test_a_search_that_had_ended_is_not_made_again(recipe, home, tmp_path, monkeypatch):
    events, heard = run(recipe(), home), []
    for event in events:
        heard.append(event)
        if isinstance(event, ev.BaseReady):
            break
    events.close()
    (ended,) = events_of(heard, ev.SearchEnded)
    assert shelves(home) == [f"trial-{ended.chosen}.safetensors"]
    monkeypatch.setattr(loop, "train", None)  # nothing at all is trained
    rest = list(resume(home))
    assert events_of(rest, ev.SearchEnded)[0].chosen == ended.chosen and not events_of(rest, ev.TrialDone)
    assert events_of(rest, ev.RunEnded)


@pytest.mark.parametrize("harm", ["damaged", "gone"])
def test_weights_that_were_lost_are_trained_again_to_the_same(harm, recipe, home, tmp_path):
    whole = list(run(recipe(), tmp_path / "other"))
    until(run(recipe(), home), 7)
    for path in home.glob("runs/*/trial-*"):
        path.write_bytes(path.read_bytes()[:-9]) if harm == "damaged" else path.unlink()
    rest = list(resume(home))
    assert events_of(rest, ev.StepDone) and not events_of(whole, ev.StepDone)
    assert made(rest) == made(whole)


def test_a_full_disk_costs_only_the_winners_weights(recipe, home, tmp_path, monkeypatch):
    whole = list(run(recipe(), tmp_path / "other"))

    def full(self, number, state):
        raise DiskFull("The disk is full.", "")

    monkeypatch.setattr(TrialWeights, "write", full)
    events = list(run(recipe(), home))
    assert events_of(events, ev.StepDone) and made(events) == made(whole)


def test_a_trial_whose_loss_explodes_has_failed(recipe, home, monkeypatch):
    train = loop.train

    def shaky(tail, encoded, validation, read, plan, **given):
        if plan.learning_rate == 1e-4:
            yield loop.RolledBack(1, 3, math.nan, 0, 5e-5)
        yield from train(tail, encoded, validation, read, plan, **given)

    monkeypatch.setattr(loop, "train", shaky)
    _, result = searched(recipe(), home)
    assert result.trials[0].state == "failed" and result.choice.chosen.state == "done"


class Pretence:
    """A machine on which work takes as long as was planned, times a factor that may change."""

    def __init__(self, monkeypatch, slowness):
        self.now, self.slowness = 0.0, slowness
        monkeypatch.setattr(runner.TrialRunner, "train", lambda *given: self.train(*given))
        monkeypatch.setattr(runner.TrialRunner, "fill", lambda *given: self.fill(*given))
        monkeypatch.setattr(runner.TrialRunner, "trained", lambda runner: {"weight": torch.zeros(1)})

    def clock(self):
        return self.now

    def spend(self, planned):
        self.now += planned * self.slowness(self.now)

    def load(self, runner, prime, count):
        return runner.workload(prime, SPEED, count)

    def train(self, runner, setting, cache, count):
        load, steps = self.load(runner, setting.instruction, count), 5 * setting.epochs
        for epoch in range(1, setting.epochs + 1):
            for step in range(1, 6):
                self.spend(load.training_epoch(setting, runner.recipe.batch) / 5)
                yield loop.Step(5 * (epoch - 1) + step, steps, epoch, 1.0, 1e-3, 9, 9, 0.0)
            self.spend(load.validation(setting, runner.recipe.batch))
            # The dearest setting is the best by far, so that little room is left for mistakes.
            right = epoch / 20 * (1 + setting.tail_layers) / (4 if setting.rank == 0 else 5)
            yield loop.Epoch(epoch, 1.0, 1 - right, right, 0.0, True)
        yield loop.Ended("all epochs done", setting.epochs, 0.0)

    def fill(self, runner, cache, prime, count, tails):
        depth, prompts = (min(layers) for layers in zip(*tails, strict=True))
        shape = TailShape(tail_layers=depth, prompt_layers=prompts, rank=0)
        planned = self.load(runner, prime, count).trunk(shape)
        for done in range(10):
            self.spend(planned / 10)
            yield Filled(done + 1, 10, 0, 0, 0)

    def finish(self, runner, result, deadline):
        """What the run itself then does; it trains on only while there is time."""
        chosen, total = result.choice.chosen, len(runner._split.train)
        load, batch = self.load(runner, chosen.instruction, total), runner.recipe.batch
        if result.weights is None:
            self.spend(load.trunk(chosen))
            for _ in range(chosen.epochs):
                began = self.now
                self.spend(load.training_epoch(chosen, batch))
                self.spend(load.validation(chosen, batch))
                if 2 * self.now - began + result.after > deadline:
                    break
        self.spend(2 * load.answer_questions(len(runner._split.test)) + 6)


SPEED = 1e7
"""Of a very slow machine, on which tiny bases take as long as others elsewhere."""


@pytest.mark.parametrize("share", [1.0, 0.4])
@pytest.mark.parametrize(
    "slowness",
    [
        pytest.param(lambda now: 1.0, id="as planned"),
        pytest.param(lambda now: 0.4, id="faster"),
        pytest.param(lambda now: 1.8, id="slower throughout"),
        pytest.param(lambda now: 1.0 if now < 600 else 3.0, id="busy from half time"),
        pytest.param(lambda now: 2.5 if now % 100 < 30 else 1.0, id="busy now and then"),
    ],
)
def test_search_and_training_end_with_the_budget_on_a_busy_machine(
    slowness, share, recipe, home, monkeypatch
):
    monkeypatch.setattr(searching, "_MOST", 1000)
    monkeypatch.setattr(searching, "_FEW", 5)
    monkeypatch.setattr(searching, "_ROOM", 8 if share == 1.0 else 40)
    machine = hardware.Machine(torch.float32, 1, SPEED / 1e9)
    pretence = Pretence(monkeypatch, slowness)
    opened = []
    make = runner.TrialRunner.__init__
    monkeypatch.setattr(
        runner.TrialRunner,
        "__init__",
        lambda runner, *given: (opened.append(runner), make(runner, *given))[0],
    )
    events, result = searched(recipe(epochs=None), home, 1200.0, pretence.clock, machine=machine)
    assert sum(runner.state == "done" for runner in result.trials) >= 2
    assert (result.weights is not None) == (
        events_of(events, ev.SearchPlanned)[0].encoded == len(opened[0]._split.train)
    )
    pretence.finish(opened[0], result, 1200)
    assert 0.5 * 1200 < pretence.now < 1200


def test_trials_with_a_share_of_the_lessons_where_time_is_short(recipe, home, monkeypatch):
    whole = searched(recipe(), home)[0][0].encoded
    monkeypatch.setattr(searching, "_FEW", 5)
    monkeypatch.setattr(searching, "_ROOM", 1e9)
    events, result = searched(recipe(), home)
    (planned,) = events_of(events, ev.SearchPlanned)
    assert planned.encoded == round(0.2 * whole) >= 5
    assert result.choice is not None
