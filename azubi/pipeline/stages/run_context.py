"""What all stages of a run share: its folder, its clock, and the one recipe that is resolved on the way.

Knows the run, the machine and how far the run is; nothing of what stages do.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from azubi.engine.base import hardware
from azubi.engine.base.hardware import Machine
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.events import events as ev
from azubi.planning.forecast import Eta, Throughput
from azubi.registry.runs import Run
from azubi.settings import Recipe

T = TypeVar("T")

_RESERVE = 64 << 20
_TRAINED_BYTES = 28
"""Of the disk, the cache leaves this free for what the run has yet to write: some, and per trained weight two
checkpoints (float32, and AdamW's two moments) and the packaged tail."""


@dataclass
class RunContext:
    """Where a run works, since when, and with which settings."""

    home: Path
    work: Run
    begun: float
    """By `time.monotonic`, in seconds."""
    recipe: Recipe
    """The only copy. Stages fill in what the user left open: the data stage how numbers and dates are written
    and which rules hold, search and base every choice of training, the instruction stage the instruction."""
    plan_only: bool = False
    """Whether only the plan is wanted: then nothing is kept that a run alone needs, and short runs are
    measured, too."""
    eta: Eta = field(default_factory=lambda: Eta({}))
    """How long the rest takes, from the forecast on."""

    def resolve(self, **choices: object) -> None:
        """Settle settings that were open."""
        self.recipe = self.recipe.model_copy(update=choices)

    def machine(self) -> Machine:
        """Measure the machine, with number format and threads as the recipe says.

        A run that was stopped keeps those with which it began.

        Raises:
            SettingError: there is no such device.
        """
        dtype, threads = self.recipe.dtype, self.recipe.threads
        for event in self.work.earlier:
            if isinstance(event, ev.BaseReady | ev.SearchPlanned):
                dtype, threads = "bfloat16" if event.dtype == "bfloat16" else "float32", event.threads
                break
        return hardware.probe(dtype, threads, self.recipe.device)

    def open_cache(self, version: str, trained: int = 0) -> ActivationCache:
        """The activation cache of a data version; `trained` is how many weights the run has yet to keep.

        Raises:
            StorageError: the folder cannot be written.
        """
        settings, reserve = self.recipe.cache, _RESERVE + _TRAINED_BYTES * trained
        return ActivationCache(
            self.home, version, dtype=settings.dtype, quota=settings.quota, reserve=reserve
        )

    def progress(
        self,
        stage: ev.Stage,
        done: int,
        total: int,
        unit: str,
        note: str = "",
        throughput: Throughput | None = None,
        *,
        share: float | None = None,
        part: str = "",
    ) -> ev.Progress:
        """`done` of `total` units, and how long the run will still take.

        `share` is the share of the work that is done, where units are not all of it; of that `part` of the
        stage that is planned apart.
        """
        if share is None:
            share = done / total if total else 1.0
        return ev.Progress(
            stage=stage,
            done=done,
            total=total,
            unit=unit,
            left=self.eta.left(part or stage, share),
            throughput=throughput.throughput if throughput is not None else None,
            peak=throughput.peak if throughput is not None else None,
            note=note,
        )


def announced(
    name: ev.Stage | ev.ProofStage, events: Generator[ev.Event, None, T]
) -> Generator[ev.Event, None, T]:
    """Announce a stage, of a run or a proof, and pass its events on; returns what it leaves."""
    yield ev.StageStarted(stage=name)
    result = yield from events
    hardware.release_memory()
    return result
