"""The state of a training: all that decides what comes next, so that it can be stored and resumed.

Knows weights, their optimiser and checkpoints; nothing of batches or events.
"""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Literal, TypeVar

import torch
from torch import nn
from torch.optim.adamw import adamw

from azubi.engine.base import hardware
from azubi.engine.model import weights
from azubi.engine.model.label_tail import LabelTail
from azubi.engine.model.weights import State
from azubi.engine.training.checkpoint import Checkpoints, Point
from azubi.engine.training.defaults import TrainingConfig
from azubi.engine.training.example_weights import DivergenceDetector, Validation
from azubi.errors import StorageError, TrainingError

_BETAS, _EPSILON = (0.9, 0.98), 1e-8
"""AdamW's averages of gradients and their squares, and what keeps it from dividing by zero."""


class Optimiser:
    """AdamW (Loshchilov & Hutter, arXiv 1711.05101) with clipping and one learning rate per group.

    A bfloat16 number keeps 8 bits: an update smaller than a 256th of a weight would be lost. So the optimiser
    works on float32 copies and writes rounded ones to the tail, as mixed-precision training does
    (Micikevicius et al., arXiv 1710.03740, section 3.1).

    It can average the weights over the steps behind it, as Polyak & Juditsky do (SIAM J. Control Optim. 30,
    1992), here with weights that fall off exponentially.
    """

    def __init__(
        self,
        groups: Iterable[tuple[nn.Parameter, float]],
        weight_decay: float,
        clip: float,
        span: int = 0,
    ) -> None:
        """`groups`: weights, each with its factor on the learning rate.

        Norms and biases (one-dimensional weights) are not decayed. Gradients whose common norm exceeds
        `clip` are scaled down to it. `span` is half of the steps that an average looks back over, and how
        many there are before it; 0 for no average.
        """
        self._clip, self._span = clip, span
        self._averages: list[torch.Tensor] = []
        """Of each weight; empty before the first `span` steps."""
        self._weights: list[nn.Parameter] = []
        self._masters: list[torch.Tensor] = []
        self._rates: list[tuple[float, float]] = []
        """Of each weight its factor on the learning rate, and its decay."""
        self._moments: list[State] = []
        """Of each weight; empty before its first gradient."""
        for weight, factor in groups:
            self._weights.append(weight)
            self._masters.append(weight if weight.dtype == torch.float32 else weight.detach().float())
            self._rates.append((factor, weight_decay if weight.ndim > 1 else 0.0))
            self._moments.append({})

    @torch.no_grad()
    def step(self, rate: float) -> bool:
        """Move the weights by their gradients, at learning rate `rate`, and drop the gradients.

        Weight by weight: a gradient in float32 stays in the processor's cache, and there is one at a time.
        Returns False, and moves nothing, if gradients are not finite.
        """
        norms = [each.grad.float().norm() for each in self._weights if each.grad is not None]
        norm = float(torch.stack(norms).norm()) if norms else 0.0
        finite = math.isfinite(norm)
        scale = torch.tensor(max(1.0, (norm + 1e-6) / self._clip))
        for number, weight in enumerate(self._weights):
            if finite and weight.grad is not None:
                self._move(number, weight.grad.float(), scale, rate)
            weight.grad = None
        if self._span and not self._averages and self._steps >= self._span:
            self._averages = [master.detach().clone() for master in self._masters]
        return finite

    @property
    def _steps(self) -> float:
        return max((float(moments["step"]) for moments in self._moments if moments), default=0.0)

    def _move(self, number: int, gradient: torch.Tensor, scale: torch.Tensor, rate: float) -> None:
        master, moments, (factor, decay) = self._masters[number], self._moments[number], self._rates[number]
        if not moments:
            moments["step"] = torch.zeros(())
            moments["exp_avg"], moments["exp_avg_sq"] = torch.zeros_like(master), torch.zeros_like(master)
        adamw(
            [master],
            [gradient],
            [moments["exp_avg"]],
            [moments["exp_avg_sq"]],
            [],
            [moments["step"]],
            fused=True,
            grad_scale=scale,
            amsgrad=False,
            maximize=False,
            beta1=_BETAS[0],
            beta2=_BETAS[1],
            eps=_EPSILON,
            lr=rate * factor,
            weight_decay=decay,
        )
        if self._averages:
            self._averages[number].lerp_(master, 0.5 / self._span)
        self._copy_to_tail(number)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Meanwhile the tail has the averages for weights, once there are any."""
        if not self._averages:
            yield
            return
        own = [weight.detach().clone() for weight in self._weights]
        with torch.no_grad():
            for weight, average in zip(self._weights, self._averages, strict=True):
                weight.copy_(average)
        try:
            yield
        finally:
            with torch.no_grad():
                for weight, value in zip(self._weights, own, strict=True):
                    weight.copy_(value)

    def state(self) -> State:
        """Masters, averages and moments, by their order; views, not copies."""
        named = {f"master.{number}": master.detach() for number, master in enumerate(self._masters)}
        named |= {f"average.{number}": average for number, average in enumerate(self._averages)}
        for number, moments in enumerate(self._moments):
            named |= {f"{name}.{number}": value for name, value in moments.items()}
        return named

    @torch.no_grad()
    def restore(self, state: State) -> None:
        """Continue from what `state` returned, the tail's weights included."""
        for number, master in enumerate(self._masters):
            master.copy_(state[f"master.{number}"])
            self._copy_to_tail(number)
        self._moments = [{} for _ in self._masters]
        averages = [
            state[name] for name in (f"average.{n}" for n in range(len(self._masters))) if name in state
        ]
        self._averages = [hardware.on_device(average.clone()) for average in averages]
        for name, value in state.items():
            kind, index = name.rsplit(".", 1)
            if kind not in ("master", "average"):
                self._moments[int(index)][kind] = hardware.on_device(value.clone())  # it may lie in a file

    def _copy_to_tail(self, number: int) -> None:
        weight, master = self._weights[number], self._masters[number]
        if weight is not master:
            weight.copy_(master)


