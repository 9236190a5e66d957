"""The prime: what all examples share is set, the examples become lessons, and the rest of the run is planned.

Knows the halves and the contract; nothing of how lessons are taught.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from azubi import events as ev
from azubi import halves
from azubi.answering import check_fits
from azubi.data import prime as primes
from azubi.data.template import check_length
from azubi.planning.forecast import Forecast
from azubi.settings import Recipe
from azubi.stages.base import Cut
from azubi.stages.data import Data
from azubi.stages.forecast import expected
from azubi.stages.search import Searched
from azubi.stages.sitting import Sitting
from azubi.tail import training
from azubi.tail.batch import Lesson


@dataclass(frozen=True)
class Lessons:
    """What the tail is taught, measured with on the way, and how long all that will take."""

    recipe: Recipe
    """With every choice made."""
    prime: str
    """The instruction; empty where none is read."""
    train: Sequence[Lesson]
    validation: Sequence[Lesson]
    longest: int
    """Most tokens of an answer."""
    forecast: Forecast


def set_prime(
    sitting: Sitting, data: Data, cut: Cut, searched: Searched | None
) -> Generator[ev.Event, None, Lessons]:
    """Set the prime, make the lessons and the plan.

    Raises:
        UsageError: an example, or a question of the test with its answer, is too long for the base.
    """
    recipe, prime = cut.recipe, ""
    if cut.base.kind == "decoder":
        prime = _instruction(data, recipe)
    elif recipe.prime:
        yield ev.Notice(text=f"{cut.base.name} is an encoder and reads no instruction: prime is not used.")
    tokens = cut.halves.prime(prime)
    _check_lengths(data, cut)
    train = training.as_taught([cut.halves.lesson(one) for one in data.split.train], recipe)
    validation = [cut.halves.lesson(one).final for one in data.split.validation]
    longest = halves.longest_answer(train)
    _check_room(data, cut, longest)
    forecast = expected(sitting, data, cut, searched, train, validation)
    if prime:
        recipe = recipe.model_copy(update={"prime": primes.literal(prime)})
    made = cut.recipe.prime is None and data.system is None
    yield ev.PrimeReady(text=prime, tokens=len(tokens), made=made)
    yield ev.Planned(seconds=forecast.stages, settings=recipe.model_dump(mode="json"), forecast=forecast)
    return Lessons(recipe, prime, train, validation, longest, forecast)


def _instruction(data: Data, recipe: Recipe) -> str:
    told = recipe.prime is not None or data.system is not None
    if not told and data.parent is not None and data.parent.card.contract == data.contract:
        return data.parent.card.prime  # what the cache holds of known examples was read behind it
    return primes.chosen(recipe.prime, data.system, data.contract)


def _check_lengths(data: Data, cut: Cut) -> None:
    settings, split = cut.recipe, data.split
    apart = settings.validation_data is not None
    for source, examples in (
        (settings.data or "The data", split.train if apart else (*split.train, *split.validation)),
        (settings.validation_data or "The data", split.validation if apart else ()),
        (settings.test_data or settings.data or "The data", split.test),
    ):
        lengths = [cut.halves.tokens(one) for one in examples]
        check_length(examples, lengths, cut.base.context, source)


def _check_room(data: Data, cut: Cut, longest: int) -> None:
    """What could not be answered in the test is said now, not after training."""
    if cut.base.kind == "decoder":
        for one in data.split.test:
            tokens = cut.halves.tokens(replace(one, answer="")) + longest
            check_fits(one.turns, tokens, cut.base.context)
