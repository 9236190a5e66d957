"""The base: opened, every choice of the recipe made, loaded and cut.

Knows the specialist and the machine; nothing of encoded examples.
"""

import contextlib
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from azubi.engine.base.base import Base
from azubi.engine.base.hardware import Machine
from azubi.engine.base.opening import open_base
from azubi.engine.model import weights
from azubi.engine.specialist import Specialist, new_specialist
from azubi.engine.training import defaults
from azubi.events import events as ev
from azubi.pipeline.stages.data import Data, keep
from azubi.pipeline.stages.run_context import RunContext
from azubi.search import search as searching
from azubi.search.search import SearchOutcome
from azubi.search.trial_runner import SearchTask, TimeBudget
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
    task = SearchTask(recipe, data.contract, data.split, data.system, machine, context.home, data.texts)
    with contextlib.closing(context.open_cache(data.version)) as cache:
        outcome = yield from searching.search(task, TimeBudget(deadline), cache, context.work.folder)
    context.recipe = outcome.recipe
    return SearchResult(outcome, machine, deadline, time.monotonic() - begun)


@dataclass(frozen=True)
class LoadedModel:
    """A base in memory, with a new specialist on it."""

    machine: Machine
    specialist: Specialist
    rank: int
    """Of the tail's factors; 0 where full weights are trained."""
    trained: int
    """Weights that training can change."""
    seconds_once: float = 0.0
    """What a run after this plan is spared: a GGUF file was converted, weights were hashed."""

    @property
    def base(self) -> Base:
        """What was cut."""
        return self.specialist.base


def load_model(
    context: RunContext, data: Data, search_result: SearchResult | None
) -> Generator[ev.Event, None, LoadedModel]:
    """Open the base that the recipe names, or that fits the task, and cut it.

    Raises:
        UsageError: the base cannot be used, or does not fit recipe, task or parent.
    """
    begun, seconds_once = time.monotonic(), 0.0
    task = data.contract.task
    name = defaults.base_for(context.recipe, task, data.texts)
    is_named = context.recipe.base != "auto"
    if reason := defaults.reason_for(name, task, data.texts, is_named):
        yield ev.Notice(text=reason)
    base = open_base(name, context.home)
    if context.plan_only:
        seconds_once = time.monotonic() - begun
        base = open_base(name, context.home)
    if data.parent is not None:
        base = data.parent.base_as_trained(base)
    recipe = context.recipe = defaults.resolved(context.recipe, base, task)
    machine = search_result.machine if search_result is not None else context.machine()
    tail_layers, rank = int(recipe.tail_layers), int(recipe.rank)
    specialist = new_specialist(
        base,
        data.contract,
        tail_layers,
        rank,
        recipe.seed,
        machine.dtype,
        prompt_layers=defaults.prompt_layers(recipe),
    )
    trained = sum(weight.numel() for weight in weights.trained(specialist.tail).values())
    model = LoadedModel(machine, specialist, rank, trained, seconds_once)
    yield from _remarks(context, data, specialist)
    yield _ready(model)
    return model


def _remarks(context: RunContext, data: Data, specialist: Specialist) -> Iterator[ev.Notice]:
    """What is other than one would think."""
    parent, name, depth = data.parent, specialist.base.name, specialist.prompt_layers
    if specialist.model.streams:
        slow = " Answers take long that way: each token of one reads the trunk anew."
        yield ev.Notice(
            text=f"{name} is read from disk layer by layer, since it would not fit in the memory that is "
            "free." + (slow if specialist.base.kind == "decoder" else "")
        )
    if defaults.prompt_layers(context.recipe) != depth:
        context.recipe = context.recipe.model_copy(update={"prompt_layers": "all"})
        yield ev.Notice(text=f"All layers of the tail act on the prompt: {specialist.model.one_cut_only}.")
    if parent is not None and parent.prompt_layers != depth:
        yield ev.Notice(
            text=f"{parent.name} was trained with prompt_layers {parent.prompt_layers}; its weights go on "
            f"with {depth}, and have to get used to it."
        )


def _ready(model: LoadedModel) -> ev.BaseReady:
    base, machine = model.base, model.machine
    return ev.BaseReady(
        name=base.name,
        licence=base.licence,
        layers=base.layers,
        tail_layers=model.specialist.tail_layers,
        prompt_layers=model.specialist.prompt_layers,
        rank=model.rank,
        parameters=model.specialist.parameters,
        trained=model.trained,
        dtype=machine.dtype_name,
        threads=machine.threads,
        gflops=machine.gflops,
        pretraining=base.pretraining,
    )
