"""The plan of a run: made from the run's own parts, near to what then happens, and leaving nothing behind."""

import time
from pathlib import Path

import pytest
import torch

from azubi.engine import specialist
from azubi.engine.model import weights
from azubi.engine.model.language_tail import LanguageTail
from azubi.engine.training.state import saved_state
from azubi.errors import TrainingError
from azubi.events import events as ev
from azubi.pipeline import run as recipe
from azubi.pipeline.run import plan, run
from azubi.pipeline.stages import encoding as stage
from azubi.pipeline.stages.run_context import RunContext
from azubi.planning import benchmark_run, cost_model
from azubi.registry import runs
from azubi.settings import CacheSettings, Recipe
from azubi.storage import files
from tests import tiny

LINES = [
    ("encoder", "labels", 2),
    ("encoder", "labels", 0),
    ("decoder", "json", 2),
    ("decoder", "labels", "all"),
]
KINDS = {"trunk", "tail", "validation", "answers", "checkpoints"}


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(benchmark_run, "_TAIL_SECONDS", 0.2)


@pytest.fixture
def made(bases, tmp_path):
    """Make a recipe for 96 small rows."""

    def make(base="encoder", task="labels", depth=2, **settings):
        rows = {"labels": tiny.labels, "json": tiny.records}[task](96)
        given = {
            "name": "tiny", "data": tiny.write(tmp_path / "notes.jsonl", rows), "tail_layers": depth,
            "base": str(getattr(bases, base)), "epochs": 2, "dtype": "float32", "threads": 1,
        }  # fmt: skip
        return Recipe(**given | settings)

    return make


def only(events, kind):
    (matching,) = [event for event in events if isinstance(event, kind)]
    return matching


def forecast(recipe, home):
    return only(list(plan(recipe, home)), ev.Planned).forecast


def prepared(recipe_, home):
    """A run that stands before its trunk."""
    context = RunContext(home, runs.unwritten("tiny", home / "thought"), time.monotonic(), recipe_)
    stages = recipe._stages_before_trunk(context, {}, recipe._Meter())
    data, _, model, encoded = returned(stages)
    specialist = model.specialist
    load = cost_model.count_workload(specialist, 1e9, encoded.train, encoded.validation)
    questions = [example.turns for example in data.split.test]
    return specialist, lambda: benchmark_run.run_benchmark(
        specialist, context.recipe, load, encoded.train, encoded.validation, questions, home
    )


def returned(stages):
    """What a generator returns behind all that it yields."""
    while True:
        try:
            next(stages)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize(("base", "task", "depth"), LINES)
def test_counts_and_disk_are_those_of_the_run(base, task, depth, made, home):
    planned = forecast(made(base, task, depth), home)
    events = list(run(made(base, task, depth), home))
    data, ended = only(events, ev.DataReady), only(events, ev.RunEnded)
    assert planned.examples == {"train": data.train, "validation": data.validation, "test": data.test}
    done = [event for event in events if isinstance(event, ev.TrunkDone)]
    assert planned.cache == sum(event.bytes for event in done)
    if depth != "all":
        assert planned.tokens["prompts"] + planned.tokens["answers"] >= done[0].tokens > 0
    # The checkpoint's own list and the headers of its files are a few kilobytes.
    assert planned.checkpoints <= ended.checkpoints < 1.1 * planned.checkpoints + 20_000
    card = only(events, ev.Packaged)
    assert planned.specialist <= card.bytes < planned.specialist + 5_000
    assert planned.epochs == 2 and planned.tail >= 2 * planned.epoch > 0
    assert planned.total == pytest.approx(
        planned.setup + planned.trunk + planned.tail + planned.evaluate + planned.package
    )
    assert planned.setup > planned.measured > 0


@pytest.mark.parametrize("cache_format", ["bfloat16", "int8"])
def test_the_form_of_the_cache_counts(cache_format, made, home):
    given = made(cache=CacheSettings(dtype=cache_format))
    planned = forecast(given, home)
    assert planned.cache == only(list(run(given, home)), ev.TrunkDone).bytes


@pytest.mark.parametrize(("prompt_layers", "cache_format"), [(0, "auto"), (1, "int8")])
def test_with_two_cuts_the_plan_knows_what_the_cache_keeps(prompt_layers, cache_format, made, home):
    given = made("decoder", "json", prompt_layers=prompt_layers, cache=CacheSettings(dtype=cache_format))
    planned, events = forecast(given, home), list(run(given, home))
    assert planned.known == 0 and planned.cache == only(events, ev.TrunkDone).bytes
    assert forecast(given, home).cache == 0
    whole = forecast(made("decoder", "json", cache=CacheSettings(dtype=cache_format)), home)
    assert whole.known == 0 and planned.memory > 0


def test_a_plan_leaves_nothing(made, home):
    forecast(made("decoder", "json"), home)
    assert {path.name for path in home.iterdir()} <= {"bases"}, "the hashes of bases are remembered there"


def test_what_the_cache_holds_is_not_planned_again(made, home):
    before = forecast(made(), home)
    list(run(made(), home))
    after = forecast(made(), home)
    assert before.known == 0 and after.known == sum(after.examples.values()) - after.examples["test"]
    assert (after.trunk, after.cache) == (0.0, 0) and before.trunk > 0 and before.cache > 0
    assert forecast(made(depth=1), home).known == 0, "another cut has activations of its own"


