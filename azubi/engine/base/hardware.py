"""The machine: where torch computes, the fastest number format and number of threads, free memory.

Tensors are made on torch's default device, which `use_device` sets; what comes from disk is moved there with
`on_device`. bfloat16 is twice as fast as float32 on some processors and a hundred times slower on others
(docs/design.md): a run measures its speed, and what follows goes by the processor's flags. Only processors
were measured; on CUDA and Apple's GPU `azubi doctor --selftest` tells whether results are right.
"""

import ctypes
import os
import platform
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, TypeVar

import joblib
import psutil
import torch
from torch import nn

from azubi.errors import SettingError

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
DtypeName = Literal["auto", "float32", "bfloat16"]
TensorOrModule = TypeVar("TensorOrModule", torch.Tensor, nn.Module)

_ONEDNN_CACHE = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
"""oneDNN keeps a compiled program for each of the last 1,024 shapes, which takes hundreds of megabytes."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT_BYTES = 1 << 30
"""glibc keeps up to so much freed memory, and takes tensors up to this size from it."""
_MATMUL_SHAPE = (1024, 576, 1536)
"""Rows, inner and outer size of the measured product: a small decoder's MLP on a thousand tokens."""
_MATMUL_SECONDS = 0.2
_BFLOAT16_MIN_SPEEDUP = 1.3
"""A smaller gain does not pay for bfloat16's rounding."""
_BFLOAT16_FLAGS = frozenset(("avx512_bf16", "amx_bf16", "bf16"))
"""Instructions for bfloat16, as Linux names those of Intel, AMD and ARM."""
_CPUINFO = Path("/proc/cpuinfo")
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")
_OWN_STATUS, _CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def best_device() -> torch.device:
    """The accelerator that torch can use here, else the processor."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps", 0) if torch.backends.mps.is_available() else torch.device("cpu")


def use_device(name: DeviceName = "auto") -> torch.device:
    """Compute there from now on; raises SettingError if torch finds no such device."""
    best = best_device()
    if name not in ("auto", "cpu", best.type):
        raise SettingError(
            f"device is {name}, but torch finds no such device here.",
            f"Choose {best.type} or auto; `azubi doctor` tells what there is.",
        )
    device = torch.device("cpu") if name == "cpu" else best
    os.environ.setdefault(_ONEDNN_CACHE, "64")  # read at the first product
    # None, not cpu: torch looks up an explicit default device for every new tensor.
    torch.set_default_device(None if device.type == "cpu" else device)
    return device


def on_device(value: TensorOrModule) -> TensorOrModule:
    """Move a tensor or module to torch's default device."""
    device = torch.get_default_device()
    return value if device.type == "cpu" else value.to(device)


def rng_state() -> torch.Tensor:
    """The state of the default device's random numbers, from which dropout draws."""
    match torch.get_default_device().type:
        case "cuda":
            return torch.cuda.get_rng_state()
        case "mps":
            return torch.mps.get_rng_state()
        case _:
            return torch.get_rng_state()


def set_rng_state(state: torch.Tensor) -> None:
    """Restore what `rng_state` returned."""
    match torch.get_default_device().type:
        case "cuda":
            torch.cuda.set_rng_state(state)
        case "mps":
            torch.mps.set_rng_state(state)
        case _:
            torch.set_rng_state(state)


@dataclass(frozen=True)
class Machine:
    """The number format and threads to compute with, and how fast they are."""

    dtype: torch.dtype
    threads: int
    gflops: float
    """Matmul speed in `dtype` on all threads, 1e9 floating-point operations per second."""
    device: str = "cpu"
    """cpu, cuda or mps."""

    @property
    def dtype_name(self) -> str:
        """`float32` or `bfloat16`."""
        return str(self.dtype).removeprefix("torch.")


def probe(dtype: DtypeName = "auto", threads: int | None = None, device: DeviceName = "auto") -> Machine:
    """Set device and threads and choose the number format by measuring, which takes about half a second."""
    device_type = use_device(device).type
    use_threads(threads)
    dtypes = [torch.float32, torch.bfloat16] if dtype == "auto" else [getattr(torch, dtype)]
    speeds = {each: matmul_speed(each, torch.get_num_threads()) for each in dtypes}
    best = max(
        speeds, key=lambda each: speeds[each] / (_BFLOAT16_MIN_SPEEDUP if each == torch.bfloat16 else 1)
    )
    return Machine(best, torch.get_num_threads(), speeds[best], device_type)


