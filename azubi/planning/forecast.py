"""What a run will take, from a few timed examples, and how much of it is left."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from azubi.data.contract import Task
from azubi.data.splits.splitting import Split
from azubi.engine.cache import index
from azubi.engine.cache.activation_cache import SEAL
from azubi.engine.inference import scope
from azubi.engine.limits import most_asked
from azubi.engine.model import weights
from azubi.engine.model.batch import EncodedExample
from azubi.engine.specialist import Specialist
from azubi.engine.training.defaults import trains_again
from azubi.engine.training.state import saved_state
from azubi.events.figures import Forecast
from azubi.planning.cost_model import CostModel, Timings, Workload, tail_shape
from azubi.settings import Recipe

_PACKAGING = 1.0
"""Seconds for intervals of scores, and for writing specialist and report."""
_OPTIMISER_NUMBERS, _LABEL_HEAD_NUMBERS = 3, 4
"""A checkpoint holds each trained weight and AdamW's two moments, in float32; below a label head the
average of the weights, too."""


@dataclass(frozen=True)
class ForecastInputs:
    """What a forecast is made from, beside workload and timings."""

    recipe: Recipe
    """With every choice made."""
    specialist: Specialist
    task: Task
    split: Split
    missing: Sequence[EncodedExample]
    """Examples of train and validation that the trunk has yet to read."""
    test_tokens: int
    """Of the test's prompts."""


def foresee(inputs: ForecastInputs, workload: Workload, timings: Timings, setup: float) -> Forecast:
    """Put together what is expected, when `setup` seconds have gone by."""
    recipe, split, costs = inputs.recipe, inputs.split, timings.costs
    tail, batch, epochs = tail_shape(recipe), recipe.batch or 1, recipe.epochs or 1
    tail_bytes = sum(weight.nbytes for weight in weights.trained(inputs.specialist.tail).values())
    stepwise = sum(weight.numel() for weight, _ in inputs.specialist.tail.groups())
    checkpoint = 4 * (_OPTIMISER_NUMBERS if workload.writes else _LABEL_HEAD_NUMBERS) * stepwise
    training = costs.seconds("tail", workload.training_epoch(tail, batch))
    validation = costs.seconds("validation", workload.validation(tail, batch))
    steps = epochs * math.ceil(workload.train_examples / batch)
    written, kept = saved_state(epochs, steps, epochs * (training + validation))
    saving = costs.seconds("checkpoints", workload.checkpoints(written * checkpoint + epochs * tail_bytes))
    epoch = training + validation + saving / epochs
    start = costs.seconds("validation", workload.label_head_start(tail))
    again = trains_again(recipe, inputs.specialist.contract, inputs.specialist.base, workload.train_examples)
    base_answer = workload.longest_answer if timings.answer_tokens is None else timings.answer_tokens
    base, specialist = (
        _answer_seconds(workload, timings, len(split.test), tokens)
        for tokens in (base_answer, workload.mean_answer)
    )
    missing = sum(example.length for example in inputs.missing) / max(1, workload.tokens)
    return Forecast(
        examples={"train": len(split.train), "validation": len(split.validation), "test": len(split.test)},
        tokens={
            "instruction": workload.instruction_tokens,
            "prompts": round(workload.mean_question * workload.examples),
            "answers": workload.answer_tokens if workload.writes else 0,
            "test": inputs.test_tokens,
        },
        known=workload.examples - len(inputs.missing) if tail.tail_layers < workload.layers else 0,
        setup=setup,
        trunk=costs.seconds("trunk", workload.trunk(tail, missing)) if inputs.missing else 0.0,
        epoch=epoch,
        epochs=epochs,
        tail=start + epochs * (epoch + (training if again else 0.0)),
        checks=epoch - training,
        evaluate=base + specialist,
        base_answers=base,
        package=_PACKAGING + _scope_seconds(inputs, workload, timings),
        memory=max(timings.peaks.values(), default=None),
        cache=_cache_bytes(inputs),
        checkpoints=kept * checkpoint + tail_bytes,
        specialist=tail_bytes + _scope_bytes(inputs),
        measured=timings.seconds,
    )