@pytest.mark.parametrize(("base", "task", "rank"), [("encoder", "labels", 0), ("decoder", "json", 4)])
def test_a_run_comes_out_the_same_with_and_without_a_rehearsal(base, task, rank, made, tmp_path, monkeypatch):
    weights_seen = []
    for place, worth in (("without", 1e9), ("with", 0.0)):
        monkeypatch.setattr(stage, "_WORTH_MEASURING", worth)
        events = list(run(made(base, task, rank=rank), tmp_path / place))
        assert (only(events, ev.Planned).forecast.measured > 0) == (place == "with")
        weights_seen.append(files.sha256(Path(only(events, ev.Packaged).folder) / "tail.safetensors"))
    assert weights_seen[0] == weights_seen[1]


def test_a_short_run_is_rehearsed_briefly(made, home, monkeypatch):
    shares = []
    monkeypatch.setattr(stage, "_WORTH_MEASURING", 0.0)
    monkeypatch.setattr(
        stage, "run_benchmark", lambda *given: shares.append(given[-1]) or benchmark_run.run_benchmark(*given)
    )
    forecast(made(), home)
    events = list(run(made(), home))
    assert shares[0] == 1.0 and 0 < shares[1] < 0.5
    assert only(events, ev.Planned).forecast.measured > 0


@pytest.mark.parametrize(("base", "task", "depth"), LINES)
def test_the_tail_is_left_as_it_was_and_every_kind_is_seen(base, task, depth, made, home):
    specialist, run_benchmark = prepared(made(base, task, depth), home)
    before = weights.kept(specialist.tail)
    seen = run_benchmark()
    after = weights.trained(specialist.tail)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.grad is None for parameter in specialist.tail.parameters())
    wanted = KINDS - ({"trunk"} if depth == "all" else set())
    assert wanted <= set(seen.costs._timed)
    assert (seen.per_pass + seen.per_token > 0) is (task == "json")
    assert all(seen.costs.seconds(stage, 1.0) > 0 for stage in wanted)
    assert set(seen.peaks) == {"trunk", "tail", "evaluate"} and min(seen.peaks.values()) > 10e6


def test_a_slower_engine_shows(made, home, monkeypatch):
    quick = forecast(made("decoder", "json"), home)
    forward = LanguageTail.forward

    def slow(self, batch, prime):
        if self.training:
            time.sleep(0.5)
        return forward(self, batch, prime)

    monkeypatch.setattr(LanguageTail, "forward", slow)
    slowed = forecast(made("decoder", "json"), home)
    steps = -(-slowed.examples["train"] // 8)
    # So slow that no other program's work is taken for it.
    assert slowed.epoch > quick.epoch + 0.5 * steps * 0.5
    assert slowed.trunk < quick.trunk + 0.25 * steps * 0.5, "the trunk has nothing to do with it"


def test_a_loss_that_explodes_does_not_stop_the_plan(made, home, monkeypatch):
    def explodes(*_, **__):
        raise TrainingError("It exploded.", "Train again.")
        yield

    monkeypatch.setattr(benchmark_run.loop, "train", explodes)
    assert forecast(made(), home).epoch > 0


def test_a_streamed_base_is_planned_from_arithmetic(made, home, monkeypatch):
    monkeypatch.setattr(specialist, "must_stream", lambda *_: True)
    planned = forecast(made("decoder", "json"), home)
    assert planned.measured == 0 and planned.memory is None
    assert planned.trunk > 0 and planned.epoch > 0 and planned.evaluate > 0


def test_a_short_run_is_not_rehearsed_and_its_plan_says_so(made, home):
    assert only(list(run(made(), home)), ev.Planned).forecast.measured == 0


def test_a_budget_is_for_the_search_and_what_comes_after(made, home, bases):
    both = {"budget": "10m", "base": f"{bases.encoder},{bases.decoder}"}
    planned = forecast(made().model_copy(update=both), home)
    assert planned.total == pytest.approx(600) and 500 < planned.search < 600
    assert forecast(made(budget="1s"), home).search == 0


def test_a_run_that_is_gone_on_with_keeps_its_plan(made, home, monkeypatch):
    monkeypatch.setattr(stage, "_WORTH_MEASURING", 0.0)
    going = run(made("decoder", "json"), home)
    first = next(event for event in going if isinstance(event, ev.Planned)).forecast
    next(event for event in going if isinstance(event, ev.StepDone))
    going.close()
    monkeypatch.setattr(stage, "run_benchmark", lambda *_: pytest.fail("it was rehearsed already"))
    assert only(list(run(made("decoder", "json"), home)), ev.Planned).forecast == first


def test_answers_are_watched_for_a_few_tokens():
    moments = []
    long, short = (benchmark_run.WatchedAnswer(moments, None) for _ in range(2))
    for number in range(benchmark_run._TOKENS):
        assert long.allowed() is None and long.settled() is None
        long.take(number)
    assert long.settled() == ()
    short.allowed()
    assert len(moments) == benchmark_run._TOKENS
    assert (long.length, short.length) == (benchmark_run._TOKENS, 1)


def test_how_often_a_checkpoint_is_written():
    # 80 steps: every tenth is a safe point, and the ends of 4 epochs are among them.
    assert saved_state(4, 80, 60.0) == (8, 1)
    # The ends of 3 epochs are not: 27, 54 and 81 beside 11, 22 … 77.
    assert saved_state(3, 81, 60.0) == (10, 1)
    # With two minutes between them the clock asks for two more each time; the latest is not the safe one.
    assert saved_state(4, 80, 8 * 120.0) == (24, 2)
