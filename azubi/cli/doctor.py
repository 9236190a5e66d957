"""`azubi doctor`: what this machine offers. `azubi version`: what is installed."""

import contextlib
import platform
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from azubi import __version__
from azubi.cli.command import Session
from azubi.cli.formatting import clean, count, facts, plain_table, size
from azubi.locale.current import translated

if TYPE_CHECKING:
    from azubi.engine.selftest import FamilyResult
    from azubi.pipeline.doctor import Checkup

Selftest = Annotated[
    bool,
    typer.Option(
        "--selftest",
        help="Compare tiny random models, cut and cached, with themselves as a whole: half a minute.",
    ),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda", "mps"],
    typer.Option("--device", help="What to look at; auto is what azubi computes on if not told otherwise."),
]


def doctor(session: Session, selftest: Selftest = False, device: Device = "auto") -> None:
    """Look whether this machine can train specialists, and how fast; with --selftest, whether exactly.

    The exit code is 1 if something has to be mended first, or if a comparison fails.
    """
    if selftest:
        _compare(session, device)
        return
    from azubi.pipeline.doctor import examine

    checkup = examine(session.home, device)
    if session.json:
        session.emit(checkup.model_dump(mode="json"))
    else:
        print("\n".join([*facts(_facts(checkup)), "", *_advice(checkup)]))
    if any(issue.stops for issue in checkup.issues):
        raise typer.Exit(1)


def _compare(session: Session, device: Literal["auto", "cpu", "cuda", "mps"]) -> None:
    from azubi.engine.selftest import TOLERANCES, run

    results = []
    with contextlib.redirect_stdout(sys.stderr), session.err().status(translated("Comparing …")) as status:
        for result in run(device):
            results.append(result)
            status.update(translated(f"Comparing … {result.family} in {result.dtype} is done"))
    failed = any(result.failed for result in results)
    if session.json:
        session.emit(
            {
                "passed": not failed,
                "tolerances": TOLERANCES,
                "results": [result.model_dump(mode="json") | {"failed": result.failed} for result in results],
            }
        )
    else:
        session.out().print(_comparisons(results))
        print("\n".join(["", *map(translated, _verdict(results))]))
    if failed:
        raise typer.Exit(1)


def _comparisons(results: "list[FamilyResult]") -> Table:
    from azubi.engine.selftest import TOLERANCES

    checks = list(TOLERANCES["float32"])
    table = plain_table("family", "format", *(f">{check}" for check in checks), "")
    for result in results:
        differences = (result.differences.get(check) for check in checks)
        cells = ("-" if each is None else f"{each:.0e}" if each else "0" for each in differences)
        table.add_row(
            result.family.removesuffix("_text"),
            result.dtype,
            *cells,
            translated("DIFFERS" if result.failed else "same"),
        )
    for dtype, limits in TOLERANCES.items():
        table.add_row(
            translated("at most"), dtype, *(f"{limit:g}" for limit in limits.values()), "", style="dim"
        )
    return table


def _verdict(results: "list[FamilyResult]") -> Iterator[str]:
    device = results[0].device
    if not any(result.failed for result in results):
        yield f"On {device} a cut and cached model computes what the whole one does, as on the processor."
        return
    for result in results:
        if result.failed:
            yield f"{result.family} in {result.dtype}: {clean(result.error) or ', '.join(result.failed)}"
    yield f"Results of azubi on {device} cannot be relied on."
    report = "report this table with what `azubi doctor` and `azubi version` print."
    yield f"  {report.capitalize()}" if device == "cpu" else f"  Use --device cpu, and {report}"


def _facts(checkup: "Checkup") -> dict[str, str]:
    return {
        "Processor": f"{checkup.processor or translated('unknown')}, {translated(_cores(checkup.cores))}",
        "Threads": _threads(checkup),
        "Arithmetic": _speeds(checkup),
        "Graphics card": translated("none that torch can use") if checkup.device == "cpu" else checkup.device,
        "Memory": translated(f"{size(checkup.memory)}, {size(checkup.memory_free)} free for azubi"),
        "Home": translated(f"{checkup.home}, {size(checkup.disk_free)} free on its disk"),
        "Activations": translated(f"{size(checkup.activations)} kept"),
        "Bases": _bases(checkup),
        "Versions": ", ".join(f"{name} {number}" for name, number in checkup.versions.items()),
    }


def _threads(checkup: "Checkup") -> str:
    limit = "" if checkup.usable >= checkup.cores else f"; {checkup.usable} of them may be used here"
    return f"{checkup.threads}{translated(limit)}"


def _speeds(checkup: "Checkup") -> str:
    """The chosen format first."""
    ordered = sorted(checkup.gflops, key=lambda name: name != checkup.dtype)
    speeds = [f"{name} {count(round(checkup.gflops[name]))} GFLOP/s" for name in ordered]
    return ", ".join([translated(f"{speeds[0]} (used)"), *speeds[1:]])


def _bases(checkup: "Checkup") -> str:
    bases = checkup.bases.items()
    return ", ".join(name if whole else translated(f"{name} (missing or damaged)") for name, whole in bases)


def _cores(number: int) -> str:
    return f"{number} core" if number == 1 else f"{number} cores"


def _advice(checkup: "Checkup") -> Iterator[str]:
    if not checkup.issues:
        yield translated("Nothing stands in the way.")
    for issue in checkup.issues:
        yield f"{translated('To mend' if issue.stops else 'Mind')}: {translated(issue.problem)}"
        yield f"  {translated(issue.remedy)}"


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
        return translated("not installed")
