"""Files of the API: kept whole and encrypted, known by their id alone, gone with their key."""

import os

import pytest

from azubi.errors import CorruptFile
from azubi.serve.uploads import Uploads


@pytest.fixture
def uploads(home):
    return Uploads(home)


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": 1}\n{"b": "\xc3\xa4"}\n',
        b"no line break at the end",
        b"\n\n\n",
        bytes(range(256)) * 9000,
        b"x" * (1 << 20) + b"\n",
    ],
)
def test_every_byte_comes_back(uploads, content):
    blocks = [content[start : start + 70_001] for start in range(0, len(content), 70_001)]
    stored = uploads.add("key_a", "rows.jsonl", "fine-tune", [b"", *blocks])
    assert stored.bytes == len(content)
    assert b"".join(uploads.content(stored)) == content


def test_lines_cross_blocks(uploads):
    stored = uploads.add("key_a", "rows.jsonl", "batch", [b"one\r\ntw", b"o\n\nthree"])
    assert list(uploads.lines(stored)) == [b"one", b"two", b"", b"three"]


def test_nothing_readable_lies_on_the_disk(uploads, home):
    secret = b"Jana Schmidt, DE89370400440532013000"
    uploads.add("key_a", "rows.jsonl", "fine-tune", [secret])
    assert not any(secret in path.read_bytes() for path in home.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../t.jsonl", "t.jsonl"),
        ("..\\..\\t.jsonl", "t.jsonl"),
        ("/etc/passwd", "passwd"),
        ("..", "file"),
        (".hidden", "hidden"),
        ("a b;c.csv", "a-b-c.csv"),
        ("x" * 300 + ".jsonl", "x" * 74 + ".jsonl"),
        ("Schäden.csv", "Schäden.csv"),
    ],
)
def test_a_name_is_never_a_path(uploads, tmp_path, name, safe):
    stored = uploads.add("key_a", name, "fine-tune", [b"1"])
    path = uploads.write_to(stored, tmp_path / "here")
    assert (stored.name, path) == (name, tmp_path / "here" / safe)
    assert path.stat().st_mode & 0o077 == 0


def test_files_belong_to_their_key(uploads):
    mine, other = (uploads.add(owner, "t", "batch", [b"1"]) for owner in ("key_a", "key_b"))
    assert uploads.find(mine.id, "key_a") == mine and uploads.find(other.id, "key_a") is None
    assert uploads.find(other.id) == other
    assert [file.id for file in uploads.list("key_a").files] == [mine.id]
    assert [file.id for file in uploads.list().files] == [other.id, mine.id]


def test_pages(uploads):
    ids = [uploads.add("key_a", "t", "batch" if n % 2 else "fine-tune", [b"1"]).id for n in range(5)]
    first = uploads.list(limit=2)
    assert ([file.id for file in first.files], first.more) == ([ids[4], ids[3]], True)
    rest = uploads.list(after=ids[3])
    assert ([file.id for file in rest.files], rest.more) == (ids[2::-1], False)
    assert [file.id for file in uploads.list(oldest_first=True, after=ids[1]).files] == ids[2:]
    assert [file.id for file in uploads.list(purpose="batch").files] == [ids[3], ids[1]]


def test_a_deleted_file_cannot_be_read_from_a_copy(uploads, home):
    stored = uploads.add("key_a", "t", "batch", [b"1"])
    path = home / "serve" / "files" / f"{stored.id}.bin"
    copy = path.read_bytes()
    uploads.delete(stored)
    assert uploads.find(stored.id) is None and not path.exists()
    path.write_bytes(copy)
    with pytest.raises(CorruptFile, match="is gone"):
        uploads.content(stored)


def test_a_file_under_the_same_id_is_replaced(uploads):
    uploads.add("key_a", "report", "fine-tune-results", [b"half"], "file-1")
    again = uploads.add("key_a", "report", "fine-tune-results", [b"whole"], "file-1")
    assert b"".join(uploads.content(again)) == b"whole" and len(uploads.list().files) == 1


def test_an_upload_that_breaks_off_leaves_nothing(uploads, home):
    def broken():
        yield os.urandom(3 << 20)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        uploads.add("key_a", "t", "batch", broken())
    assert uploads.list().files == () and list((home / "serve" / "files").iterdir()) == []
