"""The search, where a budget is given: it ends with a recipe that has none.

Knows the budget and when it ends; how settings are tried is `azubi.search`.
"""

import contextlib
import time
from collections.abc import Generator
from dataclasses import dataclass

from azubi.engine.base.hardware import Machine
from azubi.events import events as ev
from azubi.pipeline.stages.data import Data, keep
from azubi.pipeline.stages.run_context import RunContext
from azubi.search import search as searching
from azubi.search.estimate import TimeBudget
from azubi.search.search import SearchOutcome
from azubi.search.trial_runner import SearchTask
from azubi.settings import seconds


@dataclass(frozen=True)
class SearchResult:
    """What a search has found."""

    outcome: SearchOutcome
    machine: Machine
    """As it was measured when the search began; it holds to the end of the run."""
    deadline: float
    """When the budget ends, by `time.monotonic`."""
    seconds: float
    """What it took."""

    def late(self, epoch: float) -> bool:
        """Whether another epoch of so many seconds, and what comes after it, would end behind the budget."""
        return time.monotonic() + epoch + self.outcome.after > self.deadline


def search(context: RunContext, data: Data) -> Generator[ev.Event, None, SearchResult]:
    """Find what the recipe leaves open, within its budget.

    Raises:
        UsageError: base and task do not fit each other.
        RunError: something failed; a trial that does not learn is no such thing.
    """
    recipe, begun, earlier = context.recipe, time.monotonic(), context.work.earlier
    assert recipe.budget is not None
    keep(context, data)
    spent = earlier[-1].elapsed if earlier else 0.0
    deadline = context.begun + seconds(recipe.budget) - spent
    machine = context.machine()
    task = SearchTask(recipe, data.contract, data.split, data.system, machine, context.home)
    with contextlib.closing(context.open_cache(data.version)) as cache:
        outcome = yield from searching.search(task, TimeBudget(deadline), cache, context.work.folder)
    context.recipe = outcome.recipe
    return SearchResult(outcome, machine, deadline, time.monotonic() - begun)
