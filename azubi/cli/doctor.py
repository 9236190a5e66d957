"""`azubi doctor`: what this machine offers. `azubi version`: what is installed."""

import platform
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING

import typer

from azubi import __version__
from azubi.cli.command import Session
from azubi.cli.formatting import count, facts, size

if TYPE_CHECKING:
    from azubi.pipeline.doctor import Checkup


def doctor(session: Session) -> None:
    """Look whether this machine can train specialists, and how fast.

    The exit code is 1 if something has to be mended first.
    """
    from azubi.pipeline.doctor import examine

    checkup = examine(session.home)
    if session.json:
        session.emit(checkup.model_dump(mode="json"))
    else:
        print("\n".join([*facts(_facts(checkup)), "", *_advice(checkup)]))
    if any(issue.stops for issue in checkup.issues):
        raise typer.Exit(1)


def _facts(checkup: "Checkup") -> dict[str, str]:
    return {
        "Processor": f"{checkup.processor or 'unknown'}, {_cores(checkup.cores)}",
        "Threads": _threads(checkup),
        "Arithmetic": _speeds(checkup),
        "Graphics card": "none that torch can use" if checkup.device == "cpu" else checkup.device,
        "Memory": f"{size(checkup.memory)}, {size(checkup.memory_free)} free for azubi",
        "Home": f"{checkup.home}, {size(checkup.disk_free)} free on its disk",
        "Activations": f"{size(checkup.activations)} kept",
        "Bases": _bases(checkup),
        "Versions": ", ".join(f"{name} {number}" for name, number in checkup.versions.items()),
    }


def _threads(checkup: "Checkup") -> str:
    limit = "" if checkup.usable >= checkup.cores else f"; {checkup.usable} of them may be used here"
    return f"{checkup.threads}{limit}"


def _speeds(checkup: "Checkup") -> str:
    """The chosen format first."""
    ordered = sorted(checkup.gflops, key=lambda name: name != checkup.dtype)
    speeds = [f"{name} {count(round(checkup.gflops[name]))} GFLOP/s" for name in ordered]
    return f"{speeds[0]} (used), " + ", ".join(speeds[1:])


def _bases(checkup: "Checkup") -> str:
    bases = checkup.bases.items()
    return ", ".join(name if whole else f"{name} (missing or damaged)" for name, whole in bases)


def _cores(number: int) -> str:
    return f"{number} core" if number == 1 else f"{number} cores"


def _advice(checkup: "Checkup") -> Iterator[str]:
    if not checkup.issues:
        yield "Nothing stands in the way."
    for issue in checkup.issues:
        yield f"{'To mend' if issue.stops else 'Mind'}: {issue.problem}"
        yield f"  {issue.remedy}"


def version(session: Session) -> None:
    """Show what is installed."""
    parts = {"azubi": __version__, "python": platform.python_version()}
    parts |= {name: _installed(name) for name in ("torch", "transformers")}
    if session.json:
        session.emit(parts)
    else:
        print("\n".join(f"{name} {number}" for name, number in parts.items()))


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
