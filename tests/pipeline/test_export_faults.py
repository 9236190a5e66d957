"""An export that is cut off, finds no room or is changed afterwards: whole, not there, or refused by name."""

import errno
import os
import shutil
import subprocess
import sys

import pytest

from azubi.cli import main
from azubi.errors import CorruptFile, StorageError
from azubi.events.events import finish
from azubi.pipeline import ask
from azubi.pipeline.export import ExportOptions, export
from azubi.pipeline.promote import promote
from azubi.pipeline.stages.packaging import write_version
from azubi.registry import bundle, signature
from azubi.registry.store import Store
from tests import tiny
from tests.disk import fill_up, mounted
from tests.dying import die_at
from tests.pipeline import runs

NOTHING_ASKED = ExportOptions(examples=0)


@pytest.fixture(scope="module")
def signing(bases, tmp_path_factory):
    """A home with a key and a label head that was trained for a moment."""
    folder = tmp_path_factory.mktemp("signing")
    made = runs.make(folder, bases.encoder, tiny.labels(40), epochs=1)
    signature.make_key(made.home)
    Store(made.home).sign(Store(made.home).get("tiny"))
    return made.home


@pytest.fixture
def copied(signing, tmp_path, monkeypatch):
    """A copy of that home, from which the specialist is read once for all exports."""
    home = shutil.copytree(signing, tmp_path / "copied")
    specialist = ask.loaded(Store(home).get("tiny"), home)
    monkeypatch.setattr(ask, "loaded", lambda card, home: specialist)
    return home


@pytest.fixture
def exported(signing, tmp_path):
    return finish(export("tiny", "delta", tmp_path / "out", signing, NOTHING_ASKED)).folder


def key_of(home):
    return home / "keys" / signature.PUBLIC_KEY


def test_killed_at_any_step_an_export_is_whole_or_not_there(copied, tmp_path):
    place = tmp_path / "place"
    finish(export("tiny", "delta", tmp_path / "before", copied, NOTHING_ASKED))  # imports what it takes
    for step in range(1, 200):
        code = die_at(
            step, lambda: finish(export("tiny", "delta", place / "out", copied, NOTHING_ASKED)), opening=True
        )
        Store(copied).log.entries()
        there = sorted(path.name for path in place.iterdir()) if place.exists() else []
        hidden = [name for name in there if name.startswith(".out-failed.")]
        assert len(hidden) <= 1 and {*there} <= {*hidden, "out-failed", "out"}, "the next one cleans up"
        for name in {*there} - {*hidden}:
            signature.verify(place / name, [key_of(copied)])
        if code == 0:
            break
        assert code == 9
        if "out" in there:
            shutil.rmtree(place / "out")
    else:
        pytest.fail("it never came to its end")
    assert step > 40 and there == ["out"]


@pytest.mark.parametrize("call", ["fsync", "replace", "rename"])
def test_a_disk_that_is_full_at_any_step_leaves_no_export(call, copied, tmp_path, monkeypatch):
    real, failing = getattr(os, call), [0]

    def full(*given):
        failing[0] -= 1
        if failing[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*given)

    monkeypatch.setattr(os, call, full)
    place = tmp_path / "place"
    place.mkdir()
    for number in range(1, 99):
        failing[0] = number
        try:
            finish(export("tiny", "delta", place / "out", copied, NOTHING_ASKED))
        except StorageError as error:
            assert "disk is full" in error.problem
            assert {path.name for path in place.iterdir()} <= {"out-failed"}
        else:
            break
    assert number > 1 and [path.name for path in place.iterdir()] == ["out"]


@pytest.mark.parametrize("what", ["register", "promote", "export", "push"])
def test_on_a_disk_without_room_all_is_as_before(what, signing, tmp_path, monkeypatch):
    with mounted(tmp_path / "disk", "size=8m") as disk:
        home = shutil.copytree(signing, disk / "home", ignore=shutil.ignore_patterns("runs", "cache"))
        store = Store(home)
        card = store.get("tiny")
        specialist = ask.loaded(card, home)
        monkeypatch.setattr(ask, "loaded", lambda card, home: specialist)

        def register():
            version, folder = store.reserve("other")
            tail = dict(specialist.tail.state_dict())
            another = card.model_copy(update={"name": "other", "version": version})
            store.register(write_version(another, tail, "<html>", folder, home=home))

        work = {
            "register": register,
            "promote": lambda: promote("tiny", home, "try", force=True),
            "export": lambda: finish(export("tiny", "delta", disk / "out", home, NOTHING_ASKED)),
            "push": lambda: bundle.push(home, disk / "bundle", ["tiny"]),
        }[what]
        before = [entry.hash for entry in store.log.entries()]
        for room in (0, *(4096 << power for power in range(11))):
            fill_up(disk, room)
            try:
                work()
            except StorageError as error:
                assert "disk is full" in error.problem
                assert [entry.hash for entry in store.log.entries()] == before
                assert not (disk / "out").exists() and not list(disk.glob("bundle/*/*.json"))
                store.verify(store.get("tiny@1"))
            else:
                break
        assert room > 0, "it fitted on a full disk"
        assert len(store.log.entries()) == len(before) + (what != "push")
        assert what != "push" or bundle.pull(tmp_path / "other", disk / "bundle", key=key_of(home)) == [
            "tiny@1"
        ]
        assert not list(disk.glob("**/.*.????????"))


