"""The numbers that steer training. Knows nothing of what they do."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingConfig:
    """The numbers that steer training."""

    epochs: int
    batch: int
    learning_rate: float
    warmup: float
    weight_decay: float
    clip: float
    patience: int
    seed: int
    smoothing: float = 0.0
    epsilon: float | None = None
    """What training may reveal of one example; None without differential privacy (see `private`)."""
    delta: float | None = None
    """Chance that the guarantee does not hold; derived from the number of examples if None."""
