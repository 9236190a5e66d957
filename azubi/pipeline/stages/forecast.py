"""What the rest of a run will take, told before its trunk begins.

Knows what there is to do and who can say how long it takes: the search, a rehearsal, or arithmetic alone.
"""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace

from azubi.engine.model.batch import EncodedExample
from azubi.events import events as ev
from azubi.events.forecast import Forecast
from azubi.pipeline.stages import open_cache
from azubi.pipeline.stages.base import LoadedModel
from azubi.pipeline.stages.data import Data
from azubi.pipeline.stages.run_context import RunContext
from azubi.pipeline.stages.search import SearchResult
from azubi.planning import cost_model
from azubi.planning.benchmark_run import run_benchmark
from azubi.planning.cost_model import Timings, Workload
from azubi.planning.forecast import ForecastInputs, foresee
from azubi.settings import seconds

_WORTH_REHEARSING = 5.0
"""A run that will take fewer seconds is planned from arithmetic alone: on processors with matrix units, where
all but the products costs, that is off by several times."""
_WHOLE = 60.0
"""A run that will take fewer seconds gets a rehearsal that is as much shorter."""


def expected(
    context: RunContext,
    data: Data,
    cut: LoadedModel,
    searched: SearchResult | None,
    train: Sequence[EncodedExample],
    validation: Sequence[EncodedExample],
) -> Forecast:
    """What the whole run will take; for one that is gone on with, what was said when it began.

    Raises:
        StorageError: the home cannot be written for a rehearsal.
    """
    for event in context.work.earlier:
        if isinstance(event, ev.Planned) and event.forecast is not None:
            return event.forecast
    load = cost_model.count_workload(cut.specialist, cut.machine.gflops * 1e9, train, validation)
    prospect = ForecastInputs(
        recipe=cut.recipe,
        specialist=cut.specialist,
        task=data.contract.task,
        split=data.split,
        missing=_lacking(context, data, cut, [*train, *validation]),
        test_tokens=sum(cut.specialist.count_tokens(replace(one, answer="")) for one in data.split.test),
    )
    if searched is not None:
        observed = searched.found.observed
    else:
        roughly = foresee(prospect, load, Timings(), 0.0).total
        observed = _rehearsed(context, data, cut, load, roughly, train, validation)
    # Seconds so far that are not the run's set-up.
    spared = cut.once + (searched.seconds if searched is not None else 0.0)
    found = foresee(prospect, load, observed, time.monotonic() - context.begun - spared)
    if not cut.recipe.budget:
        return found
    assert context.plan_only, "a search leaves a recipe without a budget"
    return found.model_copy(update={"search": max(0.0, seconds(cut.recipe.budget) - found.total)})


def _rehearsed(
    context: RunContext,
    data: Data,
    cut: LoadedModel,
    load: Workload,
    roughly: float,
    train: Sequence[EncodedExample],
    validation: Sequence[EncodedExample],
) -> Timings:
    """What a rehearsal shows, if the run is worth one."""
    if not context.plan_only and roughly < _WORTH_REHEARSING:
        return Timings()
    questions = [one.turns for one in data.split.test]
    share = 1.0 if context.plan_only else min(1.0, roughly / _WHOLE)
    return run_benchmark(cut.specialist, cut.recipe, load, train, validation, questions, context.home, share)


def _lacking(
    context: RunContext, data: Data, cut: LoadedModel, encoded: Sequence[EncodedExample]
) -> Sequence[EncodedExample]:
    """What the trunk has yet to read. Without a cache that is all; none is begun for the question."""
    if not (context.home / "cache" / "index.sqlite").is_file():
        return encoded
    opened = open_cache.opened(context.home, data.version, cut.recipe.cache, cut.trained)
    with contextlib.closing(opened) as cache:
        return cut.specialist.activations.missing(cache, encoded)
