"""Sealed lines come back whole, or not at all."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from azubi.errors import CorruptFile
from azubi.storage import encrypted_file

KEY = AESGCM(bytes(32))
lines = st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1))


@settings(deadline=None, max_examples=50)
@given(many=lines)
def test_lines_come_back(tmp_path_factory, many):
    path = tmp_path_factory.mktemp("sealed") / "rows.bin"
    encrypted_file.write(path, "one", KEY, many)
    assert list(encrypted_file.read(path, "one", KEY)) == many


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A file of several blocks."""
    monkeypatch.setattr(encrypted_file, "_BLOCK", 100)
    path = tmp_path / "rows.bin"
    encrypted_file.write(path, "one", KEY, [f"The secret of row {n}" for n in range(40)])
    return path


def test_many_blocks_come_back_and_none_is_open(path):
    assert list(encrypted_file.read(path, "one", KEY)) == [f"The secret of row {n}" for n in range(40)]
    assert b"secret" not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600


def blocks(content):
    sizes = []
    while content:
        size = 4 + int.from_bytes(content[:4])
        sizes.append(content[:size])
        content = content[size:]
    return sizes


def test_whatever_is_changed_is_noticed(path):
    whole = path.read_bytes()
    parts = blocks(whole)
    assert len(parts) > 5
    harmed = [
        b"".join(parts[:-1]),
        b"".join(parts[1:]),
        b"".join([parts[1], parts[0], *parts[2:]]),
        b"".join([*parts, parts[-1]]),
        whole[:-1],
        whole + b"x",
        b"",
        *(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(0, len(whole), 7)),
    ]
    for content in harmed:
        path.write_bytes(content)
        with pytest.raises(CorruptFile, match="damaged or cut short"):
            list(encrypted_file.read(path, "one", KEY))


def test_another_key_or_name_does_not_read_it(path):
    for label, key in (("two", KEY), ("one", AESGCM(bytes(31) + b"x"))):
        with pytest.raises(CorruptFile):
            list(encrypted_file.read(path, label, key))
