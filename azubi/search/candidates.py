"""What there is to try: bases, instructions, depths and the rest, as far as the recipe leaves them open.

Knows recipes, bases and what a trial may take; nothing of how well anything works, and tries nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from azubi.data import instruction as instructions
from azubi.engine.base import catalog
from azubi.engine.base.base import Base
from azubi.engine.base.opening import open_base
from azubi.engine.training import defaults
from azubi.events.trial import Setting
from azubi.search.trial_runner import SearchTask, TrialRunner

if TYPE_CHECKING:
    import optuna

RANKS = (0, 4, 16)
CONTROL = 16
"""Rank of LoRA on all layers, the way that most tuning goes and so the control."""
RATE_RANGE = 5.0
"""The learning rate is searched between a fifth and five times the measured default."""
PLAIN, WITH_EXAMPLES = "plain", "with examples"

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
    rate_range: float = RATE_RANGE
    """By what factor at most the learning rate departs from its default; 1 if it was given."""

    def setting(
        self, depth: int, rank: int, factor: float = 1.0, instruction: str = "", epochs: int = 0
    ) -> Setting:
        """A setting with `factor` times the default rate; what is not named is as in the default setting."""
        rate = self.rate(depth, rank)
        return Setting(
            base=self.default.base,
            instruction=instruction or self.default.instruction,
            tail_layers=depth,
            rank=rank,
            # Two digits are all that matters of a rate, and can be read.
            learning_rate=rate if factor == 1.0 else float(f"{rate * factor:.2g}"),
            epochs=epochs or self.default.epochs,
        )


class Space:
    """All settings that may be tried."""

    def __init__(self, options: Mapping[str, Options]) -> None:
        """`options` by base; the first base is the default."""
        self.options = dict(options)

    @property
    def single(self) -> bool:
        """Whether there is only one setting."""
        options = next(iter(self.options.values()))
        choices = (options.instructions, options.depths, options.ranks, options.epochs)
        return len(self.options) == 1 and options.rate_range == 1 and all(len(some) == 1 for some in choices)

    def first(self) -> list[Setting]:
        """What is tried before anything is drawn: the defaults, low rank, a head alone, the control."""
        settings: list[Setting] = []
        for number, options in enumerate(self.options.values()):
            wanted = [(options.default.tail_layers, CONTROL), (0, 0)] if number == 0 else []
            settings.append(options.default)
            settings += [
                options.setting(depth, rank)
                for depth, rank in [*wanted, (max(options.depths), CONTROL)]
                if depth in options.depths and (rank in options.ranks or depth == 0)
            ]
        return list(dict.fromkeys(settings))

    def draw(self, trial: "optuna.Trial") -> Setting:
        """The setting that a trial is about; asks optuna for whatever is open."""
        base = _choose(trial, "base", list(self.options))
        options, factor = self.options[base], 1.0
        depth = _choose(trial, f"tail_layers of {base}", options.depths)
        rank = _choose(trial, "rank", options.ranks) if depth else 0
        if options.rate_range > 1:
            factor = trial.suggest_float("rate", 1 / options.rate_range, options.rate_range, log=True)
        instruction = _choose(trial, f"instruction of {base}", options.instructions)
        epochs = _choose(trial, f"epochs of {base}", options.epochs)
        return options.setting(depth, rank, factor, instruction, epochs)

    def parameters(self, setting: Setting) -> dict[str, object]:
        """A setting as `draw` asks for it."""
        default_rate = self.options[setting.base].rate(setting.tail_layers, setting.rank)
        return {
            "base": setting.base,
            f"tail_layers of {setting.base}": setting.tail_layers,
            "rank": setting.rank,
            "rate": setting.learning_rate / default_rate,
            f"instruction of {setting.base}": setting.instruction,
            f"epochs of {setting.base}": setting.epochs,
        }


def _choose(trial: "optuna.Trial", name: str, choices: Sequence[T]) -> T:
    return choices[0] if len(choices) == 1 else trial.suggest_categorical(name, choices)


def base_names(task: SearchTask) -> list[str]:
    """The bases that are named, or the default and all others that come with azubi and fit the task."""
    recipe, labels = task.recipe, task.contract.task == "labels"
    if recipe.base != "auto":
        is_path = Path(recipe.base).expanduser().exists()
        return [recipe.base] if is_path else [name.strip() for name in recipe.base.split(",")]
    here = [entry for entry in catalog.known() if entry.path(task.home)]
    fitting = [entry.name for entry in here if entry.kind == "decoder" or labels]
    return list(dict.fromkeys([defaults.base_for(recipe, task.contract.task), *fitting]))


def open_runner(name: str, task: SearchTask) -> TrialRunner:
    """Load a base by its name.

    Raises:
        UsageError: it is not there, or does not fit the task or the examples.
    """
    base = open_base(name, task.home)
    resolved = defaults.resolved(task.recipe.model_copy(update={"base": name}), base, task.contract.task)
    return TrialRunner(base, task, resolved, _instruction_texts(base, task))


def _instruction_texts(base: Base, task: SearchTask) -> dict[str, str]:
    """The instruction's variants by name. Few, since each sends all examples through the trunk once more."""
    if base.kind == "encoder":
        return {"": ""}
    recipe = task.recipe
    texts = {PLAIN: instructions.choose(recipe.instruction, task.system, task.contract)}
    if recipe.instruction is None:
        more = instructions.with_examples(texts[PLAIN], task.split.train, recipe.seed)
        texts |= {WITH_EXAMPLES: more} if more is not None else {}
    return texts


def find_options(runner: TrialRunner, task: SearchTask, fits: Callable[[Setting], bool]) -> Options:
    """What to try with a base; `fits` says whether a trial is short enough. The default always is."""
    default, recipe = runner.default, task.recipe

    def rate(depth: int, rank: int) -> float:
        chosen = recipe.model_copy(update={"tail_layers": depth, "rank": rank})
        resolved = defaults.resolved(chosen, runner.base, task.contract.task)
        return resolved.learning_rate or default.learning_rate

    depths, epochs = {default.tail_layers}, {default.epochs}
    if recipe.tail_layers == "auto":
        deeper = [
            default.model_copy(update={"tail_layers": depth, "rank": CONTROL})
            for depth in depth_ladder(runner.base)
        ]
        depths |= {setting.tail_layers for setting in deeper if fits(setting)}
    if recipe.epochs is None:
        wanted = [max(1, round(default.epochs * factor)) for factor in (0.5, 2)]
        epochs |= {count for count in wanted if fits(default.model_copy(update={"epochs": count}))}
    return Options(
        default=default,
        instructions=tuple(runner.texts),
        depths=tuple(sorted(depths)),
        ranks=RANKS if recipe.rank == "auto" else (int(recipe.rank),),
        epochs=tuple(sorted(epochs)),
        rate=rate,
        rate_range=RATE_RANGE if recipe.learning_rate is None else 1.0,
    )


def depth_ladder(base: Base) -> list[int]:
    """0 for a base with a label head, then 1, 2, 4, 8 … and all layers."""
    doubled = [2**power for power in range(base.layers.bit_length()) if 2**power < base.layers]
    return [*([0] if base.kind == "encoder" else []), *doubled, base.layers]
