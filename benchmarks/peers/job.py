"""What every peer has in common: a job comes in as a file of JSON, and what came of it goes out as one.

    python PEER.py JOB.json OUTCOME.json

The clock starts when all libraries are imported and the job is read. Knows no library but torch.
"""

import json
import resource
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


class Clock:
    """Seconds since the peer was ready to begin."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def __call__(self) -> float:
        return time.monotonic() - self._start


def begin() -> tuple[dict[str, Any], Path, Clock]:
    """The job, where its outcome goes, and a clock that runs from now on."""
    job = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"])
    return job, Path(sys.argv[2]), Clock()


def end(path: Path, outcome: dict[str, Any], libraries: Sequence[str]) -> None:
    """Write the outcome, with what it was made by."""
    versions = {name: version(name) for name in ("torch", "transformers", *libraries)}
    path.write_text(json.dumps(outcome | {"versions": versions, "threads": torch.get_num_threads()}))


def say(text: str) -> None:
    """One line of progress."""
    print(text, flush=True)


def peak_bytes() -> int:
    """The most memory that this process has held so far.

    Not getrusage where it can be helped: on Linux its figure begins with that of the process that
    started this one.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
