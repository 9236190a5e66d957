"""One context at a run: a process that begins it, or goes on with it.

Knows the run's folder, its clock and the machine; nothing of stages.
"""

from dataclasses import dataclass
from pathlib import Path

from azubi.engine.base import hardware
from azubi.engine.base.hardware import Machine
from azubi.events import events as ev
from azubi.registry.runs import Run
from azubi.settings import Recipe


@dataclass(frozen=True)
class RunContext:
    """Where a run works, and since when."""

    home: Path
    work: Run
    begun: float
    """By `time.monotonic`, in seconds."""
    plan_only: bool = False
    """Whether the plan is all that is wanted: it is worth a rehearsal then, however short the run would be,
    and nothing is kept that only a run needs."""

    def machine(self, recipe: Recipe) -> Machine:
        """Measure the machine, with number format and threads as the recipe says; a run that is gone on with
        keeps those that it began with.

        Raises:
            SettingError: there is no such device.
        """
        dtype, threads = recipe.dtype, recipe.threads
        for event in self.work.earlier:
            if isinstance(event, ev.BaseReady | ev.SearchPlanned):
                dtype, threads = "bfloat16" if event.dtype == "bfloat16" else "float32", event.threads
                break
        return hardware.probe(dtype, threads, recipe.device)
