"""The whole line on tiny random bases: events, what is written, what is not touched, what is told."""

import io
import itertools
import json
import re
import sqlite3
from pathlib import Path

import pytest
import torch
import yaml
from pydantic import ValidationError
from safetensors.torch import load_file
from transformers import AutoTokenizer

from azubi.cli.recipe_file import recipe_from
from azubi.data.datasets.versions import Versions
from azubi.data.example import Example, Turn
from azubi.data.splits import splitting
from azubi.data.splits.splitting import place
from azubi.engine.cache.activation_cache import ActivationCache, erase
from azubi.engine.specialist import Specialist
from azubi.engine.split_model import Activations
from azubi.errors import DataError, SettingError
from azubi.events import events as ev
from azubi.pipeline import erase as erasure
from azubi.pipeline.ask import answer
from azubi.pipeline.run import resume, run
from azubi.registry.store import Store
from azubi.settings import CacheSettings, LimitSettings, Recipe
from azubi.storage import files
from tests import tiny

STAGES = ["data", "base", "instruction", "trunk", "tail", "evaluate", "package"]
FILES = ["recipe.yaml", "report.html", "scope.safetensors", "specialist.json", "tail.safetensors"]
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


@pytest.fixture
def recipe(bases, tmp_path):
    """Make a recipe for small data of a task and one of the tiny bases."""

    def make(task="labels", base="encoder", rows=None, **settings):
        data = tiny.write(tmp_path / "notes.jsonl", rows or MAKERS[task]())
        told = {
            "name": "tiny",
            "data": data,
            "base": str(getattr(bases, base)),
            "epochs": 2,
            "learning_rate": 3e-3,
            "dtype": "float32",
            "threads": 1,
        }
        return Recipe(**told | settings)

    return make


def only(events, kind):
    (found,) = [event for event in events if isinstance(event, kind)]
    return found


def order(events):
    """The kinds of events, those of a row in a row once; progress left out."""
    kinds = (event.stage if event.kind == "stage_started" else event.kind for event in events)
    return [kind for kind, _ in itertools.groupby(kind for kind in kinds if kind != "progress")]


def hashes(folder):
    return {path.name: files.sha256(path) for path in Path(folder).iterdir()}


def folder_of(events):
    return Path(only(events, ev.Packaged).folder)


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
    told = [event for event in events if isinstance(event, ev.Progress)]
    assert all(event.left is not None and event.left >= 0 for event in told)
    assert all(0 <= event.done <= event.total for event in told)
    assert told[-1].left == 0
    assert {event.stage for event in told} >= {"tail", "evaluate", "package"}


def test_the_data_is_counted(line):
    _, _, events = line
    ready = only(events, ev.DataReady)
    assert ready.train + ready.validation + ready.test == 48
    assert min(ready.train, ready.validation, ready.test) > 0
    assert ready.labels == (("home", "motor", "travel") if ready.task == "labels" else ())
    assert ready.fields == (("line", "amount") if ready.task == "json" else ())


def test_the_folder_holds_the_specialist_and_nothing_else(line):
    _, home, events = line
    packaged = only(events, ev.Packaged)
    folder = Path(packaged.folder)
    assert folder == home / "specialists" / "tiny" / "1"
    assert sorted(path.name for path in folder.iterdir()) == FILES
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
    scores = [[e.scores for e in one if isinstance(e, ev.Measured)] for one in (events, again)]
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
        seen.append((self, {name: one.clone() for name, one in self.model._model.state_dict().items()}))

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
        *told, stopped = [ev.parse(text) for text in log.splitlines()]
        assert told == seen
        assert (stopped.kind, stopped.problem, stopped.resumable) == ("run_stopped", "Stopped.", True)
    cached = STAGES.index(stage) > STAGES.index("trunk") or (kind, stage) == ("progress", "trunk")
    assert bool(closed) == cached
    assert Store(home).list() == []


def test_runs_of_one_second_have_folders_of_their_own(recipe, home):
    under_way = [run(recipe(), home) for _ in range(3)]
    assert len({next(events).folder for events in under_way}) == 3


def test_unknown_settings_are_errors():
    with pytest.raises(ValidationError, match=r"tail_layer\n.*not permitted"):
        Recipe(tail_layer=1)


# The test


def test_a_given_test_is_the_test(recipe, home, tmp_path):
    tests = tiny.write(tmp_path / "test.jsonl", tiny.labels(20, seed=9))
    events = list(run(recipe(test_data=tests), home))
    ready = only(events, ev.DataReady)
    assert ready.test == 20
    assert {event.scores[0].n for event in events if isinstance(event, ev.Measured)} == {20}
    assert set(Store(home).get("tiny").data) == {"notes.jsonl", "test.jsonl"}


