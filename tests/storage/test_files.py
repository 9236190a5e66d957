"""Files: whole or not at all, hashes that notice changes, locks between processes, a full disk."""

import errno
import os
import sqlite3
import subprocess
import sys
import zlib

import pytest

from azubi.errors import DataError, StorageError
from azubi.storage import files

HOLD = """
import sys
from pathlib import Path
from azubi.storage import files
with files.locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_hash_is_that_of_the_content(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert files.sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_write_makes_its_folder_and_replaces_what_was_there(tmp_path):
    path = tmp_path / "a" / "b.txt"
    files.write_text(path, "old")
    files.write_text(path, "größer")
    assert path.read_text(encoding="utf-8") == "größer"
    assert names(path.parent) == ["b.txt"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(step, tmp_path, monkeypatch):
    path = tmp_path / "b.txt"
    files.write_text(path, "old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(StorageError, match="disk is full"):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["b.txt"]


def test_a_new_folder_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "new"
    with files.new_folder(path) as scratch:
        (scratch / "x").write_text("1")
        assert not path.exists()
    assert names(path) == ["x"]
    assert names(path.parent) == ["new"]
    assert path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_new_folder_vanishes_when_the_block_fails(error, tmp_path):
    with pytest.raises(type(error)), files.new_folder(tmp_path / "new") as scratch:
        (scratch / "x").write_text("1")
        raise error
    assert names(tmp_path) == []


def test_a_lock_is_held_against_another_process_until_that_ends(tmp_path):
    import fcntl

    def free():
        with (tmp_path / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    call = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        assert not free()
        other.kill()
        other.wait()
        assert free()
        with files.locked(tmp_path):
            assert not free()


def test_a_remembered_hash_notices_a_change(tmp_path, monkeypatch):
    path, memory = tmp_path / "w", tmp_path / "m" / "hashes.json"
    path.write_bytes(b"one")
    first = files.sha256_remembered(path, memory)
    assert first == files.sha256(path)
    counted = []
    monkeypatch.setattr(files, "sha256", lambda path: counted.append(path) or "hashed")
    assert files.sha256_remembered(path, memory) == first
    assert not counted
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert files.sha256_remembered(path, memory) == "hashed"
    assert counted == [path]


def test_a_checksum_is_that_of_the_whole_content(tmp_path):
    content = bytes(range(256)) * 5000  # more than a block
    (tmp_path / "w").write_bytes(content)
    assert files.crc32(tmp_path / "w") == zlib.crc32(content)


def test_a_new_file_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "state"
    path.write_text("before")
    with pytest.raises(KeyError), files.new_file(path) as scratch:
        scratch.write_text("half")
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["state"] and path.read_text() == "before"
    with files.new_file(path) as scratch:
        scratch.write_text("after")
        assert path.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["state"] and path.read_text() == "after"


@pytest.mark.parametrize("content", ["", "{", "[1]"])
def test_a_damaged_memory_of_hashes_is_begun_anew(content, tmp_path):
    path, memory = tmp_path / "w", tmp_path / "hashes.json"
    path.write_bytes(b"one")
    memory.write_text(content)
    assert files.sha256_remembered(path, memory) == files.sha256(path)


def test_a_hash_that_cannot_be_remembered_is_still_right(tmp_path):
    path = tmp_path / "w"
    path.write_bytes(b"one")
    (tmp_path / "file").touch()
    assert files.sha256_remembered(path, tmp_path / "file" / "hashes.json") == files.sha256(path)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "The disk is full: /h/x could not be written."),
        (errno.EDQUOT, "The disk is full: /h/x could not be written."),
        (errno.EROFS, "/h/x may not be written (Read-only file system)."),
        (errno.EACCES, "/h/x may not be written (Permission denied)."),
        (errno.EPERM, "/h/x may not be written (Operation not permitted)."),
        (errno.ENOTDIR, "/h/x cannot be written: a file stands where a folder is needed."),
        (errno.EEXIST, "/h/x cannot be written: a file stands where a folder is needed."),
    ],
)
@pytest.mark.parametrize("teller", ["system", "rust"])
def test_a_full_or_closed_disk_in_plain_words(number, words, teller, tmp_path):
    error = OSError(number, "x") if teller == "system" else Exception(f"I/O error: x (os error {number})")
    with pytest.raises(StorageError) as caught, files.explained("/h/x"):
        raise error
    assert caught.value.problem == words
    assert "--home" in caught.value.remedy


def test_a_full_disk_as_sqlite_tells_it():
    base = sqlite3.connect(":memory:")
    base.execute("PRAGMA max_page_count = 2")
    with pytest.raises(StorageError, match="disk is full"), files.explained("/h/x"):
        base.execute("CREATE TABLE t (x)")
        base.execute("INSERT INTO t VALUES (zeroblob(100000))")


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EIO, "x"), ValueError("x"), sqlite3.OperationalError("x"), DataError("os error 28")],
)
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(type(error)) as caught, files.explained("/h/x"):
        raise error
    assert caught.value is error


def test_size_counts_the_files_below(tmp_path):
    files.write_bytes(tmp_path / "a", b"123")
    files.write_bytes(tmp_path / "b" / "c", b"4567")
    assert files.size(tmp_path) == 7
