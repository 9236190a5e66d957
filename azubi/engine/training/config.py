"""The numbers that steer training. Knows nothing of what they do."""

from dataclasses import dataclass


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
    """What training may reveal of one example; None without differential privacy (see `private`)."""
