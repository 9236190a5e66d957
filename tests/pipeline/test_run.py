"""The whole line on tiny random bases: events, what is written, what is not touched, what is told."""

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from pydantic import ValidationError
from safetensors.torch import load_file

from azubi.cli.recipe_file import recipe_from
from azubi.data.datasets.versions import Versions
from azubi.engine.base.opening import open_base
from azubi.engine.cache.activation_cache import ActivationCache, erase
from azubi.engine.model.label_tail import LabelTail
from azubi.engine.specialist import Specialist, new_specialist
from azubi.engine.training.example_weights import Validation
from azubi.errors import SettingError
from azubi.events import events as ev
from azubi.pipeline import erase as erasure
from azubi.pipeline.ask import answer
from azubi.pipeline.run import run
from azubi.planning import forecast
from azubi.registry import card as cards
from azubi.registry.store import Store
from azubi.settings import CacheSettings, Recipe
from azubi.storage import files
from tests import tiny
from tests.pipeline.runs import folder_of, hashes, notices, only, order

STAGES = ["data", "base", "instruction", "trunk", "tail", "evaluate", "package"]
FILES = [
    "lineage.json",
    "recipe.yaml",
    "report.html",
    "scope.safetensors",
    "specialist.json",
    "tail.safetensors",
]
MAKERS = {"labels": tiny.labels, "json": tiny.records, "text": tiny.texts}
LINES = [
    ("encoder", "labels", 0, 0),
    ("encoder", "labels", 2, 4),
    ("encoder", "labels", "all", 0),
    ("decoder", "labels", 2, 0),
    ("decoder", "json", 1, 0),
    ("decoder", "json", "all", 4),
    ("decoder", "text", 2, 4),
    ("decoder", "text", "all", 0),
]


# One run


@pytest.fixture(scope="module", params=LINES, ids=lambda line: "-".join(map(str, line)))
def line(request, bases, tmp_path_factory):
    """One whole run: its recipe, its home, its events."""
    base, task, depth, rank = request.param
    folder = tmp_path_factory.mktemp("line")
    settings = Recipe(
        name="tiny",
        data=tiny.write(folder / "notes.jsonl", MAKERS[task]()),
        base=str(getattr(bases, base)),
        tail_layers=depth,
        rank=rank,
        epochs=2,
        learning_rate=3e-3,
        dtype="float32",
        threads=1,
    )
    before = hashes(settings.base)
    events = list(run(settings, folder / "home"))
    assert hashes(settings.base) == before, "the base's own files were touched"
    return settings, folder / "home", events


def test_events_come_in_the_order_of_the_line(line):
    settings, _, events = line
    cached = [] if settings.tail_layers == "all" else ["trunk_done"]
    expected = [
        "run_started",
        "data",
        "data_ready",
        "base",
        "base_ready",
        "instruction",
        "instruction_ready",
        "planned",
    ]
    expected += ["trunk", *cached, "tail", "step_done", "epoch_done", "step_done", "epoch_done"]
    expected += ["notice"] if "bert" in settings.base else []  # what training brought
    expected += ["training_ended", "evaluate", "measured", "compared", "package", "packaged", "run_ended"]
    assert order(events) == expected
    assert [event.who for event in events if isinstance(event, ev.Measured)] == ["base", "specialist"]
    assert [event.at for event in events] == sorted(event.at for event in events)


def test_the_log_holds_the_same_events(line):
    _, _, events = line
    log = Path(events[0].folder) / "events.jsonl"
    assert [ev.parse(text) for text in log.read_text(encoding="utf-8").splitlines()] == events


def test_the_time_left_is_always_told_and_runs_out(line):
    _, _, events = line
    steps = [event for event in events if isinstance(event, ev.Progress)]
    assert all(event.left is not None and event.left >= 0 for event in steps)
    assert all(0 <= event.done <= event.total for event in steps)
    assert steps[-1].left == 0
    assert {event.stage for event in steps} >= {"tail", "evaluate", "package"}


def test_the_data_is_counted(line):
    _, _, events = line
    ready = only(events, ev.DataReady)
    assert ready.train + ready.validation + ready.test == 48
    assert min(ready.train, ready.validation, ready.test) > 0
    assert ready.labels == (("home", "motor", "travel") if ready.task == "labels" else ())
    assert ready.fields == (("line", "amount") if ready.task == "json" else ())


