"""The one cost model: counted work, turned into seconds, corrected by what was timed.

`Work` counts floating-point operations of a cut network. `Workload` counts examples and tokens, and turns
operations into seconds at the measured speed of matrix products. `CostModel` corrects such seconds by work
that was timed. `azubi plan`, the time left, the search and the proof all use these three.

`Work` counts products with weights only (2 operations per weight and token), not attention, norms or losses,
and of the last layer and the head only what every way of computing needs. So a share of the machine's peak
that is computed from it is never too high. All times are seconds. Knows counts; nothing of data or clocks.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from azubi.engine.model.batch import EncodedExample
from azubi.engine.specialist import Specialist, longest_answer
from azubi.engine.training.defaults import prompt_layers
from azubi.events.figures import TailShape
from azubi.settings import Recipe


@dataclass(frozen=True)
class Work:
    """Floating-point operations of a network that is cut into trunk and tail."""

    layer: int
    """Parameters of one layer, on average."""
    layers: int
    tail: TailShape
    head: int
    """Parameters of the language head; 0 for a label head, which is too small to count."""
    answers: float = 1.0
    """Share of an example's tokens that are invocation and answer; of no account if all layers of the tail
    act on the prompt."""

    def trunk(self, tokens: float, instruction: int = 0) -> float:
        """Operations of the base for so many tokens of examples, and of the instruction.

        With two cuts it reads prompts up to the upper cut. If no layer of the tail does, the base's last one
        only makes keys and values.
        """
        lower, upper = self.layers - self.tail.tail_layers, self.layers - self.tail.prompt_layers
        if lower < upper == self.layers:
            upper -= 1
        return 2.0 * self.layer * self._passes(tokens, instruction, lower, upper)

    def validation(self, tokens: int, targets: int, instruction: int) -> float:
        """Operations of the tail for so many tokens, forward only."""
        last = targets if self.head and self.tail.tail_layers else 0
        through = self._passes(tokens, instruction, *self._full_layers)
        return 2.0 * (self.layer * (through + last) + targets * self.head)

    def step(self, tokens: int, targets: int, instruction: int) -> float:
        """Operations of one training step; the `instruction`'s tokens go through once.

        Forward, gradients of states, and gradients of weights unless those are frozen under factors. The
        first layer that a token passes owes no gradient to anything below it. A decoder's last layer and its
        head are needed at the targets only, and a target that is mastered sends no gradient back from the
        head.
        """
        if self.tail.tail_layers == 0:
            return 0.0
        per_weight = 4 if self.tail.rank else 6
        by_token = (per_weight * layers - (2 if layers else 0) for layers in self._full_layers)
        through = self._passes(tokens, instruction, *by_token)
        last = per_weight * targets if self.head else 0
        return float(self.layer * (through + last) + 2 * targets * self.head)

    @property
    def _full_layers(self) -> tuple[int, int]:
        """Layers of the tail that tokens of answers and of prompts pass, without a decoder's last."""
        last = 1 if self.head else 0
        return max(0, self.tail.tail_layers - last), max(0, self.tail.prompt_layers - last)

    def _passes(self, tokens: float, instruction: int, answer: float, prompt: float) -> float:
        """Passes of tokens, if one of an answer counts as `answer` and one of prompt or instruction as
        `prompt`."""
        return tokens * (self.answers * answer + (1 - self.answers) * prompt) + instruction * prompt


def tail_shape(recipe: Recipe) -> TailShape:
    """The tail of a recipe with every choice made."""
    return TailShape(
        tail_layers=int(recipe.tail_layers), prompt_layers=prompt_layers(recipe), rank=int(recipe.rank)
    )


_TRUNK, _TAIL, _READING, _WRITING = 0.6, 0.5, 0.5, 0.65
"""Shares of the matrix products' speed that each kind of work reaches, roughly."""
_STEP_OVERHEAD = 0.002
"""Seconds of a step that are no arithmetic; they matter for a head alone."""
_ROWS_PER_PASS = 25
"""Reading all weights for one more token of each answer takes as long as the arithmetic of so many rows."""
_CONTEXT_COST = 0.5
"""So many tokens of context, for each number of a state, take as long as the arithmetic of one token: their
keys and values are read. Measured with smollm2-135m in bfloat16 on one core: one token more takes 57 ms for 4
answers, 112 ms for 32, 303 ms for 120, and for those 340 ms with 40 more tokens of context."""
_DISK = 5e8
"""Bytes a second of a disk, roughly."""
_AT_ONCE = 128
"""Answers that are written side by side, where nothing else is known."""


