"""Versions handed on as plain files: nothing that comes from outside is used before it was verified."""

import errno
import json
import os

import pytest
import torch

from azubi.cli import main
from azubi.errors import CorruptFile, SettingError, StorageError, UnknownSpecialist
from azubi.pipeline.stages.packaging import write_version
from azubi.registry import bundle, signature
from azubi.registry import card as cards
from azubi.registry.store import Store
from tests.dying import die_at
from tests.registry.sample import made

TAIL = {"head.weight": torch.arange(6.0).reshape(2, 3)}


def put(home):
    store = Store(home)
    version, folder = store.reserve("claims")
    card = write_version(made(name="claims", version=version), TAIL, "<html>", folder, home=home)
    store.register(card)
    return folder


@pytest.fixture
def pushed(home, tmp_path):
    put(home)
    assert bundle.push(home, tmp_path / "bundle") == ["claims@1"]
    return tmp_path / "bundle"


@pytest.fixture
def other(tmp_path):
    return tmp_path / "other"


def test_what_was_pushed_is_pulled_and_can_be_used(home, pushed, other):
    assert bundle.push(home, pushed) == []
    put(home)
    assert bundle.push(home, pushed, ["claims@candidate"]) == ["claims@2"]
    assert bundle.pull(other, pushed, ["claims@2"]) == ["claims@2"]
    assert bundle.pull(other, pushed) == ["claims@1"] and bundle.pull(other, pushed) == []
    store = Store(other)
    card = store.get("claims@1")
    assert store.verify(card).why == f"pulled from {pushed}"
    assert card == Store(home).get("claims@1").model_copy(update={"folder": card.folder})
    assert store.reserve("claims")[0] == 3
    with pytest.raises(UnknownSpecialist, match=r"has no claims@9"):
        bundle.pull(other, pushed, ["claims@9"])


def test_another_version_of_the_same_number_is_refused(home, pushed, other):
    store = Store(other)
    version, folder = store.reserve("claims")
    card = made(name="claims", version=version, licence="mit")
    store.register(write_version(card, TAIL, "<html>", folder))
    with pytest.raises(SettingError, match="claims@1 is here already, and is another one"):
        bundle.pull(other, pushed)
    with pytest.raises(SettingError, match="is another claims@1 than the one here"):
        bundle.push(other, pushed)


@pytest.mark.parametrize("name", ["specialist.json", "tail.safetensors", "report.html", "recipe.yaml"])
@pytest.mark.parametrize("how", ["flipped", "cut", "longer", "gone", "link"])
def test_every_file_is_verified_before_it_is_used(name, how, pushed, other, tmp_path):
    path = pushed / "claims" / "1" / name
    content = path.read_bytes()
    path.unlink()
    match how:
        case "flipped":
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "cut":
            path.write_bytes(content[:-1])
        case "longer":
            path.write_bytes(content + b"x")
        case "link":
            (tmp_path / "aside").write_bytes(content)
            path.symlink_to(tmp_path / "aside")
    with pytest.raises(CorruptFile, match=name):
        bundle.pull(other, pushed)
    assert Store(other).log.specialists() == {}
    assert not list((other / "specialists").glob("claims/1"))


def change_list(pushed, change):
    path = pushed / "claims" / "1.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    "name",
    [
        "../../evil.json",
        "/etc/passwd.json",
        "a/b.json",
        ".hidden.json",
        "model.pkl",
        "pytorch_model.bin",
        "..",
    ],
)
def test_no_name_leads_elsewhere_and_no_pickle_comes_in(name, pushed, other):
    def add(document):
        document["files"][name] = {"bytes": 1, "sha256": "0" * 64}

    change_list(pushed, add)
    with pytest.raises(CorruptFile, match="does not belong to a specialist"):
        bundle.pull(other, pushed)
    assert not other.exists() or Store(other).log.specialists() == {}


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(name="../evil"),
        lambda document: document.update(name="other"),
        lambda document: document.update(version=0),
        lambda document: document.update(version=2),
        lambda document: document.update(more=1),
        lambda document: document["files"].update(
            {str(n): {"bytes": 0, "sha256": "0" * 64} for n in range(99)}
        ),
        lambda document: document["files"]["tail.safetensors"].update(bytes=-1),
    ],
)
def test_a_list_that_is_not_as_azubi_writes_it_is_refused(change, pushed, other):
    change_list(pushed, change)
    with pytest.raises(CorruptFile):
        bundle.pull(other, pushed)


def test_files_that_are_not_listed_are_named(pushed, other):
    (pushed / "claims" / "1" / "more.json").write_text("{}")
    with pytest.raises(CorruptFile, match=r"more\.json is not on its list"):
        bundle.pull(other, pushed)


def test_a_card_of_another_version_is_refused(pushed, other):
    """Whoever made the list anew, too."""
    folder = pushed / "claims" / "1"
    card = json.loads((folder / cards.CARD).read_text()) | {"version": 7}
    (folder / cards.CARD).write_text(json.dumps(card))
    digest, size = signature.hashes_of(folder)[cards.CARD], (folder / cards.CARD).stat().st_size
    change_list(pushed, lambda d: d["files"].update({cards.CARD: {"bytes": size, "sha256": digest}}))
    with pytest.raises(CorruptFile, match="is not the card of claims@1"):
        bundle.pull(other, pushed)


def test_a_signed_version_needs_a_key_that_is_trusted(home, other, tmp_path, capsys):
    key = signature.make_key(home)
    put(home)
    place = str(tmp_path / "signed")
    assert main(["push", place]) == 0
    assert main(["pull", place, "--home", str(other)]) == 1
    assert "not made with a key that is trusted" in capsys.readouterr().err
    assert main(["pull", place, "--home", str(other), "--key", str(key), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"pulled": ["claims@1"], "unsigned": []}
    store = Store(other)
    assert store.verify(store.get("claims")).details["key"] == signature.fingerprint(key)


@pytest.mark.parametrize("what", ["push", "pull"])
def test_killed_at_any_moment_a_version_is_there_or_not(what, home, other, tmp_path):
    put(home)
    place = tmp_path / "bundle"
    work = {
        "push": lambda: bundle.push(home, place),
        "pull": lambda: bundle.pull(other, place),
    }[what]
    if what == "pull":
        bundle.push(home, place)
    for step in range(1, 60):
        code = die_at(step, work)
        if what == "push":
            assert bundle.pull(tmp_path / f"fresh-{step}", place) in ([], ["claims@1"])
        else:
            for card in Store(other).all():
                Store(other).verify(card)
        if code == 0:
            break
        assert code == 9
    else:
        pytest.fail("it never came to its end")
    assert step > 3
    if what == "push":
        assert bundle.pull(other, place) == ["claims@1"]
    else:
        assert Store(other).get("claims@1").version == 1


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_at_any_step_leaves_the_registry_as_it_was(call, home, tmp_path, monkeypatch):
    put(home)
    before = [entry.hash for entry in Store(home).log.entries()]
    real, failing = getattr(os, call), [0]

    def full(*given):
        failing[0] -= 1
        if failing[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*given)

    monkeypatch.setattr(os, call, full)
    for number in range(1, 40):
        failing[0] = number
        try:
            put(home)
        except StorageError as error:
            assert "disk is full" in error.problem
            assert [entry.hash for entry in Store(home).log.entries()] == before
        else:
            break
    assert number > 3 and len(Store(home).log.entries()) == 2
