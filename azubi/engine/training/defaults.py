"""The numbers that steer training, and values for what a recipe leaves open, chosen by measurements
(docs/defaults.md)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from azubi.data.contract import Task
from azubi.errors import SettingError
from azubi.settings import Recipe


@dataclass(frozen=True)
class TrainingConfig:
    """The numbers that steer training."""

    epochs: int
    batch: int
    learning_rate: float
    patience: int
    seed: int
    warmup: float = 0.1
    """Share of the steps in which the learning rate rises to its peak."""
    weight_decay: float = 0.01
    """AdamW's decoupled weight decay."""
    clip: float = 1.0
    """Gradients whose norm exceeds this are scaled down to it."""
    epsilon: float | None = None
    """What training may reveal of one example; None without differential privacy (see `privacy`)."""


def config_from(recipe: Recipe) -> TrainingConfig:
    """The config of a recipe that `defaults.resolved` completed."""
    assert recipe.epochs and recipe.batch and recipe.learning_rate, "defaults.resolved chose them"
    return TrainingConfig(
        epochs=recipe.epochs,
        batch=recipe.batch,
        learning_rate=recipe.learning_rate,
        patience=recipe.patience,
        seed=recipe.seed,
        epsilon=recipe.privacy.epsilon if recipe.privacy is not None else None,
    )


def prompt_layers(recipe: Recipe) -> int:
    """In how many layers of its tail a recipe that `resolved` completed lets weights act on the prompt."""
    layers = recipe.prompt_layers
    return int(recipe.tail_layers) if isinstance(layers, str) else layers


if TYPE_CHECKING:
    from azubi.engine.base.base import Base


def base_for(recipe: Recipe, task: Task) -> str:
    """The recipe's base; for auto a small encoder for labels, else a small decoder."""
    if recipe.base != "auto":
        return recipe.base
    return "minilm" if task == "labels" and recipe.tail_layers != "all" else "smollm2-135m"


def resolved(recipe: Recipe, base: "Base", task: Task) -> Recipe:
    """The recipe with every choice made.

    Raises:
        SettingError: `prompt_layers` is given, and does not fit the base or other settings.
    """
    depth = _depth(recipe, base)
    # All, unless fewer are given or a search chose them: what fewer cost differs by task (docs/defaults.md).
    prompt_layers = "all" if recipe.prompt_layers in ("auto", depth) else recipe.prompt_layers
    if prompt_layers != "all":
        _check_prompt_layers(recipe, base, f"prompt_layers is {prompt_layers} of {depth}")
    rank = 0 if recipe.rank == "auto" else recipe.rank
    encoder = base.kind == "encoder"
    return recipe.model_copy(
        update={
            "base": base.name,
            "task": task,
            "tail_layers": depth,
            "prompt_layers": prompt_layers,
            "rank": rank,
            "learning_rate": recipe.learning_rate or _rate(depth, rank, encoder),
            "epochs": recipe.epochs or (_ENCODER_EPOCHS if encoder else _DECODER_EPOCHS),
            "batch": recipe.batch or (_ENCODER_BATCH if encoder else _DECODER_BATCH),
        }
    )


_ENCODER_EPOCHS, _ENCODER_BATCH = 10, 16
_DECODER_EPOCHS, _DECODER_BATCH = 4, 8


def _depth(recipe: Recipe, base: "Base") -> int:
    if recipe.tail_layers == "all":
        return base.layers
    if recipe.tail_layers == "auto":
        return min(2, base.layers) if base.kind == "encoder" else min(8, max(1, base.layers // 2))
    return recipe.tail_layers


def _check_prompt_layers(recipe: Recipe, base: "Base", given: str) -> None:
    if base.kind == "encoder":
        raise SettingError(
            f"{given}, but {base.name} is an encoder, which reads a text as a whole.",
            "Leave prompt_layers out, or choose a base that writes, such as smollm2-135m.",
        )
    if recipe.turns == "all" and recipe.privacy is not None:
        raise SettingError(
            f"{given}, and turns is all: each answer of a conversation is then an example of its own, but "
            "privacy is promised for whole conversations.",
            "Leave prompt_layers out, or choose --turns last.",
        )


def _rate(depth: int, rank: int, encoder: bool) -> float:
    if encoder:
        return 1e-3 if depth == 0 else 5e-4 if rank else 1e-4
    return 1e-3
