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
from azubi.planning.cost_model import Timings
from azubi.search import candidates
from azubi.search.candidates import Options, Space
from azubi.search.estimate import Estimate, TimeBudget
from azubi.search.halving import Halving, TrialScore
from azubi.search.trial_runner import Setting, TrialRunner
from azubi.search.trial_weights import Replay, TrialWeights, replay
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
_CHECK_EVERY = 1.0
"""Seconds between two checks of the time within an epoch."""

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
class SearchOutcome:
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
    task: SearchTask,
    budget: TimeBudget,
    cache: ActivationCache,
    folder: Path,
    earlier: Sequence[ev.Event] = (),
) -> Generator[ev.Event, None, SearchOutcome]:
    """Find the settings that the recipe leaves open, such that the whole run ends with the allowance.

    Yields what happens. Weights of promising trials are kept in `folder`, the run's own; with the events
    that the run told `earlier`, the search goes on where these end.

    Raises:
        UsageError: base and task do not fit each other.
        RunError: something failed; a trial that does not learn is no such thing.
    """
    return (yield from _Search(task, budget, cache, TrialWeights(folder), replay(earlier)).run())


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
        return next((epoch for epoch in reversed(self.curve) if epoch.best), None)


@dataclass
class _Search:
    task: SearchTask
    budget: TimeBudget
    cache: ActivationCache
    trial_weights: TrialWeights
    earlier: Replay
    runners: dict[str, TrialRunner] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def run(self) -> Generator[ev.Event, None, SearchOutcome]:
        recipe, split = self.task.recipe, self.task.split
        plan = self.earlier.plan
        speed = plan.gflops if plan else self.task.machine.gflops
        self.estimate = Estimate(self.runners, self.budget, speed * 1e9, len(split.train), len(split.test))
        name, *others = candidates.bases(recipe, self.task.contract, self.task.home)
        self._open(name)
        default = self.runners[name].default
        if self.earlier.skipped:
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
        space = Space({base: self._options(runner) for base, runner in self.runners.items()})
        if space.single:
            yield ev.Notice(text="There is nothing to search, since every setting is given.")
            return self._without(default)
        self.begun = self.budget.clock()
        yield self._planned(space)
        reason = self.earlier.ended.reason if self.earlier.ended else (yield from self._try_all(space))
        return (yield from self._conclude(reason, default))

    def _conclude(self, reason: ev.Ending, default: Setting) -> Generator[ev.Event, None, SearchOutcome]:
        choice = choose(self.trials)
        numbers = (choice.best.number, choice.chosen.number) if choice else (None, None)
        yield ev.SearchEnded(reason=reason, best=numbers[0], chosen=numbers[1])
        trials = tuple(self.trials)
        if choice is None:
            yield ev.Notice(text="No trial was trained to its end; the measured defaults are used.")
            return replace(self._without(default), trials=trials)
        chosen, number = _setting(choice.chosen), choice.chosen.number
        self.trial_weights.clear(but=(number,))
        weights = self.trial_weights.get(number) if self.estimate.whole else None
        after, observed = self.estimate.close(chosen), self.estimate.observed(chosen.base)
        return SearchOutcome(self._applied(chosen), trials, choice, weights, after, observed)

    def _without(self, default: Setting) -> SearchOutcome:
        observed = self.estimate.observed(default.base)
        return SearchOutcome(self._applied(default), after=self.estimate.close(default), observed=observed)

    def _applied(self, setting: Setting) -> Recipe:
        text = self.runners[setting.base].texts[setting.instruction]
        return setting.applied(
            self.task.recipe, instruction.to_setting(text) if setting.instruction else None
        )

    # What there is room for

    def _open(self, name: str) -> None:
        begun = self.budget.clock()
        task = self.task
        self.runners[name] = candidates.opened(
            name,
            task.recipe,
            task.contract,
            task.split,
            task.system,
            task.home,
            task.machine.dtype,
        )
        self.estimate.opened(name, self.budget.clock() - begun)

    def _go_on(self, plan: ev.SearchPlanned) -> None:
        """Keep to what was planned when the search began; only the time that is left is another."""
        self.window, self.estimate.count = plan.seconds, plan.encoded
        self.left_out, self.trials = list(plan.left_out), list(self.earlier.trials)
        for name in plan.depths:
            if name not in self.runners:
                self._open(name)
            self._ask_some(self.runners[name].default)

    def _has_room(self, default: Setting) -> bool:
        """Set the time for trials and their share of the lessons; whether there is room for a search."""
        self._ask_some(default)
        total = len(self.task.split.train)
        whole = self.estimate.trial(default)
        before = self.estimate.trunk(default) + self.estimate.after(default)
        self.window = max(0.0, self.budget.left() - before)
        share = min(1.0, max(_SMALLEST, self.window / (_ROOM * whole)))
        self.estimate.count = min(total, max(_FEW, round(share * total)))
        return self.window >= _FEWEST * self.estimate.trial(default)

    def _ask_some(self, default: Setting) -> None:
        """Learn how long answers take where they are written, which is the longest part behind a search."""
        runner = self.runners[default.base]
        if runner.base.kind == "decoder":
            begun = self.budget.clock()
            asked = runner.answer(default.instruction, _QUESTIONS)
            self.estimate.answered(default, asked, self.budget.clock() - begun)

    def _invite(self, name: str) -> None:
        """Take another base in, if it fits the task, and two trials of it have room in half of the time."""
        try:
            self._open(name)
        except (UsageError, RunError) as error:
            self.left_out.append(f"{name}: {error.problem}")
            return
        default = self.runners[name].default
        self._ask_some(default)
        needed = self.estimate.trunk(default) + 2 * self.estimate.trial(default)
        room = min(self.window / 2, self.budget.left() - self.estimate.after(default))
        if needed > room:
            self.left_out.append(f"{name}: two trials take about {needed:.0f} s")
            del self.runners[name]

    def _options(self, runner: TrialRunner) -> Options:
        plan, base = self.earlier.plan, runner.default.base

        def fits(setting: Setting) -> bool:
            if plan is not None:
                return setting.tail_layers in plan.depths[base] and setting.epochs in plan.epochs[base]
            return self.estimate.trial(setting) <= _DEAR * self.window

        options = candidates.options(runner, self.task.recipe, self.task.contract, fits)
        self.estimate.depths[base] = options.depths
        deeper = sorted(set(candidates.ladder(runner.base)) - set(options.depths))
        if deeper and self.task.recipe.tail_layers == "auto" and plan is None:
            self.left_out.append(f"{base}: {', '.join(map(str, deeper))} layers take too long")
        return options

    def _planned(self, space: Space) -> ev.SearchPlanned:
        if self.earlier.plan is not None:
            return self.earlier.plan.model_copy(update={"earlier": tuple(self.trials)})
        machine = self.task.machine
        return ev.SearchPlanned(
            seconds=self.window,
            encoded=self.estimate.count,
            depths={base: options.depths for base, options in space.options.items()},
            ranks=next(iter(space.options.values())).ranks,
            epochs={base: options.epochs for base, options in space.options.items()},
            instructions={base: self.runners[base].texts for base in space.options},
            left_out=tuple(self.left_out),
            dtype=machine.dtype_name,
            threads=machine.threads,
            gflops=machine.gflops,
        )

    def _fits(self, setting: Setting) -> bool:
        """Whether a trial would end in time for what comes after, whichever setting is then chosen."""
        needed = self.estimate.trunk(setting) + self.estimate.trial(setting)
        return needed + self._reserve(setting) <= self.budget.left()

    def _reserve(self, trying: Setting) -> float:
        """Seconds that must be left behind the search if this trial ends, or is given up."""
        choice = choose(self.trials)
        if choice is None:  # then the default is trained, whatever becomes of this trial
            default = next(iter(self.runners.values())).default
            return max(self.estimate.after(default), self.estimate.after(trying, self.estimate.whole))
        leaders = (choice.best, choice.chosen)
        needed = [
            self.estimate.after(_setting(trial), self.trial_weights.holds(trial.number)) for trial in leaders
        ]
        return max(*needed, self.estimate.after(trying, self.estimate.whole))

    # Trials

    def _try_all(self, space: Space) -> Generator[ev.Event, None, ev.Ending]:
        halving = Halving(space, self.task.recipe.seed)
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
                state = self._repeat(before.popleft(), halving)
            elif self._fits(setting):
                state = yield from self._try(setting, halving)
            else:
                yield self._trial_done(setting, _Outcome(state="no time"), 0.0)
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
        begun = self.budget.clock()
        outcome = _Outcome()
        try:
            yield from self._fill(setting, outcome)
            yield from self._train(setting, halving, outcome)
        except TrainingError:
            outcome.state = "failed"
        self._end(outcome, halving)
        done = self._trial_done(setting, outcome, self.budget.clock() - begun)
        self._keep(done.trial)
        yield done
        return outcome.state

    def _end(self, outcome: _Outcome, halving: Halving) -> None:
        if outcome.state in ("stopped early", "out of time"):
            halving.stop()
        else:
            halving.end(self._trial_score(outcome, 0.0).score if outcome.state == "done" else None)

    def _keep(self, trial: Trial) -> None:
        """Keep the weights of a trial that may be chosen; those of trials that no longer can be may go."""
        if trial.state != "done" or not self.estimate.whole:
            return
        wanted = {trial.number for trial in undominated(self.trials)}
        if trial.number in wanted:
            with suppress(StorageError):  # then it is trained once more, if it is chosen
                self.trial_weights.put(trial.number, self.runners[trial.base].trained())
        self.trial_weights.clear(but=wanted)

    def _fill(self, setting: Setting, outcome: _Outcome) -> Tries:
        """Run the trunk once for all depths, at the first trial of a base with an instruction."""
        if self.estimate.trunk(setting) == 0:
            return
        begun = self.budget.clock()
        filled = None
        depths = self.estimate.depths[setting.base]
        for filled in self.runners[setting.base].fill(
            self.cache, setting.instruction, self.estimate.count, depths
        ):
            note = f"the trunk of {setting.base}: {filled.done:,} of {filled.total:,} examples"
            yield self._progress(note)
        share = (filled.total - filled.reused) / filled.total if filled else 0.0
        self.estimate.filled(setting, share, self.budget.clock() - begun)
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
        checked = seen = 0.0
        runner, load = self.runners[setting.base], self.estimate.load(setting)
        work = load.work(setting.tail_layers, setting.rank)
        with closing(runner.train(setting, self.cache, self.estimate.count)) as happenings:
            for happened in happenings:
                now = self.budget.clock()
                if isinstance(happened, loop.RolledBack):
                    # The run itself would go back to another point, and a lower rate is another setting.
                    outcome.state = "failed"
                elif isinstance(happened, loop.Step):
                    outcome.work += work.step(happened.tokens, happened.targets, load.instruction_tokens)
                    share = happened.step / happened.steps
                    last = happened.step * setting.epochs % happened.steps == 0
                    if not seen:
                        # The first step takes what only first ones do, and the tail was made before it.
                        checked, seen = now, share
                    elif now - checked >= _CHECK_EVERY or last:
                        self.estimate.taught(setting, share - seen, now - checked)
                        checked, seen = now, share
                        yield self._progress(f"{setting.words}, epoch {happened.epoch} of {setting.epochs}")
                        self._watch(outcome, self._reserve(setting))
                elif isinstance(happened, loop.Epoch):
                    self.estimate.checked(setting, now - checked)
                    checked = now
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
        if outcome.state == "done" and self.budget.left() < needed:
            outcome.state = "out of time"

    def _goes_on(self, setting: Setting, outcome: _Outcome, halving: Halving) -> bool:
        """Whether halving lets a trial go on behind the epoch that it just ended."""
        share = len(outcome.curve) / setting.epochs
        current = self._trial_score(outcome, self.estimate.cost(setting, setting.epochs))
        return share >= 1 or halving.judge(share, current)

    def _trial_score(self, outcome: _Outcome, cost: float) -> TrialScore:
        """How a trial stands, as halving compares it."""
        score, error = self._score(outcome)
        sure = math.exp(-outcome.best.validation_loss) if outcome.best else 0.0
        return TrialScore((score or 0.0) + _TIE * sure, error, cost)

    def _score(self, outcome: _Outcome) -> tuple[float | None, float]:
        """Score of the best epoch so far and its standard error; no score before an epoch was ended."""
        best = outcome.best
        if best is None:
            return None, 0.0
        if self.task.contract.task == "text":
            score = math.exp(-best.validation_loss)
            return score, score * best.loss_error
        count = len(self.task.split.validation)
        # One more right and one more wrong than was seen (Agresti and Coull), or all right would be certain.
        share = (best.validation_accuracy * count + 1) / (count + 2)
        return best.validation_accuracy, math.sqrt(share * (1 - share) / (count + 2))

    def _trial_done(self, setting: Setting, outcome: _Outcome, seconds: float) -> ev.TrialDone:
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
        spent = self.budget.clock() - self.begun
        return ev.Progress(
            stage="search",
            done=min(round(spent), round(self.window)),
            total=round(self.window),
            unit="seconds of trials",
            left=max(0.0, self.budget.left()),
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
