"""The cost model: what there is to do, how long it takes at the measured speed of matrix products, and what
timed batches correct.

`azubi plan`, the run, its time left and the search all count from here. `Work` counts floating-point
operations, `Workload` turns them into seconds, `Timings` and `Corrections` correct these by what was timed.

`Work` counts products with weights alone (2 operations per weight and token), not attention, norms or
losses, and of the last layer and the head only what every way of computing needs. It is a floor: shares of
the machine's peak that are made from it are never flattered. All times are seconds. Knows counts; nothing of
data or clocks.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from azubi.engine.model.batch import EncodedExample
from azubi.engine.specialist import Specialist, longest_answer


@dataclass(frozen=True)
class Work:
    """What a token costs in each half."""

    layer: int
    """Parameters of one layer, on average."""
    layers: int
    depth: int
    """Layers of the tail."""
    low_rank: bool
    head: int
    """Parameters of the language head; 0 for a label head, which is too small to count."""

    def trunk(self, tokens: int) -> float:
        """Operations to run the trunk over so many tokens."""
        return 2.0 * tokens * self.layer * (self.layers - self.depth)

    def validation(self, tokens: int, targets: int, instruction: int) -> float:
        """Operations to measure the tail on so many tokens: forward only."""
        everywhere = self.depth - 1 if self.head and self.depth else self.depth
        through, last = (tokens + instruction) * everywhere, targets if self.head and self.depth else 0
        return 2.0 * (self.layer * (through + last) + targets * self.head)

    def step(self, tokens: int, targets: int, instruction: int) -> float:
        """Operations of one training step; `instruction`: its tokens, which go through once.

        Forward, gradients of states, and gradients of weights unless those are frozen under factors. The
        tail's first layer owes no gradient to anything below it. A decoder's last layer and its head have to
        be right at the targets only, and a target that is mastered sends no gradient back from the head.
        """
        if self.depth == 0:
            return 0.0
        each = 4 if self.low_rank else 6
        everywhere = self.depth - 1 if self.head else self.depth
        through = (tokens + instruction) * (each * everywhere - (2 if everywhere else 0))
        last = each * targets if self.head else 0
        return float(self.layer * (through + last) + 2 * targets * self.head)


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
    """How much there is to read, learn and answer with one base and one instruction."""

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
    instruction_tokens: int
    """Tokens of the instruction."""
    encoded: int
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
        return self.encoded + self.checks

    @property
    def answer(self) -> float:
        """Tokens of an answer, on average; 1 where it is chosen."""
        return self.answers / self.examples if self.writes else 1.0

    @property
    def question(self) -> float:
        """Tokens of a question behind the instruction, on average."""
        # The trunk reads an answer's tokens too, but for its last one.
        read = self.tokens + self.check_tokens - (self.answers - self.examples if self.writes else 0)
        return read / self.examples

    def trunk(self, tail_layers: int, share: float = 1.0) -> float:
        """One pass of the trunk over a `share` of all examples, and over the instruction."""
        return self.passing(
            tail_layers, round(share * (self.tokens + self.check_tokens)) + self.instruction_tokens
        )

    def passing(self, tail_layers: int, tokens: int) -> float:
        """The trunk reads so many tokens."""
        return self.work(tail_layers).trunk(tokens) / self.speed / _TRUNK

    def teaching(self, tail_layers: int, rank: int, batch: int) -> float:
        """The steps of one epoch."""
        return self.steps(tail_layers, rank, math.ceil(self.encoded / batch), self.tokens, self.targets)

    def steps(
        self, tail_layers: int, rank: int, steps: int, tokens: int, targets: int, *, fresh: bool = False
    ) -> float:
        """So many steps over lessons of so many tokens and targets in all.

        `fresh`: nothing is mastered yet, so that every target sends a gradient back through the head.
        """
        work = self.work(tail_layers, rank).step(tokens, targets, steps * self.instruction_tokens)
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
        work = self.work(tail_layers).validation(tokens, targets, looks * self.instruction_tokens)
        return work / self.speed / _TAIL + looks * _STEP

    def keeping(self, size: int) -> float:
        """So many bytes of a checkpoint are written and read again for their checksum."""
        return size / _DISK

    def reading(self, questions: int) -> float:
        """So many questions are read by base or specialist, each behind the instruction."""
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
        before = (self.instruction_tokens + self.question + longest / 2) / (_LOOK_BACK * self.hidden)
        return steps, questions * tokens * (1 + before)

    def answered(self, questions: int) -> float:
        """So many questions are answered once, each at the greatest length: no answerer takes longer."""
        return self.reading(questions) + self.writing(questions, self.longest, self.longest)

    def work(self, tail_layers: int, rank: int = 0) -> Work:
        """What a token costs with such a tail."""
        return Work(self.layer_parameters, self.layers, tail_layers, bool(rank), self.head_parameters)


def load(
    specialist: Specialist, speed: float, encoded: Sequence[EncodedExample], checks: Sequence[EncodedExample]
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
        instruction_tokens=len(specialist.instruction_tokens),
        encoded=len(encoded),
        tokens=sum(example.length for example in encoded),
        targets=sum(len(example.targets) - len(example.masked_targets) for example in encoded),
        checks=len(checks),
        check_tokens=sum(example.length for example in checks),
        check_targets=sum(len(example.targets) for example in checks),
        longest=longest_answer(encoded),
        answers=sum(len(example.targets) for example in (*encoded, *checks)),
    )


Kind = Literal["trunk", "tail", "validation", "reading", "writing", "keeping"]
"""What a run spends its time on: the frozen layers; steps; looks at the validation lessons; questions that
are read and answers that are written; and checkpoints."""
_LIKE: dict[Kind, tuple[Kind, ...]] = {
    "trunk": ("reading", "validation"),
    "tail": ("validation", "trunk"),
    "validation": ("tail", "trunk"),
    "reading": ("trunk", "validation"),
    "writing": ("reading",),
    "keeping": (),
}
"""What a kind that was not observed goes like; the first of them that was."""


@dataclass(frozen=True)
class Observation:
    """A piece of work."""

    kind: Kind
    planned: float
    """Seconds that `load` expects of it."""
    took: float


@dataclass(frozen=True)
class Timings:
    """What a rehearsal found; empty where there was none."""

    pieces: tuple[Observation, ...] = ()
    written: float | None = None
    """Tokens that the untouched base writes, on average; None where that is not known."""
    together: int | None = None
    """Answers that are written side by side."""
    peaks: dict[str, int] = field(default_factory=dict)
    """Most bytes of memory in each stage, as `room` projects them from the rehearsal."""
    seconds: float = 0.0
    """What the rehearsal took."""
    step: float | None = None
    """Seconds that one more token of all answers takes, however many they are: all weights are read for it.
    None where that was not seen."""
    row: float | None = None
    """Seconds that it takes for each answer beside that, as `Workload.written` weighs it."""

    def factor(self, kind: Kind) -> float:
        """How many times longer than planned `kind` takes; 1 if nothing is known of it or its like."""
        for like in (kind, *_LIKE[kind]):
            planned, took = _sums(piece for piece in self.pieces if piece.kind == like)
            if planned > 0:
                return took / planned
        return 1.0


def writing_pace(few: tuple[float, float, float], many: tuple[float, float, float]) -> tuple[float, float]:
    """Seconds for each pass and for each token, from two times (passes, tokens, seconds) of answers, of which
    `many` were more at once."""
    (passes, tokens, took), (more_passes, more_tokens, more_took) = few, many
    small, large = tokens / passes, more_tokens / more_passes
    row = max(0.0, more_took / more_passes - took / passes) / (large - small) if large > small else 0.0
    step = more_took / more_passes - large * row
    return (step, row) if step >= 0 else (0.0, more_took / more_tokens)


def _sums(pieces: Iterable[Observation]) -> tuple[float, float]:
    observations = list(pieces)
    return sum(piece.planned for piece in observations), sum(piece.took for piece in observations)


_FADING = 0.9
"""Weight of what was learned before, each time that something new is learned: speeds change."""
_DOUBT = 4.0
"""Until so many seconds of a kind were met, the rest of them is taken to go as planned: one slow moment is no
slow machine."""
_STRANGE = 3.0
"""A kind of work that was not met is expected to be at most so much slower than planned."""


@dataclass
class _Met:
    """How long one kind of work took, against what was planned."""

    planned: float = 0.0
    took: float = 0.0
    lately_planned: float = 0.0
    lately_took: float = 0.0

    def add(self, planned: float, took: float) -> None:
        self.planned, self.took = self.planned + planned, self.took + took
        self.lately_planned = _FADING * self.lately_planned + planned
        self.lately_took = _FADING * self.lately_took + took

    @property
    def factor(self) -> float:
        """Over all, or lately if that was worse: a promise is kept by those who expect the worse."""
        return max(_ratio(self.took, self.planned), _ratio(self.lately_took, self.lately_planned))


def _ratio(took: float, planned: float) -> float:
    doubt = max(0.0, _DOUBT - took)
    return (took + doubt) / (planned + doubt)


class Corrections:
    """How much slower or faster than planned each kind of work goes, learned as it is done."""

    def __init__(self) -> None:
        """Everything is expected to go as planned."""
        self._met: dict[str, _Met] = {}

    def expect(self, work: str, planned: float) -> float:
        """How long `work` that was planned so will take, from what was learned so far.

        A kind that was not met yet is expected to be as much slower than planned as the slowest that was, up
        to three times: small work can be slow for reasons that are none for large work.
        """
        known = {name: met.factor for name, met in self._met.items() if met.planned > 0}
        return planned * known.get(work, min(_STRANGE, max([1.0, *known.values()])))

    def met(self, work: str) -> tuple[float, float] | None:
        """What was planned for a kind of work so far, and what it took; None if it was not met."""
        known = self._met.get(work)
        return (known.planned, known.took) if known is not None and known.planned > 0 else None

    def learn(self, work: str, planned: float, took: float) -> None:
        """Take in how long a piece of work took."""
        self._met.setdefault(work, _Met()).add(planned, took)
