"""Versions are kept once, read by their key's holder alone, and their splits hold."""

import subprocess
import sys
from dataclasses import replace

import pytest

from azubi.data.datasets.rows import Manifest, rows_of, split_note, version_of
from azubi.data.datasets.versions import Versions, now
from azubi.data.example import Example, Turn
from azubi.data.splits.splitting import SplitState, question, split
from azubi.errors import CorruptFile, UnknownData
from azubi.settings import SplitSettings
from azubi.storage.encrypted_file import Keys


def examples(count, start=0, **more):
    return [
        Example((Turn("user", f"question number {n}"),), f"answer {n % 7}", n, time=f"2025-{n:04}", **more)
        for n in range(start, start + count)
    ]


def keep(home, rows, how=None, seed=0):
    """Split as a run does, and keep it; gives the version's name and the split."""
    how = how or SplitSettings()
    stored = rows_of({"data": rows})
    version = version_of(stored)
    versions = Versions(home)
    name = split_note(split(rows, how, seed), how, seed, ()).name
    earlier, follows = versions.earlier(version, name, {question(row.prompt) for row in rows})
    parts = split(rows, how, seed, earlier=earlier)
    manifest = Manifest(
        version=version, created=now(), source={"a.csv": "ab"}, mapping={}, counts={"data": len(rows)}
    )
    note = split_note(parts, how, seed, (), follows)
    return version, parts, versions.keep(manifest, stored, note, parts.state.splits)


def test_rows_come_back_and_lie_nowhere_in_the_open(home):
    version, parts, new = keep(home, examples(60))
    versions = Versions(home)
    stored = versions.get(version)
    assert new and [row.example for row in versions.rows(stored)] == examples(60)
    assert stored.splits[0].counts == {
        "train": len(parts.train),
        "validation": len(parts.validation),
        "test": len(parts.test),
    }
    assert not any(b"question number" in path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert {path.stat().st_mode & 0o777 for path in (home / "keys").glob("*.key")} == {0o600}


def test_runs_of_the_same_data_make_one_version(home):
    first, _, new = keep(home, examples(60))
    second, _, again = keep(home, examples(60)[::-1])
    assert (first, new, again) == (second, True, False)
    third, _, other = keep(home, examples(60), SplitSettings(test=0.3))
    assert (third, other) == (first, True)
    (version,) = Versions(home).list()
    assert [split.settings.test for split in version.splits] == [0.15, 0.3]


def test_a_version_is_found_by_how_its_name_begins(home):
    first, two = keep(home, examples(60))[0], keep(home, examples(70))[0]
    versions = Versions(home)
    assert versions.get(first[:9]).version == first
    assert {version.version for version in versions.list()} == {first, two}
    for name in ("xyz", ""):
        with pytest.raises(UnknownData, match="There is no data version"):
            versions.get(name)


def test_a_beginning_that_two_share_names_neither(home, monkeypatch):
    for name in ("abc1", "abc2"):
        keep(home, examples(60))
        (home / "data" / name).mkdir(parents=True)
        manifest = Versions(home).list()[0].model_copy(update={"version": name})
        (home / "data" / name / "manifest.json").write_text(manifest.model_dump_json())
    with pytest.raises(UnknownData, match="begins the names of 2"):
        Versions(home).get("abc")


def test_an_empty_home_is_not_made(home):
    assert Versions(home).list() == []
    assert Versions(home).earlier("abc", "def", set()) == (SplitState(), "")
    assert not home.exists()


def test_without_the_key_nothing_is_read_and_that_is_said(home):
    version, *_ = keep(home, examples(60))
    versions = Versions(home)
    Keys(home, "data").throw_away(f"{version}.1")
    with pytest.raises(CorruptFile, match=r"cannot be read.*is gone"):
        list(Versions(home).rows(versions.get(version)))


def test_a_damaged_manifest_is_named(home):
    version, *_ = keep(home, examples(60))
    (home / "data" / version / "manifest.json").write_text("{")
    with pytest.raises(CorruptFile, match=r"manifest\.json cannot be read"):
        Versions(home).list()


@pytest.mark.parametrize(
    "how",
    [{}, {"by": "time"}],
    ids=["prompt", "time"],
)
def test_new_rows_in_front_and_in_between_move_nothing(home, how):
    settings = SplitSettings(**how)
    _, before, _ = keep(home, examples(100, 50), settings)
    _, after, _ = keep(home, [*examples(50), *examples(100, 50), *examples(40, 200)], settings)
    for side in ("train", "validation", "test"):
        assert set(getattr(before, side)) <= set(getattr(after, side))
    # And once more, in another order: the same split.
    _, again, _ = keep(home, [*examples(40, 200), *examples(150)[::-1]], settings)
    assert again.state.splits == after.state.splits


def test_cut_offs_are_kept_by_what_follows_and_by_nothing_else(home):
    by_time = SplitSettings(by="time")
    version, before, _ = keep(home, examples(100), by_time)
    _, after, _ = keep(home, examples(140), by_time)
    assert after.state.test_from == before.state.test_from
    assert {version.version: version.splits[0].follows for version in Versions(home).list()}[version] == ""
    others = [
        replace(example, turns=(Turn("user", f"something else {example.line}"),))
        for example in examples(100, 500)
    ]
    _, apart, _ = keep(home, others, by_time)
    assert apart.state.test_from > after.state.test_from


def test_another_seed_or_share_is_another_split(home):
    rows = examples(100)
    keep(home, rows)
    for how, seed in ((SplitSettings(), 1), (SplitSettings(test=0.4), 0)):
        _, parts, _ = keep(home, rows, how, seed)
        assert parts == split(rows, how, seed)


def test_rows_that_are_taken_out_are_gone_and_old_copies_unreadable(home):
    version, parts, _ = keep(home, examples(60))
    folder = home / "data" / version
    copies = {path.name: path.read_bytes() for path in folder.glob("*.bin")}
    gone = parts.train[0]
    assert Versions(home).take_out(version, lambda row: row.example == gone) == 1
    versions = Versions(home)
    stored = versions.get(version)
    assert (stored.rows, stored.erased, stored.generation) == (59, 1, 2)
    assert gone not in [row.example for row in versions.rows(stored)]
    assert question(gone.prompt) not in versions.splits(stored, stored.splits[0].name)
    assert len(versions.splits(stored, stored.splits[0].name)) == 59
    assert Keys(home, "data").versions() == [f"{version}.2"]
    assert not set(copies) & {path.name for path in folder.iterdir()}
    for name, content in copies.items():
        (folder / name.replace(".1.", ".2.")).write_bytes(content)
    with pytest.raises(CorruptFile):
        list(Versions(home).rows(stored))


KEEP = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.data.datasets.test_versions import keep, examples
from azubi.settings import SplitSettings
for test in (0.1, 0.2, 0.3):
    for count in (60, 70):
        keep(Path(sys.argv[1]), examples(count), SplitSettings(test=test))
"""


def test_two_processes_keep_the_same_versions_at_once(home, request):
    line = [sys.executable, "-c", KEEP, str(home), str(request.config.rootpath)]
    both = [subprocess.Popen(line) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    versions = Versions(home)
    assert sorted(len(list(versions.rows(version))) for version in versions.list()) == [60, 70]
    for version in versions.list():
        assert len(version.splits) == 3
        assert all(versions.splits(version, note.name) for note in version.splits)


def test_versions_of_one_second_are_told_in_the_order_they_came(home):
    names = [keep(home, examples(count))[0] for count in (60, 61, 62, 63, 64, 65)]
    assert [version.version for version in Versions(home).list()] == names[::-1]
