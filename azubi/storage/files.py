"""Files on disk: their hashes, writing them whole or not at all, and locks on folders.

Knows nothing of what the files mean.
"""

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import sqlite3
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from azubi.errors import AzubiError, DiskFull, StorageError

_BLOCK = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)
_IN_THE_WAY = (errno.ENOTDIR, errno.EEXIST)
_SQLITE = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
}
"""What SQLite says, in the system's words."""


def sha256(path: Path) -> str:
    """Hash a file's content; reads it in blocks of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def crc32(path: Path) -> int:
    """Checksum of a file's content, against damage; reads it in blocks of 1 MiB."""
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            checksum = zlib.crc32(block, checksum)
    return checksum


def sha256_remembered(path: Path, memory: Path) -> str:
    """Hash a file, or recall its hash from `memory` if size and time are those of last time.

    Weights of many gigabytes are hashed once, not at every start; where `memory` cannot be written,
    they are hashed again.
    """
    stat = path.stat()
    stamp = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    known = _read_memory(memory)
    if stamp not in known:
        known[stamp] = sha256(path)
        with suppress(StorageError):
            write_text(memory, json.dumps(known, indent=1))
    return known[stamp]


def sha256_of_all(paths: Sequence[Path], memory: Path) -> str:
    """One hash over several files, which depends on their names too; of a single file its own."""
    if len(paths) == 1:
        return sha256_remembered(paths[0], memory)
    parts = [f"{path.name} {sha256_remembered(path, memory)}" for path in paths]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _read_memory(memory: Path) -> dict[str, str]:
    try:
        known = json.loads(memory.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Give a scratch file, a neighbour of `path`, that is renamed over it when the block ends well, and
    vanishes when not.

    Raises:
        StorageError: the disk is full, read-only, or may not be written.
    """
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        scratch = Path(name)
        try:
            yield scratch
            with scratch.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(scratch, path)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; see `new_file`."""
    with new_file(path) as scratch:
        scratch.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text whole or not at all."""
    write_bytes(path, content.encode())


def moment() -> str:
    """What a folder is called that is made now; later ones come behind it."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"[:-3]


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a scratch folder that becomes `path` when the block ends well, and vanishes when not.

    What killed processes left of it is removed first.
    """
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        handle = os.open(scratch, os.O_RDONLY)
        try:
            with suppress(OSError):  # some shared file systems lock no folders; then nothing is removed there
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield scratch
            scratch.chmod(0o755)
            for file in (*(each for each in scratch.rglob("*") if each.is_file()), scratch):
                _sync(file)
            os.replace(scratch, path)
            _sync(path.parent)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        finally:
            os.close(handle)


def _remove_abandoned(path: Path) -> None:
    """Remove scratch folders of `path` that no living process writes: each of those holds a lock."""
    scratch = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}")
    for folder in path.parent.iterdir():
        if not scratch.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
            continue
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)


def remove_folder(path: Path) -> None:
    """Remove a folder; if the process is killed meanwhile, what is left of it does not bear its name."""
    with explained(path):
        doomed = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        os.replace(path, doomed)
        shutil.rmtree(doomed)


def _sync(path: Path) -> None:
    """See to it that a file, or the names of a folder's files, outlast a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock; a second process waits. The lock ends with its process, however that ends."""
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def claim(folder: Path) -> IO[bytes] | None:
    """Take a folder's lock without waiting; None if another holds it. Closing the file gives it back."""
    with explained(folder):
        file = (folder / ".lock").open("wb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return file


def is_locked(folder: Path) -> bool:
    """Whether a living process holds a folder's lock."""
    try:
        with (folder / ".lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the system's word for a full or closed disk, whoever passes it on, into a StorageError."""
    try:
        yield
    except AzubiError:
        raise
    except Exception as error:
        number = _number(error)
        if number in _FULL:
            raise DiskFull(
                f"The disk is full: {path} could not be written.",
                "Free some space, or choose another folder with --home, and run the command again.",
            ) from error
        if number in _CLOSED:
            raise StorageError(
                f"{path} may not be written ({os.strerror(number)}).",
                "Choose a folder that is yours with --home.",
            ) from error
        if number in _IN_THE_WAY:
            raise StorageError(
                f"{path} cannot be written: a file stands where a folder is needed.",
                "Choose another folder with --home, or move that file away.",
            ) from error
        raise


@contextmanager
def scratch_room() -> Iterator[None]:
    """Turn the word for a full disk, where a temporary file is written, into one that names its folder."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFull(
            f"The disk is full: what is read could not be put by in {tempfile.gettempdir()}.",
            "Free some space there, or name another folder in the variable TMPDIR.",
        ) from error


def _number(error: Exception) -> int:
    """The system's number of the error; 0 if it is not the system's."""
    if isinstance(error, OSError):
        return error.errno or 0
    if isinstance(error, sqlite3.Error):
        # The lowest byte is the kind of error; the others tell more about it.
        return _SQLITE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, 0)
    # Libraries written in Rust (safetensors, tokenizers) have it in their message alone.
    number = re.search(r"\(os error (\d+)\)", str(error))
    return int(number[1]) if number else 0


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
