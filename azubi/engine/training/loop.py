"""Training a tail from activations: the loop, and what it tells as it goes.

The loop yields; printing and drawing live elsewhere. It knows lessons and a way to read activations, but
not where those come from. Where it stands, and how that is kept, is in `course`.
"""

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from azubi.engine.base.hardware import on_device
from azubi.engine.model.batch import Batch, EncodedExample, Outcome, Reader, by_length, collate, order
from azubi.engine.training import class_weights, skip_boilerplate
from azubi.engine.training.checkpoint import Checkpoints
from azubi.engine.training.config import TrainingConfig
from azubi.engine.training.privacy import PrivateSteps, Spent
from azubi.engine.training.state import Reason, TrainingState
from azubi.engine.training.validation import Validation
from azubi.settings import Recipe


class Tail(Protocol):
    """What the loop asks of a tail."""

    def __call__(self, batch: Batch, instruction: torch.Tensor | None) -> Outcome:
        """Loss and counts."""

    def groups(self) -> Iterator[tuple[nn.Parameter, float]]:
        """Trained weights, each with its factor on the learning rate."""


@dataclass(frozen=True)
class Resumed:
    """Training goes on from a checkpoint."""

    epoch: int
    """The one that is running."""
    step: int
    """Steps that are done."""


def config_from(recipe: Recipe) -> TrainingConfig:
    """The plan of a recipe that has every choice made."""
    assert recipe.epochs and recipe.batch and recipe.learning_rate, "defaults.resolved chose them"
    return TrainingConfig(
        epochs=recipe.epochs,
        batch=recipe.batch,
        learning_rate=recipe.learning_rate,
        patience=recipe.patience,
        seed=recipe.seed,
        epsilon=recipe.privacy.epsilon if recipe.privacy is not None else None,
    )


def as_trained(encoded: Sequence[EncodedExample], recipe: Recipe) -> list[EncodedExample]:
    """Training lessons without what need not be taught, weighted as the recipe says.

    With differential privacy as they are: what to leave out is told from all examples together.
    """
    if recipe.privacy is not None:
        return list(encoded)
    taught = class_weights.scaled(skip_boilerplate.mask_boilerplate(encoded))
    return class_weights.balanced(taught) if recipe.label_weights == "balanced" else taught


@dataclass(frozen=True)
class Step:
    """One optimiser step was made."""

    step: int
    steps: int
    epoch: int
    loss: float
    learning_rate: float
    tokens: int
    targets: int
    seconds: float


@dataclass(frozen=True)
class RolledBack:
    """The loss exploded: training stands at an earlier point again, and its learning rate is halved."""

    epoch: int
    step: int
    """The one that could not be made."""
    loss: float
    """May be not a finite number."""
    back_to: int
    """Steps that are still done."""
    learning_rate: float
    """The plan's peak, as it now is."""


@dataclass(frozen=True)
class CheckpointFailed:
    """A checkpoint could not be written; training goes on without it."""

    reason: Exception


@dataclass(frozen=True)
class Epoch:
    """One pass over the lessons was made, and the validation lessons were measured."""

    epoch: int
    loss: float
    validation_loss: float
    validation_accuracy: float
    """Share of validation answers wholly right."""
    seconds: float
    best: bool
    loss_error: float = 0.0
    """Standard error of the validation loss."""


@dataclass(frozen=True)
class Ended:
    """Training is over; the tail holds the best epoch's weights."""

    reason: Reason
    best_epoch: int
    seconds: float
    spent: Spent | None = None
    """What it gave away at most, if it was trained with differential privacy."""


TrainingEvent = Resumed | Step | RolledBack | CheckpointFailed | Epoch | Ended


