"""The search: plans what the budget has room for, tries settings, and chooses one.

All decisions follow from the seed and the scores, but for those that time makes, and these are told:
which bases, depths and share of the lessons are planned (`SearchPlanned`), which settings are not
begun or not ended (`TrialDone`), and after how many trials the search ends (`SearchEnded`).

Knows settings, scores and seconds; nothing of how a specialist is measured or packaged.
"""

import math
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from azubi import events as ev
from azubi.activations import ActivationCache
from azubi.base import probe
from azubi.data.contract import Contract
from azubi.data.splitting import Split
from azubi.errors import RunError, TrainingError, UsageError
from azubi.evaluate.trial import Choice, State, Trial, choose
from azubi.search import roster
from azubi.search.allowance import Allowance
from azubi.search.bench import Bench
from azubi.search.estimate import Estimate
from azubi.search.halving import Halving, Mark
from azubi.search.setting import Setting
from azubi.search.space import Options, Space
from azubi.settings import Recipe
from azubi.tail import training

_ROOM = 8
"""So many trials of the default setting should have room; halving makes about twice as many of them."""
_FEWEST = 3
"""With room for fewer, there is no search."""
_SMALLEST = 0.2
"""With a smaller share of the lessons, trials say too little about training with all of them."""
_FEW = 100
"""Nor do trials with fewer lessons, unless there are no more."""
_DEAR = 0.25
"""Share of the search's time that one trial may take."""
_MOST = 60
"""Trials."""
_MISSES = 8
"""So many draws in a row that were tried before, or for which there is no time, end the search."""

_TIE = 1e-3
"""Weight of exp(-loss) in halving: it tells equals apart, as when no answer is wholly right yet."""

Tries = Generator[ev.Event, None, None]


@dataclass(frozen=True)
class Found:
    """What a search ends with."""

    recipe: Recipe
    """Trains with what was found, and has no budget: it searches no more."""
    trials: tuple[Trial, ...] = ()
    choice: Choice | None = None


def search(
    recipe: Recipe, contract: Contract, split: Split, system: str | None, home: Path, allowance: Allowance
) -> Generator[ev.Event, None, Found]:
    """Find the settings that `recipe` leaves open, such that the whole run ends with the allowance.

    `system` is the instruction with which all examples began. Yields what happens.

    Raises:
        UsageError: base and task do not fit each other.
        RunError: something failed; a trial that does not learn is no such thing.
    """
    with closing(ActivationCache(home)) as cache:
        return (yield from _Search(recipe, contract, split, system, home, allowance, cache).run())


@dataclass
class _Outcome:
    """What is known of a trial so far."""

    state: State = "done"
    trained: int = 0
    score: float | None = None
    error: float = 0.0
    sure: float = 0.0
    """exp(-validation loss)."""
    share: float = 0.0
    """Of its steps, done."""


