"""The base: opened, every choice of the recipe made, loaded and cut.

Knows the specialist and the machine; nothing of lessons.
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
from azubi.settings import Recipe


@dataclass(frozen=True)
class LoadedModel:
    """A base in memory, cut."""

    recipe: Recipe
    """With every choice made but the prime."""
    machine: Machine
    specialist: Specialist
    trained: int
    """Weights that training can change."""
    once: float = 0.0
    """Seconds that a run after this plan is spared: a GGUF file was converted, weights were hashed."""

    @property
    def base(self) -> Base:
        """What was cut."""
        return self.specialist.base

    @property
    def depth(self) -> int:
        """Layers of the tail."""
        return int(self.recipe.tail_layers)

    @property
    def rank(self) -> int:
        """Of the tail's factors; 0 where full weights are trained."""
        return int(self.recipe.rank)

    @property
    def work(self) -> Work:
        """What a token costs."""
        model = self.specialist.model
        return Work(
            model.layer_parameters, self.base.layers, self.depth, bool(self.rank), model.head_parameters
        )


def load_model(
    context: RunContext, data: Data, searched: SearchResult | None
) -> Generator[ev.Event, None, LoadedModel]:
    """Open the base that the recipe names, or that fits the task, and cut it.

    Raises:
        UsageError: the base cannot be used, or does not fit recipe, task or parent.
    """
    begun = time.monotonic()
    recipe, contract = searched.found.recipe if searched is not None else data.recipe, data.contract
    base, once = open_base(defaults.base_for(recipe, contract.task), context.home), 0.0
    if context.plan_only:
        once = time.monotonic() - begun
        base = open_base(defaults.base_for(recipe, contract.task), context.home)
    if data.parent is not None:
        data.parent.check_base(base.sha256)
    recipe = defaults.resolved(recipe, base, contract.task)
    machine = searched.machine if searched is not None else context.machine(recipe)
    both = new_specialist(
        base,
        contract,
        int(recipe.tail_layers),
        int(recipe.rank),
        recipe.seed,
        machine.dtype,
    )
    trained = sum(one.numel() for one in weights.trained(both.tail).values())
    cut = LoadedModel(recipe, machine, both, trained, once)
    if both.model.streams:
        yield _streamed(cut)
    yield _ready(cut)
    return cut


def _streamed(cut: LoadedModel) -> ev.Notice:
    slow = " Answers take long that way: each token of one reads the trunk anew."
    return ev.Notice(
        text=f"{cut.base.name} is read from disk layer by layer, since it would not fit in the "
        "memory that is free." + (slow if cut.base.kind == "decoder" else "")
    )


def _ready(cut: LoadedModel) -> ev.BaseReady:
    base, machine = cut.base, cut.machine
    return ev.BaseReady(
        name=base.name,
        licence=base.licence,
        layers=base.layers,
        tail_layers=cut.depth,
        rank=cut.rank,
        parameters=cut.specialist.parameters,
        trained=cut.trained,
        dtype=machine.dtype_name,
        threads=machine.threads,
        gflops=machine.gflops,
        pretraining=base.pretraining,
    )
