"""One sitting at a run: a process that begins it, or goes on with it.

Knows the run's folder and its clock; nothing of stages.
"""

from dataclasses import dataclass
from pathlib import Path

from azubi import events as ev
from azubi.base.probe import DtypeName
from azubi.runs import Run
from azubi.settings import Recipe


@dataclass(frozen=True)
class Sitting:
    """Where a run works, and since when."""

    home: Path
    work: Run
    begun: float
    """By `time.monotonic`, in seconds."""
    plan_only: bool = False
    """Whether the plan is all that is wanted: it is worth a rehearsal then, however short the run would be,
    and nothing is kept that only a run needs."""

    def number_format(self, recipe: Recipe) -> tuple[DtypeName, int | None]:
        """Number format and threads: as the recipe says; what was measured first holds to the end."""
        for event in self.work.earlier:
            if isinstance(event, ev.BaseReady | ev.SearchPlanned):
                return ("bfloat16" if event.dtype == "bfloat16" else "float32"), event.threads
        return recipe.dtype, recipe.threads
