"""How an error looks: what went wrong, what to do about it, and which exit code it gives.

Knows the tree of errors, and the errors of Python and of the file system that deserve a plain sentence.
"""

import errno
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import typer

from azubi.cli.command import Session
from azubi.cli.formatting import clean
from azubi.errors import AzubiError, StorageError, UsageError, tells_of_memory
from azubi.locale.current import translated


class Stopped(KeyboardInterrupt):
    """The person wanted to stop; `remedy` says how to go on."""

    def __init__(self, remedy: str = "") -> None:
        super().__init__()
        self.remedy = remedy


@contextmanager
def patient(busy: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether Ctrl-C was pressed while `busy`; pressed again, it acts at once."""
    asked = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked or not busy():
            raise KeyboardInterrupt
        asked = True
        stopping = translated("Stopping after this step. Ctrl-C again stops at once.")
        print(stopping, file=sys.stderr, flush=True)

    usual = signal.getsignal(signal.SIGINT)
    # Only the main thread hears signals, and whoever set a handler of his own keeps it.
    if threading.current_thread() is not threading.main_thread() or usual != signal.default_int_handler:
        yield lambda: False
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, usual)


_STORAGE = {
    errno.ENOSPC: ("The disk is full", "Make room, or choose another folder with --home."),
    errno.EDQUOT: ("The disk quota is used up", "Make room, or choose another folder with --home."),
    errno.EROFS: ("The file system is read-only", "Choose a folder that can be written with --home."),
    errno.EACCES: ("Access was denied", "Give yourself access, or choose another folder with --home."),
    errno.EPERM: ("Access was denied", "Give yourself access, or choose another folder with --home."),
}
_INTERRUPTED, _PIPE_CLOSED = 130, 141


class NoCommand(UsageError):
    """The program was called without a command."""

    def __init__(self) -> None:
        super().__init__("No command was given.", "See: azubi --help")


@dataclass(frozen=True)
class Failure:
    """An error in plain words, in English; a person sees it in the language that holds."""

    kind: str
    problem: str
    remedy: str
    exit_code: int


def report(error: BaseException, session: Session) -> int:
    """Say what went wrong, on standard error and with --json also as a document; give the exit code."""
    # What draws tables turns a closed pipe into an exit of its own.
    if isinstance(error, BrokenPipeError) or isinstance(error.__context__, BrokenPipeError):
        return _leave_quietly()
    failure = explain(error)
    if session.debug:
        traceback.print_exception(error, file=sys.stderr)
    lines = [translated(line) for line in (failure.problem, failure.remedy) if line]
    print("\n".join(lines), file=sys.stderr)
    if session.json:
        _emit(failure, session)
    return failure.exit_code


def _emit(failure: Failure, session: Session) -> None:
    document = {"kind": failure.kind, "problem": failure.problem, "remedy": failure.remedy}
    try:
        session.emit({"error": document})
        sys.stdout.flush()
    except OSError:
        # Standard output itself is what failed; the message on standard error has to do.
        _discard_output()


def explain(error: BaseException) -> Failure:
    """Put any error into plain words."""
    if isinstance(error, AzubiError):
        return Failure(_snake(error), clean(error.problem), clean(error.remedy), error.exit_code)
    if isinstance(error, typer.TyperException):
        return _usage(error)
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        remedy = error.remedy if isinstance(error, Stopped) else ""
        return Failure("interrupted", "Stopped. Nothing half-written is left.", remedy, _INTERRUPTED)
    if tells_of_memory(error):
        remedy = "Try a smaller --batch or fewer --tail-layers, or close other programs."
        return Failure("memory", "The memory of this machine is used up.", remedy, 1)
    if isinstance(error, OSError) and error.errno is not None:
        return _storage(error)
    what = clean(f"{type(error).__name__}: {error}").strip().splitlines()[0]
    problem = f"Something went wrong that azubi did not foresee ({what})."
    return Failure("unexpected", problem, "Run it again with --debug to see where.", 1)


def _usage(error: typer.TyperException) -> Failure:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "azubi"
    return Failure("usage_error", clean(error.format_message()), f"See: {command} --help", error.exit_code)


def _storage(error: OSError) -> Failure:
    what, remedy = _STORAGE.get(error.errno or 0, (clean(error.strerror or "The file system failed"), ""))
    where = f": {clean(str(error.filename))}" if error.filename is not None else ""
    return Failure("storage_error", f"{what}{where}.", remedy, StorageError.exit_code)


def _snake(error: AzubiError) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()


def _leave_quietly() -> int:
    """Whoever read our output has gone; nobody is left to tell."""
    _discard_output()
    return _PIPE_CLOSED


def _discard_output() -> None:
    """Let what still waits to be printed go nowhere, so that leaving raises nothing."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