@dataclass(frozen=True)
class Workload:
    """How much there is to read, learn and answer with one base and one instruction.

    Methods give seconds, as planned.
    """

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
    train_examples: int
    train_tokens: int
    train_targets: int
    """Target tokens that are trained."""
    validation_examples: int
    validation_tokens: int
    validation_targets: int
    longest_answer: int
    """Most tokens of an answer."""
    answer_tokens: int
    """Tokens of all answers in train and validation, trained or not."""
    invocation_tokens: int = 0
    """Tokens that open an answer."""

    @property
    def examples(self) -> int:
        """Of train and validation."""
        return self.train_examples + self.validation_examples

    @property
    def tokens(self) -> int:
        """Of train and validation."""
        return self.train_tokens + self.validation_tokens

    @property
    def mean_answer(self) -> float:
        """Tokens of an answer, on average; 1 where it is chosen."""
        return self.answer_tokens / self.examples if self.writes else 1.0

    @property
    def mean_question(self) -> float:
        """Tokens of a question behind the instruction, on average."""
        # The trunk reads an answer's tokens too, but for its last one.
        answers = self.answer_tokens - self.examples if self.writes else 0
        return (self.tokens - answers) / self.examples

    def trunk(self, tail: TailShape, share: float = 1.0) -> float:
        """One pass of the trunk over a `share` of all examples, and over the instruction."""
        work = self.work(tail).trunk(round(share * self.tokens), self.instruction_tokens)
        return work / self.speed / _TRUNK

    def trunk_tokens(self, tail: TailShape, tokens: int) -> float:
        """The trunk reads so many tokens of examples."""
        return self.work(tail).trunk(tokens) / self.speed / _TRUNK

    def training_epoch(self, tail: TailShape, batch: int) -> float:
        """The steps of one epoch."""
        steps = math.ceil(self.train_examples / batch)
        return self.training_steps(tail, steps, self.train_tokens, self.train_targets)

    def training_steps(
        self, tail: TailShape, steps: int, tokens: int, targets: int, *, fresh: bool = False
    ) -> float:
        """So many steps over so many tokens and targets in all.

        `fresh`: nothing is mastered yet, so that every target sends a gradient back through the head.
        """
        work = self.work(tail).step(tokens, targets, steps * self.instruction_tokens)
        head_gradients = 2 * targets * self.head_parameters if fresh else 0
        return (work + head_gradients) / self.speed / _TAIL + steps * _STEP_OVERHEAD

    def validation(self, tail: TailShape, batch: int) -> float:
        """All validation examples are measured once."""
        batches = math.ceil(self.validation_examples / (2 * batch))
        return self.forward(tail, batches, self.validation_tokens, self.validation_targets)

    def label_head_start(self, tail: TailShape) -> float:
        """A label head starts from the means of the training examples, so all of them go through once."""
        return 0.0 if self.writes else self.forward(tail, 1, self.train_tokens, self.train_targets)

    def forward(self, tail: TailShape, batches: int, tokens: int, targets: int) -> float:
        """So many batches, of so many tokens and targets in all, go through the tail forwards only."""
        work = self.work(tail).validation(tokens, targets, batches * self.instruction_tokens)
        return work / self.speed / _TAIL + batches * _STEP_OVERHEAD

    def training(self, tail: TailShape, batch: int, epochs: int) -> float:
        """A whole training of the tail: steps and validation of all epochs."""
        return epochs * (self.training_epoch(tail, batch) + self.validation(tail, batch))

    def checkpoints(self, size: int) -> float:
        """So many bytes are written, and read again for their checksum."""
        return size / _DISK

    def read_questions(self, questions: int) -> float:
        """So many questions are read, each behind the instruction."""
        tokens = questions * self.mean_question
        return 2 * tokens * self.layer_parameters * self.layers / self.speed / _READING

    def write_answers(self, answers: int, tokens: float, longest: float, at_once: int = _AT_ONCE) -> float:
        """So many answers are written; the arguments are those of `passes_and_tokens`."""
        passes, rows = self.passes_and_tokens(answers, tokens, longest, at_once)
        return 2 * (rows + passes * _ROWS_PER_PASS) * self.parameters / self.speed / _WRITING

    def passes_and_tokens(
        self, answers: int, tokens: float, longest: float, at_once: int = _AT_ONCE
    ) -> tuple[float, float]:
        """Passes over all weights, and tokens weighed by their context, that so many answers need.

        An answer has `tokens` on average and `longest` at most, for which the others wait; `at_once` answers
        are written side by side. Both are 0 where answers are chosen.
        """
        if not self.writes or not answers:
            return 0.0, 0.0
        passes = math.ceil(answers / at_once) * longest
        context = (self.instruction_tokens + self.mean_question + longest / 2) / (_CONTEXT_COST * self.hidden)
        return passes, answers * tokens * (1 + context)

    def answer_questions(self, questions: int) -> float:
        """So many questions are answered, each at the greatest length: nothing answers more slowly."""
        longest = self.longest_answer
        return self.read_questions(questions) + self.write_answers(questions, longest, longest)

    def work(self, tail: TailShape) -> Work:
        """Operations of such a tail and its trunk."""
        behind = self.answer_tokens + self.examples * (self.invocation_tokens - 1)
        share = behind / self.tokens if self.writes and self.tokens else 1.0
        return Work(self.layer_parameters, self.layers, tail, self.head_parameters, min(1.0, share))


