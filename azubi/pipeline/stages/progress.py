"""How far a stage is, told as an event. Knows counts and the run's outlook; nothing of what is counted."""

from azubi.events import events as ev
from azubi.planning.eta import Eta, Throughput


def progress(
    outlook: Eta,
    stage: ev.Stage,
    done: int,
    total: int,
    unit: str,
    note: str = "",
    pace: Throughput | None = None,
    *,
    share: float | None = None,
    part: str = "",
) -> ev.Progress:
    """`done` of `total` units, and how long the run will still take; with a `pace`, how fast it goes.

    `share` of the work, where units are not all of it; of that `part` of the stage that is planned apart.
    """
    if share is None:
        share = done / total if total else 1.0
    return ev.Progress(
        stage=stage,
        done=done,
        total=total,
        unit=unit,
        left=outlook.left(part or stage, share),
        throughput=pace.throughput if pace is not None else None,
        peak=pace.peak if pace is not None else None,
        note=note,
    )