def has_bfloat16() -> bool:
    """Whether the device computes bfloat16 itself; elsewhere bfloat16 is a hundred times slower.

    Processors say so on Linux; others are measured, which a busy machine can mislead.
    """
    if torch.get_default_device().type == "cpu" and (flags := _processor_flags()):
        return not flags.isdisjoint(_BFLOAT16_FLAGS)
    half, full = (matmul_speed(dtype, torch.get_num_threads()) for dtype in (torch.bfloat16, torch.float32))
    return half > full / 2


def _processor_flags() -> frozenset[str]:
    """What the processor can do, in Linux's words; empty on other systems."""
    lines = (line.partition(":") for line in _lines(_CPUINFO))
    return next(
        (frozenset(words.split()) for name, _, words in lines if name.strip() in ("flags", "Features")),
        frozenset(),
    )


def use_threads(threads: int | None) -> None:
    """Set torch's threads: as given, else OMP_NUM_THREADS, else one per physical core."""
    wanted = threads or int(os.environ.get("OMP_NUM_THREADS") or 0)
    torch.set_num_threads(wanted or min(usable_cores(), physical_cores()))
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Let glibc use freed memory again, instead of giving it back and taking it anew for each large tensor.

    The system clears every page that it gives out: a quarter of the time of a step with few tokens.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            set_option(option, _KEPT_BYTES)


def processor() -> str:
    """The processor's name."""
    names = (line.split(":", 1)[1].strip() for line in _lines(_CPUINFO) if "model name" in line)
    return next(names, platform.processor())


def physical_cores() -> int:
    """Cores of the machine; two threads on one core share its arithmetic."""
    return psutil.cpu_count(logical=False) or 1


def usable_cores() -> int:
    """Cores that this process may use: its affinity, and its container's share of time."""
    return int(joblib.cpu_count())


def matmul_speed(dtype: torch.dtype, threads: int) -> float:
    """`measured_speed`, remembered for each dtype, number of threads and device."""
    return _remembered_speed(dtype, threads, torch.get_default_device())


@cache
def _remembered_speed(dtype: torch.dtype, threads: int, device: torch.device) -> float:
    return measured_speed(dtype)


def measured_speed(dtype: torch.dtype) -> float:
    """GFLOP/s of the best of several short matmuls on the default device."""
    rows, inner, outer = _MATMUL_SHAPE
    left, right = torch.ones(rows, inner, dtype=dtype), torch.ones(outer, inner, dtype=dtype)
    best = float("inf")
    started = time.perf_counter()
    with torch.inference_mode():
        while time.perf_counter() - started < _MATMUL_SECONDS:
            begun = time.perf_counter()
            torch.nn.functional.linear(left, right)
            if torch.get_default_device().type != "cpu":
                torch.accelerator.synchronize()
            best = min(best, time.perf_counter() - begun)
    return 2 * rows * inner * outer / best / 1e9


def available_memory() -> int:
    """Bytes that this process can still take before it must swap or is stopped."""
    return max(0, min(int(psutil.virtual_memory().available), *_left_in_cgroups(), _left_of_ulimit()))


def used_memory() -> int:
    """Bytes of memory that this process holds now."""
    return int(psutil.Process().memory_info().rss)


def peak_memory() -> int:
    """Most bytes that this process held since `reset_peak_memory`; other than on Linux, since it began."""
    for line in _lines(_OWN_STATUS):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak_memory() -> None:
    """Let `peak_memory` count from now on, on Linux."""
    with suppress(OSError):
        _CLEAR_REFS.write_text("5")  # https://docs.kernel.org/filesystems/proc.html


def release_memory() -> None:
    """Give unused memory back to the system: batches of many shapes leave gaps of hundreds of MB in glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _left_of_ulimit() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit - psutil.Process().memory_info().vms


def _left_in_cgroups() -> Iterator[int]:
    """What each control group around this process leaves (https://docs.kernel.org/admin-guide/cgroup-v2.html)."""
    for line in _lines(_OWN_CGROUPS):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield from _left(_CGROUPS, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):  # version 1
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            yield from _left(_CGROUPS / "memory", path, *names)


def _left(root: Path, path: str, limit: str, usage: str, cached: str) -> Iterator[int]:
    # Inside a container the path may be the host's, and the container's own group is mounted at the root.
    group = root / path.strip("/")
    for folder in (group, *(parent for parent in group.parents if parent.is_relative_to(root))):
        with suppress(OSError, ValueError):  # no limit reads "max"
            left = int((folder / limit).read_text()) - int((folder / usage).read_text())
            stat = dict(line.split() for line in _lines(folder / "memory.stat"))
            yield left + int(stat.get(cached, 0))  # the system drops cached files when memory is needed


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