def test_the_folder_holds_the_specialist_and_nothing_else(line):
    settings, home, events = line
    packaged = only(events, ev.Packaged)
    folder = Path(packaged.folder)
    assert folder == home / "specialists" / "tiny" / "1"
    learned = [cards.VALIDATION] if "bert" in settings.base else []  # from the validation examples, too
    assert sorted(path.name for path in folder.iterdir()) == FILES + learned
    assert sorted(path.name for path in folder.parent.iterdir()) == [".last", "1"]
    assert packaged.report == str(folder / "report.html")
    weighed = [folder / name for name in ("tail.safetensors", "scope.safetensors")]
    assert packaged.bytes == sum(path.stat().st_size for path in weighed)
    card = Store(home).get("tiny")
    assert card.tail_sha256 == files.sha256(folder / "tail.safetensors")
    assert card.scores == {event.who: event.scores for event in events if isinstance(event, ev.Measured)}
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "tiny" in report and "<script src" not in report


def test_as_many_parameters_are_stored_as_were_trained(line):
    settings, home, events = line
    ready, packaged = only(events, ev.BaseReady), only(events, ev.Packaged)
    stored = sum(weight.numel() for weight in load_file(folder_of(events) / "tail.safetensors").values())
    assert stored == ready.trained == packaged.trained == Store(home).get("tiny").trained
    assert 0 < stored < ready.parameters == packaged.parameters
    depth = ready.layers if settings.tail_layers == "all" else settings.tail_layers
    assert (ready.tail_layers, ready.rank) == (depth, settings.rank)


def test_the_loss_falls(line):
    first, last = [event.loss for event in line[2] if isinstance(event, ev.EpochDone)]
    assert last < first


def test_the_recipe_gives_the_same_specialist_again(line, tmp_path, monkeypatch):
    _, _, events = line
    first = folder_of(events)
    monkeypatch.chdir(tmp_path)
    again = list(run(recipe_from(first / "recipe.yaml", {}), tmp_path / "other"))
    assert folder_of(again).name == "1"
    same = [files.sha256(folder / "tail.safetensors") for folder in (first, folder_of(again))]
    assert same[0] == same[1]
    scores = [[e.scores for e in run_events if isinstance(e, ev.Measured)] for run_events in (events, again)]
    assert scores[0] == scores[1]
    recipes = [yaml.safe_load((folder / "recipe.yaml").read_text()) for folder in (first, folder_of(again))]
    assert recipes[0] == recipes[1]


# Several runs


@pytest.mark.parametrize(("base", "task"), [("encoder", "labels"), ("decoder", "json")])
def test_a_second_run_computes_nothing_and_a_third_only_what_is_new(base, task, recipe, home):
    settings = recipe(task, base, tail_layers=1)
    first, second = ([*run(settings, home)] for _ in range(2))
    done = [only(events, ev.TrunkDone) for events in (first, second)]
    total = only(first, ev.DataReady).train + only(first, ev.DataReady).validation
    assert (done[0].computed, done[0].reused) == (total, 0)
    assert (done[1].computed, done[1].reused, done[1].tokens) == (0, total, 0)
    assert [only(events, ev.Packaged).version for events in (first, second)] == [1, 2]
    assert files.sha256(folder_of(first) / "tail.safetensors") == files.sha256(
        folder_of(second) / "tail.safetensors"
    )

    rows = MAKERS[task]()
    longer = [*rows, *(row for row in MAKERS[task](24, seed=1) if row not in rows)]
    third = list(run(recipe(task, base, rows=longer, tail_layers=1), home))
    now = only(third, ev.DataReady).train + only(third, ev.DataReady).validation
    done = only(third, ev.TrunkDone)
    assert now > total
    assert (done.computed, done.reused) == (now - total, total)
    assert only(third, ev.Packaged).version == 3


@pytest.mark.parametrize("name", ["tiny-bert", "./tiny-bert"])
def test_a_base_named_from_here_is_found_from_anywhere(name, recipe, home, bases, tmp_path, monkeypatch):
    monkeypatch.chdir(bases.encoder.parent)
    first = list(run(recipe().model_copy(update={"base": name}), home))
    monkeypatch.chdir(tmp_path)
    assert Store(home).get("tiny").base == str(bases.encoder)
    assert answer(home, "tiny", ["The van was hit by hail"])[0].text in ("home", "motor", "travel")
    list(run(recipe_from(folder_of(first) / "recipe.yaml", {}), home))
    assert Store(home).get("tiny").version == 2


