"""Opens what holds the bytes: a file, standard input, .gz or .zst around either.

The first bytes say what is packed, not the name. Everything is unpacked up to a limit. Knows nothing of what
the bytes mean.
"""

import contextlib
import gzip
import io
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from azubi.errors import DataError

STDIN = Path("-")
BLOCK = 1 << 20

MOST_BYTES = 50 * 10**9
"""Bytes that are read of a source, unpacked; more are damage or an attack."""
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_SAMPLES, _SAMPLE_SIZE = 16, 1 << 16


@contextlib.contextmanager
def open_unpacked(path: Path) -> Iterator[io.BufferedReader]:
    """Give the unpacked bytes, whose beginning can be read ahead with `peek`.

    Raises:
        DataError: there is no such file, it is damaged, or it unfolds to more than `MOST_BYTES`.
    """
    with contextlib.ExitStack() as stack:
        raw = _open(path, stack)
        start = raw.peek(4)[:4]
        file: Any = raw
        if start.startswith(_GZIP):
            file = stack.enter_context(gzip.GzipFile(fileobj=raw, mode="rb"))
        elif start.startswith(_ZSTD):
            import pyarrow

            file = pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, mode="r"), "zstd")
        yield io.BufferedReader(_Counted(file, source_name(path), packed=file is not raw), BLOCK)


@contextlib.contextmanager
def seekable(file: io.BufferedReader, path: Path) -> Iterator[IO[bytes]]:
    """What `file`, opened from `path`, holds, for formats that are read from their end: itself, or a copy."""
    if _is_plain(path):
        with path.open("rb") as plain:
            yield plain
        return
    with tempfile.TemporaryFile() as copy:
        while block := file.read(BLOCK):
            copy.write(block)
        copy.seek(0)
        yield copy


def samples(path: Path) -> bytes:
    """Whole lines from places all over a file that is not packed; nothing if it is, or is short."""
    with contextlib.suppress(OSError):
        if _is_plain(path) and (size := path.stat().st_size) > BLOCK:
            lines: list[bytes] = []
            with path.open("rb") as file:
                for part in range(1, _SAMPLES + 1):
                    file.seek(size * part // (_SAMPLES + 1))
                    lines += file.read(_SAMPLE_SIZE).split(b"\n")[1:-1]
            return b"\n".join(lines)
    return b""


def _is_plain(path: Path) -> bool:
    """Whether it is a file, which can be read twice, and not packed."""
    if path == STDIN or not path.is_file():
        return False
    with path.open("rb") as file:
        return not file.read(4).startswith((_GZIP, _ZSTD))


def source_name(path: Path) -> str:
    """What messages call it."""
    return "Standard input" if path == STDIN else str(path)


def _open(path: Path, stack: contextlib.ExitStack) -> Any:
    if path != STDIN:
        with explain_errors(path):
            return stack.enter_context(path.open("rb", buffering=BLOCK))
    try:
        # The interpreter's own buffer is left open: others may want to read on.
        return io.BufferedReader(io.FileIO(sys.stdin.fileno(), closefd=False), BLOCK)
    except (OSError, ValueError, AttributeError):  # no file, as in a notebook or a test
        content = sys.stdin.buffer.read() if hasattr(sys.stdin, "buffer") else sys.stdin.read().encode()
        return io.BufferedReader(io.BytesIO(content))


@contextlib.contextmanager
def explain_errors(path: Path) -> Iterator[None]:
    """Say in words why a file cannot be read."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}.", "Check the path.") from error
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path} cannot be read: {cause}.", "Check the path and its rights.") from error


class _Counted(io.RawIOBase):
    """Passes bytes on until there are too many of them."""

    def __init__(self, file: Any, name: str, *, packed: bool) -> None:
        self._file = file
        self._name = name
        self._packed = packed
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        try:
            block = self._file.read(len(target)) or b""
        except (EOFError, OSError, zlib.error) as error:
            cause = str(error).rstrip(".") or "no more data"
            raise DataError(
                f"{self._name} breaks off after {self._size:,} bytes: {cause}.",
                "It is damaged: get it once more."
                if self._packed
                else "Check that it can be read to its end.",
            ) from error
        self._size += len(block)
        if self._size > MOST_BYTES:
            raise DataError(
                f"{self._name} {'unfolds to' if self._packed else 'holds'} more than {MOST_BYTES:,} bytes.",
                "Bring it in several files.",
            )
        target[: len(block)] = block
        return len(block)
