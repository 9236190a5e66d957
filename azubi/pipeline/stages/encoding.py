"""Instruction, encoded examples and forecast: what a run reads of its examples, and what that will take."""

import contextlib
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from azubi.data import instruction
from azubi.data.chat_template import check_length
from azubi.engine.inference.answering import check_fits
from azubi.engine.model.batch import EncodedExample
from azubi.engine.specialist import longest_answer
from azubi.engine.training import loop
from azubi.events import events as ev
from azubi.events.figures import Forecast
from azubi.pipeline.stages.base import LoadedModel, SearchResult
from azubi.pipeline.stages.data import Data
from azubi.pipeline.stages.run_context import RunContext
from azubi.planning import cost_model
from azubi.planning.benchmark_run import run_benchmark
from azubi.planning.cost_model import Timings, Work, Workload
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
    workload: Workload,
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


@dataclass(frozen=True)
class EncodedData:
    """What the tail is trained with and measured with on the way, and how long all that will take."""

    instruction: str
    """Empty where none is read."""
    train: Sequence[EncodedExample]
    validation: Sequence[EncodedExample]
    longest: int
    """Most tokens of an answer."""
    work: Work
    """What a token costs."""
    forecast: Forecast


def encode_data(
    context: RunContext, data: Data, model: LoadedModel, search_result: SearchResult | None
) -> Generator[ev.Event, None, EncodedData]:
    """Set the instruction, encode the examples and plan the rest.

    Raises:
        UsageError: an example, or a question of the test with its answer, is too long for the base.
    """
    recipe, specialist, text = context.recipe, model.specialist, ""
    if model.base.kind == "decoder":
        text = _instruction(context, data)
    elif recipe.instruction:
        yield ev.Notice(text=f"{model.base.name} is an encoder and reads no instruction: it is not used.")
    tokens = specialist.set_instruction(text)
    _check_lengths(context, data, model)
    train = loop.as_trained(specialist.encode_training(data.split.train), recipe)
    validation = [specialist.encode(example).last_answer_only for example in data.split.validation]
    longest = longest_answer(train)
    _check_room(data, model, longest)
    workload = cost_model.count_workload(specialist, model.machine.gflops * 1e9, train, validation)
    forecast = forecast_run(context, data, model, search_result, workload, train, validation)
    made = recipe.instruction is None and data.system is None
    if text:
        context.resolve(instruction=instruction.to_setting(text))
    yield ev.InstructionReady(text=text, tokens=len(tokens), made=made)
    settings = context.recipe.model_dump(mode="json")
    yield ev.Planned(seconds=forecast.stages, settings=settings, forecast=forecast)
    work = workload.work(cost_model.tail_shape(context.recipe))
    return EncodedData(text, train, validation, longest, work, forecast)


def _instruction(context: RunContext, data: Data) -> str:
    given, parent = context.recipe.instruction, data.parent
    if given is None and data.system is None and parent and parent.card.contract == data.contract:
        return parent.card.instruction  # what the cache holds of known examples was read behind it
    return instruction.choose(given, data.system, data.contract)


def _check_lengths(context: RunContext, data: Data, model: LoadedModel) -> None:
    recipe, split = context.recipe, data.split
    apart = recipe.validation_data is not None
    for source, examples in (
        (recipe.data or "The data", split.train if apart else (*split.train, *split.validation)),
        (recipe.validation_data or "The data", split.validation if apart else ()),
        (recipe.test_data or recipe.data or "The data", split.test),
    ):
        lengths = [model.specialist.count_tokens(example) for example in examples]
        check_length(examples, lengths, model.base.context, source)


def _check_room(data: Data, model: LoadedModel, longest: int) -> None:
    """What could not be answered in the test is said now, not after training."""
    if model.base.kind == "decoder":
        for example in data.split.test:
            tokens = model.specialist.count_tokens(replace(example, answer="")) + longest
            check_fits(example.turns, tokens, model.base.context)