def test_a_fresh_machine_verifies_an_export_with_the_senders_key(signing, exported, tmp_path):
    key, nowhere = shutil.copy(key_of(signing), tmp_path / "sender.pub"), tmp_path / "nobody"
    nowhere.mkdir()
    environment = {"HOME": str(nowhere), "PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    call = [sys.executable, "-m", "azubi", "verify", str(exported), "--key", str(key)]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, cwd=nowhere)
    assert done.returncode == 0, done.stderr
    assert "all as they were signed" in done.stdout and signature.fingerprint(key) in done.stdout
    assert "came with the folder" not in done.stdout
    assert list(nowhere.iterdir()) == []


@pytest.mark.parametrize("how", ["flipped", "cut", "emptied", "gone", "more"])
def test_every_file_of_an_export_is_verified_and_named(how, signing, exported, tmp_path, capsys):
    command = ["verify", str(exported), "--key", str(key_of(signing)), "--home", str(tmp_path / "fresh")]
    assert main(command) == 0
    paths = [path for path in exported.rglob("*") if path.is_file()]
    assert len(paths) > 10
    for path in paths:
        content, place = path.read_bytes(), path.stat().st_size // 2
        other = path.with_name(f"{path.name}.more") if how == "more" else path
        changed = {
            "flipped": content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :],
            "cut": content[:-1],
            "emptied": b"",
        }
        path.unlink() if how == "gone" else other.write_bytes(changed.get(how, content))
        capsys.readouterr()
        assert main(command) == 1, path.name
        assert other.name in capsys.readouterr().err.replace("\n", "")
        other.unlink(missing_ok=True)
        path.write_bytes(content)
    assert main(command) == 0 and not (tmp_path / "fresh").exists()


def test_without_its_signature_an_export_is_not_the_senders(signing, exported, tmp_path, capsys):
    """Whoever changes a file may list the hashes anew, but not sign them."""
    for name in (signature.SIGNATURE, signature.PUBLIC_KEY):
        (exported / name).unlink()
    assert main(["verify", str(exported), "--key", str(key_of(signing)), "--home", str(tmp_path / "x")]) == 1
    assert "model.sig is missing" in capsys.readouterr().err
    other = signature.make_key(tmp_path / "other")
    signature.sign(exported, tmp_path / "other")
    with pytest.raises(CorruptFile, match="not made with a key that is trusted"):
        signature.verify(exported, [key_of(signing)])
    assert signature.verify(exported, [other])


@pytest.mark.parametrize("how", ["flipped", "cut"])
def test_every_file_of_a_signed_bundle_is_verified_and_named(how, signing, tmp_path):
    place = tmp_path / "bundle"
    bundle.push(signing, place)
    paths = [path for path in place.rglob("*") if path.is_file() and path.name != ".lock"]
    assert {"1.json", signature.SIGNATURE, signature.PUBLIC_KEY, "lineage.json"} <= {
        path.name for path in paths
    }
    for path in paths:
        content, middle = path.read_bytes(), path.stat().st_size // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes(flipped if how == "flipped" else content[:-1])
        with pytest.raises(CorruptFile) as caught:
            bundle.pull(tmp_path / "fresh", place, key=key_of(signing))
        assert path.name in caught.value.problem or path.name == "1.json"
        path.write_bytes(content)
    assert bundle.pull(tmp_path / "fresh", place, key=key_of(signing)) == ["tiny@1"]


def test_every_byte_of_a_bundles_list_counts(signing, tmp_path):
    place = tmp_path / "bundle"
    bundle.push(signing, place)
    path = place / "tiny" / "1.json"
    content = path.read_bytes()
    for position in range(0, len(content), 23):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with pytest.raises(CorruptFile):
            bundle.pull(tmp_path / "fresh", place, key=key_of(signing))
    assert not list((tmp_path / "fresh").glob("specialists/*/1"))
