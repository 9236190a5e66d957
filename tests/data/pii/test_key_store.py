"""Key file and map: made once, readable by nobody else, never a wrong value."""

import os
import stat

import pytest

from azubi.data.pii.key_store import KeyFile, PseudonymMap
from azubi.data.pii.pseudonyms import Pair
from azubi.errors import CorruptFile, SettingError, StorageError

KEY = bytes(range(32))
PAIRS = [Pair("iban", "DE89370400440532013000", "DE64195865621987798219"), Pair("name", "müller", "kövwax")]


def test_a_key_is_made_once_for_its_owner_only(tmp_path):
    file = KeyFile(tmp_path / "new" / "key")
    key = file.read_or_create()
    assert (
        len(key) == 32
        and key == file.read_or_create() == file.read()
        and key != KeyFile(tmp_path / "other").read_or_create()
    )
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [None, b"", b"x" * 31, b"x" * 33])
def test_what_is_no_key_is_refused(content, tmp_path):
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingError, match=str(path)):
        KeyFile(path).read()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="may not be written"):
        KeyFile(tmp_path / "key").read_or_create()


def test_a_map_keeps_what_was_added_once(tmp_path):
    kept = PseudonymMap(tmp_path, KEY)
    kept.add(PAIRS[:1])
    size = kept.path.stat().st_size
    kept.add(PAIRS[:1])
    assert kept.path.stat().st_size == size
    kept.add(PAIRS)
    assert list(PseudonymMap(tmp_path, KEY).pairs()) == PAIRS
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600


def test_a_map_shows_nothing_without_its_key(tmp_path):
    kept = PseudonymMap(tmp_path, KEY)
    kept.add(PAIRS)
    content = kept.path.read_bytes()
    assert not any(one.encode() in content for pair in PAIRS for one in (pair.value, pair.pseudonym))
    with pytest.raises(SettingError, match="no map of pseudonyms for this key"):
        list(PseudonymMap(tmp_path, b"k" * 32).pairs())


def test_many_pairs_are_many_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("azubi.data.pii.key_store._BLOCK", 7)
    many = [Pair("x", str(number), str(-number)) for number in range(1, 50)]
    PseudonymMap(tmp_path, KEY).add(many)
    assert list(PseudonymMap(tmp_path, KEY).pairs()) == many


@pytest.mark.parametrize("damage", ["flipped", "cut short", "cut in its length", "exchanged"])
def test_a_damaged_map_is_an_error_never_a_wrong_value(damage, tmp_path):
    kept = PseudonymMap(tmp_path, KEY)
    kept.add(PAIRS)
    content = bytearray(kept.path.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    elif damage == "exchanged":
        other = PseudonymMap(tmp_path / "other", b"k" * 32)
        other.add(PAIRS)
        content[:] = other.path.read_bytes()
    else:
        del content[3 if "length" in damage else -1 :]
    kept.path.write_bytes(content)
    with pytest.raises(CorruptFile, match="was damaged"):
        list(PseudonymMap(tmp_path, KEY).pairs())
    with pytest.raises(CorruptFile):
        kept.add([Pair("x", "1", "2")])
    assert kept.path.read_bytes() == content
