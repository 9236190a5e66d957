"""The numbers that steer training."""

from dataclasses import dataclass

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