def train(
    tail: nn.Module,
    encoded: Sequence[EncodedExample],
    validation: Sequence[EncodedExample],
    read: Reader,
    plan: TrainingConfig,
    *,
    has_instruction: bool,
    checkpoints: Checkpoints | None = None,
    late: Callable[[float], bool] | None = None,
) -> Generator[TrainingEvent, None, None]:
    """Train `tail` in place and leave it with the weights of its best epoch.

    An epoch is better than the best so far if its validation loss is lower and its share of right
    answers is not lower by more than a standard error, or if that share is higher by more than one.
    AdamW (Loshchilov & Hutter, arXiv 1711.05101), linear warm-up, cosine decay to a tenth.

    With `checkpoints`, where it stands is kept at least every minute and after every epoch, and when the
    iterator is closed; it goes on from there, to the very same weights. If the loss explodes, training
    goes back and tries again with half the learning rate, three times.

    With a plan of differential privacy every step is one of `private`: its examples are drawn, and no loss
    decides whether it is made. What an interruption undid was never let out, and is not counted.

    `late` is asked after each epoch, with the seconds that it took, whether there is no time for another.

    Raises:
        TrainingError: the loss keeps exploding, and no epoch was finished.
        SettingError: the plan's privacy cannot be kept to.
    """
    torch.manual_seed(plan.seed)  # dropout
    instruction = on_device(read(())) if has_instruction else None
    course = TrainingState(tail, _groups(tail), plan, math.ceil(len(encoded) / plan.batch), checkpoints)
    private = _private(tail, encoded, plan, course.steps)
    if course.resume():
        yield Resumed(course.epoch, course.step)
    try:
        while not course.over:
            tail.train()
            for group in course.rest_of(order(encoded, plan.batch, plan.seed, course.epoch)):
                begun, rate = time.monotonic(), course.rate
                if private is not None:
                    group = private.draw()
                    outcome = private.gradients(tail, group, read, instruction)
                    loss, sound = float(outcome.loss), course.move(float(outcome.loss), outcome.targets)
                    tokens, taught = sum(one.length for one in group), outcome.targets
                else:
                    batch = collate(group, read)
                    outcome = tail(batch, instruction)
                    loss = float(outcome.loss.detach())
                    sound = course.healthy(loss) and _moved(course, outcome, loss)
                    tokens, taught = int(batch.lengths.sum()), len(batch.targets)
                if not sound:
                    yield from _go_back(course, loss)
                    break
                seconds = time.monotonic() - begun
                yield Step(course.step, course.steps, course.epoch, loss, rate, tokens, taught, seconds)
                if course.due:
                    yield from _keep(course)
            else:
                mean, number = course.mean_loss, course.epoch
                measured = measure(tail, validation, read, instruction, plan)
                if not math.isfinite(measured.loss):
                    yield from _go_back(course, measured.loss)
                    continue
                seconds, better = course.epoch_seconds, course.end_epoch(measured)
                yield Epoch(
                    number, mean, measured.loss, measured.accuracy, seconds, better, measured.loss_error
                )
                yield from _keep(course)
                if late is not None and not course.over and late(seconds):
                    course.end_here()
    except GeneratorExit:
        course.keep()
        raise
    course.finish()
    assert course.reason, "the loop ends when there is a reason"
    spent = private.spent(course.step) if private is not None else None
    yield Ended(course.reason, course.best_epoch, course.seconds, spent)


def _private(
    tail: nn.Module, encoded: Sequence[EncodedExample], plan: TrainingConfig, steps: int
) -> PrivateSteps | None:
    if plan.epsilon is None:
        return None
    return PrivateSteps([weight for weight, _ in _groups(tail)], encoded, plan, steps)


def _moved(course: TrainingState, outcome: Outcome, loss: float) -> bool:
    outcome.loss.backward()
    return course.move(loss, outcome.targets)


def _go_back(course: TrainingState, loss: float) -> Iterator[TrainingEvent]:
    epoch, step = course.epoch, course.step + 1
    course.go_back(loss)
    if not course.over:
        yield RolledBack(epoch, step, loss, course.step, course.peak_rate)
        yield from _keep(course)


def _keep(course: TrainingState) -> Iterator[CheckpointFailed]:
    failed = course.keep()
    if failed is not None:
        yield CheckpointFailed(failed)


@torch.inference_mode()
def measure(
    tail: nn.Module,
    encoded: Sequence[EncodedExample],
    read: Reader,
    instruction: torch.Tensor | None,
    plan: TrainingConfig,
) -> Validation:
    """Mean loss per target, and the share of lessons answered wholly right."""
    tail.eval()
    loss, targets, right = 0.0, 0, 0
    each: list[tuple[float, int]] = []
    for group in by_length(encoded, 2 * plan.batch):
        outcome: Outcome = tail(collate(group, read), instruction)
        loss += float(outcome.loss) * outcome.targets
        targets += outcome.targets
        right += outcome.right
        if outcome.losses is not None:
            each += zip(outcome.losses.tolist(), (len(one.targets) for one in group), strict=True)
    return Validation(loss / targets, right / len(encoded), len(encoded), _error(each, loss / targets))


def _error(each: Sequence[tuple[float, int]], mean: float) -> float:
    """Standard error of a mean per target, from (loss, targets) of each example: a ratio's, by residuals."""
    if len(each) < 2:
        return 0.0
    squares = sum((loss - mean * targets) ** 2 for loss, targets in each)
    return math.sqrt(squares * len(each) / (len(each) - 1)) / sum(targets for _, targets in each)


def _groups(tail: nn.Module) -> Iterator[tuple[nn.Parameter, float]]:
    learner: Tail = tail  # type: ignore[assignment]
    return learner.groups()
