"""How much memory is free for a program to take (the machine's, its container's, its own limit), and how much
this one has taken.

Knows the system; nothing of models.
"""

import ctypes
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
_OWN_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_CACHED = "inactive_file"
"""What a group holds of files and gives up at once when something else needs the room."""


def available() -> int:
    """Bytes that this process can still take before it must swap or is stopped."""
    left = [int(psutil.virtual_memory().available), *_left_in_groups(), *_left_of_limit()]
    return max(0, min(left))


def used() -> int:
    """Bytes of memory that this process holds now."""
    return int(psutil.Process().memory_info().rss)


def peak() -> int:
    """Most bytes that this process held since `forget_peak`; elsewhere than on Linux since it began."""
    for line in _lines(_OWN_STATUS):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def forget_peak() -> None:
    """Let `peak` count from now on, where the system can.

    https://docs.kernel.org/filesystems/proc.html (clear_refs)
    """
    with suppress(OSError):
        _FORGET.write_text("5")


def release_memory() -> None:
    """Give back what the C library holds though nothing uses it.

    Batches have many shapes, and the gaps that they leave grow to hundreds of megabytes in a few minutes.
    Elsewhere than with glibc nothing happens (https://man7.org/linux/man-pages/man3/malloc_trim.3.html).
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _left_of_limit() -> Iterator[int]:
    """What `ulimit -v` leaves."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        yield limit - psutil.Process().memory_info().vms


def _left_in_groups() -> Iterator[int]:
    """What each control group around this process leaves, of version 2 and of version 1.

    https://docs.kernel.org/admin-guide/cgroup-v2.html#memory
    """
    for line in _lines(_OWN_GROUPS):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield from _left(_GROUPS, path, "memory.max", "memory.current", _CACHED)
        elif "memory" in controllers.split(","):
            root = _GROUPS / "memory"
            yield from _left(root, path, "memory.limit_in_bytes", "memory.usage_in_bytes", f"total_{_CACHED}")


def _left(root: Path, path: str, limit: str, usage: str, cached: str) -> Iterator[int]:
    # Inside a container the path may be the host's, and the container's own group is mounted at the root.
    folder = root / path.strip("/")
    for group in (folder, *(one for one in folder.parents if one.is_relative_to(root))):
        with suppress(OSError, ValueError):  # no limit reads "max"
            mask_boilerplate = int((group / limit).read_text()) - int((group / usage).read_text())
            yield mask_boilerplate + _counted(group / "memory.stat", cached)


def _counted(file: Path, name: str) -> int:
    return next((int(line.split()[1]) for line in _lines(file) if line.startswith(f"{name} ")), 0)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
