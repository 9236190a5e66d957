"""The numbers that steer training, and values for what a recipe leaves open, chosen by measurements
(docs/defaults.md)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from azubi.data.contract import Contract, Task
from azubi.data.finding import share
from azubi.data.language import TextProfile
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


_FEW = 1_000
"""Up to so many training examples, a tenth more that were kept for validation are worth a second training."""


def trains_again(recipe: Recipe, contract: Contract, base: "Base", examples: int) -> bool:
    """Whether a label head is trained again, on validation examples too, once the best epoch is known.

    Not where examples have weights of their own, since validation examples have none; nor for sets of labels,
    whose thresholds are read off the validation examples.
    """
    label_head = base.kind == "encoder" and not contract.multi
    weighted = recipe.weight is not None or recipe.label_weights != "none"
    search, private = recipe.budget is not None, recipe.privacy is not None
    return label_head and examples <= _FEW and not (weighted or search or private)


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

ENGLISH_ENCODER, ENCODER, DECODER = "minilm", "e5-small", "smollm2-135m"
"""The default bases: the first and the last were made from English texts, the second from 100 languages."""
_ENGLISH = 0.9
"""Share of English from which on a base that reads English alone is the default."""
_LONG = 0.5
"""Share of long texts from which on a base that reads them is the default for labels."""


def base_for(recipe: Recipe, task: Task, texts: TextProfile) -> str:
    """The recipe's base; for auto the one that fits task and prompts (`texts`; see `reason_for`)."""
    if recipe.base != "auto":
        return recipe.base
    if task != "labels" or recipe.tail_layers == "all":
        return DECODER
    encoder = encoder_for(texts)
    return DECODER if encoder == ENGLISH_ENCODER and texts.long > _LONG else encoder


def encoder_for(texts: TextProfile) -> str:
    """The small encoder that reads their languages; where none is clear, English is assumed."""
    return ENCODER if texts.language and texts.english < _ENGLISH else ENGLISH_ENCODER


def reason_for(base: str, task: Task, texts: TextProfile, is_named: bool = False) -> str:
    """Why that is the default base, in one sentence; empty if nothing but the task decided.

    Of a base that the recipe names, only what speaks against it: that it reads nothing but English.
    """
    from babel import Locale

    if is_named and (
        base not in (ENGLISH_ENCODER, DECODER) or texts.english >= _ENGLISH or not texts.language
    ):
        return ""
    if not texts.language:
        return "" if base == DECODER else f"The base is {base}: no language is clear, and English is assumed."
    name = Locale("en").languages.get(texts.language, texts.language)
    main = f"{share(texts.share)} of the prompts are {name}"
    if base == ENCODER:
        return f"The base is {base}: {main}, and {ENGLISH_ENCODER} reads English alone."
    if texts.english < _ENGLISH:
        return f"The base is {base}, which reads English, but {main}. Name one that knows more with --base."
    if base == ENGLISH_ENCODER:
        return f"The base is {base}, which reads English: {main}."
    if task == "labels" and texts.long > _LONG:
        return (
            f"The base is {base}: {share(texts.long)} of the prompts are longer than {ENGLISH_ENCODER} reads."
        )
    return ""


def resolved(recipe: Recipe, base: "Base", task: Task) -> Recipe:
    """The recipe with every choice made.

    Raises:
        SettingError: `prompt_layers` is given, and does not fit the base or other settings.
    """
    encoder = _ENCODERS.get(base.series, _ENCODER) if base.kind == "encoder" else None
    depth = _depth(recipe, base, encoder)
    # All, unless fewer are given or a search chose them: what fewer cost differs by task (docs/defaults.md).
    prompt_layers = "all" if recipe.prompt_layers in ("auto", depth) else recipe.prompt_layers
    if prompt_layers != "all":
        _check_prompt_layers(recipe, base, f"prompt_layers is {prompt_layers} of {depth}")
    rank = 0 if recipe.rank == "auto" else recipe.rank
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


class _Encoder(NamedTuple):
    """What is chosen for an encoder."""

    depth: int
    rate: float
    lora_rate: float
    head_rate: float
    """Where the head alone is trained."""


_ENCODER = _Encoder(2, 1e-4, 5e-4, 1e-3)
_ENCODERS = {"e5": _Encoder(4, 3e-4, 1.5e-3, 1e-2)}
"""By series, where another choice was measured. E5's vectors lie close together, so it takes higher rates."""


def _depth(recipe: Recipe, base: "Base", encoder: _Encoder | None) -> int:
    if recipe.tail_layers == "all":
        return base.layers
    if recipe.tail_layers == "auto":
        return min(encoder.depth, base.layers) if encoder else min(8, max(1, base.layers // 2))
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


def _rate(depth: int, rank: int, encoder: _Encoder | None) -> float:
    if encoder is None:
        return 1e-3
    return encoder.head_rate if depth == 0 else encoder.lora_rate if rank else encoder.rate
