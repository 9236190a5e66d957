"""What there is to try: bases, instructions, depths and the rest, as far as the recipe leaves them open.

Knows recipes, bases and what a trial may take; nothing of how well anything works, and tries nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import optuna
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
from azubi.search.trial_runner import Setting, TrialRunner
from azubi.settings import Recipe

RANKS = (0, 4, 16)
CONTROL = 16
"""Rank of LoRA on all layers, the way that most tuning goes and so the control."""
STEEP = 5.0
"""The learning rate is looked for between a fifth and five times the measured default."""

T = TypeVar("T", int, str)


@dataclass(frozen=True)
class Options:
    """What may be tried with one base."""

    default: Setting
    """What is taken without a search."""
    instructions: tuple[str, ...]
    depths: tuple[int, ...]
    ranks: tuple[int, ...]
    epochs: tuple[int, ...]
    rate: Callable[[int, int], float]
    """The measured default of a depth and a rank."""
    steep: float = STEEP
    """By what factor at most the learning rate departs from its default; 1 if it was given."""


class Space:
    """All settings that may be tried."""

    def __init__(self, options: Mapping[str, Options]) -> None:
        """`options` by base; the first base is the default."""
        self.options = dict(options)

    @property
    def single(self) -> bool:
        """Whether there is but one setting."""
        options = next(iter(self.options.values()))
        open_ = (options.instructions, options.depths, options.ranks, options.epochs)
        return len(self.options) == 1 and options.steep == 1 and all(len(choices) == 1 for choices in open_)

    def first(self) -> list[Setting]:
        """What is tried before anything is drawn: the defaults, low rank, a head alone, the control."""
        settings: list[Setting] = []
        for number, options in enumerate(self.options.values()):
            default = options.default
            wanted = [(default.tail_layers, CONTROL), (0, 0)] if number == 0 else []
            settings.append(default)
            settings += [
                _setting(options, default.instruction, depth, rank, 1.0, default.epochs)
                for depth, rank in [*wanted, (max(options.depths), CONTROL)]
                if depth in options.depths and (rank in options.ranks or depth == 0)
            ]
        return list(dict.fromkeys(settings))

    def draw(self, trial: "optuna.Trial") -> Setting:
        """The setting that a trial is about; asks optuna for whatever is open."""
        base = _choose(trial, "base", list(self.options))
        options = self.options[base]
        depth = _choose(trial, f"tail_layers of {base}", options.depths)
        rank = _choose(trial, "rank", options.ranks) if depth else 0
        factor = (
            trial.suggest_float("rate", 1 / options.steep, options.steep, log=True)
            if options.steep > 1
            else 1.0
        )
        instruction = _choose(trial, f"instruction of {base}", options.instructions)
        return _setting(
            options, instruction, depth, rank, factor, _choose(trial, f"epochs of {base}", options.epochs)
        )

    def parameters(self, setting: Setting) -> dict[str, object]:
        """The same as optuna knows it, for a setting that is to be tried first."""
        options = self.options[setting.base]
        return {
            "base": setting.base,
            f"tail_layers of {setting.base}": setting.tail_layers,
            "rank": setting.rank,
            "rate": setting.learning_rate / options.rate(setting.tail_layers, setting.rank),
            f"instruction of {setting.base}": setting.instruction,
            f"epochs of {setting.base}": setting.epochs,
        }


def _setting(
    options: Options, instruction: str, depth: int, rank: int, factor: float, epochs: int
) -> Setting:
    rate = options.rate(depth, rank)
    # Two digits are all that matters of a rate, and can be read.
    rate = rate if factor == 1.0 else float(f"{rate * factor:.2g}")
    return Setting(options.default.base, instruction, depth, rank, rate, epochs)


def _choose(trial: "optuna.Trial", name: str, choices: Sequence[T]) -> T:
    if len(choices) == 1:
        return choices[0]
    return trial.suggest_categorical(name, choices)


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
    """The instruction's variants by name. Few, since each sends all examples through the trunk once more."""
    if base.kind == "encoder":
        return {"": ""}
    plain = instruction.choose(recipe.instruction, system, contract)
    more = instruction.with_examples(plain, split.train, recipe.seed) if recipe.instruction is None else None
    return {PLAIN: plain} if more is None else {PLAIN: plain, WITH_EXAMPLES: more}


def options(
    runner: TrialRunner, recipe: Recipe, contract: Contract, fits: Callable[[Setting], bool]
) -> Options:
    """What to try with a base; `fits` says whether a trial is short enough. The default always is."""
    default = runner.default

    def rate(depth: int, rank: int) -> float:
        given = recipe.model_copy(update={"tail_layers": depth, "rank": rank})
        return defaults.resolved(given, runner.base, contract.task).learning_rate or default.learning_rate

    depths, epochs = {default.tail_layers}, {default.epochs}
    if recipe.tail_layers == "auto":
        wanted = (replace(default, tail_layers=depth, rank=CONTROL) for depth in ladder(runner.base))
        depths |= {setting.tail_layers for setting in wanted if fits(setting)}
    if recipe.epochs is None:
        wanted = (replace(default, epochs=max(1, round(default.epochs * by))) for by in (0.5, 2))
        epochs |= {setting.epochs for setting in wanted if fits(setting)}
    return Options(
        default=default,
        instructions=tuple(runner.texts),
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