def test_data_and_test_of_the_same_name_are_both_on_the_papers(recipe, home, tmp_path):
    (tmp_path / "kept").mkdir()
    tests = tiny.write(tmp_path / "kept" / "notes.jsonl", tiny.labels(20, seed=9))
    list(run(recipe(test_data=tests), home))
    assert len(set(Store(home).get("tiny").data.values())) == 2


def test_no_prompt_stands_on_two_sides(recipe, home, tmp_path, monkeypatch):
    shared = tiny.labels(48)
    tests = tiny.write(
        tmp_path / "test.jsonl", [{**row, "prompt": row["prompt"].upper()} for row in shared[:10]]
    )
    read = []
    fill = Activations.fill
    monkeypatch.setattr(
        Activations, "fill", lambda self, cache, encoded: read.extend(encoded) or fill(self, cache, encoded)
    )
    events = list(run(recipe(rows=[*shared, shared[20]], test_data=tests), home))
    assert len(read) == 38
    told = [event.text for event in events if isinstance(event, ev.Notice)]
    assert told == [
        "1 repeated example is left out: the same prompt and answer count once.",
        "10 examples are not learned from, chosen with or tested with: the same or nearly the same prompt "
        "stands in another split.",
    ]


def test_nearly_the_same_prompts_keep_to_one_side_and_are_told(recipe, home, monkeypatch):
    parts = []
    split = splitting.split
    monkeypatch.setattr(splitting, "split", lambda *a, **k: parts.append(split(*a, **k)) or parts[0])
    words = "After the storm of that night the keeper told us of damage to the"
    rows = [
        {"prompt": f"{words} {thing} again, {n}", "answer": line}
        for line, things in tiny.THINGS.items()
        for thing in things
        for n in range(4)
    ]
    events = list(run(recipe(rows=[*tiny.labels(120), *rows]), home))
    kept = {side: {one.prompt for one in getattr(parts[0], side)} for side in ("train", "validation", "test")}
    assert sum(all(row["prompt"] not in kept[side] for side in kept) for row in rows) == parts[0].overlapping
    for thing in (thing for things in tiny.THINGS.values() for thing in things):
        family = f"{words} {thing} again"
        assert len({side for side in kept for prompt in kept[side] if family in prompt}) == 1, thing
    assert parts[0].moved > 0
    told = [event.text for event in events if isinstance(event, ev.Notice)]
    assert told == [
        f"{parts[0].moved} prompts are in another split than chance would have it: where nearly the same "
        "prompt stands."
    ]


def test_a_given_validation_chooses(recipe, home, tmp_path):
    checks = tiny.write(tmp_path / "checks.jsonl", tiny.labels(9, seed=5))
    events = list(run(recipe(validation_data=checks), home))
    assert only(events, ev.DataReady).validation == 9
    assert set(Store(home).get("tiny").data) == {"notes.jsonl", "checks.jsonl"}
    assert (Path(only(events, ev.Packaged).folder) / "recipe.yaml").read_text().count(str(checks)) == 1


def test_the_latest_are_tested_with(recipe, home):
    with pytest.raises(SettingError, match="no example has a time"):
        list(run(recipe(split={"by": "time"}), home))


def test_labels_that_only_a_given_test_has_are_refused(recipe, home, tmp_path):
    rows = [*tiny.labels(10, seed=9), {"prompt": "A dog was hit by hail, 12", "answer": "pets"}]
    with pytest.raises(DataError, match="labels that no training example has: “pets”"):
        list(run(recipe(test_data=tiny.write(tmp_path / "test.jsonl", rows)), home))


@pytest.mark.parametrize("base", ["encoder", "decoder"])
def test_labels_that_fell_into_the_test_alone_are_told_and_count_as_wrong(base, recipe, home):
    rare = [
        {"prompt": f"Our parrot choked on grape number {number}", "answer": "pets"} for number in range(200)
    ]
    lone = next(row for row in rare if place(Example((Turn("user", row["prompt"]),), "pets")) < 0.15)
    events = list(run(recipe(base=base, tail_layers=1, rows=[*tiny.labels(), lone]), home))
    assert only(events, ev.Notice).text == (
        "1 label is in the test alone, having too few examples, and will count as wrong: pets."
    )
    assert "pets" not in only(events, ev.DataReady).labels
    assert all(event.scores[0].value < 1 for event in events if isinstance(event, ev.Measured))


