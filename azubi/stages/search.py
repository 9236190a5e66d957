"""The search, where a budget is given: it ends with a recipe that has none.

Knows the budget and when it ends; how settings are tried is `azubi.search`.
"""

import contextlib
import time
from collections.abc import Generator
from dataclasses import dataclass

from azubi import events as ev
from azubi.base.probe import Machine
from azubi.search import searching
from azubi.search.allowance import Allowance
from azubi.search.searching import Found, Quest
from azubi.settings import seconds
from azubi.stages import caching
from azubi.stages.data import Data, keep
from azubi.stages.sitting import Sitting


@dataclass(frozen=True)
class Searched:
    """What a search has left."""

    found: Found
    machine: Machine
    """As it was measured when the search began; it holds to the end of the run."""
    deadline: float
    """When the budget ends, by `time.monotonic`."""
    seconds: float
    """What it took."""

    def late(self, epoch: float) -> bool:
        """Whether another epoch of so many seconds, and what comes after it, would end behind the budget."""
        return time.monotonic() + epoch + self.found.after > self.deadline


def search(sitting: Sitting, data: Data) -> Generator[ev.Event, None, Searched]:
    """Find what the recipe leaves open, within its budget.

    Raises:
        UsageError: base and task do not fit each other.
        RunError: something failed; a trial that does not learn is no such thing.
    """
    recipe, begun = data.recipe, time.monotonic()
    assert recipe.budget is not None
    keep(data, sitting.home)
    earlier = sitting.work.earlier
    spent = earlier[-1].elapsed if earlier else 0.0
    deadline = sitting.begun + seconds(recipe.budget) - spent
    machine = sitting.machine(recipe)
    quest = Quest(recipe, data.contract, data.split, data.system, machine, sitting.home)
    with contextlib.closing(caching.opened(sitting.home, data.version, recipe.cache)) as cache:
        found = yield from searching.search(quest, Allowance(deadline), cache, sitting.work.folder, earlier)
    return Searched(found, machine, deadline, time.monotonic() - begun)
