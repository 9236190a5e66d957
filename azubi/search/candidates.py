"""What there is to try: bases, primes, depths and the rest, as far as the recipe leaves them open.

Knows recipes, bases and what a trial may take; tries nothing.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from azubi.data import instruction
from azubi.data.contract import Contract
from azubi.data.splits.splitting import Split
from azubi.engine.base import catalog
from azubi.engine.base.base import Base
from azubi.engine.base.opening import open_base
from azubi.engine.training import defaults
from azubi.search.setting import Setting
from azubi.search.space import CONTROL, RANKS, STEEP, Options
from azubi.search.trial_runner import TrialRunner
from azubi.settings import Recipe

PLAIN, WITH_EXAMPLES = "plain", "with examples"


def bases(recipe: Recipe, contract: Contract, home: Path) -> list[str]:
    """Those that are named, or the default and all others that come with azubi and fit the task."""
    if recipe.base != "auto":
        whole = Path(recipe.base).expanduser().exists()
        return [recipe.base] if whole else [name.strip() for name in recipe.base.split(",")]
    fitting = [
        entry.name
        for entry in catalog.known()
        if entry.path(home) and (entry.kind == "decoder" or contract.task == "labels")
    ]
    return list(dict.fromkeys([defaults.base_for(recipe, contract.task), *fitting]))


def opened(
    name: str,
    recipe: Recipe,
    contract: Contract,
    split: Split,
    system: str | None,
    home: Path,
    dtype: torch.dtype,
) -> TrialRunner:
    """Load a base by its name.

    Raises:
        UsageError: it is not there, or does not fit the task or the examples.
    """
    base = open_base(name, home)
    made = defaults.resolved(recipe.model_copy(update={"base": name}), base, contract.task)
    return TrialRunner(base, contract, split, made, _texts(base, recipe, contract, split, system), dtype)


def _texts(
    base: Base, recipe: Recipe, contract: Contract, split: Split, system: str | None
) -> dict[str, str]:
    """The prime's variants by name. Few, since each sends all examples through the trunk once more."""
    if base.kind == "encoder":
        return {"": ""}
    plain = instruction.choose(recipe.instruction, system, contract)
    more = instruction.with_examples(plain, split.train, recipe.seed) if recipe.instruction is None else None
    return {PLAIN: plain} if more is None else {PLAIN: plain, WITH_EXAMPLES: more}


def options(
    bench: TrialRunner, recipe: Recipe, contract: Contract, fits: Callable[[Setting], bool]
) -> Options:
    """What to try with a base; `fits` says whether a trial is short enough. The default always is."""
    default = bench.default

    def rate(depth: int, rank: int) -> float:
        given = recipe.model_copy(update={"tail_layers": depth, "rank": rank})
        return defaults.resolved(given, bench.base, contract.task).learning_rate or default.learning_rate

    depths, epochs = {default.tail_layers}, {default.epochs}
    if recipe.tail_layers == "auto":
        wanted = (replace(default, tail_layers=depth, rank=CONTROL) for depth in ladder(bench.base))
        depths |= {one.tail_layers for one in wanted if fits(one)}
    if recipe.epochs is None:
        wanted = (replace(default, epochs=max(1, round(default.epochs * by))) for by in (0.5, 2))
        epochs |= {one.epochs for one in wanted if fits(one)}
    return Options(
        default=default,
        primes=tuple(bench.texts),
        depths=tuple(sorted(depths)),
        ranks=RANKS if recipe.rank == "auto" else (int(recipe.rank),),
        epochs=tuple(sorted(epochs)),
        rate=rate,
        steep=STEEP if recipe.learning_rate is None else 1.0,
    )


def ladder(base: Base) -> list[int]:
    """0 for a base with a label head, then 1, 2, 4, 8 … and all layers."""
    doubled = [2**power for power in range(base.layers.bit_length()) if 2**power < base.layers]
    return [*([0] if base.kind == "encoder" else []), *doubled, base.layers]
