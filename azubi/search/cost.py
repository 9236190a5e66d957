"""What things take, from their floating-point work and the measured speed of matrix products.

All figures are seconds. Knows counts; nothing of models, data or clocks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from azubi.halves import Halves
from azubi.tail.batch import Lesson

_TRUNK, _TAIL, _READING, _WRITING = 0.6, 0.5, 0.5, 0.1
"""Shares of the matrix products' speed that each kind of work reaches, roughly."""
_STEP = 0.002
"""Seconds of a step that are no arithmetic; they matter for a head alone."""


@dataclass(frozen=True)
class Load:
    """How much there is to read, learn and answer with one base and one prime."""

    speed: float
    """Floating-point operations per second."""
    layers: int
    layer_parameters: int
    head_parameters: int
    parameters: int
    writes: bool
    """Whether answers are written token by token, as opposed to chosen."""
    prime: int
    """Tokens of the prime."""
    lessons: int
    tokens: int
    targets: int
    checks: int
    """Validation lessons."""
    check_tokens: int
    check_targets: int
    longest: int
    """Most tokens of an answer."""

    def trunk(self, tail_layers: int) -> float:
        """One pass of the trunk over everything."""
        tokens = self.tokens + self.check_tokens + self.prime
        return 2 * tokens * self.layer_parameters * (self.layers - tail_layers) / self.speed / _TRUNK

    def epoch(self, tail_layers: int, rank: int, batch: int) -> float:
        """One pass of training and the validation after it."""
        # Forward, back to the activations and, for full weights, back to the weights.
        passes = 4 if rank else 6
        steps, check_steps = math.ceil(self.lessons / batch), math.ceil(self.checks / (2 * batch))
        read = passes * (self.tokens + steps * self.prime)
        read += 2 * (self.check_tokens + check_steps * self.prime)
        scored = 4 * self.targets + 2 * self.check_targets
        work = read * self.layer_parameters * tail_layers + scored * self.head_parameters
        return work / self.speed / _TAIL + (steps + check_steps) * _STEP

    def answers(self, questions: int) -> float:
        """Base and specialist answer so many questions."""
        mean = (self.tokens + self.check_tokens) / (self.lessons + self.checks)
        read = 2 * questions * mean * self.layer_parameters * self.layers
        written = 2 * questions * self.longest * self.parameters if self.writes else 0
        return 2 * (read / _READING + written / _WRITING) / self.speed


def load(halves: Halves, speed: float, lessons: Sequence[Lesson], checks: Sequence[Lesson]) -> Load:
    """Count the work of a base, cut and primed."""
    return Load(
        speed=speed,
        layers=halves.base.layers,
        layer_parameters=halves.layer_parameters,
        head_parameters=halves.head_parameters,
        parameters=halves.parameters,
        writes=halves.base.kind == "decoder",
        prime=len(halves.prime_tokens),
        lessons=len(lessons),
        tokens=sum(one.length for one in lessons),
        targets=sum(len(one.targets) for one in lessons) if halves.head_parameters else 0,
        checks=len(checks),
        check_tokens=sum(one.length for one in checks),
        check_targets=sum(len(one.targets) for one in checks) if halves.head_parameters else 0,
        longest=max(len(one.targets) for one in [*lessons, *checks]),
    )
