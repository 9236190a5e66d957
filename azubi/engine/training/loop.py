"""Training a tail from activations: the loop, and the events that it yields.

It knows encoded examples and a way to read activations, but not where those come from. Where training stands,
and how that is kept, is in `state`.
"""

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from azubi.engine.base.hardware import on_device
from azubi.engine.model import weights
from azubi.engine.model.batch import EncodedExample, Outcome, Reader, by_length, collate, order
from azubi.engine.model.weights import State
from azubi.engine.training import example_weights
from azubi.engine.training.checkpoint import Checkpoints
from azubi.engine.training.defaults import TrainingConfig
from azubi.engine.training.example_weights import Validation
from azubi.engine.training.privacy import PrivateSteps, Spent
from azubi.engine.training.state import Reason, TrainingState
from azubi.settings import Recipe


@dataclass(frozen=True)
class Resumed:
    """Training goes on from a checkpoint."""

    epoch: int
    """The one that is running."""
    step: int
    """Steps that are done."""


def as_trained(encoded: Sequence[EncodedExample], recipe: Recipe) -> list[EncodedExample]:
    """Training examples, weighted as the recipe says, without targets that need not be learned.

    With differential privacy unchanged: what to leave out would depend on all examples together.
    """
    if recipe.privacy is not None:
        return list(encoded)
    weighted = example_weights.scaled(example_weights.mask_boilerplate(encoded))
    return example_weights.balanced(weighted) if recipe.label_weights == "balanced" else weighted


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
    """The loss exploded: training returned to an earlier point and halved its learning rate."""

    epoch: int
    step: int
    """The step that failed."""
    loss: float
    """May be not finite."""
    back_to: int
    """Steps that are still done."""
    learning_rate: float
    """The new peak."""


@dataclass(frozen=True)
class CheckpointFailed:
    """A checkpoint could not be written; training goes on without it."""

    reason: Exception


@dataclass(frozen=True)
class Epoch:
    """One pass over the training examples was made, and the validation examples were measured."""

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
class Start:
    """The validation examples were measured with weights that need no training: epoch 0."""

    validation_loss: float
    validation_accuracy: float
    loss_error: float


@dataclass(frozen=True)
class TrainedAgain:
    """A step of the training on all examples was made."""

    step: int
    steps: int


@dataclass(frozen=True)
class Ended:
    """Training is over; the tail has the best epoch's weights."""

    reason: Reason
    best_epoch: int
    """0 if no epoch was better than what needs no training."""
    seconds: float
    spent: Spent | None = None
    """The privacy that was spent, with differential privacy."""
    unseen: State | None = None
    """The best epoch's weights, where those of a training on validation examples, too, took their place."""


TrainingEvent = Resumed | Start | Step | RolledBack | CheckpointFailed | Epoch | TrainedAgain | Ended


def train(
    tail: nn.Module,
    encoded: Sequence[EncodedExample],
    validation: Sequence[EncodedExample],
    read: Reader,
    config: TrainingConfig,
    *,
    has_instruction: bool,
    simple: State | None = None,
    refitted: State | None = None,
    again: bool = False,
    checkpoints: Checkpoints | None = None,
    late: Callable[[float], bool] | None = None,
) -> Generator[TrainingEvent, None, None]:
    """Train `tail` in place and leave it with the weights of its best epoch.

    An epoch is better than the best so far if its validation loss is lower and its share of right
    answers is not lower by more than a standard error, or if that share is higher by more than one.
    AdamW (Loshchilov & Hutter, arXiv 1711.05101), linear warm-up, cosine decay to a tenth.

    `simple` are weights of the tail that need no training. They are measured first (epoch 0), and the tail
    is left with them if no epoch is better (see `Validation.gains_over`), or with
    `refitted`, the same made from more examples. Not with privacy: that would reveal more.

    `again`: the best epoch's weights give way to those of a second training, on training and validation
    examples, that begins as the first did and ends after as many epochs.

    With `checkpoints`, the state is kept at least every minute and after every epoch, and when the
    iterator is closed; training resumes from there, to the very same weights. If the loss explodes, training
    goes back and tries again with half the learning rate, three times.

    With differential privacy every step draws its examples, and no loss decides whether it is made. What an
    interruption undid was never published, and is not counted.

    `late` is asked after each epoch, with the seconds that it took, whether there is no time for another.

    Raises:
        TrainingError: the loss keeps exploding, and no epoch was finished.
        SettingError: the config's privacy cannot be kept to.
    """
    torch.manual_seed(config.seed)  # dropout
    instruction = on_device(read(())) if has_instruction else None
    begin = weights.kept(tail) if again else {}
    state = TrainingState(tail, _groups(tail), config, math.ceil(len(encoded) / config.batch), checkpoints)
    private = None
    if config.epsilon is not None:
        private = PrivateSteps([weight for weight, _ in _groups(tail)], encoded, config, state.steps)
    elif simple is not None:
        start = weights.kept(tail)
        weights.restore(tail, simple)
        measured = measure(tail, validation, read, instruction, config)
        weights.restore(tail, start)
        state.compare_with(measured, simple if refitted is None else refitted)
        yield Start(measured.loss, measured.accuracy, measured.loss_error)
    if state.resume():
        yield Resumed(state.epoch, state.step)
    try:
        while not state.over:
            tail.train()
            for examples in state.rest_of(order(encoded, config.batch, config.seed, state.epoch)):
                begun, rate = time.monotonic(), state.rate
                if private is not None:
                    step = _private_step(tail, private, read, instruction, state)
                else:
                    step = _step(tail, examples, read, instruction, state)
                if not step.sound:
                    yield from _go_back(state, step.loss)
                    break
                seconds = time.monotonic() - begun
                yield Step(
                    state.step, state.steps, state.epoch, step.loss, rate, step.tokens, step.targets, seconds
                )
                if state.checkpoint_due:
                    yield from _keep(state)
            else:
                mean, number = state.mean_loss, state.epoch
                with state.averaged():
                    measured = measure(tail, validation, read, instruction, config)
                    if sound := math.isfinite(measured.loss):
                        seconds, better = state.epoch_seconds, state.end_epoch(measured)
                if not sound:
                    yield from _go_back(state, measured.loss)
                    continue
                yield Epoch(
                    number, mean, measured.loss, measured.accuracy, seconds, better, measured.loss_error
                )
                yield from _keep(state)
                if late is not None and not state.over and late(seconds):
                    state.end_for_time()
    except GeneratorExit:
        state.keep()
        raise
    state.finish()
    assert state.reason, "the loop ends when there is a reason"
    spent = private.spent(state.step) if private is not None else None
    unseen = None
    if again and state.kept_epoch:
        unseen = weights.kept(tail)
        weights.restore(tail, begin)
        sound = yield from _train_again(tail, [*encoded, *validation], read, config, state.kept_epoch)
        if not sound:
            weights.restore(tail, unseen)
            unseen = None
        tail.eval()
    yield Ended(state.reason, state.kept_epoch, state.seconds, spent, unseen)