@dataclass
class _Search:
    recipe: Recipe
    contract: Contract
    split: Split
    system: str | None
    home: Path
    allowance: Allowance
    cache: ActivationCache
    benches: dict[str, Bench] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)
    settings: dict[int, Setting] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def run(self) -> Generator[ev.Event, None, Found]:
        self.machine = probe.probe(self.recipe.dtype, self.recipe.threads)
        self.estimate = Estimate(
            self.benches,
            self.allowance,
            self.machine.gflops * 1e9,
            len(self.split.train),
            len(self.split.test),
        )
        name, *others = roster.bases(self.recipe, self.contract)
        self.benches[name] = self._opened(name)
        default = self.benches[name].default
        if not self._has_room(default):
            yield ev.Notice(
                text=f"The budget of {self.recipe.budget} is too small for a search. "
                "The measured defaults are used."
            )
            return Found(self._applied(default))
        for other in others:
            self._invite(other)
        space = Space({base: self._options(bench) for base, bench in self.benches.items()})
        if space.single:
            yield ev.Notice(text="There is nothing to search, since every setting is given.")
            return Found(self._applied(default))
        self.begun = self.allowance.clock()
        yield self._planned(space)
        reason = yield from self._try_all(space)
        choice = choose(self.trials)
        numbers = (choice.best.number, choice.chosen.number) if choice else (None, None)
        yield ev.SearchEnded(reason=reason, best=numbers[0], chosen=numbers[1])
        if choice is None:
            yield ev.Notice(text="No trial was trained to its end; the measured defaults are used.")
            return Found(self._applied(default), tuple(self.trials))
        return Found(self._applied(self.settings[choice.chosen.number]), tuple(self.trials), choice)

    def _applied(self, setting: Setting) -> Recipe:
        text = self.benches[setting.base].texts[setting.prime]
        return setting.applied(self.recipe, text if setting.prime else None)

    # What there is room for

    def _opened(self, name: str) -> Bench:
        return roster.opened(
            name, self.recipe, self.contract, self.split, self.system, self.home, self.machine.dtype
        )

    def _has_room(self, default: Setting) -> bool:
        """Set the time for trials and their share of the lessons; whether there is room for a search."""
        total = len(self.split.train)
        whole = self.estimate.trial(default)
        before = self.estimate.trunk(default) + self.estimate.after(default)
        self.window = max(0.0, self.allowance.left() - before)
        share = min(1.0, max(_SMALLEST, self.window / (_ROOM * whole)))
        self.estimate.count = min(total, max(_FEW, round(share * total)))
        return self.window >= _FEWEST * self.estimate.trial(default)

    def _invite(self, name: str) -> None:
        """Take another base in, if it fits the task, and two trials of it have room in half of the time."""
        try:
            bench = self.benches[name] = self._opened(name)
        except (UsageError, RunError) as error:
            self.left_out.append(f"{name}: {error.problem}")
            return
        needed = self.estimate.trunk(bench.default) + 2 * self.estimate.trial(bench.default)
        room = min(self.window / 2, self.allowance.left() - self.estimate.after(bench.default))
        if needed > room:
            self.left_out.append(f"{name}: two trials take about {needed:.0f} s")
            del self.benches[name]

    def _options(self, bench: Bench) -> Options:
        def fits(setting: Setting) -> bool:
            return self.estimate.trial(setting) <= _DEAR * self.window

        found = roster.options(bench, self.recipe, self.contract, fits)
        self.estimate.depths[bench.default.base] = found.depths
        deeper = sorted(set(roster.ladder(bench.base)) - set(found.depths))
        if deeper and self.recipe.tail_layers == "auto":
            self.left_out.append(f"{bench.default.base}: {', '.join(map(str, deeper))} layers take too long")
        return found

    def _planned(self, space: Space) -> ev.SearchPlanned:
        return ev.SearchPlanned(
            seconds=self.window,
            lessons=self.estimate.count,
            depths={base: one.depths for base, one in space.options.items()},
            ranks=next(iter(space.options.values())).ranks,
            epochs={base: one.epochs for base, one in space.options.items()},
            primes={base: self.benches[base].texts for base in space.options},
            left_out=tuple(self.left_out),
        )

    def _fits(self, setting: Setting) -> bool:
        needed = self.estimate.trunk(setting) + self.estimate.trial(setting)
        return needed + self._reserve(setting) <= self.allowance.left()

    def _reserve(self, *settings: Setting) -> float:
        """Seconds that must be left behind the search, whichever of these or of the leaders is chosen."""
        choice = choose(self.trials)
        leaders = [self.settings[one.number] for one in (choice.best, choice.chosen)] if choice else []
        return max(self.estimate.after(one) for one in [*leaders, *settings])

    # Trials

    def _try_all(self, space: Space) -> Generator[ev.Event, None, ev.Ending]:
        halving = Halving(space, self.recipe.seed)
        known: set[Setting] = set()
        late, misses = False, 0
        while len(self.trials) < _MOST and misses < _MISSES:
            setting = halving.ask()
            if setting not in known and self._fits(setting):
                known.add(setting)
                misses = 0
                yield from self._try(setting, halving)
                continue
            if setting not in known:
                known.add(setting)
                late = True
                yield self._told(setting, _Outcome(state="no time"), 0.0)
            halving.end(None)
            misses += 1
        if misses < _MISSES:
            return "enough was tried"
        return "the time is used up" if late else "nothing new to try"

    def _try(self, setting: Setting, halving: Halving) -> Tries:
        begun = self.allowance.clock()
        outcome = _Outcome()
        try:
            yield from self._fill(setting)
            yield from self._train(setting, halving, outcome)
        except TrainingError:
            outcome.state = "failed"
        if outcome.state in ("stopped early", "out of time"):
            halving.stop()
        else:
            halving.end((outcome.score or 0.0) + _TIE * outcome.sure if outcome.state == "done" else None)
        yield self._told(setting, outcome, self.allowance.clock() - begun)

    def _fill(self, setting: Setting) -> Tries:
        """Run the trunk once for all depths, at the first trial of a base with a prime."""
        if self.estimate.trunk(setting) == 0:
            return
        begun = self.allowance.clock()
        share = 0.0
        depths = self.estimate.depths[setting.base]
        for filled in self.benches[setting.base].fill(self.cache, setting.prime, self.estimate.count, depths):
            note = f"the trunk of {setting.base}: {filled.done:,} of {filled.total:,} examples"
            yield self._progress(note)
            share = (filled.total - filled.reused) / filled.total
        self.estimate.filled(setting, share, self.allowance.clock() - begun)

    def _train(self, setting: Setting, halving: Halving, outcome: _Outcome) -> Tries:
        begun = said = self.allowance.clock()
        reserve = self._reserve(setting)
        cost = self.estimate.cost(setting, setting.epochs)
        training_ = self.benches[setting.base].train(setting, self.cache, self.estimate.count)
        with closing(training_) as happenings:
            for happened in happenings:
                now = self.allowance.clock()
                if isinstance(happened, training.Step):
                    outcome.share = happened.step / happened.steps
                    if now - said >= 1:
                        said = now
                        yield self._progress(f"{setting.words}, epoch {happened.epoch} of {setting.epochs}")
                    if self.allowance.left() < reserve:
                        outcome.state = "out of time"
                        break
                elif isinstance(happened, training.Epoch):
                    self._measure(happened, outcome)
                    mark = Mark((outcome.score or 0.0) + _TIE * outcome.sure, outcome.error, cost)
                    share = happened.epoch / setting.epochs
                    if share < 1 and not halving.judge(share, mark):
                        outcome.state = "stopped early"
                        break
        self.estimate.trained(setting, outcome.share, self.allowance.clock() - begun)

    def _measure(self, done: training.Epoch, outcome: _Outcome) -> None:
        """Keep the score of the best epoch so far, whose weights are kept too."""
        outcome.trained = done.epoch
        if not done.best:
            return
        outcome.sure = math.exp(-done.validation_loss)
        if self.contract.task == "text":
            outcome.score = outcome.sure
            outcome.error = outcome.score * done.loss_error
            return
        outcome.score, count = done.validation_accuracy, len(self.split.validation)
        # One more right and one more wrong than was seen (Agresti and Coull), or all right would be certain.
        share = (outcome.score * count + 1) / (count + 2)
        outcome.error = math.sqrt(share * (1 - share) / (count + 2))

    def _told(self, setting: Setting, outcome: _Outcome, seconds: float) -> ev.TrialDone:
        trial = Trial(
            number=len(self.trials) + 1,
            base=setting.base,
            prime=setting.prime,
            tail_layers=setting.tail_layers,
            rank=setting.rank,
            learning_rate=setting.learning_rate,
            epochs=setting.epochs,
            trained=outcome.trained,
            state=outcome.state,
            score=outcome.score,
            error=outcome.error,
            cost=self.estimate.cost(setting, outcome.trained or setting.epochs),
            seconds=seconds,
        )
        self.trials.append(trial)
        self.settings[trial.number] = setting
        return ev.TrialDone(trial=trial)

    def _progress(self, note: str) -> ev.Progress:
        spent = self.allowance.clock() - self.begun
        return ev.Progress(
            stage="search",
            done=min(round(spent), round(self.window)),
            total=round(self.window),
            unit="seconds of trials",
            left=max(0.0, self.allowance.left()),
            note=f"trial {len(self.trials) + 1}: {note}",
        )