def test_rows_without_an_answer_are_told(recipe, home):
    rows = [*tiny.labels(), {"prompt": "The van was hit by a fox, 3", "answer": ""}]
    events = list(run(recipe(rows=rows), home))
    (path,) = home.glob("runs/*/rejected.jsonl")
    assert only(events, ev.Notice).text == (
        f"notes.jsonl: 1 row that cannot be used is left out (line 49: no answer), see {path}"
    )
    told = json.loads(path.read_text())
    assert (told["line"], told["reason"]) == (49, "no answer") and told["source"].endswith("notes.jsonl")
    assert "hit by a fox" in told["raw"]


def test_a_run_reads_a_database_and_keeps_no_password(recipe, home, tmp_path):
    path = tmp_path / "claims.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE claims (said TEXT, lob TEXT)")
        rows = [(row["prompt"], row["answer"]) for row in tiny.labels()]
        database.executemany("INSERT INTO claims VALUES (?, ?)", rows)
    database.close()
    url = f"sqlite:///{path}?password=hunter2"
    told = recipe(data=None, sql=url, query="SELECT * FROM claims", prompt="{said}", answer="lob")
    events = list(run(told, home))
    assert only(events, ev.DataReady).train > 30
    kept = [path for path in home.rglob("*") if path.is_file()]
    assert any(b"password=***" in path.read_bytes() for path in kept)
    assert not any(b"hunter2" in path.read_bytes() for path in kept)
    assert not any("hunter2" in event.model_dump_json() for event in events)


def test_examples_from_standard_input_are_gone_with_it(recipe, home, monkeypatch):
    def piped():
        text = "".join(json.dumps(row) + "\n" for row in tiny.labels())
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    piped()
    events = run(recipe(data=Path("-")), home)
    for event in events:
        if isinstance(event, ev.TrunkDone):
            break
    events.close()
    with pytest.raises(SettingError, match="came by standard input"):
        list(resume(home))
    piped()
    assert only(list(run(recipe(data=Path("-")), home)), ev.RunStarted).again


# The prime


def chats(system):
    return [
        {
            "messages": [
                {"role": "system", "content": system},
                {"role": "user", "content": row["prompt"]},
                {"role": "assistant", "content": row["answer"]},
            ]
        }
        for row in tiny.labels()
    ]


def test_the_prime_is_made_from_the_data_given_or_found_in_it(recipe, home, tmp_path):
    (tmp_path / "p.txt").write_text("From a file.\n")
    listed = "Answer with exactly one of these labels and nothing else: home, motor, travel."
    cases = [
        (None, tiny.labels(), listed, True),
        ("Sort.", tiny.labels(), "Sort.", False),
        (f"@{tmp_path / 'p.txt'}", tiny.labels(), "From a file.", False),
        ("", tiny.labels(), "", False),
        (None, chats("Sort claims."), "Sort claims.", False),
        ("Sort.", chats("Sort claims."), "Sort.", False),
    ]
    for given, rows, expected, made in cases:
        settings = recipe(base="decoder", rows=rows, instruction=given, tail_layers=1, epochs=1)
        events = list(run(settings, home))
        ready = only(events, ev.InstructionReady)
        assert (ready.text, ready.made) == (expected, made)
        assert Store(home).get("tiny").instruction == expected
        assert Store(home).get("tiny").recipe["instruction"] == expected


def test_a_prime_that_replaces_the_examples_own_is_told(recipe, home):
    events = list(
        run(recipe(base="decoder", rows=chats("Sort claims."), instruction="Sort.", epochs=1), home)
    )
    assert "replaces the system message" in only(events, ev.Notice).text


def test_an_encoder_reads_no_prime_and_says_so(recipe, home):
    events = list(run(recipe(instruction="Sort."), home))
    assert "encoder and reads no instruction" in only(events, ev.Notice).text
    assert only(events, ev.InstructionReady).text == Store(home).get("tiny").instruction == ""


@pytest.mark.parametrize("base", ["encoder", "decoder"])
def test_chats_that_share_a_system_message_give_the_same_specialist_again(base, recipe, home):
    first = list(run(recipe(base=base, rows=chats("Sort claims."), tail_layers=1), home))
    again = list(run(recipe_from(folder_of(first) / "recipe.yaml", {}), home))
    assert only(again, ev.TrunkDone).computed == 0
    same = [files.sha256(folder_of(events) / "tail.safetensors") for events in (first, again)]
    assert same[0] == same[1]


# What cannot be done is said before anything is trained


