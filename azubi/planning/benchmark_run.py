"""A few of a run's own lessons, sent the whole way before it begins: what takes how long, how much memory.

Everything is done by the parts that the run itself uses (the trunk into a cache of its own, steps of the tail
with loss and optimiser, a look at validation lessons, answers, a checkpoint), so that a faster engine or
another processor shows by itself. What was learned is forgotten: the tail is left as it was.

Knows the specialist and its lessons; nothing of events or of how a plan is told.
"""

import gc
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from azubi.engine.base import hardware
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.cache.filling import largest
from azubi.engine.inference.answering import CompletedAnswers, Question, WrittenAnswers
from azubi.engine.inference.generation import Constraint
from azubi.engine.model import weights
from azubi.engine.model.batch import EncodedExample, Reader, by_length
from azubi.engine.specialist import Specialist
from azubi.engine.split_model import room_for_activations
from azubi.engine.training import loop
from azubi.errors import RunError
from azubi.planning.cost_model import Kind, Observation, Timings, Workload, writing_pace
from azubi.settings import Recipe
from azubi.storage import files

_TAIL_SECONDS = 3.0
"""So long steps are made, but three at least: of the first nothing is learned but the memory it takes."""
_TIMED = 2
"""Steps that are timed at least."""
_STEPS = 40
"""More are not made."""
_TRUNK_SECONDS = 1.5
"""So many batches are taken as the trunk should read in this time, two at least."""
_BATCHES = 40
"""But no more than so many."""
_GAPS = 1.15
"""Batches of many shapes leave gaps that those of a rehearsal do not: runs took a fifth more (14 % with
smollm2-135m and 8 layers, 26 % with minilm and 3)."""
_KEPT = 400 << 20
"""Bytes of a checkpoint that are written at most."""
_QUESTIONS = (4, 24)
"""Asked of the untouched base at once, where it writes: what each answer takes beside the pass over all
weights, which is one for all of them, shows in the difference."""
_CHOICES, _FIRST = 64, 6
"""Where it chooses: two batches, behind a few that take what only the first ones take."""
_TOKENS = 14
"""Written of each answer at most."""
_MANY = 99
"""Epochs over the few lessons; time ends them."""


def run_benchmark(
    specialist: Specialist,
    recipe: Recipe,
    load: Workload,
    encoded: Sequence[EncodedExample],
    checks: Sequence[EncodedExample],
    questions: Sequence[Question],
    home: Path,
    share: float = 1.0,
) -> Timings:
    """Send a few lessons through; a handful of seconds, or only a `share` of that.

    `recipe` has every choice made. The cache of the rehearsal and its checkpoint lie in a folder of their own
    in `home` (the disk is the run's), and are gone when this returns. Of a base that is streamed from disk
    nothing is told: a single batch of it would take minutes.

    Raises:
        StorageError: `home` cannot be written.
    """
    if specialist.model.streams:
        return Timings()
    begun = time.monotonic()
    taken, dice = weights.kept(specialist.tail), hardware.rng_state()
    modes = [(module, module.training) for module in specialist.tail.modules()]
    try:
        with files.explained(home), _folder(home) as scratch:
            found = _Rehearsal(specialist, recipe, load, scratch, share).through(encoded, checks, questions)
    finally:
        weights.restore(specialist.tail, taken)
        specialist.tail.zero_grad(set_to_none=True)
        for module, mode in modes:
            module.training = mode
        hardware.set_rng_state(dice)  # dropout goes on as if nothing had been drawn
        gc.collect()
        hardware.release_memory()
    return replace(found, seconds=time.monotonic() - begun)


@contextmanager
def _folder(home: Path) -> Iterator[Path]:
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".rehearsal-", dir=home) as folder:
        yield Path(folder)


