"""The instruction that all examples share is set, the examples are encoded, the rest of the run is planned.

Knows the specialist and the contract; nothing of training.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from azubi.data import instruction
from azubi.data.chat_template import check_length
from azubi.engine.inference.answering import check_fits
from azubi.engine.model.batch import EncodedExample
from azubi.engine.specialist import longest_answer
from azubi.engine.training import loop
from azubi.events import events as ev
from azubi.events.forecast import Forecast
from azubi.pipeline.stages.base import LoadedModel
from azubi.pipeline.stages.data import Data
from azubi.pipeline.stages.forecast import forecast_run
from azubi.pipeline.stages.run_context import RunContext
from azubi.pipeline.stages.search import SearchResult


@dataclass(frozen=True)
class EncodedData:
    """What the tail is trained with and measured with on the way, and how long all that will take."""

    instruction: str
    """Empty where none is read."""
    train: Sequence[EncodedExample]
    validation: Sequence[EncodedExample]
    longest: int
    """Most tokens of an answer."""
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
    train = loop.as_trained([specialist.encode(example) for example in data.split.train], recipe)
    validation = [specialist.encode(example).last_answer_only for example in data.split.validation]
    longest = longest_answer(train)
    _check_room(data, model, longest)
    forecast = forecast_run(context, data, model, search_result, train, validation)
    made = recipe.instruction is None and data.system is None
    if text:
        context.resolve(instruction=instruction.to_setting(text))
    yield ev.InstructionReady(text=text, tokens=len(tokens), made=made)
    settings = context.recipe.model_dump(mode="json")
    yield ev.Planned(seconds=forecast.stages, settings=settings, forecast=forecast)
    return EncodedData(text, train, validation, longest, forecast)


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
