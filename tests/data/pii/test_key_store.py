"""Key file and map: made once, readable by nobody else, never a wrong value."""

import os
import stat

import pytest

from azubi.data.pii.pseudonyms import KeyFile, Pair, PseudonymMap
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


def extend(pseudonym_map, pairs):
    pseudonym_map.extend(lambda known: [pair for pair in pairs if pair not in known])


def test_a_map_keeps_what_was_added_once(tmp_path):
    pseudonym_map = PseudonymMap(tmp_path, KEY)
    assert pseudonym_map.known() == []
    extend(pseudonym_map, PAIRS[:1])
    content = pseudonym_map.path.read_bytes()
    extend(pseudonym_map, PAIRS[:1])
    assert pseudonym_map.path.read_bytes() == content
    extend(pseudonym_map, PAIRS)
    assert PseudonymMap(tmp_path, KEY).pairs() == PAIRS
    assert stat.S_IMODE(pseudonym_map.path.stat().st_mode) == 0o600


def test_pairs_are_taken_out(tmp_path):
    pseudonym_map = PseudonymMap(tmp_path, KEY)
    extend(pseudonym_map, PAIRS)
    assert pseudonym_map.forget(lambda pair: pair.kind == "iban") == 1
    assert pseudonym_map.forget(lambda pair: pair.kind == "iban") == 0
    assert PseudonymMap(tmp_path, KEY).pairs() == PAIRS[1:]


def test_a_map_shows_nothing_without_its_key(tmp_path):
    pseudonym_map = PseudonymMap(tmp_path, KEY)
    extend(pseudonym_map, PAIRS)
    content = pseudonym_map.path.read_bytes()
    assert not any(text.encode() in content for pair in PAIRS for text in (pair.value, pair.pseudonym))
    with pytest.raises(SettingError, match="no map of pseudonyms for this key"):
        PseudonymMap(tmp_path, b"k" * 32).pairs()


def test_values_of_any_form_come_back(tmp_path):
    pairs = [Pair("x", text, f"-{text}") for text in ("a\nb", "\ud800", "", "ü\u2028", '"\\')]
    extend(PseudonymMap(tmp_path, KEY), pairs)
    assert PseudonymMap(tmp_path, KEY).pairs() == pairs


@pytest.mark.parametrize("damage", ["flipped", "cut short", "cut in its length", "exchanged"])
def test_a_damaged_map_is_an_error_never_a_wrong_value(damage, tmp_path):
    pseudonym_map = PseudonymMap(tmp_path, KEY)
    extend(pseudonym_map, PAIRS)
    content = bytearray(pseudonym_map.path.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    elif damage == "exchanged":
        other = PseudonymMap(tmp_path / "other", b"k" * 32)
        extend(other, PAIRS)
        content[:] = other.path.read_bytes()
    else:
        del content[3 if "length" in damage else -1 :]
    pseudonym_map.path.write_bytes(content)
    with pytest.raises(CorruptFile, match="is damaged"):
        PseudonymMap(tmp_path, KEY).pairs()
    with pytest.raises(CorruptFile):
        extend(pseudonym_map, [Pair("x", "1", "2")])
    assert pseudonym_map.path.read_bytes() == content
