"""What there is to do, and how long it would take at the measured speed of matrix products.

The one count of a run's work: `azubi plan`, the run itself and the search all plan from here, and each
corrects it by what it has measured (`pace`). All times are seconds. Knows counts; nothing of models, data or
clocks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from azubi.engine.model.batch import EncodedExample
from azubi.engine.specialist import Specialist, longest_answer
from azubi.planning.work import Work

_TRUNK, _TAIL, _READING, _WRITING = 0.6, 0.5, 0.5, 0.65
"""Shares of the matrix products' speed that each kind of work reaches, roughly."""
_STEP = 0.002
"""Seconds of a step that are no arithmetic; they matter for a head alone."""
_FEWEST = 25
"""Reading all weights for one more token of each answer takes as long as the arithmetic of so many rows."""
_LOOK_BACK = 0.5
"""So many tokens that stand before, for each number of a state, take as long as the arithmetic of one token:
their keys and values are read. Measured with smollm2-135m in bfloat16 on one core: one token more takes
57 ms for 4 answers, 112 ms for 32, 303 ms for 120, and for those 340 ms with 40 more tokens before it."""
_DISK = 5e8
"""Bytes a second of a disk, roughly."""
_TOGETHER = 128
"""Answers that are written side by side, where nothing else is known (`generate`)."""


@dataclass(frozen=True)
class Workload:
    """How much there is to read, learn and answer with one base and one prime."""

    speed: float
    """Floating-point operations per second."""
    layers: int
    hidden: int
    """Numbers of a token's state."""
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
    answers: int
    """Tokens of all answers, in lessons and checks, taught or not."""

    @property
    def examples(self) -> int:
        """Lessons and checks."""
        return self.lessons + self.checks

    @property
    def answer(self) -> float:
        """Tokens of an answer, on average; 1 where it is chosen."""
        return self.answers / self.examples if self.writes else 1.0

    @property
    def question(self) -> float:
        """Tokens of a question behind the prime, on average."""
        # The trunk reads an answer's tokens too, but for its last one.
        read = self.tokens + self.check_tokens - (self.answers - self.examples if self.writes else 0)
        return read / self.examples

    def trunk(self, tail_layers: int, share: float = 1.0) -> float:
        """One pass of the trunk over a `share` of all examples, and over the prime."""
        return self.passing(tail_layers, round(share * (self.tokens + self.check_tokens)) + self.prime)

    def passing(self, tail_layers: int, tokens: int) -> float:
        """The trunk reads so many tokens."""
        return self.work(tail_layers).trunk(tokens) / self.speed / _TRUNK

    def teaching(self, tail_layers: int, rank: int, batch: int) -> float:
        """The steps of one epoch."""
        return self.steps(tail_layers, rank, math.ceil(self.lessons / batch), self.tokens, self.targets)

    def steps(
        self, tail_layers: int, rank: int, steps: int, tokens: int, targets: int, *, fresh: bool = False
    ) -> float:
        """So many steps over lessons of so many tokens and targets in all.

        `fresh`: nothing is mastered yet, so that every target sends a gradient back through the head.
        """
        work = self.work(tail_layers, rank).step(tokens, targets, steps * self.prime)
        back = 2 * targets * self.head_parameters if fresh else 0
        return (work + back) / self.speed / _TAIL + steps * _STEP

    def checking(self, tail_layers: int, batch: int) -> float:
        """One look at the validation lessons."""
        looks = math.ceil(self.checks / (2 * batch))
        return self.looks(tail_layers, looks, self.check_tokens, self.check_targets)

    def beginning(self, tail_layers: int) -> float:
        """A label head starts from the means of its lessons, so all of them are looked at once."""
        return 0.0 if self.writes else self.looks(tail_layers, 1, self.tokens, self.targets)

    def looks(self, tail_layers: int, looks: int, tokens: int, targets: int) -> float:
        """So many batches, of so many tokens and targets in all, go through the tail forwards only."""
        work = self.work(tail_layers).look(tokens, targets, looks * self.prime)
        return work / self.speed / _TAIL + looks * _STEP

    def keeping(self, size: int) -> float:
        """So many bytes of a checkpoint are written and read again for their checksum."""
        return size / _DISK

    def reading(self, questions: int) -> float:
        """So many questions are read by base or specialist, each behind the prime."""
        tokens = questions * self.question
        return 2 * tokens * self.layer_parameters * self.layers / self.speed / _READING

    def writing(self, questions: int, tokens: float, longest: float, together: int = _TOGETHER) -> float:
        """So many answers of `tokens` tokens, on average, are written, as `written` counts them."""
        steps, rows = self.written(questions, tokens, longest, together)
        return 2 * (rows + steps * _FEWEST) * self.parameters / self.speed / _WRITING

    def written(
        self, questions: int, tokens: float, longest: float, together: int = _TOGETHER
    ) -> tuple[float, float]:
        """Passes over all weights, and tokens, weighed by what stands before them, of so many answers.

        `tokens` of one on average, `longest` at most, for the others wait for it; so many `together`. Nothing
        where answers are chosen.
        """
        if not self.writes or not questions:
            return 0.0, 0.0
        steps = math.ceil(questions / together) * longest
        before = (self.prime + self.question + longest / 2) / (_LOOK_BACK * self.hidden)
        return steps, questions * tokens * (1 + before)

    def answered(self, questions: int) -> float:
        """So many questions are answered once, each at the greatest length: no answerer takes longer."""
        return self.reading(questions) + self.writing(questions, self.longest, self.longest)

    def work(self, tail_layers: int, rank: int = 0) -> Work:
        """What a token costs with such a tail."""
        return Work(self.layer_parameters, self.layers, tail_layers, bool(rank), self.head_parameters)


def load(
    specialist: Specialist, speed: float, lessons: Sequence[EncodedExample], checks: Sequence[EncodedExample]
) -> Workload:
    """Count the work of a base, cut and primed."""
    return Workload(
        speed=speed,
        layers=specialist.base.layers,
        hidden=specialist.base.hidden,
        layer_parameters=specialist.model.layer_parameters,
        head_parameters=specialist.model.head_parameters,
        parameters=specialist.parameters,
        writes=specialist.base.kind == "decoder",
        prime=len(specialist.instruction_tokens),
        lessons=len(lessons),
        tokens=sum(one.length for one in lessons),
        targets=sum(len(one.targets) - len(one.masked_targets) for one in lessons),
        checks=len(checks),
        check_tokens=sum(one.length for one in checks),
        check_targets=sum(len(one.targets) for one in checks),
        longest=longest_answer(lessons),
        answers=sum(len(one.targets) for one in (*lessons, *checks)),
    )
