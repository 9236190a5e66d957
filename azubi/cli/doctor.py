"""`azubi doctor`: what this machine offers, and what stands in the way."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from azubi.cli.formatting import count, size
from azubi.cli.session import Session
from azubi.cli.tables import facts

if TYPE_CHECKING:
    from azubi.pipeline.doctor import Checkup


def doctor(session: Session) -> None:
    """Look whether this machine can train specialists, and how fast.

    The exit code is 1 if something has to be mended first.
    """
    from azubi.pipeline.doctor import look

    found = look(session.home)
    if session.json:
        session.emit(found.model_dump(mode="json"))
    else:
        print("\n".join([*facts(_facts(found)), "", *_advice(found)]))
    if any(one.stops for one in found.issues):
        raise typer.Exit(1)


def _facts(found: "Checkup") -> dict[str, str]:
    return {
        "Processor": f"{found.processor or 'unknown'}, {_cores(found.cores)}",
        "Threads": _threads(found),
        "Arithmetic": _speeds(found),
        "Graphics card": "none that torch can use" if found.device == "cpu" else found.device,
        "Memory": f"{size(found.memory)}, {size(found.memory_free)} free for azubi",
        "Home": f"{found.home}, {size(found.disk_free)} free on its disk",
        "Activations": f"{size(found.activations)} kept",
        "Bases": _bases(found),
        "Versions": ", ".join(f"{name} {number}" for name, number in found.versions.items()),
    }


def _threads(found: "Checkup") -> str:
    limit = "" if found.usable >= found.cores else f"; {found.usable} of them may be used here"
    return f"{found.threads}{limit}"


def _speeds(found: "Checkup") -> str:
    """The chosen format first."""
    ordered = sorted(found.gflops, key=lambda name: name != found.dtype)
    told = [f"{name} {count(round(found.gflops[name]))} GFLOP/s" for name in ordered]
    return f"{told[0]} (used), " + ", ".join(told[1:])


def _bases(found: "Checkup") -> str:
    return ", ".join(name if whole else f"{name} (missing or damaged)" for name, whole in found.bases.items())


def _cores(number: int) -> str:
    return f"{number} core" if number == 1 else f"{number} cores"


def _advice(found: "Checkup") -> Iterator[str]:
    if not found.issues:
        yield "Nothing stands in the way."
    for one in found.issues:
        yield f"{'To mend' if one.stops else 'Mind'}: {one.problem}"
        yield f"  {one.remedy}"
