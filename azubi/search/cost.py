"""What things take, from their floating-point work and the measured speed of matrix products.

All figures are seconds. Knows counts; nothing of models, data or clocks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from azubi.halves import Halves, longest_answer
from azubi.tail.batch import Lesson
from azubi.work import Work

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
    """Those that are taught."""
    checks: int
    """Validation lessons."""
    check_tokens: int
    check_targets: int
    longest: int
    """Most tokens of an answer."""

    def trunk(self, tail_layers: int) -> float:
        """One pass of the trunk over everything."""
        tokens = self.tokens + self.check_tokens + self.prime
        return self.work(tail_layers).trunk(tokens) / self.speed / _TRUNK

    def teaching(self, tail_layers: int, rank: int, batch: int) -> float:
        """The steps of one epoch."""
        steps = math.ceil(self.lessons / batch)
        work = self.work(tail_layers, rank).step(self.tokens, self.targets, steps * self.prime)
        return work / self.speed / _TAIL + steps * _STEP

    def checking(self, tail_layers: int, batch: int) -> float:
        """One look at the validation lessons."""
        steps = math.ceil(self.checks / (2 * batch))
        work = self.work(tail_layers).look(self.check_tokens, self.check_targets, steps * self.prime)
        return work / self.speed / _TAIL + steps * _STEP

    def answers(self, questions: int) -> float:
        """So many questions are answered once, by base or specialist."""
        mean = (self.tokens + self.check_tokens) / (self.lessons + self.checks)
        read = 2 * questions * mean * self.layer_parameters * self.layers
        written = 2 * questions * self.longest * self.parameters if self.writes else 0
        return (read / _READING + written / _WRITING) / self.speed

    def work(self, tail_layers: int, rank: int = 0) -> Work:
        """What a token costs with such a tail."""
        return Work(self.layer_parameters, self.layers, tail_layers, bool(rank), self.head_parameters)


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
        targets=sum(len(one.targets) - len(one.spared) for one in lessons),
        checks=len(checks),
        check_tokens=sum(one.length for one in checks),
        check_targets=sum(len(one.targets) for one in checks),
        longest=longest_answer(lessons),
    )