@pytest.mark.parametrize("base", ["encoder", "decoder"])
@pytest.mark.parametrize("depth", [1, "all"])
def test_no_weight_of_the_base_changes_in_memory(base, depth, recipe, home, monkeypatch):
    seen = []
    build = Specialist.__init__

    def watched(self, *arguments):
        build(self, *arguments)
        seen.append((self, {name: weight.clone() for name, weight in self.model._model.state_dict().items()}))

    monkeypatch.setattr(Specialist, "__init__", watched)
    list(run(recipe(base=base, tail_layers=depth), home))
    ((specialist, before),) = seen
    after = specialist.model._model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(weight.requires_grad for weight in specialist.model._model.parameters())
    assert any(weight.requires_grad for weight in specialist.tail.parameters())


STOPS = [("stage_started", stage) for stage in STAGES] + [
    ("progress", stage) for stage in ("trunk", "tail", "evaluate", "package")
]


@pytest.mark.parametrize(("kind", "stage"), STOPS)
def test_a_run_that_is_closed_leaves_nothing_half_written(kind, stage, recipe, home, monkeypatch):
    closed = []
    close = ActivationCache.close
    monkeypatch.setattr(ActivationCache, "close", lambda self: closed.append(True) or close(self))
    events = run(recipe(tail_layers=1), home)
    seen = []
    for event in events:
        seen.append(event)
        if event.kind == kind and event.stage == stage:
            break
    events.close()
    assert not list(home.glob("specialists/*/*.json")) and not list(home.glob("specialists/*/[0-9]*/*"))
    assert not [path for path in home.glob("specialists/**/.*") if path.is_dir()]
    if STAGES.index(stage) < STAGES.index("trunk"):
        assert not list(home.glob("runs/*")), "nothing was done that is worth keeping"
    else:
        log = (Path(seen[0].folder) / "events.jsonl").read_text(encoding="utf-8")
        *before, stopped = [ev.parse(text) for text in log.splitlines()]
        assert before == seen
        assert (stopped.kind, stopped.problem, stopped.resumable) == ("run_stopped", "Stopped.", True)
    cached = STAGES.index(stage) > STAGES.index("trunk") or (kind, stage) == ("progress", "trunk")
    assert bool(closed) == cached
    assert Store(home).list() == []


def test_runs_of_one_second_have_folders_of_their_own(recipe, home):
    under_way = [run(recipe(), home) for _ in range(3)]
    assert len({next(events).folder for events in under_way}) == 3


def test_what_comes_before_the_first_step_does_not_count_as_steps(recipe, home, monkeypatch):
    """A regression is fitted first, here for a thousand seconds by the clock of the time left."""
    late = [0.0]
    clock = SimpleNamespace(monotonic=lambda: late[0] + time.monotonic())
    monkeypatch.setattr(forecast, "time", clock)
    begin = LabelTail.start_from_means

    def slow(*given):
        late[0] += 1_000
        return begin(*given)

    monkeypatch.setattr(LabelTail, "start_from_means", slow)
    events = list(run(recipe(tail_layers=1), home))
    left = [event.left for event in events if isinstance(event, ev.Progress) and event.stage == "tail"]
    assert late == [1_000] and left and max(left) < 100


def test_unknown_settings_are_errors():
    with pytest.raises(ValidationError, match=r"tail_layer\n.*not permitted"):
        Recipe(tail_layer=1)


def test_the_papers_are_complete_json(line):
    document = json.loads((folder_of(line[2]) / "specialist.json").read_text(encoding="utf-8"))
    assert Path(document["base"]).is_absolute() and Path(document["recipe"]["base"]).is_absolute()
    assert document["recipe"]["tail_layers"] == document["tail_layers"]
    assert set(document["seconds"]) == {"data", "base", "instruction", "trunk", "tail", "evaluate"}


# The cache


