"""Training with differential privacy: it bounds how much any one training example can change the weights.

DP-SGD (Abadi et al., arXiv 1607.00133, algorithm 1): each step draws every example by itself with the same
chance (Poisson sampling), scales each example's gradient down to a norm of at most `clip`, adds them up,
adds normal noise to every number, and divides by how many examples were to be expected. opacus says how much
noise keeps to epsilon over all steps, and how much was spent after some (Rényi accountant: Mironov, arXiv
1702.07476).

Each example goes through the tail alone, so its gradient does not depend on the others; that is slower than
batches. Sampling and noise come from the system's randomness and never from the seed: who knows the recipe
must not be able to subtract the noise. So two runs of the same recipe differ.

The guarantee is for the tail's weights and for single training examples. It does not cover the validation
examples that choose the epoch, the names of labels and fields, or a run's own figures such as its losses.
"""

import math
import secrets
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from azubi.engine.model.batch import EncodedExample, Outcome, Reader, collate
from azubi.engine.training.defaults import TrainingConfig
from azubi.errors import SettingError


@dataclass(frozen=True)
class Spent:
    """The privacy that a training spent at most."""

    epsilon: float
    delta: float


def check_available() -> None:
    """Raise SettingError if opacus is not installed."""
    try:
        import opacus  # noqa: F401
    except ImportError as error:
        raise SettingError(
            "Training with differential privacy (privacy) needs opacus, which is not installed.",
            "pip install 'azubi[privacy]', or leave privacy out.",
        ) from error


class PrivateSteps:
    """Draws examples, and computes gradients that hold little of each."""

    def __init__(
        self,
        weights: Sequence[nn.Parameter],
        encoded: Sequence[EncodedExample],
        config: TrainingConfig,
        steps: int,
    ) -> None:
        """`weights` are those that are trained, `steps` is how many there will be at most.

        Raises:
            SettingError: opacus is missing, or no amount of noise keeps to epsilon.
        """
        assert config.epsilon is not None, "the training is private"
        check_available()
        self._weights, self._examples = list(weights), list(encoded)
        self._clip = config.clip
        self._expected = min(config.batch, len(encoded))
        self._rate = self._expected / len(encoded)
        self.delta = default_delta(len(encoded))
        self.noise = _noise(config.epsilon, self.delta, self._rate, steps)
        """Standard deviation of the noise, in units of `clip`."""
        self._generator = torch.Generator(device="cpu").manual_seed(secrets.randbits(63))

    def draw(self) -> list[EncodedExample]:
        """Every example with the same chance, independently; there may be none."""
        drawn = torch.rand(len(self._examples), generator=self._generator, device="cpu") < self._rate
        return [self._examples[number] for number in drawn.nonzero().flatten().tolist()]

    def gradients(
        self, tail: Any, encoded: Sequence[EncodedExample], read: Reader, instruction: torch.Tensor | None
    ) -> Outcome:
        """Put a private gradient on the weights; the outcome's loss has no gradient."""
        for weight in self._weights:
            weight.grad = None  # of other examples
        sums = [torch.zeros_like(weight, dtype=torch.float32) for weight in self._weights]
        loss, targets, right = 0.0, 0, 0
        for example in encoded:
            outcome: Outcome = tail(collate([example], read), instruction)
            outcome.loss.backward()
            self._add_clipped(sums)
            loss += float(outcome.loss.detach()) * outcome.targets
            targets, right = targets + outcome.targets, right + outcome.right
        for weight, total in zip(self._weights, sums, strict=True):
            noise = torch.randn(total.shape, generator=self._generator, device="cpu").to(total.device)
            private = total.add_(noise, alpha=self.noise * self._clip).div_(self._expected)
            weight.grad = private.to(weight.dtype)
        return Outcome(torch.tensor(loss / max(1, targets)), targets, len(encoded), right)

    def spent(self, steps: int) -> Spent:
        """The privacy that so many steps spent at most."""
        from opacus.accountants import RDPAccountant

        accountant = RDPAccountant()
        accountant.history = [(self.noise, self._rate, steps)] if steps else []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a finer search of orders might show that less was spent
            epsilon = float(accountant.get_epsilon(self.delta)) if steps else 0.0
        return Spent(epsilon, self.delta)

    def _add_clipped(self, sums: Sequence[torch.Tensor]) -> None:
        """Add the gradient of one example, scaled down, and remove it from the weights.

        A gradient that is not finite cannot be bounded: it is left out.
        """
        gradients = [weight.grad for weight in self._weights]
        norms = [gradient.float().norm() for gradient in gradients if gradient is not None]
        norm = float(torch.stack(norms).norm()) if norms else 0.0
        if math.isfinite(norm):
            scale = min(1.0, self._clip / max(norm, 1e-12))
            for total, gradient in zip(sums, gradients, strict=True):
                if gradient is not None:
                    total.add_(gradient.float(), alpha=scale)
        for weight in self._weights:
            weight.grad = None


def default_delta(examples: int) -> float:
    """A tenth of one example's share."""
    return 0.1 / examples


def _noise(epsilon: float, delta: float, rate: float, steps: int) -> float:
    from opacus.accountants.utils import get_noise_multiplier

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(
                get_noise_multiplier(
                    target_epsilon=epsilon,
                    target_delta=delta,
                    sample_rate=rate,
                    steps=steps,
                    accountant="rdp",
                    epsilon_tolerance=epsilon / 100,
                )
            )
    except ValueError as error:
        raise SettingError(
            f"No amount of noise keeps {steps:,} steps to privacy.epsilon {epsilon:g} (delta {delta:.1g}).",
            "Raise privacy.epsilon, bring more examples, or train fewer --epochs.",
        ) from error
