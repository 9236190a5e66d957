"""Runs the parsers of foreign binary files in a process of their own, with limits.

Formats for people are large, and so are the libraries that read them: a file that makes one of them loop,
crash or fill the memory must cost that file and nothing else. `Sandbox` is used by whoever reads: it calls a
generator function by name and yields what that yields. `serve` runs in the other process, which has limits of
memory and time and no network. Between them goes JSON, never pickle. Knows nothing of formats.
"""

import contextlib
import ctypes
import importlib
import json
import os
import resource
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from datetime import time as clock
from typing import IO, Any, Self

import psutil

from azubi.data.readers.row import LONGEST_ROW, Unreadable, Unusable, plain
from azubi.errors import DataError

SECONDS = 60
"""Time for one answer of a parser."""
_START_SECONDS = 60.0
_SPARE_SECONDS = 5
"""Processor time beyond the limit, after which the other process ends even if nobody waits for it."""
_MESSAGE_SIZE = 1 << 20
"""Characters after which items are sent together."""
_LONGEST_MESSAGE = 1 << 28
"""Bytes of one message that are accepted."""
_NEW_NETWORK, _NEW_USER = 0x40000000, 0x10000000
"""Flags of Linux's `unshare`."""


class Sandbox:
    """A process that runs parsers; it is started for the first call, and again after one that failed."""

    def __init__(self, memory: int, libraries: Sequence[str], file: IO[bytes] | None = None) -> None:
        """`libraries` are imported before memory is limited; `file` is inherited: see `descriptor`."""
        self._memory = int(memory)
        self._libraries = libraries
        self._process: subprocess.Popen[bytes] | None = None
        self._received = b""
        self.descriptor = file.fileno() if file is not None else None
        """What the parsers open the file by."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def call(self, function: str, **arguments: Any) -> Iterator[Any]:
        """Yield what a generator function, "module:name", yields for these arguments.

        Raises:
            Unusable: the parser refuses the file, fails, takes too long or too much memory.
            DataError: the process does not start.
        """
        process = self._process or self._start()
        assert process.stdin is not None
        ended = False
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps([function, arguments]).encode() + b"\n")
                process.stdin.flush()
            while isinstance(message := self._receive(process, SECONDS), list):
                yield from message
            ended = True
            if message:
                raise Unusable(message)
        finally:
            if not ended:
                self.close()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            self._process, self._received = None, b""

    def _start(self) -> "subprocess.Popen[bytes]":
        # -P: nothing that lies in the working folder is taken for a module.
        code = f"from {__name__} import serve; serve({self._memory}, {SECONDS}, {list(self._libraries)})"
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                "ARROW_DEFAULT_MEMORY_POOL": "system",  # others reserve more than they use
            },
            pass_fds=() if self.descriptor is None else (self.descriptor,),
            start_new_session=True,  # Ctrl-C is for the one who asks
        )
        try:
            self._receive(self._process, _START_SECONDS)
        except Unusable:
            self.close()
            raise DataError(
                "The process that reads files of this kind did not start.",
                "Raise --limits-memory, or try again when the machine is less busy.",
            ) from None
        return self._process

    def _receive(self, process: "subprocess.Popen[bytes]", seconds: float) -> list[Any] | str:
        """The next message: some items; or, at the end of a call, what kept the parser from reading on."""
        assert process.stdout is not None
        until = time.monotonic() + seconds
        parts = [self._received]
        while b"\n" not in parts[-1]:
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise Unusable(f"cannot be read within {seconds:g} s")
            block = os.read(process.stdout.fileno(), 1 << 20)
            if not block or sum(map(len, parts)) > _LONGEST_MESSAGE:
                raise Unusable(_TOO_MUCH_MEMORY)
            parts.append(block)
        line, _, self._received = b"".join(parts).partition(b"\n")
        message: list[Any] | str = json.loads(line)
        return message


_TOO_MUCH_MEMORY = "cannot be read within the memory that limits.memory allows, or makes the parser crash"

# What runs in the other process


def serve(memory: int, seconds: int, libraries: Sequence[str]) -> None:
    """Run the functions that standard input names until it ends."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no message
    _leave_network()
    for library in libraries:
        importlib.import_module(library)
    _lower(resource.RLIMIT_AS, psutil.Process().memory_info().vms + memory)
    sys.addaudithook(_refuse_sockets)
    print('""', file=output, flush=True)
    for line in sys.stdin:
        items, size, fault = list[str](), 0, ""
        _limit_time(seconds)
        try:
            for item in run(*json.loads(line)):
                items.append(json.dumps(item))
                size += len(items[-1])
                if size > _MESSAGE_SIZE:
                    print(f"[{', '.join(items)}]", file=output, flush=True)
                    _limit_time(seconds)
                    items, size = [], 0
        except Unusable as error:
            fault = str(error)
        print(f"[{', '.join(items)}]", json.dumps(fault), sep="\n", file=output, flush=True)


def run(function: str, arguments: Mapping[str, Any]) -> Iterator[Any]:
    """What the parser "module:name" yields.

    Raises:
        Unusable: in the place of any error.
    """
    module, _, name = function.partition(":")
    try:
        yield from getattr(importlib.import_module(module), name)(**arguments)
    except Unusable:
        raise
    except MemoryError:
        raise Unusable(_TOO_MUCH_MEMORY) from None
    except BaseException as error:  # a fault in a library written in Rust is no Exception
        if isinstance(error, GeneratorExit):
            raise
        cause = (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".")
        short = "malloc" in cause or "out of memory" in cause
        raise Unusable(_TOO_MUCH_MEMORY if short else f"cannot be read: {cause}") from None


def _limit_time(seconds: int) -> None:
    """Let the kernel end this process if an item takes that long and nobody is left to end it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = seconds * (os.cpu_count() or 1) + _SPARE_SECONDS
    _lower(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + seconds)


def _lower(limit: int, soft: int) -> None:
    hard = resource.getrlimit(limit)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(limit, (soft if hard < 0 else min(soft, hard), hard))


def _leave_network() -> None:
    """Move into a network namespace in which there is nothing, where the kernel allows it."""
    unshare = getattr(ctypes.CDLL(None), "unshare", None)
    if unshare is not None and unshare(_NEW_NETWORK) != 0:
        unshare(_NEW_USER | _NEW_NETWORK)


def _refuse_sockets(event: str, _: object) -> None:
    if event.startswith("socket."):
        raise PermissionError("files are read without a network")


# Cells of tables as JSON


def encode_cell(value: Any) -> Any:
    """A cell as JSON has it: text, numbers and nothing as they are, everything else with its kind."""
    if isinstance(value, str) and len(value) > LONGEST_ROW:
        return ["unreadable", f"has {len(value):,} characters, more than {LONGEST_ROW:,}"]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    for kind in (datetime, date, clock):
        if isinstance(value, kind):
            return [kind.__name__, value.isoformat()]
    try:
        return ["json", plain(value)]
    except Unusable as error:
        return ["unreadable", str(error)]


def decode_cell(cell: Any) -> Any:
    """The value that `encode_cell` was given, with what is nested in it as JSON."""
    return _DECODE[cell[0]](cell[1]) if isinstance(cell, list) else cell


_DECODE: dict[str, Any] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": clock.fromisoformat,
    "json": lambda value: value,
    "unreadable": Unreadable,
}


@contextlib.contextmanager
def refusal(name: str, kind: str, remedy: str) -> Iterator[None]:
    """Turn what a parser says of a whole file into the error that names it."""
    try:
        yield
    except Unusable as error:
        raise DataError(f"{name} is {kind} and {error}.", remedy) from None
