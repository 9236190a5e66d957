"""Opens what holds the bytes: a file, standard input, .gz or .zst around either; and checks ZIP archives.

The first bytes say what is packed, not the name. Everything is unpacked up to a limit, and the size of a
ZIP archive is measured, not read from its directory, which can lie. Knows nothing of what the bytes mean.
"""

import contextlib
import copy
import functools
import gzip
import io
import re
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from azubi.errors import DataError

STDIN = Path("-")
BLOCK = 1 << 20

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


@contextlib.contextmanager
def opened(path: Path, most: int) -> Iterator[io.BufferedReader]:
    """Give the unpacked bytes; they can be looked at ahead with `peek`.

    Raises:
        DataError: there is no such file, it is damaged, or it unfolds to more than `most` bytes.
    """
    with contextlib.ExitStack() as stack:
        raw = _raw(path, stack)
        start = raw.peek(4)[:4]
        file: Any = raw
        if start.startswith(_GZIP):
            file = stack.enter_context(gzip.GzipFile(fileobj=raw, mode="rb"))
        elif start.startswith(_ZSTD):
            file = _zst(raw)
        name = source_name(path)
        yield io.BufferedReader(_Counted(file, name, most, packed=file is not raw), BLOCK)


@contextlib.contextmanager
def seekable(file: io.BufferedReader, path: Path) -> Iterator[IO[bytes]]:
    """What `file`, opened from `path`, holds, for formats that are read from their end: itself, or a copy."""
    if path != STDIN and path.is_file():
        with path.open("rb") as plain:
            if not plain.read(4).startswith((_GZIP, _ZSTD)):
                plain.seek(0)
                yield plain
                return
    with tempfile.TemporaryFile() as copy:
        while block := file.read(BLOCK):
            copy.write(block)
        copy.seek(0)
        yield copy


def samples(path: Path) -> bytes:
    """Whole lines from places all over a file that is not packed; nothing if it is, or is short."""
    if path == STDIN or not path.is_file():  # what a pipe gives is gone then
        return b""
    with contextlib.suppress(OSError), path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        if size <= BLOCK or file.read(4).startswith((_GZIP, _ZSTD)):
            return b""
        parts = []
        for part in range(1, _PARTS + 1):
            file.seek(size * part // (_PARTS + 1))
            lines = file.read(_PART).split(b"\n")
            parts += lines[1:-1]
        return b"\n".join(parts)
    return b""


_PARTS, _PART = 16, 1 << 16


def source_name(path: Path) -> str:
    """What messages call it."""
    return "Standard input" if path == STDIN else str(path)


def _raw(path: Path, stack: contextlib.ExitStack) -> Any:
    if path == STDIN:
        # The interpreter's own buffer is left open: others may want to read on.
        return (
            io.BufferedReader(io.FileIO(sys.stdin.fileno(), closefd=False), BLOCK)
            if _has_fd()
            else _stdin_content()
        )
    with explained(path):
        return stack.enter_context(path.open("rb", buffering=BLOCK))


def _has_fd() -> bool:
    try:
        sys.stdin.fileno()
    except (OSError, ValueError, AttributeError):
        return False
    return True


def _stdin_content() -> io.BufferedReader:
    """Standard input that is no file, as in a notebook or a test."""
    buffer = getattr(sys.stdin, "buffer", None)
    data = buffer.read() if buffer is not None else sys.stdin.read().encode() if sys.stdin else b""
    return io.BufferedReader(io.BytesIO(data))


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Say in words why a file cannot be read."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}.", "Check the path.") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder, not a file.", "Name the file.") from error
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path} cannot be read: {cause}.", "Check the path and its rights.") from error


def _zst(raw: IO[bytes]) -> Any:
    import pyarrow

    return pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, mode="r"), "zstd")


class _Counted(io.RawIOBase):
    """Passes bytes on until there are too many of them."""

    def __init__(self, file: Any, name: str, most: int, *, packed: bool) -> None:
        self._file = file
        self._name = name
        self._most = most
        self._packed = packed
        self._seen = 0

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        try:
            block = self._file.read(len(target)) or b""
        except (EOFError, OSError, zlib.error) as error:
            cause = str(error).rstrip(".") or "no more data"
            raise DataError(
                f"{self._name} breaks off after {self._seen:,} bytes: {cause}.",
                "It is damaged: get it once more."
                if self._packed
                else "Check that it can be read to its end.",
            ) from error
        self._seen += len(block)
        if self._seen > self._most:
            raise DataError(
                f"{self._name} {'unfolds to' if self._packed else 'holds'} more than {self._most:,} bytes.",
                "If that is right, raise --limits-unpacked.",
            )
        target[: len(block)] = block
        return len(block)


