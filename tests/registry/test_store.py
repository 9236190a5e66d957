"""The specialists of one home: found by name and version, and no version is ever used twice."""

import shutil
import subprocess
import sys

import pytest

from azubi.errors import CorruptFile, SettingError, UnknownSpecialist
from azubi.registry import card as cards
from azubi.registry.store import Store
from tests.registry.sample import made

RESERVE = """
import sys
from pathlib import Path
from azubi.registry.store import Store
for _ in range(20):
    print(Store(Path(sys.argv[1])).reserve("bank")[0])
"""


@pytest.fixture
def store(home):
    return Store(home)


def put(store, name):
    version, folder = store.reserve(name)
    folder.mkdir()
    card = made(name=name, version=version)
    cards.write(card, folder)
    store.register(card)
    return folder


def test_an_empty_home_has_nothing_and_is_not_made(store, home):
    assert store.list() == []
    with pytest.raises(UnknownSpecialist) as caught:
        store.get("bank")
    assert "azubi tune" in caught.value.remedy
    assert not home.exists()


def test_versions_count_from_one_and_the_newest_is_meant(store):
    folders = [put(store, "bank") for _ in range(11)]
    assert [folder.name for folder in folders] == [str(number) for number in range(1, 12)]
    assert store.get("bank").version == 11
    assert store.get("bank").folder == folders[-1]
    assert store.get("bank@2").version == 2


def test_a_reserved_place_does_not_exist_yet_and_is_no_specialist(store):
    _, folder = store.reserve("bank")
    assert not folder.exists()
    assert store.list() == []
    with pytest.raises(UnknownSpecialist):
        store.get("bank")


def test_a_version_is_never_used_twice(store):
    put(store, "bank")
    shutil.rmtree(put(store, "bank"))
    store.reserve("bank")
    assert store.reserve("bank")[0] == 4


def test_a_copied_folder_without_a_counter_is_counted_on(store):
    folder = put(store, "bank")
    folder.rename(folder.parent / "7")
    (folder.parent / ".last").unlink()
    assert store.reserve("bank")[0] == 8


def test_versions_are_not_used_twice_by_two_processes(store, home):
    call = [sys.executable, "-c", RESERVE, str(home)]
    others = [subprocess.Popen(call, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    numbers = [int(line) for other in others for line in other.communicate()[0].split()]
    assert sorted(numbers) == list(range(1, 41))


def test_the_list_is_by_name_and_has_the_newest(store, home):
    for name in ("b", "a", "b"):
        put(store, name)
    (home / "specialists" / "notes").mkdir()
    (home / "specialists" / "a" / "copy of 1").mkdir()
    (home / "specialists" / "stray.txt").touch()
    assert [(card.name, card.version) for card in store.list()] == [("a", 1), ("b", 2)]


def test_an_unknown_name_is_answered_with_those_that_there_are(store):
    put(store, "bank")
    put(store, "claims")
    with pytest.raises(UnknownSpecialist) as caught:
        store.get("bnak")
    assert "'bnak'" in caught.value.problem
    assert caught.value.remedy == "There are: bank, claims."


@pytest.mark.parametrize("wanted", ["2", "0", "-1", "x", "1.0", "²", "1@1"])
def test_an_unknown_version_is_answered_with_those_that_there_are(wanted, store):
    put(store, "bank")
    with pytest.raises(UnknownSpecialist) as caught:
        store.get(f"bank@{wanted}")
    assert f"'{wanted}'" in caught.value.problem
    assert caught.value.remedy == "It has: 1, candidate."


@pytest.mark.parametrize("name", ["", "@1", "../specialists/bank", "/etc", ".", "BANK", "*"])
def test_names_lead_nowhere_else(name, store):
    put(store, "bank")
    with pytest.raises(UnknownSpecialist):
        store.get(name)


def test_damaged_papers_hide_no_other_specialist(store):
    folder = put(store, "bank")
    put(store, "claims")
    (folder / cards.CARD).write_text("{")
    with pytest.raises(CorruptFile):
        store.get("bank")
    assert store.get("claims").version == 1
    with pytest.raises(UnknownSpecialist, match="bank, claims"):
        store.get("nobody")


def test_aliases_are_names_of_versions(store):
    put(store, "bank")
    put(store, "bank")
    with store.log.adding() as addition:
        addition.add("promote", "bank", 1)
    assert store.get("bank@production").version == 1
    assert store.get("bank@candidate").version == 2
    assert store.get("bank").version == 2, "a bare name is the newest version"
    assert store.aliases("bank") == {"production": 1, "candidate": 2}
    put(store, "claims")
    with pytest.raises(UnknownSpecialist) as caught:
        store.get("claims@production")
    assert caught.value.remedy == "It has: 1, candidate."


def test_a_folder_that_was_not_registered_does_not_count(store):
    put(store, "bank")
    version, folder = store.reserve("bank")
    folder.mkdir()
    cards.write(made(name="bank", version=version), folder)
    assert store.get("bank").version == 1 and len(list(store.all())) == 1
    store.register(cards.read(folder))
    assert store.get("bank").version == 2


def test_registering_again_does_nothing_unless_the_files_differ(store):
    folder = put(store, "bank")
    card = store.get("bank")
    assert store.register(card).number == 1 and len(store.log.entries()) == 1
    (folder / cards.CARD).write_text((folder / cards.CARD).read_text() + " ")
    with pytest.raises(CorruptFile, match=r"specialist\.json"):
        store.register(card)


def test_every_byte_of_every_file_is_verified(store):
    folder = put(store, "bank")
    (folder / "extra.txt").write_text("x")
    card = store.get("bank")
    with pytest.raises(CorruptFile, match=r"extra\.txt does not belong"):
        store.verify(card)
    (folder / "extra.txt").unlink()
    store.verify(card)
    path = folder / cards.CARD
    content = path.read_bytes()
    for damaged in (content[:-1], content[:40] + bytes([content[40] ^ 1]) + content[41:], b""):
        path.write_bytes(damaged)
        with pytest.raises(CorruptFile, match=r"specialist\.json is not the file"):
            store.verify(card)
    path.unlink()
    with pytest.raises(CorruptFile, match=r"specialist\.json is missing"):
        store.verify(card)
    (folder / "target").write_bytes(content)
    path.symlink_to(folder / "target")
    with pytest.raises(CorruptFile, match=r"specialist\.json is a link"):
        store.verify(card)


def test_a_version_whose_folder_is_gone_is_named(store):
    shutil.rmtree(put(store, "bank"))
    with pytest.raises(CorruptFile, match="bank@1 is registered, but its folder"):
        store.get("bank")
    assert list(store.all()) == []


def test_deleting_keeps_the_entries(store):
    put(store, "bank")
    folder = put(store, "bank")
    with store.log.adding() as addition:
        addition.add("promote", "bank", 1)
    with pytest.raises(SettingError, match="bank@1 is in production"):
        store.delete(store.get("bank@1"))
    store.delete(store.get("bank@2"), "of no use")
    assert not folder.exists() and store.get("bank").version == 1
    assert [entry.action for entry in store.log.entries()] == ["register", "register", "promote", "delete"]
    assert store.log.entries()[-1].why == "of no use"
    assert store.reserve("bank")[0] == 3
