"""The base: opened, every choice of the recipe made, loaded and cut.

Knows the specialist and the machine; nothing of encoded examples.
"""

import time
from collections.abc import Generator
from dataclasses import dataclass

from azubi.engine.base.base import Base
from azubi.engine.base.hardware import Machine
from azubi.engine.base.opening import open_base
from azubi.engine.model import weights
from azubi.engine.specialist import Specialist, new_specialist
from azubi.engine.training import defaults
from azubi.events import events as ev
from azubi.pipeline.stages.data import Data
from azubi.pipeline.stages.run_context import RunContext
from azubi.pipeline.stages.search import SearchResult
from azubi.planning.cost_model import Work


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

    @property
    def work(self) -> Work:
        """What a token costs."""
        specialist, model = self.specialist, self.specialist.model
        full = bool(self.rank)
        return Work(
            model.layer_parameters, self.base.layers, specialist.tail_layers, full, model.head_parameters
        )


def load_model(
    context: RunContext, data: Data, search_result: SearchResult | None
) -> Generator[ev.Event, None, LoadedModel]:
    """Open the base that the recipe names, or that fits the task, and cut it.

    Raises:
        UsageError: the base cannot be used, or does not fit recipe, task or parent.
    """
    begun, seconds_once = time.monotonic(), 0.0
    name = defaults.base_for(context.recipe, data.contract.task)
    base = open_base(name, context.home)
    if context.plan_only:
        seconds_once = time.monotonic() - begun
        base = open_base(name, context.home)
    if data.parent is not None:
        data.parent.check_base(base.sha256)
    recipe = context.recipe = defaults.resolved(context.recipe, base, data.contract.task)
    machine = search_result.machine if search_result is not None else context.machine()
    tail_layers, rank = int(recipe.tail_layers), int(recipe.rank)
    specialist = new_specialist(base, data.contract, tail_layers, rank, recipe.seed, machine.dtype)
    trained = sum(weight.numel() for weight in weights.trained(specialist.tail).values())
    model = LoadedModel(machine, specialist, rank, trained, seconds_once)
    if specialist.model.streams:
        yield _streamed(base)
    yield _ready(model)
    return model


def _streamed(base: Base) -> ev.Notice:
    slow = " Answers take long that way: each token of one reads the trunk anew."
    return ev.Notice(
        text=f"{base.name} is read from disk layer by layer, since it would not fit in the memory that is "
        "free." + (slow if base.kind == "decoder" else "")
    )


def _ready(model: LoadedModel) -> ev.BaseReady:
    base, machine = model.base, model.machine
    return ev.BaseReady(
        name=base.name,
        licence=base.licence,
        layers=base.layers,
        tail_layers=model.specialist.tail_layers,
        rank=model.rank,
        parameters=model.specialist.parameters,
        trained=model.trained,
        dtype=machine.dtype_name,
        threads=machine.threads,
        gflops=machine.gflops,
        pretraining=base.pretraining,
    )
