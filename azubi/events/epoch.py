"""One epoch of training, as events and reports hold it."""

from pydantic import BaseModel, ConfigDict


class Epoch(BaseModel):
    """One pass over the training examples, and the validation after it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epoch: int
    loss: float
    validation_loss: float
    validation_accuracy: float
    best: bool
    """Whether it was the best so far; the last of these was kept."""
    loss_error: float = 0.0
    """Standard error of the validation loss; 0 where it was not kept."""
    seconds: float = 0.0
    """What it took, the validation included; 0 where that was not kept."""
