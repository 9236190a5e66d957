"""Text lines out of bytes, one at a time, none longer than the limit.

A line that cannot be decoded, or holds what no text holds, comes with the reason; the next ones are not
touched by it. Knows nothing of what the lines say.
"""

import codecs
import io
from collections.abc import Iterator
from typing import NamedTuple

from azubi.data.readers import encoding as encodings
from azubi.data.readers.encoding import Encoding
from azubi.data.readers.opening import BLOCK
from azubi.data.readers.row import LONGEST_RAW
from azubi.errors import DataError


class Line(NamedTuple):
    """One line with what ends it."""

    number: int
    text: str
    """With replacement characters where there is a fault; only the beginning if it is too long."""
    fault: str = ""
    """Why it cannot be used; empty if it can."""
    whole: bool = True
    """False if it was too long to be kept."""


class Text:
    """The lines of a text."""

    def __init__(
        self, file: io.BufferedReader, name: str, encoding: str | None, most: int, more: bytes = b""
    ) -> None:
        """Find out the encoding, unless it is given; `most` bytes per line, `more` is text from further on.

        Raises:
            SettingError: Python knows no such encoding.
            DataError: it is not text, or there is none.
        """
        self.name = name
        self._most = most
        self.sample = file.peek(BLOCK)[:BLOCK]
        given = encodings.given(encoding) if encoding else None
        if given and encodings.is_utf8(self.sample) and not given.name.startswith("utf-8"):
            word = encodings.example(self.sample.decode(errors="ignore"))
            self.notice = f"{name} is UTF-8 and was read so (“{word}”), though --encoding says {encoding}."
            given = Encoding("utf-8")
        else:
            self.notice = ""
        self.encoding = given or encodings.found(self.sample, name, more)
        self.notice = self.notice or self.encoding.notice(name)
        """What there is to say about how it is decoded."""
        self._file = self._bytes(file, self.encoding)

    def _bytes(self, file: io.BufferedReader, encoding: Encoding) -> io.BufferedReader:
        if encoding.splits:
            self._decoding = encoding.name
            old = b"\r" in self.sample and b"\n" not in self.sample
        else:
            self._decoding = "utf-8"
            decoder = codecs.getincrementaldecoder(encoding.name)()
            file = io.BufferedReader(_Recoded(file, decoder, self.name), BLOCK)
            ahead = file.peek(BLOCK)
            old = b"\r" in ahead and b"\n" not in ahead
        return io.BufferedReader(_Lined(file), BLOCK) if old else file

    def head(self, lines: int) -> list[str]:
        """The first lines, for finding out a form; what is read later begins with them all the same."""
        start = self._file.peek(BLOCK)[:BLOCK]
        parts = start.split(b"\n")
        if len(parts) > 1 and len(start) >= BLOCK // 2:
            parts.pop()  # cut off
        return [part.decode(self._decoding, "replace").removeprefix("\ufeff") for part in parts[:lines]]

    def pieces(self, size: int) -> Iterator[str]:
        """All of the text in pieces; bytes that cannot be decoded are lone surrogates."""
        decoder = codecs.getincrementaldecoder(self._decoding)("surrogateescape")
        first = True
        while block := self._file.read(size):
            text = decoder.decode(block)
            yield from (text.removeprefix("\ufeff") if first else text,) if text else ()
            first = first and not text
        yield decoder.decode(b"", final=True)

    def __iter__(self) -> Iterator[Line]:
        """Each line, also the empty ones."""
        number, most = 0, self._most
        while line := self._file.readline(most + 1):
            number += 1
            if number == 1 and self._decoding == "utf-8":
                line = line.removeprefix(codecs.BOM_UTF8)
            if len(line) > most:
                yield self._too_long(number, line)
            else:
                yield self._decoded(number, line)

    def _decoded(self, number: int, line: bytes) -> Line:
        try:
            text = line.decode(self._decoding)
        except UnicodeDecodeError as error:
            fault = (
                f"byte 0x{line[error.start]:02x} is not {self.encoding.name.upper()} text ({error.reason})"
            )
            return Line(number, line.decode(self._decoding, "replace"), fault)
        if "\0" in text:
            return Line(number, text, "holds a NUL character, which no text has")
        return Line(number, text)

    def _too_long(self, number: int, line: bytes) -> Line:
        start, size = line[: 4 * LONGEST_RAW], len(line)
        while not line.endswith(b"\n") and (line := self._file.readline(BLOCK)):
            size += len(line)
        text = start.decode(self._decoding, "replace")
        return Line(number, text, f"has {size:,} bytes; limits.row allows {self._most:,}", whole=False)


class _Recoded(io.RawIOBase):
    """Another encoding as UTF-8."""

    def __init__(self, file: io.BufferedReader, decoder: codecs.IncrementalDecoder, name: str) -> None:
        self._file = file
        self._decoder = decoder
        self._name = name
        self._ready = b""
        self._seen = 0

    def readable(self) -> bool:
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        while not self._ready:
            block = self._file.read(BLOCK // 4)
            try:
                self._ready = self._decoder.decode(block, final=not block).encode(errors="replace")
            except UnicodeError as error:
                reason = getattr(error, "reason", "") or str(error)
                raise DataError(
                    f"{self._name} cannot be decoded behind byte {self._seen:,}: {reason}.",
                    "Name its encoding with --encoding, or save it as UTF-8.",
                ) from error
            self._seen += len(block)
            if not block:
                break
        size = min(len(target), len(self._ready))
        target[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size


class _Lined(io.RawIOBase):
    """Lines that end with \\r alone, as very old programs wrote them, with \\n."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        block = self._file.read1(len(target)).replace(b"\r", b"\n")
        target[: len(block)] = block
        return len(block)
