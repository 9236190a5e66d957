"""Gets the text out of a document, in a process of its own.

Formats for people are large, and so are the libraries that read them: a document that makes one loop, crash
or fill the memory must cost that document and nothing else. `Extractor` is the side that asks; `serve` is
what runs in the other process. Knows nothing of tables or examples.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from azubi.data.readers.content import Document, Undeclared, content
from azubi.data.readers.row import Unusable
from azubi.data.readers.text import PROBE, Encoding, guess_encoding, named_encoding
from azubi.errors import DataError
from azubi.settings import LimitSettings

_START = 60.0
"""Seconds that the other process may take to get ready."""
_SPARE = 5
"""Seconds of processor time beyond the limit, after which the other process ends without being told to."""
_SAMPLED = 1_000
"""Documents by which an encoding is guessed, about."""


class Extract(NamedTuple):
    """What a document holds."""

    text: str
    unread: tuple[str, ...] = ()
    """The parts that are no text: 2 pages without text."""
    read_as: str = ""
    """The encoding of its text, where the text itself does not name it; empty if it does."""


class Extractor:
    """Another process that reads one document at a time; a new one takes its place when it fails."""

    def __init__(
        self, limits: LimitSettings, encoding: str | None = None, documents: Sequence[Path] = ()
    ) -> None:
        """Nothing is started before the first document comes; see `extractor`."""
        self._limits = limits
        self._documents = documents
        self.encoding = named_encoding(encoding) if encoding else None
        """What documents are in that do not say so themselves: given, or guessed when the first one comes."""
        self._process: subprocess.Popen[bytes] | None = None
        self._ahead = b""

    def read(self, path: Path) -> Extract:
        """The text of a document, and what of it is no text.

        Raises:
            Unusable: it has none, is damaged, too large, or takes too long.
        """
        answer = self._extract(path)
        if "undeclared" in answer:
            self.encoding = self._guess(answer["undeclared"])
            answer = self._extract(path)
        if "fault" in answer:
            raise Unusable(answer["fault"])
        return Extract(answer["text"], tuple(answer["unread"]), answer["read_as"])

    def _extract(self, path: Path) -> dict[str, Any]:
        with contextlib.suppress(OSError):
            if (size := path.stat().st_size) > self._limits.document:
                most = self._limits.document
                return {"fault": f"the document has {size:,} bytes; limits.document allows {most:,}"}
        encoding = self.encoding
        name, guess = (encoding.name, not encoding.sure) if encoding else (None, True)
        return self._ask({"path": str(path.absolute()), "encoding": name, "guess": guess})

    def _guess(self, first: str) -> Encoding:
        """The encoding of all documents that need one, from a sample of them: few letters decide nothing."""
        texts = [path for path in self._documents if path.suffix.lower() not in (".pdf", ".docx")]
        samples = [first]
        for path in texts[:: max(1, len(texts) // _SAMPLED)]:
            samples.append(self._extract(path).get("undeclared", ""))
        most = max(200, PROBE // len(samples))
        return guess_encoding("\n".join(each[:most] for each in samples).encode("latin-1"))

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
        answer = json.loads(line)
        return answer if isinstance(answer, dict) else None


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
        _limit_time(limits.seconds)
        _say(answers, extract(json.loads(line), limits))


def _say(output: Any, answer: dict[str, Any]) -> None:
    output.write(json.dumps(answer) + "\n")
    output.flush()


def extract(question: dict[str, Any], limits: LimitSettings) -> dict[str, Any]:
    """Text, unread parts and encoding of a document; or a sample of undeclared text; or the fault."""
    path = Path(question["path"])
    document = Document(path.name, limits, question["encoding"], guess=question["guess"])
    try:
        text = content(path, document)
    except Undeclared as undeclared:
        return {"undeclared": undeclared.sample.decode("latin-1")}
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
        what = ", ".join(document.unread) or "a scan, perhaps"
        return {"fault": f"no text in the document ({what})"}
    if len(text) > limits.row:
        return {
            "fault": f"the document has {len(text):,} characters of text; limits.row allows {limits.row:,}"
        }
    return {"text": text, "unread": document.unread, "read_as": document.read_as}


def _import() -> None:
    """Load what will be needed before memory is limited: libraries take room that they never use."""
    import bs4
    import markitdown.converters
    import pypdf

    _ = bs4, markitdown, pypdf


def _limit_time(seconds: int) -> None:
    """Let the kernel end this process if a document takes that long and nobody is left to end it."""
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + seconds + _SPARE
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (soft if hard < 0 else min(soft, hard), hard))


def _limit_memory(most: int) -> None:
    import resource

    import psutil

    room = psutil.Process().memory_info().vms + most
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (room if hard < 0 else min(room, hard), hard))


@contextlib.contextmanager
def extractor(
    limits: LimitSettings, encoding: str | None = None, documents: Sequence[Path] = ()
) -> Iterator[Extractor]:
    """An extractor that is closed in the end; `documents` are those by which an encoding is guessed.

    Raises:
        SettingError: Python knows no such encoding.
    """
    made = Extractor(limits, encoding, documents)
    try:
        yield made
    finally:
        made.close()