@pytest.mark.parametrize("base", ["encoder", "decoder"])
@pytest.mark.parametrize("side", ["data", "test"])
def test_an_example_longer_than_the_base_reads_counts_as_a_row_that_cannot_be_used(
    side, base, recipe, home, tmp_path
):
    rows = tiny.labels(30, seed=9)
    rows[4]["prompt"] += " hail" * tiny.CONTEXT
    if side == "data":
        settings = recipe(base=base, rows=[*tiny.labels(), *rows], epochs=1)
        settings.test_data = tiny.write(tmp_path / "test.jsonl", tiny.labels(9, seed=5))
        where = r"notes.jsonl: .*line 53"
    else:
        settings = recipe(base=base, test_data=tiny.write(tmp_path / "test.jsonl", rows), epochs=1)
        where = r"test.jsonl: .*line 5"
    told = rf"{where}:? has [\d,]+ tokens, but .* reads at most {tiny.CONTEXT}"
    strict = settings.model_copy(update={"limits": LimitSettings(rejected=0.01)})
    with pytest.raises(DataError, match=told) as caught:
        list(run(strict, home))
    assert "--base" in caught.value.remedy and not (home / "cache").exists()
    events = list(run(settings, home))
    assert any(re.search(told, one.text) for one in events if isinstance(one, ev.Notice))
    assert isinstance(events[-1], ev.RunEnded)
    (line,) = next((home / "runs").glob("*/rejected.jsonl")).read_text().splitlines()
    assert json.loads(line)["line"] == (53 if side == "data" else 5)


def test_a_test_question_that_leaves_no_room_for_an_answer(recipe, home, tmp_path, bases):
    """Its own answer fits, but the longest that is known would not: said before training, not after it."""
    words = AutoTokenizer.from_pretrained(bases.decoder)
    turns = [("system", "Sort."), ("user", "hail"), ("assistant", "No.")]
    chat = [{"role": role, "content": content} for role, content in turns]
    used = len(words.apply_chat_template(chat, return_dict=True)["input_ids"])
    rows = tiny.texts(10, seed=9)
    rows[4] = {"prompt": "hail" + " hail" * (tiny.CONTEXT - used), "answer": "No."}
    tests = tiny.write(tmp_path / "test.jsonl", rows)
    told = r"line 5 has [\d,]+ tokens if its answer is as long as the longest one, but .* reads at most"
    with pytest.raises(DataError, match=told):
        list(run(recipe("text", "decoder", test_data=tests, instruction="Sort."), home))
    assert not (home / "cache").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tail_layers": 9}, "tail_layers is 9, but .* has 3 layers"),
        ({"tail_layers": 0, "base": "decoder"}, "tail_layers is 0, a head alone"),
        ({"task": "text"}, "is an encoder and can only choose among labels, but the answers are free text"),
        ({"data": None}, "data is not set"),
    ],
)
def test_settings_that_contradict_the_base(settings, words, recipe, home):
    made = recipe(base=settings.pop("base", "encoder"))
    with pytest.raises(SettingError, match=words):
        list(run(made.model_copy(update=settings), home))
    assert not (home / "specialists").exists()


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
    (told,) = [event.text for event in events if isinstance(event, ev.Notice) and "not kept" in event.text]
    assert "quota of 0 GB" in told and "--cache-dtype int8" in told
    done = only(events, ev.TrunkDone)
    assert (done.computed, done.reused, done.bytes) == (0, 0, 0)
    losses = [
        [one.validation_loss for one in found if isinstance(one, ev.EpochDone)]
        for found in (with_room, events)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_the_form_of_the_cache_is_part_of_its_key(recipe, home):
    for form in ("float32", "bfloat16", "int8", "int8"):
        settings = recipe(tail_layers=1).model_copy(update={"cache": CacheSettings(dtype=form)})
        done = only(list(run(settings, home)), ev.TrunkDone)
        told = (done.computed > 0, done.reused > 0)
    assert told == (False, True)
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


def test_only_labels_are_weighted(recipe, home):
    with pytest.raises(SettingError, match="not labels of a closed set"):
        list(run(recipe("json", "decoder", label_weights="balanced"), home))


# Data versions


def test_a_run_keeps_its_data_once_and_the_papers_name_them(recipe, home):
    settings = recipe(tail_layers=1)
    ready = only(list(run(settings, home)), ev.DataReady)
    list(run(settings.model_copy(update={"epochs": 1}), home))
    (found,) = Versions(home).list()
    assert ready.version == found.version == Store(home).get("tiny").data_version
    assert (found.counts, len(found.splits)) == ({"data": 48}, 1)
    assert found.mapping["prompt"] == "prompt"
    counts = {"train": ready.train, "validation": ready.validation, "test": ready.test}
    assert found.splits[0].counts == counts == Store(home).get("tiny").counts


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
    assert [(one.name, one.split) for one in report.learners] == [("tiny@1", "train")]
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
    assert [one.rows for one in Versions(home).list()] == [47, 47]
