"""What a measurement was made on."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import psutil

from azubi.base import probe

ROOT = Path(__file__).resolve().parent.parent
_QUIET = 0.5
"""Load average (of the last minute) up to which a machine counts as quiet before a cell begins."""


def facts(threads: int) -> dict[str, object]:
    """Processor, memory, system, threads, and the state of the code."""
    return {
        "cpu": probe.processor(),
        "cores": psutil.cpu_count(logical=False),
        "threads": threads,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "bfloat16": probe.has_bfloat16(threads),
        "commit": commit(),
    }


def now() -> str:
    """The time, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def load() -> float:
    """Programs that wanted the processor, on average of the last minute."""
    return round(os.getloadavg()[0], 2)


def is_quiet() -> bool:
    """Whether nothing else seems to run."""
    return load() <= _QUIET


def commit() -> str:
    """The commit that is checked out, with a plus if files were changed since; empty outside of git."""
    try:
        name = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--", "azubi", "benchmarks", ":!benchmarks/results")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return name + ("+" if changed else "")


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()
