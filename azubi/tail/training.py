"""Training a tail from activations: the loop, and what it tells as it goes.

The loop yields; printing, saving and drawing live elsewhere. It knows lessons and a way to read
activations, but not where those come from.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import nn

from azubi.errors import TrainingError
from azubi.settings import Recipe
from azubi.tail import weights
from azubi.tail.batch import Batch, Lesson, Reader, by_length, collate, order
from azubi.tail.optimiser import Optimiser
from azubi.tail.outcome import Outcome


class Tail(Protocol):
    """What the loop asks of a tail."""

    def __call__(self, batch: Batch, prime: torch.Tensor | None) -> Outcome:
        """Loss and counts."""

    def groups(self) -> Iterator[tuple[nn.Parameter, float]]:
        """Trained weights, each with its factor on the learning rate."""


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


def plan_of(recipe: Recipe) -> Plan:
    """The plan of a recipe that has every choice made."""
    assert recipe.epochs and recipe.batch and recipe.learning_rate, "defaults.resolved chose them"
    return Plan(
        epochs=recipe.epochs,
        batch=recipe.batch,
        learning_rate=recipe.learning_rate,
        warmup=recipe.warmup,
        weight_decay=recipe.weight_decay,
        clip=recipe.clip,
        patience=recipe.patience,
        seed=recipe.seed,
    )


@dataclass(frozen=True)
class Step:
    """One optimiser step was made."""

    step: int
    steps: int
    epoch: int
    loss: float
    learning_rate: float
    tokens: int


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

    reason: Literal["all epochs done", "no better epoch"]
    best_epoch: int
    seconds: float


def train(
    tail: nn.Module,
    lessons: Sequence[Lesson],
    validation: Sequence[Lesson],
    read: Reader,
    plan: Plan,
    *,
    primed: bool,
) -> Iterator[Step | Epoch | Ended]:
    """Train `tail` in place and leave it with the weights of its best epoch.

    An epoch is better than the best so far if its validation loss is lower and its share of right
    answers is not lower by more than a standard error, or if that share is higher by more than one.
    AdamW (Loshchilov & Hutter, arXiv 1711.05101), linear warm-up, cosine decay to a tenth.

    Raises:
        TrainingError: the loss is not a finite number.
    """
    started = time.monotonic()
    prime = read(()) if primed else None
    optimiser = Optimiser(_groups(tail), plan.weight_decay, plan.clip)
    per_epoch = math.ceil(len(lessons) / plan.batch)
    steps = per_epoch * plan.epochs
    best: Validation | None = None
    best_epoch, kept, step = 0, weights.kept(tail), 0
    for epoch in range(1, plan.epochs + 1):
        begun = time.monotonic()
        tail.train()
        total, count = 0.0, 0
        for group in order(lessons, plan.batch, plan.seed, epoch):
            batch = collate(group, read)
            rate = plan.learning_rate * rate_factor(step, steps, plan.warmup)
            outcome = _step(tail, batch, prime, optimiser, rate)
            step += 1
            loss = float(outcome.loss.detach())
            total, count = total + loss * outcome.targets, count + outcome.targets
            yield Step(step, steps, epoch, loss, rate, int(batch.lengths.sum()))
        measured = measure(tail, validation, read, prime, plan)
        better = best is None or measured.better_than(best)
        if better:
            best, best_epoch, kept = measured, epoch, weights.kept(tail)
        took = time.monotonic() - begun
        yield Epoch(epoch, total / count, measured.loss, measured.accuracy, took, better, measured.loss_error)
        if epoch - best_epoch >= plan.patience:
            break
    weights.restore(tail, kept)
    tail.eval()
    reason: Literal["all epochs done", "no better epoch"] = (
        "all epochs done" if epoch == plan.epochs else "no better epoch"
    )
    yield Ended(reason, best_epoch, time.monotonic() - started)


@dataclass(frozen=True)
class Validation:
    """How well the tail does on lessons it is not trained on."""

    loss: float
    accuracy: float
    examples: int
    loss_error: float = 0.0
    """Standard error of the loss."""

    def better_than(self, other: "Validation") -> bool:
        """Whether this is the better epoch: by the loss, unless the answers clearly say otherwise.

        The share of right answers is what counts, but on a hundred examples two epochs differ by a few
        points through luck; the loss sees how sure each answer was, and so tells more.
        """
        noise = math.sqrt(other.accuracy * (1 - other.accuracy) / other.examples)
        gained = self.accuracy - other.accuracy
        return gained > noise or (gained >= -noise and self.loss < other.loss)


@torch.inference_mode()
def measure(
    tail: nn.Module, lessons: Sequence[Lesson], read: Reader, prime: torch.Tensor | None, plan: Plan
) -> Validation:
    """Mean loss per target, and the share of lessons answered wholly right."""
    tail.eval()
    loss, targets, right = 0.0, 0, 0
    each: list[tuple[float, int]] = []
    for group in by_length(lessons, 2 * plan.batch):
        outcome: Outcome = tail(collate(group, read), prime)
        loss += float(outcome.loss) * outcome.targets
        targets += outcome.targets
        right += outcome.right
        if outcome.losses is not None:
            each += zip(outcome.losses.tolist(), (len(one.targets) for one in group), strict=True)
    return Validation(loss / targets, right / len(lessons), len(lessons), _error(each, loss / targets))


def _error(each: Sequence[tuple[float, int]], mean: float) -> float:
    """Standard error of a mean per target, from (loss, targets) of each example: a ratio's, by residuals."""
    if len(each) < 2:
        return 0.0
    squares = sum((loss - mean * targets) ** 2 for loss, targets in each)
    return math.sqrt(squares * len(each) / (len(each) - 1)) / sum(targets for _, targets in each)


def rate_factor(step: int, steps: int, warmup: float) -> float:
    """Share of the peak learning rate at `step` (from 0): linear up, then cosine down to a tenth."""
    rising = max(1, round(steps * warmup))
    if step < rising:
        return (step + 1) / rising
    progress = (step - rising) / max(1, steps - rising)
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * progress))


def _step(
    tail: nn.Module, batch: Batch, prime: torch.Tensor | None, optimiser: Optimiser, rate: float
) -> Outcome:
    outcome: Outcome = tail(batch, prime)
    loss = float(outcome.loss.detach())
    if not math.isfinite(loss):
        raise TrainingError(
            f"The loss became {loss} at a learning rate of {rate:.2g}.",
            "Train again with a lower --learning-rate, or with --dtype float32.",
        )
    outcome.loss.backward()
    optimiser.step(rate)
    return outcome


def _groups(tail: nn.Module) -> Iterator[tuple[nn.Parameter, float]]:
    learner: Tail = tail  # type: ignore[assignment]
    return learner.groups()
