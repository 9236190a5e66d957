"""The numbers that steer training. Knows nothing of what they do."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
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