def count_workload(
    specialist: Specialist,
    speed: float,
    train: Sequence[EncodedExample],
    validation: Sequence[EncodedExample],
) -> Workload:
    """Count what a specialist has to do; `speed` in floating-point operations per second."""
    template = specialist.model.template
    return Workload(
        speed=speed,
        layers=specialist.base.layers,
        hidden=specialist.base.hidden,
        layer_parameters=specialist.model.layer_parameters,
        head_parameters=specialist.model.head_parameters,
        parameters=specialist.parameters,
        writes=specialist.base.kind == "decoder",
        instruction_tokens=len(specialist.instruction_tokens),
        train_examples=len(train),
        train_tokens=sum(example.length for example in train),
        train_targets=sum(len(example.targets) - len(example.masked_targets) for example in train),
        validation_examples=len(validation),
        validation_tokens=sum(example.length for example in validation),
        validation_targets=sum(len(example.targets) for example in validation),
        longest_answer=longest_answer(train),
        answer_tokens=sum(len(example.targets) for example in (*train, *validation)),
        invocation_tokens=len(template.invocation_ids()) if template is not None else 0,
    )


_DOUBT = 4.0
"""Until so many seconds of a stage were timed, the rest of them counts as planned: one slow moment is no slow
machine."""
_SURE = 0.1
"""Where the length of a stage is planned, so much of it is enough."""
_FADING = 0.9
"""Weight of older pieces, each time that another is timed, in a cautious model: speeds change."""
_SLOWEST = 3.0
"""A stage that was not timed, or of which `_EARLY` is not done, is expected to be at most so much slower than
planned."""
_EARLY = 0.02
"""Share of a stage that tells its pace: of answers that are done at once the first is told alone."""
_TOGETHER = 1.01
"""Pieces up to so many times the first one's moment ended with it: a batch reports all its examples at
once."""
_DISK_STAGE = "checkpoints"
"""Says nothing about arithmetic, nor the other way round."""


@dataclass
class _Timed:
    """Work of one stage that was timed: planned seconds that are `done`, and the `seconds` they took."""

    done: float = 0.0
    seconds: float = 0.0
    first_done: float = 0.0
    first_seconds: float = 0.0
    recent_done: float = 0.0
    recent_seconds: float = 0.0

    def add(self, done: float, seconds: float) -> None:
        self.done, self.seconds = self.done + done, self.seconds + seconds
        self.recent_done = _FADING * self.recent_done + done
        self.recent_seconds = _FADING * self.recent_seconds + seconds
        if not self.first_done or self.seconds <= self.first_seconds * _TOGETHER:
            self.first_done, self.first_seconds = self.done, self.first_seconds or seconds

    @property
    def steady(self) -> tuple[float, float]:
        """Planned and real seconds without the first batch, which loads libraries and chooses kernels, once
        as much time has gone by since."""
        done, seconds = self.done - self.first_done, self.seconds - self.first_seconds
        return (done, seconds) if done > 0 and seconds >= self.first_seconds else (self.done, self.seconds)


