"""The search: plans what the budget has room for, tries settings, and chooses one.

All decisions follow from the seed and the scores, but for those that time makes, and these are told:
which bases, depths and share of the lessons are planned (`SearchPlanned`), which settings are not
begun or not ended (`TrialDone`), and after how many trials the search ends (`SearchEnded`). From these
events a search that was interrupted goes on behind the last trial that was ended.

Knows settings, scores and seconds; nothing of how a specialist is measured or packaged.
"""

import math
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from azubi.data import instruction
from azubi.data.contract import Contract
from azubi.data.splits.splitting import Split
from azubi.engine.base.hardware import Machine
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.model.weights import State as Weights
from azubi.engine.training import loop
from azubi.errors import RunError, StorageError, TrainingError, UsageError
from azubi.events import events as ev
from azubi.events.epoch import Epoch
from azubi.events.trial import Choice, State, Trial, choose, undominated
from azubi.planning.timings import Timings
from azubi.search import candidates
from azubi.search import replay as past
from azubi.search.estimate import Estimate
from azubi.search.halving import Halving, Mark
from azubi.search.replay import Past
from azubi.search.setting import Setting
from azubi.search.space import Options, Space
from azubi.search.time_budget import TimeBudget
from azubi.search.trial_runner import TrialRunner
from azubi.search.trial_weights import TrialWeights
from azubi.settings import Recipe

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
_MISSES = 24
"""So many draws in a row that were tried before, or for which there is no time, end the search."""

_QUESTIONS = 8
"""The untouched base answers so many, to learn how long the test will take."""
_LOOK = 1.0
"""Seconds between two looks at the time within an epoch."""

_TIE = 1e-3
"""Weight of exp(-loss) in halving: it tells equals apart, as when no answer is wholly right yet."""

Tries = Generator[ev.Event, None, None]


@dataclass(frozen=True)
class SearchTask:
    """What settings are looked for."""

    recipe: Recipe
    contract: Contract
    split: Split
    system: str | None
    """The instruction with which all examples began."""
    machine: Machine
    home: Path


@dataclass(frozen=True)
class Found:
    """What a search ends with."""

    recipe: Recipe
    """Trains with what was found, and has no budget: it searches no more."""
    trials: tuple[Trial, ...] = ()
    choice: Choice | None = None
    weights: Weights | None = None
    """Those of the chosen trial, if it was trained just as the run itself would."""
    after: float = 0.0
    """Seconds that are needed when the tail is trained."""
    observed: Timings = field(default_factory=Timings)
    """How long things took with the base that is left."""


def search(
    quest: SearchTask,
    allowance: TimeBudget,
    cache: ActivationCache,
    folder: Path,
    earlier: Sequence[ev.Event] = (),
) -> Generator[ev.Event, None, Found]:
    """Find the settings that the recipe leaves open, such that the whole run ends with the allowance.

    Yields what happens. Weights of promising trials are kept in `folder`, the run's own; with the events
    that the run told `earlier`, the search goes on where these end.

    Raises:
        UsageError: base and task do not fit each other.
        RunError: something failed; a trial that does not learn is no such thing.
    """
    return (yield from _Search(quest, allowance, cache, TrialWeights(folder), past.past(earlier)).run())


@dataclass
class _Outcome:
    """What is known of a trial so far."""

    state: State = "done"
    curve: list[Epoch] = field(default_factory=list)
    work: float = 0.0
    """Floating-point operations of trunk and tail that could not be avoided."""

    @property
    def best(self) -> Epoch | None:
        """The best epoch so far, whose weights are kept."""
        return next((one for one in reversed(self.curve) if one.best), None)


