"""Erased rows are gone from data and cache, never come back, and whoever learned them is named."""

import json
import subprocess
import sys

import pytest
import torch

from azubi.data.datasets.erased import Erased
from azubi.data.datasets.rows import Row, rows_of, version_of
from azubi.data.datasets.versions import Versions
from azubi.data.example import Example, Turn
from azubi.data.splits.splitting import question
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.errors import CorruptFile, RunError, UnknownData
from azubi.events import events as ev
from azubi.pipeline import erase
from azubi.registry import card as cards
from azubi.registry.runs import Runs
from azubi.registry.store import Store
from azubi.settings import Recipe, SplitSettings
from tests.data.datasets.test_versions import examples, keep
from tests.dying import die_at
from tests.registry.sample import made

ROWS = [
    *examples(60),
    Example((Turn("user", "The car of Mr Miller was hit by hail"),), "answer 1", 60, key="C-7"),
]
MILLER = ROWS[-1]


def put(home, name, version, parent="", seed=0):
    """A specialist that was made from a data version, or went on from another."""
    number, folder = Store(home).reserve(name)
    folder.mkdir(parents=True)
    recipe = Recipe(name=name, seed=seed).model_dump(mode="json")
    card = made(name=name, version=number, data_version=version, parent=parent, recipe=recipe)
    cards.write(card, folder)
    Store(home).register(card)
    return folder


def activate(home, version, rows):
    """What the trunk would have kept of rows, as keys in a cache."""
    cache = ActivationCache(home, version)
    cache.note((f"key of {row.prompt}", question(row.prompt)) for row in rows)
    cache.write((f"key of {row.prompt}", torch.full((3, 8), float(row.line))) for row in rows)
    cache.close()


def cached(home, example):
    cache = ActivationCache(home, "reader")
    try:
        return cache.read(f"key of {example.prompt}") is not None
    finally:
        cache.close()


def stored(home):
    versions = Versions(home)
    return {version.version: [row.example for row in versions.rows(version)] for version in versions.list()}


@pytest.fixture
def filled(home):
    """A home with two data versions that hold the row, and specialists of them."""
    fill(home)
    return home


def fill(home):
    first, parts, _ = keep(home, ROWS)
    second, *_ = keep(home, [*ROWS, *examples(10, 100)])
    third, *_ = keep(home, examples(60))
    put(home, "one", first)
    put(home, "two", second)
    put(home, "child", third, parent="one@1")
    put(home, "other", third)
    activate(home, first, [MILLER, *ROWS[:5]])
    return parts


def test_a_row_is_gone_everywhere_and_its_learners_are_named(filled):
    report = erase.erase(filled, ["C-7"])
    assert (report.rows, report.activations, len(report.versions)) == (2, 1, 2)
    split = split_of(filled)
    assert [(learner.name, learner.split, learner.through) for learner in report.learners] == [
        ("one@1", split, ""),
        ("two@1", split, ""),
        ("child@1", split, "one@1"),
    ]
    assert all(MILLER not in rows for rows in stored(filled).values())
    assert sorted(map(len, stored(filled).values())) == [60, 60, 70]
    assert not cached(filled, MILLER)
    assert all(cached(filled, row) for row in ROWS[:5])
    assert not any(b"Miller" in path.read_bytes() for path in filled.rglob("*") if path.is_file())
    assert not any(b"C-7" in path.read_bytes() for path in filled.rglob("*") if path.is_file())


def split_of(home):
    """Where the row stood."""
    for split in ("train", "validation", "test"):
        if MILLER in getattr(keep(home.parent / "aside", ROWS)[1], split):
            return split
    raise AssertionError


def test_it_does_not_come_back(filled):
    erase.erase(filled, ["C-7"])
    erased = Erased(filled)
    assert erased.holds(Row(MILLER))
    without_key = Example(MILLER.turns, MILLER.answer)
    assert erased.holds(Row(without_key)), "nor without its key"
    answered_otherwise = Example(MILLER.turns, "other", key="C-7")
    assert erased.holds(Row(answered_otherwise)), "nor with another answer"
    assert not erased.holds(Row(Example(MILLER.turns, MILLER.answer, key="C-8"))), (
        "other rows of the content stay"
    )
    assert erased.without(rows_of({"data": ROWS})) == rows_of({"data": ROWS[:-1]})


def test_a_run_that_read_it_before_cannot_keep_it(filled):
    rows = [*ROWS, *examples(3, 300)]
    erase.erase(filled, ["C-7"])
    with pytest.raises(RunError, match="erased while"):
        keep(filled, rows)
    assert version_of(rows_of({"data": rows})) not in stored(filled)


def test_asked_again_it_tells_the_same(filled):
    first = erase.erase(filled, ["C-7"])
    again = erase.erase(filled, ["C-7"])
    assert (again.rows, again.activations) == (0, 0)
    assert (again.versions, again.learners) == (first.versions, first.learners)
    assert erase.erase(filled, [MILLER.id]).learners == first.learners, "by its content, too"


def test_an_unknown_id_erases_nothing(filled):
    before = stored(filled)
    with pytest.raises(UnknownData, match=r"“C-8”\. Nothing was erased"):
        erase.erase(filled, ["C-7", "C-8"])
    assert stored(filled) == before and cached(filled, MILLER)
    assert not (filled / "data" / "erased.json").exists()


