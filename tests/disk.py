"""A small disk of a test's own, and what a folder of files leaves of its room."""

import contextlib
import subprocess

import pytest


@contextlib.contextmanager
def mounted(folder, options):
    """Mount a file system in memory as `folder`; skips the test where that is not allowed."""
    folder.mkdir()
    call = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    with contextlib.suppress(FileNotFoundError):
        if subprocess.run(call, capture_output=True).returncode == 0:
            try:
                yield folder
            finally:
                subprocess.run(["umount", "-l", str(folder)], check=True)
            return
    pytest.skip("a small disk of the test's own cannot be mounted here (it takes root)")


def fill_up(folder, room=0):
    """Leave no more than `room` bytes on a folder's disk; a second call leaves other ones."""
    filler = folder / "filler"
    filler.unlink(missing_ok=True)
    with filler.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        file.truncate(max(0, file.tell() - room))