class CostModel:
    """Seconds that stages take: planned ones, corrected by pieces of work that were timed.

    A stage that was timed goes on as it went. One that was not is expected to be as slow as the slowest that
    was, up to three times, and never faster than planned.
    """

    def __init__(self, planned: Mapping[str, float] | None = None, *, cautious: bool = False) -> None:
        """`planned`: seconds of each stage, in order.

        A cautious model keeps deadlines: it believes a pace after some seconds only, and a slower one at
        once.
        """
        self._planned = dict(planned or {})
        self._cautious = cautious
        self._timed: dict[str, _Timed] = {}

    def observe(self, stage: str, done: float, seconds: float) -> None:
        """Take in that work which was planned to take `done` seconds took `seconds`."""
        if done > 0:
            self._timed.setdefault(stage, _Timed()).add(done, seconds)

    def seconds(self, stage: str, planned: float | None = None) -> float:
        """What the stage, or so many `planned` seconds of it, will really take."""
        return (self._planned.get(stage, 0.0) if planned is None else planned) * self._factor(stage)

    def planned(self, stage: str) -> float:
        """Seconds that were planned for a stage, without any correction."""
        return self._planned.get(stage, 0.0)

    def left(self) -> float:
        """Seconds that all planned stages still take."""
        done = {stage: timed.done for stage, timed in self._timed.items()}
        return sum(
            self.seconds(stage, max(0.0, planned - done.get(stage, 0.0)))
            for stage, planned in self._planned.items()
        )

    def skip(self, stage: str, share: float) -> None:
        """A `share` of the stage was done earlier, and needs no time now."""
        if stage in self._planned:
            self._planned[stage] *= 1 - share

    def finish(self, stage: str) -> None:
        """The stage and all before it are over."""
        stages = list(self._planned)
        for name in stages[: stages.index(stage) + 1] if stage in stages else ():
            del self._planned[name]

    def renamed(self, names: Mapping[str, str]) -> "CostModel":
        """A model that is not cautious, of what was timed of the stages in `names`, under other names."""
        model = CostModel()
        model._timed = {new: self._timed[old] for old, new in names.items() if old in self._timed}
        return model

    def _factor(self, stage: str) -> float:
        if timed := self._timed.get(stage):
            planned = self._planned.get(stage)
            if planned is not None and not self._cautious:
                doubt = min(_DOUBT, _SURE * planned) - max(timed.done, timed.seconds)
                ratio = _ratio(*timed.steady, doubt)
                return ratio if timed.done >= _EARLY * planned else min(_SLOWEST, ratio)
            return self._ratio(timed, _DOUBT if self._cautious else 0.0)
        if stage == _DISK_STAGE:
            return 1.0
        known = [self._ratio(timed, _DOUBT) for name, timed in self._timed.items() if name != _DISK_STAGE]
        return min(_SLOWEST, max([1.0, *known]))

    def _ratio(self, timed: _Timed, doubt: float) -> float:
        ratio = _ratio(timed.done, timed.seconds, doubt - timed.seconds)
        if not self._cautious:
            return ratio
        return max(ratio, _ratio(timed.recent_done, timed.recent_seconds, doubt - timed.recent_seconds))


def _ratio(done: float, seconds: float, doubt: float) -> float:
    """Real seconds for each planned one, if `doubt` seconds more had gone as planned."""
    doubt = max(0.0, doubt)
    return (seconds + doubt) / (done + doubt)


@dataclass(frozen=True)
class Timings:
    """What timed batches have shown; empty where none were made."""

    costs: CostModel = field(default_factory=CostModel)
    """Of the stages trunk, tail, validation, answers and checkpoints."""
    answer_tokens: float | None = None
    """Tokens that the untouched base writes, on average; None where that is not known."""
    answers_at_once: int | None = None
    """Answers that are written side by side."""
    per_pass: float | None = None
    """Seconds that one more token of all answers takes, however many they are: all weights are read for it.
    None where that was not seen."""
    per_token: float = 0.0
    """Seconds for each token beside that, weighed as in `Workload.passes_and_tokens`."""
    peaks: dict[str, int] = field(default_factory=dict)
    """Most bytes of memory of each stage in the run itself."""
    seconds: float = 0.0
    """What the timed batches took."""
