"""What this machine offers azubi, measured and looked up, and what stands in the way of good work.

Knows the machine, the home and the bases' files; nothing of data or specialists.
"""

import shutil
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import psutil
import torch
from pydantic import BaseModel, ConfigDict

import azubi
from azubi.engine.base import catalog, hardware
from azubi.engine.base.hardware import DeviceName, Machine

_LITTLE = 3 * 10**9
"""Bytes of memory, and of disk, that the demo's larger half takes: base, activations, checkpoints."""


class Issue(BaseModel):
    """Something that stops or slows work."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    problem: str
    remedy: str
    stops: bool
    """Whether it has to be mended before anything can be trained."""


class Checkup(BaseModel):
    """What the machine offers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    processor: str
    cores: int
    """Physical cores of the machine."""
    usable: int
    """How many cores this process may use (affinity, container)."""
    threads: int
    """With how many azubi computes."""
    device: str
    """Where it computes: cpu, cuda or mps."""
    gflops: dict[str, float]
    """Matmul speed in each number format, 1e9 floating-point operations per second."""
    dtype: str
    """The number format that is chosen."""
    memory: int
    """Bytes that the machine has."""
    memory_free: int
    """Bytes that this process may take now; its container's and its own limit hold."""
    home: Path
    disk_free: int
    """Bytes free on the disk where the home is or would be."""
    activations: int
    """Bytes that the home's cache holds."""
    bases: dict[str, bool]
    """Those that azubi knows by name, and whether their files are here and whole."""
    versions: dict[str, str]
    issues: tuple[Issue, ...]


def examine(home: Path, device: DeviceName = "auto") -> Checkup:
    """Measure and look up; takes a second or two, and leaves nothing behind.

    Raises:
        SettingError: torch finds no such `device`.
    """
    machine = hardware.probe(device=device)
    speeds = {
        str(dtype).removeprefix("torch."): hardware.matmul_speed(dtype, machine.threads)
        for dtype in (torch.float32, torch.bfloat16)
    }
    free, disk = hardware.available_memory(), shutil.disk_usage(_existing(home)).free
    bases = {entry.name: entry.whole(home) for entry in catalog.known()}
    return Checkup(
        processor=hardware.processor(),
        cores=hardware.physical_cores(),
        usable=hardware.usable_cores(),
        threads=machine.threads,
        device=machine.device,
        gflops=speeds,
        dtype=machine.dtype_name,
        memory=psutil.virtual_memory().total,
        memory_free=free,
        home=home,
        disk_free=disk,
        activations=sum(path.stat().st_size for path in home.glob("cache/**/*") if path.is_file()),
        bases=bases,
        versions={"azubi": azubi.__version__}
        | {name: metadata.version(name) for name in ("torch", "transformers")},
        issues=(
            *_of_home(home, disk),
            *_of_memory(free),
            *_of_bases(bases),
            *_of_speed(machine, speeds),
        ),
    )


def _of_home(home: Path, free: int) -> Iterator[Issue]:
    try:
        with tempfile.TemporaryFile(dir=_existing(home)):
            pass
    except OSError as error:
        yield Issue(
            problem=f"{home} may not be written ({error.strerror}).",
            remedy="Choose a folder that is yours with --home or AZUBI_HOME.",
            stops=True,
        )
    if free < _LITTLE:
        yield Issue(
            problem=f"{free / 1e9:.1f} GB are free on the disk of {home}; a run may need {_LITTLE / 1e9:g}.",
            remedy="Free some space, or choose a folder on another disk with --home.",
            stops=False,
        )


def _of_memory(free: int) -> Iterator[Issue]:
    if free < _LITTLE:
        yield Issue(
            problem=f"{free / 1e9:.1f} GB of memory are free; a run may need {_LITTLE / 1e9:g}.",
            remedy="Close other programs, widen the container's limit, or use a smaller --batch.",
            stops=False,
        )


def _of_bases(bases: dict[str, bool]) -> Iterator[Issue]:
    for entry in catalog.known():
        if not bases[entry.name]:
            yield Issue(
                problem=f"The base {entry.name} is not here, or its file is damaged.",
                remedy=f"Fetch it: azubi bases get {entry.name}; or name a base of your own with --base.",
                stops=not any(bases.values()),
            )


def _of_speed(machine: Machine, speeds: dict[str, float]) -> Iterator[Issue]:
    possible = min(hardware.usable_cores(), hardware.physical_cores())
    if machine.threads != possible:
        yield Issue(
            problem=f"azubi computes on {machine.threads} of the {possible} cores that it may use, since "
            "OMP_NUM_THREADS says so.",
            remedy="Unset OMP_NUM_THREADS, unless the other cores are meant for something else.",
            stops=False,
        )
    if machine.device == "cpu" and machine.dtype == torch.float32:
        yield Issue(
            problem=f"This processor computes bfloat16 no faster ({speeds['bfloat16']:.0f} GFLOP/s) than "
            f"float32 ({speeds['float32']:.0f}).",
            remedy="Everything works in float32, in about twice the time that a processor with AMX or "
            "AVX512-BF16 takes.",
            stops=False,
        )


def _existing(path: Path) -> Path:
    """The folder itself, or the nearest above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())
