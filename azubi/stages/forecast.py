"""What the rest of a run will take, told before its trunk begins.

Knows what there is to do and who can say how long it takes: the search, a rehearsal, or arithmetic alone.
"""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace

from azubi import events as ev
from azubi.planning import load as loads
from azubi.planning.forecast import Forecast
from azubi.planning.load import Load
from azubi.planning.observed import Observed
from azubi.planning.prospect import Prospect, foreseen
from azubi.planning.rehearsal import rehearse
from azubi.settings import seconds
from azubi.stages import caching
from azubi.stages.base import Cut
from azubi.stages.data import Data
from azubi.stages.search import Searched
from azubi.stages.sitting import Sitting
from azubi.tail.batch import Lesson

_WORTH_REHEARSING = 5.0
"""A run that will take fewer seconds is planned from arithmetic alone: on processors with matrix units, where
all but the products costs, that is off by several times."""
_WHOLE = 60.0
"""A run that will take fewer seconds gets a rehearsal that is as much shorter."""


def expected(
    sitting: Sitting,
    data: Data,
    cut: Cut,
    searched: Searched | None,
    train: Sequence[Lesson],
    validation: Sequence[Lesson],
) -> Forecast:
    """What the whole run will take; for one that is gone on with, what was said when it began.

    Raises:
        StorageError: the home cannot be written for a rehearsal.
    """
    for event in sitting.work.earlier:
        if isinstance(event, ev.Planned) and event.forecast is not None:
            return event.forecast
    load = loads.load(cut.halves, cut.machine.gflops * 1e9, train, validation)
    prospect = Prospect(
        recipe=cut.recipe,
        halves=cut.halves,
        task=data.contract.task,
        split=data.split,
        lacking=_lacking(sitting, data, cut, [*train, *validation]),
        test_tokens=sum(cut.halves.tokens(replace(one, answer="")) for one in data.split.test),
    )
    if searched is not None:
        observed = searched.found.observed
    else:
        roughly = foreseen(prospect, load, Observed(), 0.0).total
        observed = _rehearsed(sitting, data, cut, load, roughly, train, validation)
    # Seconds so far that are not the run's set-up.
    spared = cut.once + (searched.seconds if searched is not None else 0.0)
    found = foreseen(prospect, load, observed, time.monotonic() - sitting.begun - spared)
    if not cut.recipe.budget:
        return found
    assert sitting.plan_only, "a search leaves a recipe without a budget"
    return found.model_copy(update={"search": max(0.0, seconds(cut.recipe.budget) - found.total)})


def _rehearsed(
    sitting: Sitting,
    data: Data,
    cut: Cut,
    load: Load,
    roughly: float,
    train: Sequence[Lesson],
    validation: Sequence[Lesson],
) -> Observed:
    """What a rehearsal shows, if the run is worth one."""
    if not sitting.plan_only and roughly < _WORTH_REHEARSING:
        return Observed()
    questions = [one.turns for one in data.split.test]
    share = 1.0 if sitting.plan_only else min(1.0, roughly / _WHOLE)
    return rehearse(cut.halves, cut.recipe, load, train, validation, questions, sitting.home, share)


def _lacking(sitting: Sitting, data: Data, cut: Cut, lessons: Sequence[Lesson]) -> Sequence[Lesson]:
    """What the trunk has yet to read. Without a cache that is all; none is begun for the question."""
    if not (sitting.home / "cache" / "index.sqlite").is_file():
        return lessons
    opened = caching.opened(sitting.home, data.version, cut.recipe.cache, cut.trained)
    with contextlib.closing(opened) as cache:
        return cut.halves.lacking(cache, lessons)
