"""Timed batches before a run: a few of its own examples go the whole way, to learn what takes how long.

The run's own parts do the work: the trunk fills a cache, the tail takes steps, validation examples are
measured, a checkpoint is written, questions are answered. So a faster engine or another processor shows by
itself. The tail is left as it was.
"""

import gc
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from azubi.engine.base import hardware
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.cache.filling import largest
from azubi.engine.inference.answering import Question, WrittenAnswers
from azubi.engine.inference.constraints import Constraint
from azubi.engine.model import weights
from azubi.engine.model.batch import EncodedExample, Reader, by_length
from azubi.engine.specialist import Specialist
from azubi.engine.split_model import room_for_activations
from azubi.engine.training import loop
from azubi.engine.training.defaults import config_from
from azubi.errors import RunError
from azubi.planning.cost_model import CostModel, Timings, Workload, tail_shape
from azubi.settings import Recipe
from azubi.storage import files

_TRUNK_SECONDS = 1.5
"""So many batches are taken as the trunk should read in this time, two at least."""
_BATCHES = 40
"""No more batches than this."""
_TAIL_SECONDS = 3.0
"""Steps are made for so long; the first of them is not timed, since it is slower than the others."""
_TIMED_STEPS = 2
"""At least."""
_STEPS = 40
"""At most."""
_FRAGMENTATION = 1.15
"""Batches of many shapes leave gaps in memory that these few do not: runs took a fifth more (14 % with
smollm2-135m and 8 layers, 26 % with minilm and 3)."""
_CHECKPOINT = 400 << 20
"""Bytes of a checkpoint that are written at most."""
_WRITTEN = (4, 24)
"""Questions asked at once, where the base writes: what each answer takes beside the pass over all weights,
which is one for all of them, shows in the difference."""
_CHOSEN, _WARM_UP = 64, 6
"""Questions where it chooses, after a few that are not timed."""
_TOKENS = 14
"""Tokens of each answer, at most."""


def run_benchmark(
    specialist: Specialist,
    recipe: Recipe,
    workload: Workload,
    train: Sequence[EncodedExample],
    validation: Sequence[EncodedExample],
    questions: Sequence[Question],
    home: Path,
    share: float = 1.0,
) -> Timings:
    """Time a few batches for some seconds, or for a `share` of that.

    `recipe` has every choice made. Cache and checkpoint lie in a folder of their own in `home`, since its
    disk is the run's, and are gone when this returns. A base that is streamed from disk is not timed: a
    single batch of it would take minutes.

    Raises:
        StorageError: `home` cannot be written.
    """
    if specialist.model.streams:
        return Timings()
    begun = time.monotonic()
    with files.explained(home), _tail_restored(specialist):
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".benchmark-", dir=home) as folder:
            benchmark = _Benchmark(specialist, recipe, workload, Path(folder), share)
            benchmark.time_training(train, validation)
            benchmark.time_checkpoint()
            timings = benchmark.time_answers(questions)
    gc.collect()
    hardware.release_memory()
    return replace(timings, seconds=time.monotonic() - begun)


@contextmanager
def _tail_restored(specialist: Specialist) -> Iterator[None]:
    """Leave weights, modes and random state as they were."""
    tail = specialist.tail
    state, random_state = weights.kept(tail), hardware.rng_state()
    modes = [(module, module.training) for module in tail.modules()]
    try:
        yield
    finally:
        weights.restore(tail, state)
        tail.zero_grad(set_to_none=True)
        for module, mode in modes:
            module.training = mode
        hardware.set_rng_state(random_state)