@dataclass
class _Search:
    quest: SearchTask
    allowance: TimeBudget
    cache: ActivationCache
    shelf: TrialWeights
    past: Past
    benches: dict[str, TrialRunner] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def run(self) -> Generator[ev.Event, None, Found]:
        recipe, split = self.quest.recipe, self.quest.split
        plan = self.past.plan
        speed = plan.gflops if plan else self.quest.machine.gflops
        self.estimate = Estimate(self.benches, self.allowance, speed * 1e9, len(split.train), len(split.test))
        name, *others = candidates.bases(recipe, self.quest.contract, self.quest.home)
        self._open(name)
        default = self.benches[name].default
        if self.past.skipped:
            return self._without(default)
        if plan is not None:
            self._go_on(plan)
        elif not self._has_room(default):
            yield ev.Notice(
                text=f"The budget of {recipe.budget} is too small for a search. "
                "The measured defaults are used."
            )
            return self._without(default)
        else:
            for other in others:
                self._invite(other)
        space = Space({base: self._options(bench) for base, bench in self.benches.items()})
        if space.single:
            yield ev.Notice(text="There is nothing to search, since every setting is given.")
            return self._without(default)
        self.begun = self.allowance.clock()
        yield self._planned(space)
        reason = self.past.ended.reason if self.past.ended else (yield from self._try_all(space))
        return (yield from self._conclude(reason, default))

    def _conclude(self, reason: ev.Ending, default: Setting) -> Generator[ev.Event, None, Found]:
        choice = choose(self.trials)
        numbers = (choice.best.number, choice.chosen.number) if choice else (None, None)
        yield ev.SearchEnded(reason=reason, best=numbers[0], chosen=numbers[1])
        trials = tuple(self.trials)
        if choice is None:
            yield ev.Notice(text="No trial was trained to its end; the measured defaults are used.")
            return replace(self._without(default), trials=trials)
        chosen, number = _setting(choice.chosen), choice.chosen.number
        self.shelf.clear(but=(number,))
        weights = self.shelf.get(number) if self.estimate.whole else None
        after, observed = self.estimate.close(chosen), self.estimate.observed(chosen.base)
        return Found(self._applied(chosen), trials, choice, weights, after, observed)

    def _without(self, default: Setting) -> Found:
        observed = self.estimate.observed(default.base)
        return Found(self._applied(default), after=self.estimate.close(default), observed=observed)

    def _applied(self, setting: Setting) -> Recipe:
        text = self.benches[setting.base].texts[setting.instruction]
        return setting.applied(self.quest.recipe, instruction.to_setting(text) if setting.instruction else None)

    # What there is room for

    def _open(self, name: str) -> None:
        begun = self.allowance.clock()
        quest = self.quest
        self.benches[name] = candidates.opened(
            name,
            quest.recipe,
            quest.contract,
            quest.split,
            quest.system,
            quest.home,
            quest.machine.dtype,
        )
        self.estimate.opened(name, self.allowance.clock() - begun)

    def _go_on(self, plan: ev.SearchPlanned) -> None:
        """Keep to what was planned when the search began; only the time that is left is another."""
        self.window, self.estimate.count = plan.seconds, plan.lessons
        self.left_out, self.trials = list(plan.left_out), list(self.past.trials)
        for name in plan.depths:
            if name not in self.benches:
                self._open(name)
            self._ask_some(self.benches[name].default)

    def _has_room(self, default: Setting) -> bool:
        """Set the time for trials and their share of the lessons; whether there is room for a search."""
        self._ask_some(default)
        total = len(self.quest.split.train)
        whole = self.estimate.trial(default)
        before = self.estimate.trunk(default) + self.estimate.after(default)
        self.window = max(0.0, self.allowance.left() - before)
        share = min(1.0, max(_SMALLEST, self.window / (_ROOM * whole)))
        self.estimate.count = min(total, max(_FEW, round(share * total)))
        return self.window >= _FEWEST * self.estimate.trial(default)

    def _ask_some(self, default: Setting) -> None:
        """Learn how long answers take where they are written, which is the longest part behind a search."""
        bench = self.benches[default.base]
        if bench.base.kind == "decoder":
            begun = self.allowance.clock()
            asked = bench.answer(default.instruction, _QUESTIONS)
            self.estimate.answered(default, asked, self.allowance.clock() - begun)

    def _invite(self, name: str) -> None:
        """Take another base in, if it fits the task, and two trials of it have room in half of the time."""
        try:
            self._open(name)
        except (UsageError, RunError) as error:
            self.left_out.append(f"{name}: {error.problem}")
            return
        default = self.benches[name].default
        self._ask_some(default)
        needed = self.estimate.trunk(default) + 2 * self.estimate.trial(default)
        room = min(self.window / 2, self.allowance.left() - self.estimate.after(default))
        if needed > room:
            self.left_out.append(f"{name}: two trials take about {needed:.0f} s")
            del self.benches[name]

    def _options(self, bench: TrialRunner) -> Options:
        plan, base = self.past.plan, bench.default.base

        def fits(setting: Setting) -> bool:
            if plan is not None:
                return setting.tail_layers in plan.depths[base] and setting.epochs in plan.epochs[base]
            return self.estimate.trial(setting) <= _DEAR * self.window

        found = candidates.options(bench, self.quest.recipe, self.quest.contract, fits)
        self.estimate.depths[base] = found.depths
        deeper = sorted(set(candidates.ladder(bench.base)) - set(found.depths))
        if deeper and self.quest.recipe.tail_layers == "auto" and plan is None:
            self.left_out.append(f"{base}: {', '.join(map(str, deeper))} layers take too long")
        return found

    def _planned(self, space: Space) -> ev.SearchPlanned:
        if self.past.plan is not None:
            return self.past.plan.model_copy(update={"earlier": tuple(self.trials)})
        machine = self.quest.machine
        return ev.SearchPlanned(
            seconds=self.window,
            lessons=self.estimate.count,
            depths={base: one.depths for base, one in space.options.items()},
            ranks=next(iter(space.options.values())).ranks,
            epochs={base: one.epochs for base, one in space.options.items()},
            primes={base: self.benches[base].texts for base in space.options},
            left_out=tuple(self.left_out),
            dtype=machine.dtype_name,
            threads=machine.threads,
            gflops=machine.gflops,
        )

    def _fits(self, setting: Setting) -> bool:
        """Whether a trial would end in time for what comes after, whichever setting is then chosen."""
        needed = self.estimate.trunk(setting) + self.estimate.trial(setting)
        return needed + self._reserve(setting) <= self.allowance.left()

    def _reserve(self, trying: Setting) -> float:
        """Seconds that must be left behind the search if this trial ends, or is given up."""
        choice = choose(self.trials)
        if choice is None:  # then the default is trained, whatever becomes of this trial
            default = next(iter(self.benches.values())).default
            return max(self.estimate.after(default), self.estimate.after(trying, self.estimate.whole))
        leaders = (choice.best, choice.chosen)
        needed = [self.estimate.after(_setting(one), self.shelf.holds(one.number)) for one in leaders]
        return max(*needed, self.estimate.after(trying, self.estimate.whole))

    # Trials

    def _try_all(self, space: Space) -> Generator[ev.Event, None, ev.Ending]:
        halving = Halving(space, self.quest.recipe.seed)
        before = deque(self.trials)
        known: set[Setting] = set()
        late, misses = False, 0
        while len(self.trials) < _MOST and misses < _MISSES:
            setting = halving.ask()
            misses += 1
            if setting in known:
                halving.end(None)
                continue
            known.add(setting)
            if before and _setting(before[0]) == setting:
                told = before.popleft()
                state = self._repeat(told, halving)
            elif self._fits(setting):
                state = yield from self._try(setting, halving)
            else:
                yield self._told(setting, _Outcome(state="no time"), 0.0)
                halving.end(None)
                state = "no time"
            late = late or state == "no time"
            misses = misses if state == "no time" else 0
        if misses < _MISSES:
            return "enough was tried"
        return "the time is used up" if late else "nothing new to try"

    def _repeat(self, trial: Trial, halving: Halving) -> State:
        """Tell the study what came of a trial before the search was interrupted."""
        outcome = _Outcome(state=trial.state)
        for epoch in trial.curve:
            outcome.curve.append(epoch)
            self._goes_on(_setting(trial), outcome, halving)
        self._end(outcome, halving)
        return trial.state

    def _try(self, setting: Setting, halving: Halving) -> Generator[ev.Event, None, State]:
        begun = self.allowance.clock()
        outcome = _Outcome()
        try:
            yield from self._fill(setting, outcome)
            yield from self._train(setting, halving, outcome)
        except TrainingError:
            outcome.state = "failed"
        self._end(outcome, halving)
        told = self._told(setting, outcome, self.allowance.clock() - begun)
        self._keep(told.trial)
        yield told
        return outcome.state

    def _end(self, outcome: _Outcome, halving: Halving) -> None:
        if outcome.state in ("stopped early", "out of time"):
            halving.stop()
        else:
            halving.end(self._mark(outcome, 0.0).score if outcome.state == "done" else None)

    def _keep(self, trial: Trial) -> None:
        """Keep the weights of a trial that may be chosen; those of trials that no longer can be may go."""
        if trial.state != "done" or not self.estimate.whole:
            return
        wanted = {one.number for one in undominated(self.trials)}
        if trial.number in wanted:
            with suppress(StorageError):  # then it is trained once more, if it is chosen
                self.shelf.put(trial.number, self.benches[trial.base].trained())
        self.shelf.clear(but=wanted)

    def _fill(self, setting: Setting, outcome: _Outcome) -> Tries:
        """Run the trunk once for all depths, at the first trial of a base with a prime."""
        if self.estimate.trunk(setting) == 0:
            return
        begun = self.allowance.clock()
        filled = None
        depths = self.estimate.depths[setting.base]
        for filled in self.benches[setting.base].fill(
            self.cache, setting.instruction, self.estimate.count, depths
        ):
            note = f"the trunk of {setting.base}: {filled.done:,} of {filled.total:,} examples"
            yield self._progress(note)
        share = (filled.total - filled.reused) / filled.total if filled else 0.0
        self.estimate.filled(setting, share, self.allowance.clock() - begun)
        if filled is not None:
            deepest = self.estimate.load(setting).work(min(depths), 0)
            outcome.work += deepest.trunk(filled.tokens)
            if filled.without:
                yield ev.Notice(
                    text=f"The activations of {filled.without:,} examples are not kept, since "
                    f"{self.cache.full}: trials take longer. "
                    "--cache-dtype int8 takes a quarter of the room of float32."
                )

    def _train(self, setting: Setting, halving: Halving, outcome: _Outcome) -> Tries:
        looked = seen = 0.0
        bench, load = self.benches[setting.base], self.estimate.load(setting)
        work = load.work(setting.tail_layers, setting.rank)
        with closing(bench.train(setting, self.cache, self.estimate.count)) as happenings:
            for happened in happenings:
                now = self.allowance.clock()
                if isinstance(happened, loop.RolledBack):
                    # The run itself would go back to another point, and a lower rate is another setting.
                    outcome.state = "failed"
                elif isinstance(happened, loop.Step):
                    outcome.work += work.step(happened.tokens, happened.targets, load.prime)
                    share = happened.step / happened.steps
                    last = happened.step * setting.epochs % happened.steps == 0
                    if not seen:
                        # The first step takes what only first ones do, and the tail was made before it.
                        looked, seen = now, share
                    elif now - looked >= _LOOK or last:
                        self.estimate.taught(setting, share - seen, now - looked)
                        looked, seen = now, share
                        yield self._progress(f"{setting.words}, epoch {happened.epoch} of {setting.epochs}")
                        self._watch(outcome, self._reserve(setting))
                elif isinstance(happened, loop.Epoch):
                    self.estimate.checked(setting, now - looked)
                    looked = now
                    outcome.curve.append(_epoch(happened))
                    if happened.epoch < setting.epochs:
                        if not self._goes_on(setting, outcome, halving):
                            outcome.state = "stopped early"
                        rest = self.estimate.trial(setting, setting.epochs - happened.epoch)
                        self._watch(outcome, self._reserve(setting) + rest)
                if outcome.state != "done":
                    return

    def _watch(self, outcome: _Outcome, needed: float) -> None:
        """Give a trial up if the time does not do."""
        if outcome.state == "done" and self.allowance.left() < needed:
            outcome.state = "out of time"

    def _goes_on(self, setting: Setting, outcome: _Outcome, halving: Halving) -> bool:
        """Whether halving lets a trial go on behind the epoch that it just ended."""
        share = len(outcome.curve) / setting.epochs
        mark = self._mark(outcome, self.estimate.cost(setting, setting.epochs))
        return share >= 1 or halving.judge(share, mark)

    def _mark(self, outcome: _Outcome, cost: float) -> Mark:
        """How a trial stands, as halving compares it."""
        score, error = self._score(outcome)
        sure = math.exp(-outcome.best.validation_loss) if outcome.best else 0.0
        return Mark((score or 0.0) + _TIE * sure, error, cost)

    def _score(self, outcome: _Outcome) -> tuple[float | None, float]:
        """Score of the best epoch so far and its standard error; no score before an epoch was ended."""
        best = outcome.best
        if best is None:
            return None, 0.0
        if self.quest.contract.task == "text":
            score = math.exp(-best.validation_loss)
            return score, score * best.loss_error
        count = len(self.quest.split.validation)
        # One more right and one more wrong than was seen (Agresti and Coull), or all right would be certain.
        share = (best.validation_accuracy * count + 1) / (count + 2)
        return best.validation_accuracy, math.sqrt(share * (1 - share) / (count + 2))

    def _told(self, setting: Setting, outcome: _Outcome, seconds: float) -> ev.TrialDone:
        score, error = self._score(outcome)
        trained = len(outcome.curve)
        trial = Trial(
            number=len(self.trials) + 1,
            base=setting.base,
            instruction=setting.instruction,
            tail_layers=setting.tail_layers,
            rank=setting.rank,
            learning_rate=setting.learning_rate,
            epochs=setting.epochs,
            trained=trained,
            state=outcome.state,
            score=score,
            error=error,
            cost=self.estimate.cost(setting, trained or setting.epochs),
            seconds=seconds,
            curve=tuple(outcome.curve),
            work=outcome.work,
        )
        self.trials.append(trial)
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


def _setting(trial: Trial) -> Setting:
    return Setting(
        trial.base, trial.instruction, trial.tail_layers, trial.rank, trial.learning_rate, trial.epochs
    )


def _epoch(done: loop.Epoch) -> Epoch:
    return Epoch(
        epoch=done.epoch,
        loss=done.loss,
        validation_loss=done.validation_loss,
        validation_accuracy=done.validation_accuracy,
        best=done.best,
        loss_error=done.loss_error,
        seconds=done.seconds,
    )