def test_a_row_without_a_key_is_erased_by_its_content(filled):
    row = ROWS[3]
    report = erase.erase(filled, [row.id])
    assert (report.rows, report.activations) == (3, 1)
    assert [len(rows) for rows in stored(filled).values()].count(59) == 1
    assert {learner.name for learner in report.learners} == {"one@1", "two@1", "child@1", "other@1"}


def test_where_it_is_quoted_is_told(filled):
    folder = put(filled, "quoting", "")
    (folder / "report.html").write_text("<td>The car of Mr Miller was hit by hail</td>")
    run = Runs(filled).begin("one", "x", {})
    run.log(ev.Compared(prompt=MILLER.prompt, base="", specialist="", truth=""))
    report = erase.erase(filled, ["C-7"])
    assert set(report.quoted) == {folder / "report.html", run.folder / "events.jsonl"}
    assert report.running == (run.id,)
    run.release()


def test_if_an_instruction_quotes_it_all_activations_go(filled):
    run = Runs(filled).begin("one", "x", {})
    prime = f"Sort it.\n\nExamples:\n\nMessage: {MILLER.prompt}\nAnswer: answer 1"
    run.log(ev.InstructionReady(text=prime, tokens=9, made=True))
    run.release()
    erase.erase(filled, ["C-7"])
    assert not any(cached(filled, row) for row in ROWS[:5])


def test_erased_rows_are_not_forgotten_with_a_lost_key(filled):
    erase.erase(filled, ["C-7"])
    (filled / "keys" / "erased.key").unlink()
    with pytest.raises(CorruptFile, match="would be learned again"):
        Erased(filled)
    (filled / "data" / "erased.json").write_text("{")
    with pytest.raises(CorruptFile, match="is not known"):
        Erased(filled)


def test_an_empty_home_knows_no_row_and_is_not_made(home):
    with pytest.raises(UnknownData, match="No stored row"):
        erase.erase(home, ["C-7"])
    assert erase.finish(home) == 0
    assert not home.exists()


def test_an_erasure_that_is_killed_anywhere_is_finished(tmp_path):
    """A child dies at its first step, its third step, …, until it comes through."""
    for step in range(1, 200, 2):
        home = tmp_path / f"step {step}"
        fill(home)
        copies = {path: path.read_bytes() for path in (home / "data").rglob("*.bin")}
        code = die_at(step, lambda home=home: erase.erase(home, ["C-7"]))
        there = stored(home)
        assert sorted(map(len, there.values())) in ([60, 61, 71], [60, 60, 71], [60, 61, 70], [60, 60, 70])
        noted = bool(Erased(home).erasures)
        erase.finish(home)
        if not noted:
            assert stored(home) == there and cached(home, MILLER), "as if nothing had been asked for"
            erase.erase(home, ["C-7"])
        assert sorted(map(len, stored(home).values())) == [60, 60, 70]
        assert not cached(home, MILLER) and all(cached(home, row) for row in ROWS[:5])
        learners = erase.erase(home, ["C-7"]).learners
        assert [learner.name for learner in learners] == ["one@1", "two@1", "child@1"]
        assert not any(opened(home, path, content) for path, content in copies.items())
        assert [*(home / "data").rglob(".*.bin.*"), *(home / "cache" / "shards").glob(".*")] == []
        if code == 0:
            assert step > 20, "the child was to die at many places"
            return
    raise AssertionError("the child never came through")


def opened(home, path, content):
    """Whether a copy of an old file of rows or splits of the two versions can still be read."""
    newest = {version.version for version in Versions(home).list() if version.generation == 1}
    if path.parent.name in newest:
        return False
    path.write_bytes(content)
    manifest = Versions(home).get(path.parent.name).model_copy(update={"generation": 1})
    try:
        list(Versions(home)._lines(manifest, path.name))
    except CorruptFile:
        return False
    finally:
        path.unlink()
    return True


ERASE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from azubi.pipeline import erase
for row in sys.argv[3:]:
    erase.erase(Path(sys.argv[1]), [row])
"""


def test_two_processes_erase_at_once(filled, request):
    ids = ["C-7", *(row.id for row in ROWS[:5])]
    line = [sys.executable, "-c", ERASE, str(filled), str(request.config.rootpath)]
    both = [subprocess.Popen([*line, *order]) for order in (ids, ids[::-1])]
    assert [process.wait(200) for process in both] == [0, 0]
    assert sorted(map(len, stored(filled).values())) == [55, 55, 65]
    assert not any(cached(filled, row) for row in (MILLER, *ROWS[:5]))
    book = json.loads((filled / "data" / "erased.json").read_text())["erasures"]
    assert all(entry["done"] for entry in book)
    assert all(Erased(filled).holds(Row(row)) for row in (MILLER, *ROWS[:5]))


def test_another_seed_stands_elsewhere(filled):
    how = SplitSettings()
    version, parts, _ = keep(filled, ROWS, how, seed=5)
    put(filled, "fifth", version, seed=5)
    split = next(split for split in ("train", "validation", "test") if MILLER in getattr(parts, split))
    learners = {learner.name: learner.split for learner in erase.erase(filled, ["C-7"]).learners}
    assert learners["fifth@1"] == split
