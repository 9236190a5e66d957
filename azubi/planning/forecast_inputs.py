"""A forecast put together from what there is to do and what was observed.

Knows counts, speeds and sizes; measures nothing itself.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from azubi.data.contract import Task
from azubi.data.splits.splitting import Split
from azubi.engine.cache import packing
from azubi.engine.cache.activation_cache import SEAL
from azubi.engine.inference import scope
from azubi.engine.model import weights
from azubi.engine.model.batch import EncodedExample
from azubi.engine.specialist import Specialist, most_asked
from azubi.engine.training.state import saved_state
from azubi.events.forecast import Forecast
from azubi.planning.cost_model import Timings, Workload
from azubi.settings import Recipe

_PACKAGING = 1.0
"""Seconds for intervals of scores, and for writing specialist and report."""
_MOMENTS = 3
"""A point of the way holds each trained weight and AdamW's two moments, in float32."""


@dataclass(frozen=True)
class ForecastInputs:
    """What a forecast is made from, beside the load and what was observed."""

    recipe: Recipe
    """With every choice made."""
    specialist: Specialist
    task: Task
    split: Split
    lacking: Sequence[EncodedExample]
    """Lessons of train and validation that the trunk has yet to read."""
    test_tokens: int
    """Of the test's prompts."""


def foreseen(prospect: ForecastInputs, load: Workload, observed: Timings, setup: float) -> Forecast:
    """Put together what is expected, when `setup` seconds have gone by."""
    recipe, split = prospect.recipe, prospect.split
    depth, rank, batch = int(recipe.tail_layers), int(recipe.rank), recipe.batch or 1
    epochs, factor = recipe.epochs or 1, observed.factor
    own = weights.trained(prospect.specialist.tail).values()
    trained, tail = sum(one.numel() for one in own), sum(one.nbytes for one in own)
    begun = load.beginning(depth) * factor("validation")
    teaching = load.teaching(depth, rank, batch) * factor("tail")
    checking = load.checking(depth, batch) * factor("validation")
    point = 4 * trained * _MOMENTS
    steps = epochs * math.ceil(load.encoded / batch)
    times, held = saved_state(epochs, steps, epochs * (teaching + checking))
    keeping = load.keeping(times * point + epochs * tail) * factor("keeping")
    epoch = teaching + checking + keeping / epochs
    questions = len(split.test)
    base, specialist = (
        load.reading(questions) * factor("reading") + _writing(load, observed, questions, mean, longest)
        for mean, longest in _answers(load, observed)
    )
    share = sum(one.length for one in prospect.lacking) / max(1, load.tokens + load.check_tokens)
    return Forecast(
        examples={
            "train": len(split.train),
            "validation": len(split.validation),
            "test": questions,
        },
        tokens={
            "instruction": load.instruction_tokens,
            "prompts": round(load.question * load.examples),
            "answers": load.answers if load.writes else 0,
            "test": prospect.test_tokens,
        },
        known=load.examples - len(prospect.lacking) if depth < load.layers else 0,
        setup=setup,
        trunk=load.trunk(depth, share) * factor("trunk") if prospect.lacking else 0.0,
        epoch=epoch,
        epochs=epochs,
        tail=begun + epochs * epoch,
        checks=epoch - teaching,
        evaluate=base + specialist,
        base_answers=base,
        package=_PACKAGING + _scoped(prospect, load, observed),
        memory=max(observed.peaks.values()) if observed.peaks else None,
        cache=_cached(prospect, load, depth),
        checkpoints=held * point + tail,
        specialist=tail + _scope_bytes(prospect),
        measured=observed.seconds,
    )


def _scope_bytes(prospect: ForecastInputs) -> int:
    """Of the file that tells what is not its job."""
    if prospect.recipe.privacy is not None:
        return 0
    train = prospect.split.train
    classes = len({one.answer for one in train}) if prospect.task == "labels" else None
    return scope.size(prospect.specialist.base.hidden, classes, len(train))


def _scoped(prospect: ForecastInputs, load: Workload, observed: Timings) -> float:
    """Seconds for learning the scope: the specialist answers some of the validation questions once more."""
    if prospect.recipe.privacy is not None:
        return 0.0
    asked = min(len(prospect.split.validation), most_asked(prospect.specialist, prospect.task))
    reading = load.reading(asked) * observed.factor("reading")
    longest = min(load.longest, 2 * load.answer)
    return reading + _writing(load, observed, asked, load.answer, longest)


def _writing(load: Workload, observed: Timings, questions: int, mean: float, longest: float) -> float:
    """Seconds of writing so many answers: at the pace that was seen, else as planned."""
    steps, rows = load.written(questions, mean, longest, *_together(observed))
    if observed.step is not None:
        return steps * observed.step + rows * (observed.row or 0.0)
    return load.writing(questions, mean, longest, *_together(observed)) * observed.factor("writing")


def _answers(load: Workload, observed: Timings) -> list[tuple[float, float]]:
    """Tokens of an answer, on average and at most, by the base and by the specialist."""
    base = observed.written if observed.written is not None else float(load.longest)
    # One that runs on to the end holds up the others with it.
    return [(base, min(load.longest, 2 * base)), (load.answer, min(load.longest, 2 * load.answer))]


def _together(observed: Timings) -> tuple[int, ...]:
    return () if observed.together is None else (observed.together,)


def _cached(prospect: ForecastInputs, load: Workload, depth: int) -> int:
    """Bytes of the entries that are yet to be written."""
    if depth == load.layers or not prospect.lacking:
        return 0
    specialist = prospect.specialist
    alone = depth == 0  # a head alone reads one vector of each text
    rows = [1 if alone else one.length for one in {one.tokens: one for one in prospect.lacking}.values()]
    if load.instruction_tokens:
        rows.append(load.instruction_tokens)
    form = packing.form_of(prospect.recipe.cache.dtype, specialist.dtype)
    return sum(packing.size(one, specialist.base.hidden, form) + SEAL for one in rows)
