"""Ctrl-C that waits for the end of a training step, so that where it stands can be kept.

Knows signals; nothing of runs.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


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
        print("Stopping after this step. Ctrl-C again stops at once.", file=sys.stderr, flush=True)

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