def test_a_run_whose_activations_have_no_room_still_ends(recipe, home):
    settings = recipe(tail_layers=1)
    roomy, tight = home / "roomy", home / "tight"
    with_room = list(run(settings, roomy))
    events = list(run(settings.model_copy(update={"cache": CacheSettings(quota=0)}), tight))
    (notice,) = [text for text in notices(events) if "not kept" in text]
    assert "quota of 0 GB" in notice and "--cache-dtype int8" in notice
    done = only(events, ev.TrunkDone)
    assert (done.computed, done.reused, done.bytes) == (0, 0, 0)
    losses = [
        [epoch.validation_loss for epoch in run_events if isinstance(epoch, ev.EpochDone)]
        for run_events in (with_room, events)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_the_form_of_the_cache_is_part_of_its_key(recipe, home):
    for cache_format in ("float32", "bfloat16", "int8", "int8"):
        settings = recipe(tail_layers=1).model_copy(update={"cache": CacheSettings(dtype=cache_format)})
        done = only(list(run(settings, home)), ev.TrunkDone)
        work_done = (done.computed > 0, done.reused > 0)
    assert work_done == (False, True)
    sizes = {shard.stat().st_size for shard in (home / "cache" / "shards").iterdir()}
    assert len(sizes) == 3, "each form was computed for itself, the last was found"


def test_the_cache_lies_under_the_key_of_its_data(recipe, home):
    settings = recipe(tail_layers=1)
    list(run(settings, home))
    assert erase(home, Store(home).get("tiny").data_version)
    done = only(list(run(settings, home)), ev.TrunkDone)
    assert done.reused == 0 and done.computed > 0


@pytest.mark.parametrize("base", ["encoder", "decoder"])
def test_label_weights_change_training_but_not_how_it_is_measured(base, recipe, home):
    rows = tiny.labels()
    rows = [row for number, row in enumerate(rows) if row["answer"] != rows[0]["answer"] or number % 3 == 0]
    plain, weighted = (
        list(run(recipe(base=base, rows=rows, epochs=1, **more), home))
        for more in ({}, {"label_weights": "balanced"})
    )
    losses = [only(events, ev.EpochDone).loss for events in (plain, weighted)]
    assert losses[0] != losses[1]
    path = Path(only(weighted, ev.Packaged).folder) / "recipe.yaml"
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["label_weights"] == "balanced"


@pytest.mark.parametrize("count", [2, 3])
def test_training_that_brings_nothing_over_a_regression_is_not_kept(count, recipe, home, monkeypatch):
    monkeypatch.setattr(Validation, "gains_over", lambda *both: False)
    rows = [row for row in tiny.labels(120) if count == 3 or row["answer"] != "home"]
    given = recipe(rows=rows, tail_layers=1, learning_rate=1e-30)
    events = list(run(given, home))
    ended, card = only(events, ev.TrainingEnded), Store(home).get("tiny")
    assert ended.best_epoch == 0 and len(card.contract.labels) == count
    assert 0 < ended.simple_accuracy == card.simple_accuracy <= 1
    (text,) = [text for text in texts_of(events) if text.startswith("Logistic regression on ")]
    assert f"({100 * card.simple_accuracy:.1f} ± " in text
    report = (card.folder / "report.html").read_text()
    assert "No epoch was better" in report
    assert f"Logistic regression, cross-validated on {ended.heads[0].examples} training examples: " in report
    # The head is the regression, below it are the base's own layers.
    tail = load_file(card.folder / "tail.safetensors")
    specialist = new_specialist(open_base(given.base, home), card.contract, 1, 0, 0, torch.float32)
    base = specialist.base_tail().state_dict()
    fitted = ("head.weight", "head.bias", "centre", "words")
    assert all(tail[name].equal(base[name]) for name in tail if name not in fitted)
    assert tail["head.bias"].any()  # a nearest-centroid classifier has none
    assert {each.text for each in answer(home, "tiny", [row["prompt"] for row in rows[:20]])} > {"motor"}


def test_training_that_helps_is_kept_and_it_is_said_how_much(recipe, home, monkeypatch):
    monkeypatch.setattr(Validation, "gains_over", lambda *both: True)  # a linear head is right here
    events = list(run(recipe(rows=tiny.labels(120), tail_layers="all", epochs=6), home))
    ended, card = only(events, ev.TrainingEnded), Store(home).get("tiny")
    best = next(each for each in events if isinstance(each, ev.EpochDone) and each.epoch == ended.best_epoch)
    assert best.best and ended.best_epoch > 0
    gain = 100 * (best.validation_accuracy - card.simple_accuracy)
    start = f"Training brought {gain:+.1f} points over logistic regression on "
    assert any(text.startswith(start) for text in texts_of(events))


@pytest.mark.parametrize(
    ("base", "weights", "again"),
    [("encoder", "none", True), ("encoder", "balanced", False), ("decoder", "none", False)],
)
def test_few_examples_are_learned_from_with_those_of_the_validation(
    base, weights, again, recipe, home, monkeypatch
):
    monkeypatch.setattr(Validation, "gains_over", lambda *both: True)
    events = list(run(recipe(base=base, label_weights=weights, tail_layers=1), home))
    ended, ready = only(events, ev.TrainingEnded), only(events, ev.DataReady)
    count = ready.train + ready.validation
    text = f"all {count} examples, those of the validation too, and for as many epochs ({ended.best_epoch})."
    assert any(text in notice for notice in texts_of(events)) is again
    assert (Store(home).get("tiny").folder / cards.VALIDATION).is_file() is again


def texts_of(events):
    return [event.text for event in events if isinstance(event, ev.Notice)]


def test_only_labels_are_weighted(recipe, home):
    with pytest.raises(SettingError, match="not labels of a closed set"):
        list(run(recipe("json", "decoder", label_weights="balanced"), home))


# Data versions


def test_a_run_keeps_its_data_once_and_the_papers_name_them(recipe, home):
    settings = recipe(tail_layers=1)
    ready = only(list(run(settings, home)), ev.DataReady)
    list(run(settings.model_copy(update={"epochs": 1}), home))
    (version,) = Versions(home).list()
    assert ready.version == version.version == Store(home).get("tiny").data_version
    assert (version.counts, len(version.splits)) == ({"data": 48}, 1)
    assert version.mapping["prompt"] == "prompt"
    counts = {"train": ready.train, "validation": ready.validation, "test": ready.test}
    assert version.splits[0].counts == counts == Store(home).get("tiny").counts


def test_a_run_that_does_not_come_to_its_trunk_keeps_no_data(recipe, home):
    with pytest.raises(SettingError):
        list(run(recipe("text", "encoder"), home))
    assert Versions(home).list() == []


@pytest.mark.parametrize("base", ["encoder", "decoder"])
def test_what_was_erased_is_left_out_by_later_runs(base, recipe, home):
    rows = [{**row, "claim": f"C-{number}"} for number, row in enumerate(tiny.labels(60))]
    settings = recipe(rows=rows, base=base, tail_layers=1, id="claim", epochs=1)
    first = only(list(run(settings, home)), ev.DataReady)
    version = Versions(home).get(first.version)
    splits = Versions(home).splits(version, version.splits[0].name)
    gone = next(row for row in Versions(home).rows(version) if splits[row.questions[0]] == "train")
    cache = ActivationCache(home, "reader")
    before = cache._index.execute("SELECT COUNT(*) FROM entries").fetchone()[0]
    report = erasure.erase(home, [gone.id])
    after = cache._index.execute("SELECT COUNT(*) FROM entries").fetchone()[0]
    cache.close()
    assert (before - after, report.activations) == (1, 1)
    assert [(learner.name, learner.split) for learner in report.learners] == [("tiny@1", "train")]
    events = list(run(settings, home, fresh=True))
    second = only(events, ev.DataReady)
    assert (second.train, second.validation, second.test) == (first.train - 1, first.validation, first.test)
    assert "1 row is left out: it was erased (azubi data erase)." in [
        event.text for event in events if isinstance(event, ev.Notice)
    ]
    assert only(events, ev.TrunkDone).computed == 0, "all else was in the cache"
    assert second.version != first.version
    assert len(Versions(home).list()) == 2


def test_a_run_finishes_an_erasure_that_was_killed(recipe, home, monkeypatch):
    settings = recipe(tail_layers=1, epochs=1)
    list(run(settings, home))
    gone = next(Versions(home).rows(Versions(home).list()[0]))
    with monkeypatch.context() as patch:
        patch.setattr(erasure, "finish", lambda home: 0)
        erasure.erase(home, [gone.id])
    assert Versions(home).list()[0].rows == 48
    list(run(settings, home, fresh=True))
    assert [version.rows for version in Versions(home).list()] == [47, 47]
