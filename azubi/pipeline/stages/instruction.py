"""The prime: what all examples share is set, the examples become lessons, and the rest of the run is planned.

Knows the specialist and the contract; nothing of how lessons are taught.
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
from azubi.pipeline.stages.forecast import expected
from azubi.pipeline.stages.run_context import RunContext
from azubi.pipeline.stages.search import SearchResult
from azubi.settings import Recipe


@dataclass(frozen=True)
class EncodedData:
    """What the tail is taught, measured with on the way, and how long all that will take."""

    recipe: Recipe
    """With every choice made."""
    prime: str
    """The instruction; empty where none is read."""
    train: Sequence[EncodedExample]
    validation: Sequence[EncodedExample]
    longest: int
    """Most tokens of an answer."""
    forecast: Forecast


def encode_data(
    context: RunContext, data: Data, cut: LoadedModel, searched: SearchResult | None
) -> Generator[ev.Event, None, EncodedData]:
    """Set the prime, make the lessons and the plan.

    Raises:
        UsageError: an example, or a question of the test with its answer, is too long for the base.
    """
    recipe, prime = cut.recipe, ""
    if cut.base.kind == "decoder":
        prime = _instruction(data, recipe)
    elif recipe.instruction:
        yield ev.Notice(text=f"{cut.base.name} is an encoder and reads no instruction: prime is not used.")
    tokens = cut.specialist.set_instruction(prime)
    _check_lengths(data, cut)
    train = loop.as_trained([cut.specialist.encode(one) for one in data.split.train], recipe)
    validation = [cut.specialist.encode(one).last_answer_only for one in data.split.validation]
    longest = longest_answer(train)
    _check_room(data, cut, longest)
    forecast = expected(context, data, cut, searched, train, validation)
    if prime:
        recipe = recipe.model_copy(update={"instruction": instruction.to_setting(prime)})
    made = cut.recipe.instruction is None and data.system is None
    yield ev.InstructionReady(text=prime, tokens=len(tokens), made=made)
    yield ev.Planned(seconds=forecast.stages, settings=recipe.model_dump(mode="json"), forecast=forecast)
    return EncodedData(recipe, prime, train, validation, longest, forecast)


def _instruction(data: Data, recipe: Recipe) -> str:
    told = recipe.instruction is not None or data.system is not None
    if not told and data.parent is not None and data.parent.card.contract == data.contract:
        return data.parent.card.instruction  # what the cache holds of known examples was read behind it
    return instruction.choose(recipe.instruction, data.system, data.contract)


def _check_lengths(data: Data, cut: LoadedModel) -> None:
    settings, split = cut.recipe, data.split
    apart = settings.validation_data is not None
    for source, examples in (
        (settings.data or "The data", split.train if apart else (*split.train, *split.validation)),
        (settings.validation_data or "The data", split.validation if apart else ()),
        (settings.test_data or settings.data or "The data", split.test),
    ):
        lengths = [cut.specialist.count_tokens(one) for one in examples]
        check_length(examples, lengths, cut.base.context, source)


def _check_room(data: Data, cut: LoadedModel, longest: int) -> None:
    """What could not be answered in the test is said now, not after training."""
    if cut.base.kind == "decoder":
        for one in data.split.test:
            tokens = cut.specialist.count_tokens(replace(one, answer="")) + longest
            check_fits(one.turns, tokens, cut.base.context)
