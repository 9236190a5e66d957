"""Measures azubi beside other tools: `make bench` (short), or

    python benchmarks/train.py [--short] [--only WORD ...] [--again] [--choose] [--middle] [--list] [--table]

Cells that are done are not run again, so the table can be finished in several sessions. Ctrl-C keeps what is
done; the cell that was running begins anew the next time.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from azubi.engine.base import hardware
from benchmarks import data, machine, table
from benchmarks.cells import Cell, Extent, cells
from benchmarks.sides import PEERS, Bench, SideError
from benchmarks.store import Store

PAGE = machine.ROOT / "docs" / "benchmarks.md"


def main(words: Sequence[str] | None = None) -> int:
    """The command; gives the exit code: 1 if a cell failed, 2 if nothing can be run."""
    given = _arguments().parse_args(words)
    extent: Extent = "short" if given.short else "long"
    hardware.use_threads(given.threads)
    here = machine.identity(_threads())
    store = Store(given.results / extent, here)
    every = cells(extent)
    chosen = [cell for cell in every if not given.only or any(word in cell.name for word in given.only)]
    if not chosen:
        print(f"No cell is named like that; there are: {', '.join(cell.name for cell in every)}")
        return 2
    if given.list:
        _list(chosen, store)
        return 0
    if given.table:
        text = table.render(every, store)
        table.insert(PAGE, f"{extent}, {machine.kind()}", text)
        print(text)
        return 0
    if not PEERS.is_file():
        print(f"The baselines' libraries are not here ({PEERS.parent.parent.name}). Run: make bench-setup")
        return 2
    return _run(chosen, store, given)


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _run(chosen: Sequence[Cell], store: Store, given: argparse.Namespace) -> int:
    clock = _Clock()
    shared = Store(given.results, store.machine)
    bench = Bench(given.work, store, shared, _threads(), clock.tell, given.short or given.middle)
    clock.tell(_announced(chosen, store, again=given.again, chosen_rates=not bench.middle))
    failed = False
    try:
        for number, cell in enumerate(chosen, start=1):
            clock.tell(
                f"[{number} of {len(chosen)}] {cell.name}: {cell.measured}, against {cell.baseline.name}"
            )
            failed |= not _measured(cell, bench, again=given.again, only_choose=given.choose)
    except KeyboardInterrupt:
        clock.tell("stopped; finished cells are kept, and the same command goes on with the rest")
        return 130
    print()
    print(table.render(chosen, store))
    return 1 if failed else 0


def _measured(cell: Cell, bench: Bench, *, again: bool, only_choose: bool) -> bool:
    """Measure a cell (or only make its choices) if that is possible and not done yet; False if it failed."""
    if lacking := data.SOURCES[cell.data].lacking:
        bench.tell(f"skipped: {lacking}")
        return True
    result = None if again else bench.store.read(cell)
    if only_choose:
        if result is None:
            bench.choose(cell)
        return True
    if result is not None:
        bench.tell(f"done on {result['began'][:10]}; --again measures it again")
    else:
        if stale := bench.store.stale(cell):
            bench.tell(f"measured anew: {stale}")
        try:
            result = bench.measure(cell)
            bench.store.write(cell, result)
        except (SideError, ValueError) as error:
            bench.tell(f"! {cell.name} failed: {error}")
            return False
    for line in table.lines(cell, result):
        bench.tell(line)
    return True


def _announced(chosen: Sequence[Cell], store: Store, *, again: bool, chosen_rates: bool) -> str:
    """What is about to be measured, on what, and about how long that takes."""
    todo = [
        cell for cell in chosen if not data.SOURCES[cell.data].lacking and (again or store.read(cell) is None)
    ]
    machine_name = f"{store.machine['cpu']}, {store.machine['threads']} threads"
    if not todo:
        return f"everything was measured on this machine ({machine_name}); --again measures it again"
    minutes = sum(cell.minutes for cell in todo)
    choices = ", and up to as long again where rates are not chosen yet" if chosen_rates else ""
    return (
        f"{len(todo)} of {len(chosen)} cells to measure on {machine_name}: about {minutes:.0f} minutes on "
        f"two cores of an AMD EPYC with AVX-512{choices}; longer on slower ones. Keep the machine quiet."
    )


def _list(chosen: Sequence[Cell], store: Store) -> None:
    for cell in chosen:
        lacking = data.SOURCES[cell.data].lacking
        state = "done" if store.read(cell) else f"skipped: {lacking}" if lacking else "to do"
        print(f"{cell.name:20} {cell.train:5} examples of {cell.data}, against {cell.baseline.name}: {state}")


class _Clock:
    """Prints lines with the time since the beginning in front."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def tell(self, text: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - self._start), 60)
        print(f"{minutes:4}:{seconds:02}  {text}", flush=True)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure azubi beside other tools, on this machine.")
    parser.add_argument("--short", action="store_true", help="the short form: small subsets, usual rates")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="cells whose name contains a word")
    parser.add_argument("--again", action="store_true", help="measure cells again that are done")
    parser.add_argument(
        "--choose", action="store_true", help="only find each side's rate and number format; measures nothing"
    )
    parser.add_argument(
        "--middle", action="store_true", help="take the middle one of each side's three rates, and try none"
    )
    parser.add_argument("--list", action="store_true", help="say which cells there are, and run nothing")
    parser.add_argument(
        "--table", action="store_true", help="print what is measured, put it into docs/benchmarks.md"
    )
    parser.add_argument("--threads", type=int, help="processor threads of both sides; else all cores")
    parser.add_argument("--results", type=Path, default=machine.RESULTS, help="where the results are kept")
    parser.add_argument("--work", type=Path, default=machine.ROOT / ".bench", help="scratch folder")
    return parser


if __name__ == "__main__":
    sys.exit(main())