ZIP_MAGIC = b"PK\x03\x04"

_ARCHIVE_BLOCK = 1 << 18
_OVERLAP = 64
_ENTRIES = 20_000
_DOCTYPE = re.compile(
    b"|".join(
        re.escape(word.encode(codec))
        for word in ("<!DOCTYPE", "<!ENTITY")
        for codec in ("ascii", "utf-16-le", "utf-16-be")
    )
)
_DECLARED = re.compile(rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([^\"']{1,40})[\"']")
_ENCODINGS = (b"utf-8", b"utf8", b"utf-16", b"us-ascii", b"ascii")
_CELL = re.compile(rb"\br\s*=\s*[\"']([A-Za-z]{1,3})([0-9]{1,7})[\"']")


def check_archive(file: IO[bytes], name: str, most: int, cells: int | None = None) -> None:
    """Refuse an archive that would take too much memory, or that defines XML entities.

    `most` bytes in all; `cells` is the most cells of one sheet, empty ones too.

    Raises:
        DataError: it is too large, damaged, or made to do harm.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            _check_entries(archive, name, most, cells)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise DataError(
            f"{name} is no Excel or Word file that can be unpacked: {str(error).rstrip('.')}.",
            "Open it in Excel or Word, and save it once more without a password.",
        ) from error
    except Exception as error:  # zlib.error, lzma.LZMAError and what else a packer raises
        if isinstance(error, DataError):
            raise
        raise DataError(f"{name} cannot be unpacked: {error}.", "It is damaged: get it once more.") from error
    finally:
        file.seek(0)


def _check_entries(archive: zipfile.ZipFile, name: str, most: int, cells: int | None) -> None:
    entries = archive.infolist()
    if len(entries) > _ENTRIES:
        raise DataError(
            f"{name} holds {len(entries):,} files, more than {_ENTRIES:,}.", "Bring another file."
        )
    left = most
    for entry in entries:
        corner = _Corner() if cells is not None and "worksheets" in entry.filename.lower() else None
        xml = entry.filename.lower().endswith((".xml", ".rels"))
        for size, window in _blocks(archive, entry, left):
            left -= size
            if left < 0:
                raise DataError(
                    f"{name} unfolds to more than {most:,} bytes.",
                    "If that is right, raise --limits-unzipped-size.",
                )
            if xml:
                _check_xml(window, name, entry.filename)
            if corner is not None:
                corner.see(window)
        if corner is not None and cells is not None and corner.cells > cells:
            raise DataError(
                f"{name}: a sheet reaches over {corner.cells:,} cells, more than {cells:,}.",
                "Delete the stray cells far right or far below, or raise --limits-cells.",
            )


def _blocks(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, left: int) -> Iterator[tuple[int, bytes]]:
    """How much each block adds, and the block with the end of the one before."""
    unchecked: Any = copy.copy(entry)
    # Sizes and checksum in the directory are the sender's words: read to the end of what is there.
    unchecked.file_size = left + _ARCHIVE_BLOCK + 1
    unchecked.CRC = None
    before = b""
    with archive.open(unchecked) as stream:
        while block := stream.read(_ARCHIVE_BLOCK):
            yield len(block), before + block
            before = block[-_OVERLAP:]


def _check_xml(window: bytes, name: str, entry: str) -> None:
    declared = _DECLARED.match(window.lstrip()[:300])
    odd = declared is not None and declared[1].lower() not in _ENCODINGS
    if _DOCTYPE.search(window) or odd:
        what = (
            f"the encoding {declared[1].decode('ascii', 'replace')}" if odd and declared else "XML entities"
        )
        raise DataError(
            f"{name} holds {what} in {entry}, which no office program writes.",
            "It may be made to do harm. Ask where it comes from, or save its content as a new file.",
        )


class _Corner:
    """The last row and column that a sheet's cells name."""

    def __init__(self) -> None:
        self._row = self._column = 0

    def see(self, window: bytes) -> None:
        for letters, digits in _CELL.findall(window):
            self._row = max(self._row, int(digits))
            self._column = max(self._column, _column(letters))

    @property
    def cells(self) -> int:
        """Cells from A1 to there."""
        return self._row * self._column


@functools.cache
def _column(letters: bytes) -> int:
    number = 0
    for letter in letters.upper():
        number = number * 26 + letter - 64
    return number
