"""What this machine does best: device, number format and threads, found by measuring.

bfloat16 is twice as fast as float32 on some processors and a hundred times slower on others
(docs/design.md), so it is never assumed.
"""

import os
import platform
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import joblib
import psutil
import torch

from azubi.engine.base import device
from azubi.engine.base.device import DeviceName

DtypeName = Literal["auto", "float32", "bfloat16"]

_SHAPE = (1024, 576, 1536)
"""Rows, inner and outer size of the trial product: a small decoder's MLP on a thousand tokens."""
_SECONDS = 0.2
"""For so long the product is repeated."""
_GLANCE = 0.02
_WORTH = 1.3
"""bfloat16 is taken if it is at least this much faster; less does not pay for its rounding."""


@dataclass(frozen=True)
class Machine:
    """What was measured."""

    dtype: torch.dtype
    threads: int
    gflops: float
    """Matmul speed in `dtype` on all threads, 1e9 floating-point operations per second."""
    device: str = "cpu"
    """Where it computes: cpu, cuda or mps."""

    @property
    def dtype_name(self) -> str:
        """`float32` or `bfloat16`."""
        return str(self.dtype).removeprefix("torch.")


def probe(dtype: DtypeName = "auto", threads: int | None = None, where: DeviceName = "auto") -> Machine:
    """Set device and threads, choose the number format, and say how fast it is. Takes about half a second.

    Raises:
        SettingError: there is no such device.
    """
    chosen_device = device.use(where)
    use_threads(threads)
    speeds = {kind: matmul_speed(kind, torch.get_num_threads()) for kind in _candidates(dtype)}
    chosen = max(speeds, key=lambda kind: speeds[kind] / (_WORTH if kind == torch.bfloat16 else 1.0))
    return Machine(chosen, torch.get_num_threads(), speeds[chosen], chosen_device.type)


def has_bfloat16(threads: int) -> bool:
    """Whether bfloat16 is computed by the processor itself; where it is not, it is a hundred times slower.

    So great a difference shows in a glance: `ask` need not wait for a measurement.
    """
    return _advantage(threads) > 0.5


def faster(threads: int) -> torch.dtype:
    """bfloat16 where it pays, else float32, as a glance shows: for what only has to be quick."""
    return torch.bfloat16 if _advantage(threads) > _WORTH else torch.float32


def _advantage(threads: int) -> float:
    """How many times faster than float32 bfloat16 is, at a glance."""
    half, full = (matmul_speed(kind, threads, _GLANCE) for kind in (torch.bfloat16, torch.float32))
    return half / full


def use_threads(threads: int | None) -> None:
    """Set torch's threads: as given, else what OMP_NUM_THREADS says, else one per physical core."""
    given = threads or int(os.environ.get("OMP_NUM_THREADS") or 0)
    torch.set_num_threads(given or min(usable_cores(), physical_cores()))


def processor() -> str:
    """The processor's name as Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def physical_cores() -> int:
    """Of the machine; two threads on one core share its arithmetic."""
    return psutil.cpu_count(logical=False) or 1


def usable_cores() -> int:
    """What this process may use of the machine: its affinity, and its container's share of time."""
    return int(joblib.cpu_count())


def _candidates(dtype: DtypeName) -> list[torch.dtype]:
    if dtype == "auto":
        return [torch.float32, torch.bfloat16]
    return [torch.float32 if dtype == "float32" else torch.bfloat16]


def matmul_speed(dtype: torch.dtype, threads: int, seconds: float = _SECONDS) -> float:
    """What `measured_speed` found; `threads`, device and format tell remembered values apart."""
    return _remembered_speed(dtype, threads, torch.get_default_device(), seconds)


@cache
def _remembered_speed(dtype: torch.dtype, threads: int, where: torch.device, seconds: float) -> float:
    return measured_speed(dtype, seconds)


def measured_speed(dtype: torch.dtype, seconds: float = _SECONDS) -> float:
    """Best of several short runs of one product where torch computes now, in GFLOP/s.

    Below `_SECONDS` the product is as much smaller: where bfloat16 is slow, one of full size takes seconds.
    """
    rows, inner, outer = max(1, round(_SHAPE[0] * min(1.0, seconds / _SECONDS))), *_SHAPE[1:]
    left, right = torch.ones(rows, inner, dtype=dtype), torch.ones(outer, inner, dtype=dtype)
    best = float("inf")
    started = time.perf_counter()
    with torch.inference_mode():
        while time.perf_counter() - started < seconds:
            begun = time.perf_counter()
            torch.nn.functional.linear(left, right)
            device.wait()
            best = min(best, time.perf_counter() - begun)
    return 2 * rows * inner * outer / best / 1e9
