"""A child process that dies, without any ado, at the n-th step that changes the disk."""

import os
import sqlite3
from pathlib import Path


def die_at(step, work):
    """Do `work` in a forked child that dies at that step; its exit code, 0 if it came to its end before."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        _count(step)
        work()
        code = 0
    finally:
        os._exit(code)


def _count(step):
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

    os.replace, os.fsync = counted(os.replace), counted(os.fsync)
    Path.unlink, Path.chmod = counted(Path.unlink), counted(Path.chmod)
    connect = sqlite3.connect

    class Counted(sqlite3.Connection):
        def execute(self, text, *more):
            read_only = text.lstrip().upper().startswith(("SELECT", "PRAGMA"))
            return super().execute(text, *more) if read_only else counted(super().execute)(text, *more)

        def __exit__(self, *error):
            return counted(super().__exit__)(*error)

    sqlite3.connect = lambda *args, **kwargs: connect(*args, **kwargs | {"factory": Counted})
