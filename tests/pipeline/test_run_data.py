"""Runs and their data: the test, the validation, the instruction, and what cannot be used."""

import io
import json
import re
import sqlite3
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from azubi.cli.recipe_file import recipe_from
from azubi.data.example import Example, Turn
from azubi.data.splits import splitting
from azubi.data.splits.splitting import place
from azubi.engine.inference.review import RARE_SHARE
from azubi.engine.split_model import Activations
from azubi.errors import DataError, SettingError
from azubi.events import events as ev
from azubi.pipeline import ask
from azubi.pipeline.run import resume, run
from azubi.registry.store import Store
from azubi.settings import LimitSettings
from azubi.storage import files
from tests import tiny
from tests.pipeline.runs import folder_of, notices, only

MAKERS = {"labels": tiny.labels, "json": tiny.records, "text": tiny.texts}


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
    assert notices(events) == [
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
    kept = {
        side: {example.prompt for example in getattr(parts[0], side)}
        for side in ("train", "validation", "test")
    }
    assert sum(all(row["prompt"] not in kept[side] for side in kept) for row in rows) == parts[0].overlapping
    for thing in (thing for things in tiny.THINGS.values() for thing in things):
        family = f"{words} {thing} again"
        assert len({side for side in kept for prompt in kept[side] if family in prompt}) == 1, thing
    assert parts[0].moved > 0
    assert notices(events) == [
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
    (notice,) = notices(events)
    assert notice == ("1 label is in the test alone, having too few examples, and will count as wrong: pets.")
    assert "pets" not in only(events, ev.DataReady).labels
    assert all(event.scores[0].value < 1 for event in events if isinstance(event, ev.Measured))


@pytest.mark.parametrize("base", ["encoder", "decoder"])
def test_rare_labels_are_named_and_answers_with_them_go_to_review(base, recipe, home):
    pets = [{"prompt": f"Our parrot choked on grape number {n}", "answer": "pets"} for n in range(3)]
    events = list(run(recipe(base=base, tail_layers=1, rows=[*tiny.labels(), *pets]), home))
    card = Store(home).get("tiny")
    few = card.contract.rare["pets"]
    assert few < 4 and [notice for notice in notices(events) if "too rare" in notice] == [
        f"1 label with fewer than 5 training examples is too rare to be learned: pets ({few}). Answers that "
        "are or may be one of these are marked for review."
    ]
    answers = ask.answer(home, "tiny", [row["prompt"] for row in (*tiny.labels(20, seed=7), *pets)])
    assert all(answer.review for answer in answers if answer.text == "pets")
    assert all(len(answer.probabilities) == 4 for answer in answers)
    assert [answer.review for answer in answers] == [
        answer.text == "pets" or answer.probabilities[card.contract.labels.index("pets")] >= RARE_SHARE
        for answer in answers
    ]
    assert "Too rare to be learned" in (card.folder / "report.html").read_text()


def perils(count=96, seed=0):
    """Rows whose labels have two levels, with the peril in the text."""
    for row in tiny.labels(count, seed):
        peril = "weather" if re.search("hail|storm|leak", row["prompt"]) else "other"
        yield row | {"answer": f"{row['answer']}/{peril}"}


@pytest.mark.parametrize("base", ["encoder", "decoder"])
def test_levels_of_labels_are_scored_and_an_answer_falls_back_to_the_certain_one(base, recipe, home):
    events = list(run(recipe(base=base, tail_layers=1, rows=list(perils())), home))
    assert any(notice.startswith("The labels have 2 levels, parted by “/”") for notice in notices(events))
    card = Store(home).get("tiny")
    assert (card.contract.levels, card.contract.separator, len(card.certain)) == (("1", "2"), "/", 2)
    names = [score.name for score in card.scores["specialist"]]
    assert names == ["accuracy", "level:1", "level:2", "macro_f1"]
    assert "Level “1” right" in (card.folder / "report.html").read_text()
    for answer in ask.answer(home, "tiny", [row["prompt"] for row in perils(20, seed=7)]):
        top, whole = answer.levels.items()
        assert whole[0] == answer.text and whole[1] == pytest.approx(answer.confidence, abs=1e-4)
        assert top[1] >= whole[1]
        sure = card.certain[1] is not None and answer.confidence >= card.certain[1]
        assert answer.review is not sure


def test_levels_that_are_declared_hold_and_are_named(recipe, home):
    kinds = [row | {"answer": row["answer"].replace("travel/other", "travel")} for row in perils()]
    (notice,) = [text for text in notices(list(run(recipe(rows=kinds), home))) if "levels" in text]
    assert "but “travel” has not as many: they are taken as they are" in notice
    declared = {"line/peril": {"column": "answer", "levels": "/"}}
    labels = recipe(rows=kinds, answer=declared).model_copy(update={"task": "labels"})
    events = list(run(labels, home))
    assert not any("levels" in text for text in notices(events))
    assert Store(home).get("tiny").contract.levels == ("line", "peril")
    with pytest.raises(SettingError, match="Only labels have levels or an order"):
        list(run(recipe(rows=kinds, answer=declared), home))
    two = {"line": {"column": "answer"}, "prompt": {"column": "prompt"}}
    with pytest.raises(SettingError, match="makes records of 2 fields"):
        list(run(recipe(rows=kinds, answer=two).model_copy(update={"task": "labels"}), home))


def test_an_order_of_labels_is_scored_and_kept(recipe, home):
    ordered = {"line": {"column": "answer", "order": ["travel", "home", "motor"]}}
    labels = recipe(answer=ordered, base="encoder", tail_layers=0).model_copy(update={"task": "labels"})
    list(run(labels, home))
    card = Store(home).get("tiny")
    assert card.contract.order == ("travel", "home", "motor")
    scores = [score.name for score in card.scores["specialist"]]
    assert scores == ["accuracy", "within_one", "macro_f1", "weighted_kappa"]
    assert "At most one step off" in (card.folder / "report.html").read_text()
    # A specialist that is trained on keeps the order, and a new label has to have a place in it.
    onwards = recipe(rows=[row | {"answer": "boats"} for row in tiny.labels(16)] + list(tiny.labels(16, 3)))
    with pytest.raises(SettingError, match="no place in the order that is given: “boats”"):
        list(run(onwards.model_copy(update={"from_": "tiny", "task": "labels"}), home))
    for order, fault in (["home", "motor"], "“travel”"), (["home", "home"], "names “home” twice"):
        wrong = {"line": {"column": "answer", "order": order}}
        with pytest.raises(SettingError, match=fault):
            list(run(recipe(answer=wrong).model_copy(update={"task": "labels"}), home))


def test_rows_without_an_answer_are_told(recipe, home):
    rows = [*tiny.labels(), {"prompt": "The van was hit by a fox, 3", "answer": ""}]
    events = list(run(recipe(rows=rows), home))
    (path,) = home.glob("runs/*/rejected.jsonl")
    (notice,) = notices(events)
    assert notice == (f"notes.jsonl: 1 row that cannot be used is left out (line 49: no answer), see {path}")
    document = json.loads(path.read_text())
    assert (document["line"], document["reason"]) == (49, "no answer") and document["source"].endswith(
        "notes.jsonl"
    )
    assert "hit by a fox" in document["raw"]


def test_a_run_reads_a_database_and_keeps_no_password(recipe, home, tmp_path):
    path = tmp_path / "claims.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE claims (said TEXT, lob TEXT)")
        rows = [(row["prompt"], row["answer"]) for row in tiny.labels()]
        database.executemany("INSERT INTO claims VALUES (?, ?)", rows)
    database.close()
    url = f"sqlite:///{path}?password=hunter2"
    given = recipe(data=None, sql=url, query="SELECT * FROM claims", prompt="{said}", answer="lob")
    events = list(run(given, home))
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
    (notice,) = notices(events)
    assert "replaces the system message" in notice


def test_an_encoder_reads_no_prime_and_says_so(recipe, home):
    events = list(run(recipe(instruction="Sort."), home))
    (notice,) = notices(events)
    assert "encoder and reads no instruction" in notice
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
    message = rf"{where}:? has [\d,]+ tokens, but .* reads at most {tiny.CONTEXT}"
    strict = settings.model_copy(update={"limits": LimitSettings(rejected=0.01)})
    with pytest.raises(DataError, match=message) as caught:
        list(run(strict, home))
    assert "--base" in caught.value.remedy and not (home / "cache").exists()
    events = list(run(settings, home))
    assert any(re.search(message, event.text) for event in events if isinstance(event, ev.Notice))
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
    message = r"line 5 has [\d,]+ tokens if its answer is as long as the longest one, but .* reads at most"
    with pytest.raises(DataError, match=message):
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