class _Rehearsal:
    """One rehearsal on its way."""

    def __init__(
        self, specialist: Specialist, recipe: Recipe, load: Workload, scratch: Path, share: float
    ) -> None:
        self._share = share
        self._specialist, self._recipe, self._load, self._scratch = specialist, recipe, load, scratch
        self._depth, self._rank = int(recipe.tail_layers), int(recipe.rank)
        self._pieces: list[Observation] = []
        self._peaks: dict[str, int] = {}

    def through(
        self,
        encoded: Sequence[EncodedExample],
        checks: Sequence[EncodedExample],
        questions: Sequence[Question],
    ) -> Timings:
        """Trunk, tail, checkpoint and answers."""
        plan = loop.config_from(self._recipe)
        sample, looks = self._sample(encoded, plan.batch), list(checks[: max(1, plan.batch // 2)])
        with closing(ActivationCache(self._scratch, dtype=self._recipe.cache.dtype)) as cache:
            self._trunk(cache, sample, looks, [*encoded, *checks])
            read = self._specialist.activations.reader(cache)
            self._specialist.init_from_data(sample, read)
            self._tail(sample, looks, read, [*encoded, *checks])
        self._keep()
        answers = self._answers(questions)
        return replace(answers, pieces=tuple(self._pieces), peaks=dict(self._peaks))

    def _sample(self, encoded: Sequence[EncodedExample], batch: int) -> list[EncodedExample]:
        """The longest batch, which needs most memory, and some from all over the rest."""
        ordered = [group for group in by_length(encoded, batch) if len(group) == batch] or [list(encoded)]
        each = self._load.trunk(self._depth) * batch / self._load.examples
        some = max(2, min(_BATCHES, round(self._share * _TRUNK_SECONDS / max(each, 1e-9)), len(ordered)))
        # From the middle of as many equal parts: what is learned of them holds for all.
        places = [int((one + 0.5) * len(ordered) / (some - 1)) for one in range(some - 1)]
        chosen = {*places, len(ordered) - 1}
        return [lesson for place in sorted(chosen) for lesson in ordered[min(place, len(ordered) - 1)]]

    # Trunk

    def _trunk(
        self,
        cache: ActivationCache,
        sample: Sequence[EncodedExample],
        looks: Sequence[EncodedExample],
        all_: Sequence[EncodedExample],
    ) -> None:
        hardware.reset_peak_memory()
        before, tokens = hardware.used_memory(), 0
        # What only a process's first batch takes is a matter of course for a run, and half of a rehearsal.
        for _ in self._specialist.activations.fill(cache, looks):
            pass
        begun = time.perf_counter()
        for filled in self._specialist.activations.fill(cache, sample):
            tokens = filled.tokens
        took = time.perf_counter() - begun
        self._saw("trunk", self._load.passing(self._depth, tokens), took)
        wanted, had = (largest([one.tokens for one in some]) for some in (all_, [*sample, *looks]))
        self._peaks["trunk"] = before + round(
            (hardware.peak_memory() - before) * max(1.0, wanted / max(1, had))
        )

    # Tail

    def _tail(
        self,
        sample: Sequence[EncodedExample],
        looks: Sequence[EncodedExample],
        read: Reader,
        all_: Sequence[EncodedExample],
    ) -> None:
        hardware.reset_peak_memory()
        plan = replace(loop.config_from(self._recipe), epochs=_MANY, patience=_MANY)
        has_instruction = bool(self._specialist.instruction_tokens)
        begun, made, steps, accessed = time.perf_counter(), 0, 0.0, False
        happenings = loop.train(
            self._specialist.tail, sample, looks, read, plan, has_instruction=has_instruction
        )
        with closing(happenings):
            try:
                for happened in happenings:
                    if isinstance(happened, loop.Step):
                        steps += happened.seconds
                        if made:
                            tokens, targets = happened.tokens, happened.targets
                            step = self._load.steps(self._depth, self._rank, 1, tokens, targets, fresh=True)
                            self._saw("tail", step, happened.seconds)
                        made += 1
                        if accessed and made > _TIMED and self._enough(made, begun):
                            break
                    if isinstance(happened, loop.Epoch):
                        look = self._load.looks(self._depth, 1, *_counts(looks))
                        self._saw("validation", look, max(0.0, happened.seconds - steps))
                        steps, accessed = 0.0, True
            except RunError:  # a loss that explodes says nothing about time
                pass
        # Beside what is there now: activations of all other lessons. The best weights lie in memory twice for
        # a moment; so do they here, since what the tail was before is kept.
        states = {one.tokens: one.length for one in all_}
        here = {one.tokens: one.length for one in (*sample, *looks)}
        width = self._specialist.base.hidden
        rows = (sum(some.values()) if self._depth else len(some) for some in (states, here))
        kept, held = (
            min(room_for_activations(), one * width * self._specialist.dtype.itemsize) for one in rows
        )
        self._peaks["tail"] = round(_GAPS * (hardware.peak_memory() + max(0, kept - held)))

    def _enough(self, made: int, begun: float) -> bool:
        return made >= _STEPS or time.perf_counter() - begun > self._share * _TAIL_SECONDS

    # Checkpoint

    def _keep(self) -> None:
        path, state = self._scratch / "state.safetensors", dict(self._moments())
        begun = time.perf_counter()
        weights.write(state, path)
        files.crc32(path)
        self._saw("keeping", self._load.keeping(path.stat().st_size), time.perf_counter() - begun)

    def _moments(self) -> Iterator[tuple[str, torch.Tensor]]:
        """As much as a point of the way holds, unless that is too much: numbers, three for each weight."""
        size = 0
        for name, weight in weights.trained(self._specialist.tail).items():
            for moment in range(3):
                if size < _KEPT:
                    yield f"{name}.{moment}", weight.float() + moment
                    size += 4 * weight.numel()

    # Answers

    def _answers(self, questions: Sequence[Question]) -> Timings:
        answering = self._specialist.base_model(self._load.longest)
        if isinstance(answering, CompletedAnswers):
            answering = answering.answering  # what is derived takes no time that shows
        if isinstance(answering, WrittenAnswers):
            return self._write(answering, questions)
        asked = _spread(questions, _CHOICES)
        hardware.reset_peak_memory()
        for _ in answering(asked[:_FIRST]):
            pass
        begun = time.perf_counter()
        for _ in answering(asked):
            pass
        self._saw("reading", self._load.reading(len(asked)), time.perf_counter() - begun)
        self._peaks["evaluate"] = hardware.peak_memory()
        return Timings()

    def _write(self, answering: WrittenAnswers, questions: Sequence[Question]) -> Timings:
        """A few answers and some more, each so far as to see how long a token takes."""
        longest, timed, lengths = self._load.longest, list[tuple[float, float, float]](), list[int]()
        hardware.reset_peak_memory()
        before = hardware.used_memory()
        few, many = _QUESTIONS
        for count in (few, max(few, round(self._share * many))):
            asked, watch, begun = _spread(questions, count), _Watch(), time.perf_counter()
            for _ in answering.watched(asked, lambda watch=watch: watch.over(answering.constraint)):  # type: ignore[misc]
                pass
            lengths += watch.lengths
            read, steps = watch.moments[0] - begun, len(watch.moments) - 1
            if steps:
                took = watch.moments[-1] - watch.moments[0]
                timed.append((*self._load.written(len(asked), steps, steps), took))
        self._saw("reading", self._load.reading(len(asked)), read)
        tokens = round(self._load.instruction_tokens + self._load.question + longest)
        together = answering.writer.together(tokens)
        rows = min(together, len(questions))
        room = answering.writer.room
        extra = (hardware.peak_memory() - before) * rows / len(asked)
        self._peaks["evaluate"] = before + round(max(extra, rows * room(tokens)))
        # Those that had to end early count as the longest.
        written = sum(longest if length >= _TOKENS else length for length in lengths) / len(lengths)
        step, row = writing_pace(timed[0], timed[-1]) if timed else (None, None)
        return Timings(written=written, together=together, step=step, row=row)

    def _saw(self, kind: Kind, planned: float, took: float) -> None:
        if planned > 0:
            self._pieces.append(Observation(kind, planned, took))


class _Watch:
    """Notes when each token of the first answer came, and ends all answers early."""

    def __init__(self) -> None:
        self.moments: list[float] = []
        self.lengths: list[int] = []
        """Tokens of each answer."""

    def over(self, inner: Callable[[], Constraint] | None) -> "_Watched":
        """The constraint of one answer, over the one that it would have."""
        place = len(self.lengths)
        self.lengths.append(0)
        return _Watched(self, place, inner() if inner else None)

    def asked(self, place: int) -> None:
        """The token that comes next in an answer is looked for."""
        self.lengths[place] += 1
        if self.lengths[place] > len(self.moments):
            self.moments.append(time.perf_counter())


class _Watched:
    """A constraint that looks on."""

    def __init__(self, watch: _Watch, place: int, inner: Constraint | None) -> None:
        self._watch, self._place, self._inner, self._taken = watch, place, inner, 0

    def allowed(self) -> Sequence[int] | torch.Tensor | None:
        """What the inner one allows."""
        self._watch.asked(self._place)
        return self._inner.allowed() if self._inner else None

    def take(self, token: int) -> None:
        """Go on."""
        self._taken += 1
        if self._inner:
            self._inner.take(token)

    def settled(self) -> tuple[int, ...] | None:
        """The rest, if it is settled, or nothing more is to be watched."""
        if self._inner and (rest := self._inner.settled()) is not None:
            return rest
        return () if self._taken >= _TOKENS else None

    def forced(self) -> tuple[int, ...]:
        """Nothing: each token is to be seen coming."""
        return ()

    def ending(self) -> tuple[int, ...]:
        """As the inner one ends it."""
        return self._inner.ending() if self._inner else ()


def _spread(questions: Sequence[Question], count: int) -> list[Question]:
    """So many of the questions, from all over them."""
    return list(questions[:: max(1, len(questions) // count)])[:count]


def _counts(encoded: Sequence[EncodedExample]) -> tuple[int, int]:
    """Tokens and targets."""
    return sum(one.length for one in encoded), sum(len(one.targets) for one in encoded)
