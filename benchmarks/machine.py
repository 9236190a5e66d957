"""What a measurement was made on."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import psutil

from azubi.engine.base import hardware

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / ".bench" / "results"
"""What is measured here stays here: git ignores the folder, and the pages in docs/ hold the tables."""
_QUIET = 0.5
"""Load average (of the last minute) up to which a machine counts as quiet before a cell begins."""


def facts(threads: int) -> dict[str, object]:
    """Processor, memory, system, threads, and the state of the code."""
    return {
        "cpu": hardware.processor(),
        "cores": psutil.cpu_count(logical=False),
        "threads": threads,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "bfloat16": hardware.has_bfloat16(),
        "amx": kind() == "AMX",
        "commit": commit(),
    }


def kind() -> str:
    """What matters most for speed: matrix units (AMX), wide vectors (AVX-512), or neither."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "other"
    return "AMX" if " amx_bf16" in flags else "AVX-512" if " avx512f" in flags else "other"


def now() -> str:
    """The time, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def load() -> float:
    """Programs that wanted the processor, on average of the last minute."""
    return round(os.getloadavg()[0], 2)


def is_quiet() -> bool:
    """Whether nothing else seems to run."""
    return load() <= _QUIET


def identity(threads: int) -> dict[str, object]:
    """What two measurements must share to stand in one table: the hardware and the measured code."""
    facts_here = facts(threads)
    return {name: facts_here[name] for name in ("cpu", "cores", "threads", "memory_gib", "system", "commit")}


def commit() -> str:
    """The last commit that touched the code, with a plus if it was changed since; empty outside of git."""
    try:
        name = _git("log", "-1", "--format=%h", "--", "azubi", "benchmarks")
        changed = _git("status", "--porcelain", "--", "azubi", "benchmarks")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return name + ("+" if changed else "")


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()