def _train_again(
    tail: nn.Module, encoded: Sequence[EncodedExample], read: Reader, config: TrainingConfig, epochs: int
) -> Generator[TrainedAgain, None, bool]:
    """Train for so many of the config's epochs without looking at any other example.

    Returns whether all went well. It is short, so an interruption begins it anew.
    """
    torch.manual_seed(config.seed)
    state = TrainingState(tail, _groups(tail), config, math.ceil(len(encoded) / config.batch), None)
    tail.train()
    for epoch in range(1, epochs + 1):
        for examples in order(encoded, config.batch, config.seed, epoch):
            if not _step(tail, examples, read, None, state).sound:
                return False
            yield TrainedAgain(state.step, state.steps * epochs // config.epochs)
    with state.averaged():
        trained = weights.kept(tail)
    weights.restore(tail, trained)
    return True


@dataclass(frozen=True)
class _StepResult:
    loss: float
    sound: bool
    """Whether the step was made; False if the loss explodes."""
    tokens: int
    targets: int


def _step(
    tail: nn.Module,
    examples: Sequence[EncodedExample],
    read: Reader,
    instruction: torch.Tensor | None,
    state: TrainingState,
) -> _StepResult:
    batch = collate(examples, read)
    outcome: Outcome = tail(batch, instruction)
    loss = float(outcome.loss.detach())
    sound = state.is_healthy(loss)
    if sound:
        outcome.loss.backward()
        sound = state.move(loss, outcome.targets)
    return _StepResult(loss, sound, int(batch.lengths.sum()), len(batch.targets))


def _private_step(
    tail: nn.Module,
    private: PrivateSteps,
    read: Reader,
    instruction: torch.Tensor | None,
    state: TrainingState,
) -> _StepResult:
    examples = private.draw()
    outcome = private.gradients(tail, examples, read, instruction)
    loss = float(outcome.loss)
    sound = state.move(loss, outcome.targets)
    return _StepResult(loss, sound, sum(example.length for example in examples), outcome.targets)


def _go_back(state: TrainingState, loss: float) -> Iterator[TrainingEvent]:
    epoch, step = state.epoch, state.step + 1
    state.go_back(loss)
    if not state.over:
        yield RolledBack(epoch, step, loss, state.step, state.peak_rate)
        yield from _keep(state)


def _keep(state: TrainingState) -> Iterator[CheckpointFailed]:
    error = state.keep()
    if error is not None:
        yield CheckpointFailed(error)


@torch.inference_mode()
def measure(
    tail: nn.Module,
    encoded: Sequence[EncodedExample],
    read: Reader,
    instruction: torch.Tensor | None,
    config: TrainingConfig,
) -> Validation:
    """Mean loss per target, and the share of examples answered wholly right."""
    tail.eval()
    loss, targets, right = 0.0, 0, 0
    losses: list[tuple[float, int]] = []
    rights: list[bool] = []
    for examples in by_length(encoded, 2 * config.batch):
        outcome: Outcome = tail(collate(examples, read), instruction)
        loss += float(outcome.loss) * outcome.targets
        targets += outcome.targets
        right += outcome.right
        if outcome.losses is not None:
            counts = (len(example.targets) for example in examples)
            losses += zip(outcome.losses.tolist(), counts, strict=True)
        if outcome.rights is not None:
            rights += outcome.rights.tolist()
    error = _standard_error(losses, loss / targets)
    each = tuple(loss for loss, _ in losses)
    return Validation(loss / targets, right / len(encoded), len(encoded), error, each, tuple(rights))


def _standard_error(losses: Sequence[tuple[float, int]], mean: float) -> float:
    """Of a mean per target, from (loss, targets) of each example: a ratio's, by residuals."""
    if len(losses) < 2:
        return 0.0
    squares = sum((loss - mean * targets) ** 2 for loss, targets in losses)
    return math.sqrt(squares * len(losses) / (len(losses) - 1)) / sum(targets for _, targets in losses)


def _groups(tail: nn.Module) -> Iterator[tuple[nn.Parameter, float]]:
    """Trained weights, each with its factor on the learning rate."""
    return tail.groups()  # type: ignore[operator, no-any-return]