def _answer_seconds(workload: Workload, timings: Timings, questions: int, tokens: float) -> float:
    """So many questions are answered in so many tokens each, at the pace that was seen, else as planned."""
    reading = timings.costs.seconds("answers", workload.read_questions(questions))
    longest = min(workload.longest_answer, 2 * tokens)  # one that runs on holds up the others
    at_once = () if timings.answers_at_once is None else (timings.answers_at_once,)
    if timings.per_pass is None:
        writing = workload.write_answers(questions, tokens, longest, *at_once)
        return reading + timings.costs.seconds("answers", writing)
    passes, weighed = workload.passes_and_tokens(questions, tokens, longest, *at_once)
    return reading + passes * timings.per_pass + weighed * timings.per_token


def _scope_seconds(inputs: ForecastInputs, workload: Workload, timings: Timings) -> float:
    """The scope is learned from answers to some of the validation questions."""
    if inputs.recipe.privacy is not None:
        return 0.0
    asked = min(len(inputs.split.validation), most_asked(inputs.specialist, inputs.task))
    return _answer_seconds(workload, timings, asked, workload.mean_answer)


def _scope_bytes(inputs: ForecastInputs) -> int:
    if inputs.recipe.privacy is not None:
        return 0
    train = inputs.split.train
    classes = len({example.answer for example in train}) if inputs.task == "labels" else None
    return scope.size(inputs.specialist.base.hidden, classes, len(train))


def _cache_bytes(inputs: ForecastInputs) -> int:
    """Bytes of the cache entries that are yet to be written."""
    stored_as = index.storage_format(inputs.recipe.cache.dtype, inputs.specialist.dtype)
    sizes = inputs.specialist.activations.sizes(inputs.missing)
    return sum(index.size(rows, columns, stored_as) + SEAL for rows, columns in sizes)


class Eta:
    """Time left over all stages of a run."""

    def __init__(self, planned: Mapping[str, float]) -> None:
        """`planned`: seconds that each stage is expected to take, in order."""
        self._costs = CostModel(planned)
        self._stage = ""

    def begin(self, stage: str, share: float = 0.0) -> None:
        """A stage begins, or goes on where `share` of it was done in an earlier session."""
        if stage != self._stage:
            self._costs.finish(self._stage)
        self._stage, self._start, self._share = stage, share, share
        self._reported = time.monotonic()
        self._costs.skip(stage, share)

    def left(self, stage: str, share: float) -> float:
        """Seconds left in all, when `share` (0 to 1) of `stage` is done and later ones are still to come.

        A stage that was not begun begins with its first report.
        """
        if stage != self._stage:
            self.begin(stage, share)
        now = time.monotonic()
        if share > self._share:
            done = (share - self._share) / (1 - self._start) * self._costs.planned(stage)
            self._costs.observe(stage, done, now - self._reported)
            self._share, self._reported = share, now
        if share >= 1:
            self._costs.finish(stage)
            return self._costs.left()
        return max(0.0, self._costs.left() - (now - self._reported))


class Throughput:
    """How fast a stage goes."""

    def __init__(self, gflops: float) -> None:
        """`gflops`: the machine's measured speed of matrix products, 1e9 floating-point operations per
        second."""
        self._machine_speed = gflops * 1e9
        self._tokens = 0
        self._work = 0.0
        self._seconds = 0.0

    def add(self, tokens: int, work: float, seconds: float) -> None:
        """Count tokens, floating-point operations and the time that both took."""
        self._tokens += tokens
        self._work += work
        self._seconds += seconds

    @property
    def throughput(self) -> float | None:
        """Tokens per second; None before anything was done."""
        return self._tokens / self._seconds if self._tokens and self._seconds else None

    @property
    def peak(self) -> float | None:
        """Share of the machine's speed that went into counted work; None where none was counted."""
        return self._work / self._seconds / self._machine_speed if self._work and self._seconds else None