EVERY = 50.0
"""Seconds between checkpoints, so that with a step of up to ten seconds never more than a minute is lost."""
_SAFE_POINTS = 8
"""How many points of a run, beside the ends of epochs, it can go back to."""
CHANCES = 3
"""How often a run whose loss explodes goes back, each time with half the learning rate."""

Reason = Literal["all epochs done", "no better epoch", "the loss kept exploding", "the time is used up"]
T = TypeVar("T")


class TrainingState:
    """Where training stands."""

    def __init__(
        self,
        tail: nn.Module,
        groups: Iterable[tuple[nn.Parameter, float]],
        config: TrainingConfig,
        per_epoch: int,
        checkpoints: Checkpoints | None,
    ) -> None:
        """Begin; `per_epoch` is the number of steps of an epoch."""
        self._tail = tail
        self._groups = list(groups)
        self._config = config
        self._checkpoints = checkpoints
        self._per_epoch = per_epoch
        self.steps = per_epoch * config.epochs
        self._point = Point()
        self._detector = DivergenceDetector()
        self._optimiser = self._fresh_optimiser()
        self._kept = weights.kept(tail)
        self._simple: tuple[Validation, State] | None = None
        self._best: Validation | None = None
        self.best_epoch = 0
        self.rollbacks = 0
        self._end_reason: Reason | None = None
        self._before = 0.0
        self._began = self._epoch_began = self._last_kept = time.monotonic()

    @property
    def epoch(self) -> int:
        """The epoch that is running, from 1; the last one if training is over."""
        return self._point.epoch if self.over else self._point.epoch + 1

    @property
    def step(self) -> int:
        """Steps done, without those that were rolled back."""
        return self._point.step

    @property
    def over(self) -> bool:
        """Whether training is over."""
        return self.reason != ""

    @property
    def reason(self) -> Reason | Literal[""]:
        """Why training is over; empty while it is not."""
        done, waited = self._point.epoch, self._point.epoch - self.best_epoch
        if self._end_reason is not None:
            return self._end_reason
        if done == self._config.epochs:
            return "all epochs done"
        return "no better epoch" if done and waited >= self._config.patience else ""

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return self.peak_rate * rate_factor(self._point.step, self.steps, self._config.warmup)

    @property
    def peak_rate(self) -> float:
        """The highest learning rate, halved by each rollback."""
        return self._config.learning_rate * 0.5**self.rollbacks

    @property
    def mean_loss(self) -> float:
        """Of the running epoch, per target."""
        return self._point.total / max(1, self._point.targets)

    @property
    def seconds(self) -> float:
        """Spent on training, before an interruption too."""
        return self._before + time.monotonic() - self._began

    @property
    def epoch_seconds(self) -> float:
        """Spent on the running epoch."""
        return self._point.seconds + time.monotonic() - self._epoch_began

    def rest_of(self, batches: Sequence[T]) -> Sequence[T]:
        """Those of the running epoch's batches that are still to come."""
        return batches[self._point.place :]

    def is_healthy(self, loss: float) -> bool:
        """Take in the loss of the step that is being made; returns whether to make it."""
        return self._detector.is_healthy(loss)

    def averaged(self) -> AbstractContextManager[None]:
        """Meanwhile the tail has its weights averaged over the last steps, if its kind does that."""
        return self._optimiser.averaged()

    def move(self, loss: float, targets: int) -> bool:
        """Move the weights by their gradients; returns False if those are not finite, and moves nothing."""
        if not self._optimiser.step(self.rate):
            return False
        point = self._point
        step = point.step + 1
        self._point = point.model_copy(
            update={
                "place": point.place + 1,
                "step": step,
                "total": point.total + loss * targets,
                "targets": point.targets + targets,
                "safe": point.safe or step % math.ceil(self.steps / _SAFE_POINTS) == 0,
            }
        )
        return True

    @property
    def kept_epoch(self) -> int:
        """Whose weights `finish` gives the tail; 0 for those that need no training."""
        return 0 if self._simple_is_best else self.best_epoch

    @property
    def _simple_is_best(self) -> bool:
        return self._simple is not None and (self._best is None or not self._best.gains)

    def compare_with(self, measured: Validation, simple: State) -> None:
        """Compare each epoch with weights that need no training, and keep those if none is better."""
        self._simple = measured, simple

    def end_epoch(self, measured: Validation) -> bool:
        """Take in the validation of the epoch; returns whether its weights are the ones to keep so far."""
        gains = self._simple is None or measured.gains_over(self._simple[0])
        measured = replace(measured, losses=(), rights=(), gains=gains)
        self._point = Point(epoch=self._point.epoch + 1, step=self._point.step, safe=True)
        self._epoch_began = time.monotonic()
        best = self._best
        # An epoch that is better than what needs no training never gives way to one that is not.
        better = best is None or (measured.better_than(best) if gains == best.gains else gains)
        if better:
            self._best, self.best_epoch = measured, self._point.epoch
            self._kept = weights.kept(self._tail)
        return better and gains

    def end_for_time(self) -> None:
        """End training after this epoch, since there is no time for another."""
        self._end_reason = "the time is used up"

    def finish(self) -> None:
        """Leave the tail with the weights of its best epoch, or with those that need no training."""
        kept = self._simple[1] if self._simple is not None and self._simple_is_best else self._kept
        weights.restore(self._tail, kept)
        self._tail.eval()

    # Checkpoints

    @property
    def checkpoint_due(self) -> bool:
        """Whether to write a checkpoint now."""
        return self._safe or time.monotonic() - self._last_kept >= EVERY

    def keep(self) -> Exception | None:
        """Write a checkpoint, if there is a place for one; returns the error if that failed."""
        self._last_kept = time.monotonic()
        if self._checkpoints is None:
            return None
        if safe := self._safe:
            self._point = self._point.model_copy(update={"safe": False})
        point = self._point.model_copy(
            update={"losses": tuple(self._detector.losses), "seconds": self.epoch_seconds}
        )
        best = None if self._best is None else (self.best_epoch, self._best, self._kept)
        state = self._optimiser.state() | {"random": hardware.rng_state()}
        try:
            self._checkpoints.write(
                point, state, safe=safe, best=best, rollbacks=self.rollbacks, seconds=self.seconds
            )
        except (StorageError, OSError) as error:
            return error
        return None

    def resume(self) -> bool:
        """Continue from the latest checkpoint; returns False if there is none."""
        if self._checkpoints is None or (contents := self._checkpoints.read()) is None:
            return False
        if contents.best is not None:
            self.best_epoch, self._best, saved = contents.best
            self._kept = self._checkpoints.tensors(saved)
        self.rollbacks, self._before = contents.rollbacks, contents.seconds
        self._set_to(contents.latest[0], self._checkpoints.tensors(contents.latest[1]))
        return True

    def go_back(self, loss: float) -> None:
        """Return to the last safe point, with half the learning rate.

        Without one, return to the end of the best epoch (or to the beginning), with a new optimiser. After
        `CHANCES` rollbacks training is over.

        Raises:
            TrainingError: there is no epoch worth keeping then.
        """
        if self.rollbacks >= CHANCES:
            if self._best is not None or self._simple is not None:
                self._end_reason = "the loss kept exploding"
                return
            raise TrainingError(
                f"The loss became {loss:.4g} at a learning rate of {self.rate:.2g}, "
                f"which had been halved {CHANCES} times.",
                ADVICE,
            )
        if self._config.epsilon is not None:
            # Steps that were undone would have been paid for, and a loss would have decided.
            raise TrainingError("The weights became numbers that are not finite, under privacy.", ADVICE)
        self.rollbacks += 1
        contents = self._checkpoints.read() if self._checkpoints is not None else None
        if self._checkpoints is not None and contents is not None and contents.safe is not None:
            self._set_to(contents.safe[0], self._checkpoints.tensors(contents.safe[1]))
            return
        weights.restore(self._tail, self._kept)
        self._optimiser = self._fresh_optimiser()
        self._point = Point(epoch=self.best_epoch, step=self.best_epoch * self._per_epoch)
        self._detector = DivergenceDetector()
        self._epoch_began = time.monotonic()

    @property
    def _safe(self) -> bool:
        """Whether a safe point is due; it waits while the loss looks suspicious."""
        return self._point.safe and self._detector.calm

    def _set_to(self, point: Point, state: State) -> None:
        hardware.set_rng_state(state.pop("random"))
        self._optimiser.restore(state)
        self._point, self._detector = point, DivergenceDetector(point.losses)
        self._epoch_began = self._last_kept = time.monotonic()

    def _fresh_optimiser(self) -> Optimiser:
        # Measured for label heads alone; with privacy the published weights stay those of the last step.
        span = self._per_epoch if isinstance(self._tail, LabelTail) and self._config.epsilon is None else 0
        return Optimiser(self._groups, self._config.weight_decay, self._config.clip, span)


ADVICE = "Train again with a lower --learning-rate, or with --dtype float32."


def rate_factor(step: int, steps: int, warmup: float) -> float:
    """Share of the peak learning rate at `step` (from 0): linear up, then cosine down to a tenth."""
    rising = max(1, round(steps * warmup))
    if step < rising:
        return (step + 1) / rising
    progress = (step - rising) / max(1, steps - rising)
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * progress))


def saved_state(epochs: int, steps: int, seconds: float) -> tuple[int, int]:
    """How many checkpoints are written over so many epochs, steps in all, and seconds of training; and how
    many points lie on disk at a time: the latest is a safe one, unless those are far apart."""
    every = math.ceil(steps / _SAFE_POINTS)
    safe, ends = range(every, steps + 1, every), range(steps // epochs, steps + 1, steps // epochs)
    moments = len({*safe, *ends})
    between = int(seconds / moments // EVERY)
    return moments * (1 + between), 2 if between else 1
