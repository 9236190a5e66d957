"""Work on texts by all cores, in the order of the texts.

Processes, since finding is Python's own work; they hold the detectors and nothing else (no torch), and are
begun only where there is enough to do for them. Knows nothing of what the work is.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")

ENOUGH = 4_000
"""Fewer than this are done before processes have begun (half a second)."""
_BATCH = 250


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def mapped(
    work: Callable[[Sequence[Given]], Sequence[Made]], given: Iterable[Given], processes: int | None = None
) -> Iterator[Made]:
    """What `work` makes of each of `given`, in their order; a few batches are under way at a time.

    `work` is sent to other processes, so it must be a function of a module, or a partial of one. With one
    process, or little to do, it is called right here.
    """
    left = iter(given)
    wanted = cores() if processes is None else processes
    first = list(islice(left, ENOUGH))
    if wanted < 2 or len(first) < ENOUGH:
        for batch in _batches(chain(first, left)):
            yield from work(batch)
        return

    from joblib import Parallel, delayed

    parallel = Parallel(n_jobs=wanted, return_as="generator", batch_size=1, pre_dispatch="4*n_jobs")
    for made in parallel(delayed(work)(batch) for batch in _batches(chain(first, left))):
        yield from made


def _batches(given: Iterable[Given]) -> Iterator[list[Given]]:
    left = iter(given)
    while batch := list(islice(left, _BATCH)):
        yield batch
