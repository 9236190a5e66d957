"""Gets the text out of a document, in a process of its own.

Formats for people are large, and so are the libraries that read them: a document that makes one loop, crash
or fill the memory must cost that document and nothing else. `Extractor` is the side that asks; `serve` is
what runs in the other process. Knows nothing of tables or examples.
"""

import contextlib
import io
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from azubi.data.reading import archive
from azubi.data.reading import encoding as encodings
from azubi.data.reading.row import Unusable
from azubi.errors import DataError
from azubi.settings import LimitSettings

_START = 60.0
"""Seconds that the other process may take to get ready."""


class Extractor:
    """Another process that reads one document at a time; a new one takes its place when it fails."""

    def __init__(self, limits: LimitSettings) -> None:
        """Nothing is started before the first document comes."""
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._ahead = b""

    def text(self, path: Path) -> str:
        """The text of a document.

        Raises:
            Unusable: it has none, is damaged, too large, or takes too long.
        """
        if (kind := path.suffix.lower()) not in KINDS:
            raise Unusable(f"{kind or 'a file without a suffix'} is no kind of document that can be read")
        with contextlib.suppress(OSError):
            if (size := path.stat().st_size) > self._limits.document:
                most = self._limits.document
                raise Unusable(f"the document has {size:,} bytes; limits.document allows {most:,}")
        told = self._ask({"path": str(path.absolute())})
        if "fault" in told:
            raise Unusable(told["fault"])
        return str(told["text"])

    def close(self) -> None:
        """End the other process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            self._process, self._ahead = None, b""

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        if self._process is None:
            self._process = self._started()
            if self._answer(_START) is None:
                self.close()
                raise DataError(
                    "The process that reads documents did not start.",
                    "Raise --limits-memory, or try again when the machine is less busy.",
                )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
        answer = self._answer(self._limits.seconds)
        if answer is not None:
            return answer
        ended = self._process.poll() is not None
        self.close()
        limit = (
            "the memory that limits.memory allows"
            if ended
            else f"the {self._limits.seconds} s of limits.seconds"
        )
        return {"fault": f"the document could not be read within {limit}"}

    def _started(self) -> "subprocess.Popen[bytes]":
        limits = self._limits
        return subprocess.Popen(
            # -P: nothing that lies in the working folder is taken for a module.
            [sys.executable, "-P", "-c", f"from {__name__} import serve; serve()", limits.model_dump_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            start_new_session=True,  # Ctrl-C is for the one who asks
        )

    def _answer(self, seconds: float) -> dict[str, Any] | None:
        """What the process says; None if it ended or took too long."""
        assert self._process is not None and self._process.stdout is not None
        until = time.monotonic() + seconds
        parts = [self._ahead]
        while b"\n" not in parts[-1]:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, until - time.monotonic()))
            block = os.read(self._process.stdout.fileno(), 1 << 16) if ready else b""
            if not block:
                if not ready:
                    return None
                self._process.wait()
                return None
            parts.append(block)
        line, _, self._ahead = b"".join(parts).partition(b"\n")
        told = json.loads(line)
        return told if isinstance(told, dict) else None


# What runs in the other process


def serve() -> None:
    """Answer questions on standard input until it ends."""
    limits = LimitSettings.model_validate_json(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    _import()
    _limit_memory(limits.memory)
    _say(answers, {"ready": True})
    for line in sys.stdin:
        _say(answers, _told(Path(json.loads(line)["path"]), limits))


def _say(answers: Any, told: dict[str, Any]) -> None:
    answers.write(json.dumps(told) + "\n")
    answers.flush()


def _told(path: Path, limits: LimitSettings) -> dict[str, Any]:
    try:
        text = content(path, limits)
    except Unusable as error:
        return {"fault": str(error)}
    except DataError as error:
        return {"fault": error.problem.rstrip(".")}
    except MemoryError:
        return {"fault": "the document could not be read within the memory that limits.memory allows"}
    except Exception as error:  # whatever a library makes of a damaged file
        cause = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        return {"fault": f"the document cannot be read: {cause}"}
    if not text.strip():
        return {"fault": "no text in the document (a scan, perhaps)"}
    if len(text) > limits.row:
        return {
            "fault": f"the document has {len(text):,} characters of text; limits.row allows {limits.row:,}"
        }
    return {"text": text}


def content(path: Path, limits: LimitSettings) -> str:
    """The text of a document, in this process.

    Raises:
        Unusable, DataError: it cannot be read, and why; other errors are those of libraries.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Unusable(f"the document cannot be read: {error.strerror}") from None
    return KINDS[path.suffix.lower()](data, path.name, limits)


def _import() -> None:
    """Load what will be needed before memory is limited: libraries take room that they never use."""
    import markitdown.converters
    import pypdf

    _ = markitdown, pypdf


def _limit_memory(most: int) -> None:
    import resource

    import psutil

    room = psutil.Process().memory_info().vms + most
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (room if hard < 0 else min(room, hard), hard))


def _plain(data: bytes, name: str, limits: LimitSettings) -> str:
    if not data.strip():
        return ""
    try:
        return data.decode(encodings.found(data, name).name).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise Unusable(
            f"byte 0x{data[error.start]:02x} at {error.start:,} is not {error.encoding} text"
        ) from None


def _html(data: bytes, name: str, limits: LimitSettings) -> str:
    from markitdown import StreamInfo
    from markitdown.converters import HtmlConverter

    charset = encodings.found(data, name).name if data.strip() and _undeclared(data) else None
    found = HtmlConverter().convert(io.BytesIO(data), StreamInfo(extension=".html", charset=charset))
    return found.markdown


def _undeclared(data: bytes) -> bool:
    """Whether the page does not say itself in which encoding it is."""
    return b"charset=" not in data[:4096].lower()


def _docx(data: bytes, name: str, limits: LimitSettings) -> str:
    from markitdown import StreamInfo
    from markitdown.converters import DocxConverter

    archive.check(io.BytesIO(data), name, limits.office)
    converter: Any = DocxConverter  # its constructor has no types
    found = converter().convert(io.BytesIO(data), StreamInfo(extension=".docx"))
    return str(found.markdown)


def _pdf(data: bytes, name: str, limits: LimitSettings) -> str:
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unusable("the PDF has a password")
    if len(reader.pages) > limits.pages:
        raise Unusable(f"the PDF has {len(reader.pages):,} pages; limits.pages allows {limits.pages:,}")
    return "\n\n".join(page.extract_text() for page in reader.pages)


def _eml(data: bytes, name: str, limits: LimitSettings) -> str:
    import email
    import email.policy

    message = email.message_from_bytes(data, policy=email.policy.default)
    told = [f"{header}: {message[header]}" for header in ("From", "To", "Date", "Subject") if message[header]]
    body = message.get_body(("plain", "html"))
    if body is None:
        return "\n".join(told) if message.is_multipart() else ""
    text = body.get_content()
    if body.get_content_subtype() == "html":
        text = _html(str(text).encode(), name, limits)
    return "\n".join(told) + "\n\n" + str(text).strip()


KINDS: dict[str, Callable[[bytes, str, LimitSettings], str]] = {
    ".txt": _plain,
    ".md": _plain,
    ".html": _html,
    ".htm": _html,
    ".docx": _docx,
    ".pdf": _pdf,
    ".eml": _eml,
}
"""By the suffix of their name."""


@contextlib.contextmanager
def extractor(limits: LimitSettings) -> Iterator[Extractor]:
    """An extractor that is closed in the end."""
    made = Extractor(limits)
    try:
        yield made
    finally:
        made.close()
