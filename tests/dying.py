"""A child process that dies, without any ado, at the n-th step that changes the disk."""

import builtins
import io
import os
import sqlite3
from pathlib import Path


def die_at(step, work, *, opening=False):
    """Do `work` in a forked child that dies at that step; its exit code, 0 if it came to its end before.

    With `opening`, each file that is opened to be written is a step, too.
    """
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        _count(step, opening)
        work()
        code = 0
    finally:
        os._exit(code)


def _count(step, opening):
    """Die before the n-th call of whatever changes the disk."""
    left = step

    def counted(function):
        def call(*args, **kwargs):
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(9)
            return function(*args, **kwargs)

        return call

    os.replace, os.rename, os.fsync = counted(os.replace), counted(os.rename), counted(os.fsync)
    Path.unlink, Path.chmod = counted(Path.unlink), counted(Path.chmod)
    connect = sqlite3.connect

    class Counted(sqlite3.Connection):
        def execute(self, text, *more):
            read_only = text.lstrip().upper().startswith(("SELECT", "PRAGMA"))
            return super().execute(text, *more) if read_only else counted(super().execute)(text, *more)

        def __exit__(self, *error):
            return counted(super().__exit__)(*error)

    sqlite3.connect = lambda *args, **kwargs: connect(*args, **kwargs | {"factory": Counted})
    if opening:
        read, write = io.open, counted(io.open)

        def opened(file, mode="r", *args, **kwargs):
            return (read if mode in ("r", "rb") else write)(file, mode, *args, **kwargs)

        io.open = builtins.open = opened
