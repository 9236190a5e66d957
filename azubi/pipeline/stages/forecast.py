"""What the rest of a run will take, told before its trunk begins.

Knows what there is to do and who can say how long it takes: the search, a benchmark run, or arithmetic alone.
"""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace

from azubi.engine.model.batch import EncodedExample
from azubi.events import events as ev
from azubi.events.forecast import Forecast
from azubi.pipeline.stages.base import LoadedModel
from azubi.pipeline.stages.data import Data
from azubi.pipeline.stages.run_context import RunContext
from azubi.pipeline.stages.search import SearchResult
from azubi.planning import cost_model
from azubi.planning.benchmark_run import run_benchmark
from azubi.planning.cost_model import Timings
from azubi.planning.forecast import ForecastInputs, foresee
from azubi.settings import seconds

_WORTH_MEASURING = 5.0
"""A run that will take fewer seconds is planned from arithmetic alone: on processors with matrix units, where
all but the products costs, that is off by several times."""
_WHOLE = 60.0
"""A run that will take fewer seconds gets a benchmark run that is as much shorter."""


def forecast_run(
    context: RunContext,
    data: Data,
    model: LoadedModel,
    search_result: SearchResult | None,
    train: Sequence[EncodedExample],
    validation: Sequence[EncodedExample],
) -> Forecast:
    """What the whole run will take; for one that was stopped, what was said when it began.

    Raises:
        StorageError: the home cannot be written for a benchmark run.
    """
    for event in context.work.earlier:
        if isinstance(event, ev.Planned) and event.forecast is not None:
            return event.forecast
    specialist, recipe, test = model.specialist, context.recipe, data.split.test
    workload = cost_model.count_workload(specialist, model.machine.gflops * 1e9, train, validation)
    inputs = ForecastInputs(
        recipe=recipe,
        specialist=specialist,
        task=data.contract.task,
        split=data.split,
        missing=_not_cached(context, data, model, [*train, *validation]),
        test_tokens=sum(specialist.count_tokens(replace(example, answer="")) for example in test),
    )
    if search_result is not None:
        timings, setup = search_result.outcome.observed, context.begun + search_result.seconds
    else:
        timings, setup = Timings(), context.begun
        roughly = foresee(inputs, workload, timings, 0.0).total
        if context.plan_only or roughly >= _WORTH_MEASURING:
            questions = [example.turns for example in test]
            share = 1.0 if context.plan_only else min(1.0, roughly / _WHOLE)
            timings = run_benchmark(
                specialist, recipe, workload, train, validation, questions, context.home, share
            )
    forecast = foresee(inputs, workload, timings, time.monotonic() - setup - model.seconds_once)
    if not recipe.budget:
        return forecast
    assert context.plan_only, "a search leaves a recipe without a budget"
    return forecast.model_copy(update={"search": max(0.0, seconds(recipe.budget) - forecast.total)})


def _not_cached(
    context: RunContext, data: Data, model: LoadedModel, encoded: Sequence[EncodedExample]
) -> Sequence[EncodedExample]:
    """What the trunk has yet to read. Without a cache that is all; none is begun for the question."""
    if not (context.home / "cache" / "index.sqlite").is_file():
        return encoded
    with contextlib.closing(context.open_cache(data.version, model.trained)) as cache:
        return model.specialist.activations.missing(cache, encoded)