@dataclass
class _Benchmark:
    specialist: Specialist
    recipe: Recipe
    workload: Workload
    folder: Path
    share: float
    costs: CostModel = field(default_factory=CostModel)
    peaks: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tail = tail_shape(self.recipe)
        self.config = config_from(self.recipe)

    def time_training(self, train: Sequence[EncodedExample], validation: Sequence[EncodedExample]) -> None:
        """Time the trunk, and steps and validation of the tail."""
        sample, checks = self._sample(train), list(validation[: max(1, self.config.batch // 2)])
        everything = [*train, *validation]
        with closing(ActivationCache(self.folder, dtype=self.recipe.cache.dtype)) as cache:
            self._time_trunk(cache, sample, checks, everything)
            read = self.specialist.activations.reader(cache)
            hardware.reset_peak_memory()
            self._time_tail(sample, checks, read)
        # The activations of all other examples come on top.
        missing = self._activation_bytes(everything) - self._activation_bytes([*sample, *checks])
        self.peaks["tail"] = round(_FRAGMENTATION * (hardware.peak_memory() + max(0, missing)))

    def _sample(self, train: Sequence[EncodedExample]) -> list[EncodedExample]:
        """The longest batch, which needs most memory, and some from all over the rest."""
        batch = self.config.batch
        ordered = [group for group in by_length(train, batch) if len(group) == batch] or [list(train)]
        seconds = self.workload.trunk(self.tail) * batch / self.workload.examples
        wanted = round(self.share * _TRUNK_SECONDS / max(seconds, 1e-9))
        count = max(2, min(_BATCHES, wanted, len(ordered)))
        # From the middle of as many equal parts, so that they stand for all.
        middles = {int((part + 0.5) * len(ordered) / (count - 1)) for part in range(count - 1)}
        return [example for number in sorted({*middles, len(ordered) - 1}) for example in ordered[number]]

    def _time_trunk(
        self,
        cache: ActivationCache,
        sample: Sequence[EncodedExample],
        checks: Sequence[EncodedExample],
        everything: Sequence[EncodedExample],
    ) -> None:
        hardware.reset_peak_memory()
        before, tokens = hardware.used_memory(), 0
        for _ in self.specialist.activations.fill(cache, checks):
            pass  # What only a process's first batch takes is half of a benchmark, and nothing to a run.
        begun = time.perf_counter()
        for filled in self.specialist.activations.fill(cache, sample):
            tokens = filled.tokens
        planned = self.workload.trunk_tokens(self.tail, tokens)
        self.costs.observe("trunk", planned, time.perf_counter() - begun)
        in_run, here = (
            largest([example.tokens for example in examples]) for examples in (everything, [*sample, *checks])
        )
        self.peaks["trunk"] = before + round(
            (hardware.peak_memory() - before) * max(1.0, in_run / max(1, here))
        )

    def _time_tail(
        self, sample: Sequence[EncodedExample], checks: Sequence[EncodedExample], read: Reader
    ) -> None:
        endless = replace(self.config, epochs=99, patience=99)  # time ends them
        has_instruction = bool(self.specialist.instruction_tokens)
        tokens, targets = (
            sum(example.length for example in checks),
            sum(len(example.targets) for example in checks),
        )
        validation = self.workload.forward(self.tail, 1, tokens, targets)
        begun, steps, seconds, validated = time.perf_counter(), 0, 0.0, False
        training = loop.train(
            self.specialist.tail, sample, checks, read, endless, has_instruction=has_instruction
        )
        with closing(training):
            try:
                for event in training:
                    if isinstance(event, loop.Step):
                        seconds += event.seconds
                        if steps:
                            self._observe_step(event)
                        steps += 1
                        late = time.perf_counter() - begun > self.share * _TAIL_SECONDS
                        if validated and steps > _TIMED_STEPS and (steps >= _STEPS or late):
                            break
                    elif isinstance(event, loop.Epoch):
                        self.costs.observe("validation", validation, max(0.0, event.seconds - seconds))
                        seconds, validated = 0.0, True
            except RunError:  # a loss that explodes says nothing about time
                pass

    def _observe_step(self, step: loop.Step) -> None:
        planned = self.workload.training_steps(self.tail, 1, step.tokens, step.targets, fresh=True)
        self.costs.observe("tail", planned, step.seconds)

    def _activation_bytes(self, examples: Sequence[EncodedExample]) -> int:
        """Bytes of the activations that training keeps in memory."""
        numbers = sum(rows * columns for rows, columns in self.specialist.activations.sizes(examples))
        return min(room_for_activations(), numbers * self.specialist.dtype.itemsize)

    def time_checkpoint(self) -> None:
        """Write about as much as a checkpoint holds: three float32 numbers for each weight."""
        state, size = dict[str, torch.Tensor](), 0
        for name, weight in weights.trained(self.specialist.tail).items():
            for moment in range(3):
                if size < _CHECKPOINT:
                    state[f"{name}.{moment}"] = weight.float() + moment
                    size += 4 * weight.numel()
        path, begun = self.folder / "state.safetensors", time.perf_counter()
        weights.write(state, path)
        files.crc32(path)
        planned = self.workload.checkpoints(path.stat().st_size)
        self.costs.observe("checkpoints", planned, time.perf_counter() - begun)

    def time_answers(self, questions: Sequence[Question]) -> Timings:
        """Let the untouched base answer, and return all that was timed."""
        answering = self.specialist.base_model(self.workload.longest_answer)
        hardware.reset_peak_memory()
        written = answering if isinstance(answering, WrittenAnswers) else None
        if written and written.labels is None:
            return self._time_writing(written, questions)
        before = hardware.used_memory()
        asked = _spread(questions, self._most_written if written else _CHOSEN)
        list(answering(asked[:_WARM_UP]))
        begun = time.perf_counter()
        list(answering(asked))
        planned = self.workload.read_questions(len(asked))
        self.costs.observe("answers", planned, time.perf_counter() - begun)
        self.peaks["evaluate"] = hardware.peak_memory()
        if written:
            self._scale_peak(written, before, len(asked), len(questions))
        return Timings(self.costs, per_pass=0.0, peaks=self.peaks)

    @property
    def _most_written(self) -> int:
        few, many = _WRITTEN
        return max(few, round(self.share * many))

    def _scale_peak(self, answering: WrittenAnswers, before: int, asked: int, questions: int) -> int:
        """Plan the memory of as many answers side by side as there will be; returns the most at once."""
        workload = self.workload
        tokens = round(workload.instruction_tokens + workload.mean_question + workload.longest_answer)
        at_once, room = answering.generator.together(tokens), answering.generator.room
        rows = min(at_once, questions)
        extra = (hardware.peak_memory() - before) * rows / asked
        self.peaks["evaluate"] = before + round(max(extra, rows * room(tokens)))
        return at_once

    def _time_writing(self, answering: WrittenAnswers, questions: Sequence[Question]) -> Timings:
        """Time a few answers, and some more at once: how long reading takes, each pass and each token."""
        workload, longest, before = self.workload, self.workload.longest_answer, hardware.used_memory()
        timed, lengths = list[tuple[float, float, float]](), list[int]()
        for count in (_WRITTEN[0], self._most_written):
            asked, begun = _spread(questions, count), time.perf_counter()
            moments, answer_lengths = _watch(answering, asked)
            passes, lengths = len(moments) - 1, lengths + answer_lengths
            if passes:
                weighed = workload.passes_and_tokens(len(asked), passes, passes)
                timed.append((*weighed, moments[-1] - moments[0]))
        self.costs.observe("answers", workload.read_questions(len(asked)), moments[0] - begun)
        at_once = self._scale_peak(answering, before, len(asked), len(questions))
        # Answers that had to end early count as the longest.
        mean = sum(longest if length >= _TOKENS else length for length in lengths) / len(lengths)
        per_pass, per_token = writing_pace(timed[0], timed[-1]) if timed else (None, 0.0)
        return Timings(self.costs, mean, at_once, per_pass, per_token, self.peaks)


def writing_pace(few: tuple[float, float, float], many: tuple[float, float, float]) -> tuple[float, float]:
    """Seconds for each pass and for each token, from two timings (passes, tokens, seconds) of answers, of
    which `many` were more at once."""
    (passes, tokens, seconds), (more_passes, more_tokens, more_seconds) = few, many
    rows, more_rows = tokens / passes, more_tokens / more_passes
    slower = max(0.0, more_seconds / more_passes - seconds / passes)
    per_token = slower / (more_rows - rows) if more_rows > rows else 0.0
    per_pass = more_seconds / more_passes - more_rows * per_token
    return (per_pass, per_token) if per_pass >= 0 else (0.0, more_seconds / more_tokens)


def _watch(answering: WrittenAnswers, questions: Sequence[Question]) -> tuple[list[float], list[int]]:
    """When the tokens of the longest answer were chosen, and how many tokens each answer got."""
    moments, answers, begin = list[float](), list[WatchedAnswer](), answering.constraint

    def watched() -> WatchedAnswer:
        answers.append(WatchedAnswer(moments, begin() if begin else None))
        return answers[-1]

    list(answering.under(questions, watched))
    return moments, [answer.length for answer in answers]


class WatchedAnswer:
    """A constraint around that of one answer: it notes when tokens are chosen, and ends the answer early."""

    def __init__(self, moments: list[float], inner: Constraint | None) -> None:
        """`moments` is shared by answers that are written side by side; `inner` may be missing."""
        self.length = 0
        self._moments, self._inner, self._taken = moments, inner, 0

    def allowed(self) -> Sequence[int] | torch.Tensor | None:
        """What the inner constraint allows."""
        self.length += 1
        if self.length > len(self._moments):
            self._moments.append(time.perf_counter())
        return self._inner.allowed() if self._inner else None

    def take(self, token: int) -> None:
        """Go on."""
        self._taken += 1
        if self._inner:
            self._inner.take(token)

    def settled(self) -> tuple[int, ...] | None:
        """The rest, if it is settled, or if enough was watched."""
        if self._inner and (rest := self._inner.settled()) is not None:
            return rest
        return () if self._taken >= _TOKENS else None

    def forced(self) -> tuple[int, ...]:
        """Nothing, so that every token is chosen."""
        return ()

    def ending(self) -> tuple[int, ...]:
        """As the inner constraint ends it."""
        return self._inner.ending() if self._inner else ()


def _spread(questions: Sequence[Question], count: int) -> list[Question]:
    """So many of the questions, from all over them."""
    return list(questions[:: max(1, len(questions) // count)])[:count]
