"""The search: plans what the budget has room for, tries settings, and chooses one.

All decisions follow from the seed and the scores, except for those that time makes: what is planned, which
settings are not begun or not ended, and when the search ends. The study keeps them all, so a search that was
stopped goes on behind its last trial. Knows settings, scores and seconds; nothing of how a specialist is
measured or packaged.
"""

import math
from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from azubi.data import instruction
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.model.weights import State as Weights
from azubi.engine.training import loop
from azubi.errors import RunError, StorageError, TrainingError, UsageError
from azubi.events import events as ev
from azubi.events.figures import Choice, Epoch, HeadScore, Setting, State, Trial, choose, undominated
from azubi.planning.cost_model import Timings
from azubi.search.study import Options, Space, base_names, depth_ladder, find_options, open_runner
from azubi.search.trial_runner import (
    SearchTask,
    TimeBudget,
    TrialCosts,
    TrialRunner,
    TrialWeights,
    with_setting,
)
from azubi.settings import Recipe

if TYPE_CHECKING:
    from azubi.search.study import SearchStudy

_ROOM = 8
"""So many trials of the default setting should have room; halving makes about twice as many of them."""
_FEWEST = 3
"""With room for fewer, there is no search."""
_SMALLEST = 0.2
"""With a smaller share of the examples, trials say too little about training with all of them."""
_FEW = 100
"""Nor do trials with fewer examples, unless there are no more."""
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

Events = Generator[ev.Event, None, None]


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
    """How long things took with the base of the recipe."""


def search(
    task: SearchTask, budget: TimeBudget, cache: ActivationCache, folder: Path
) -> Generator[ev.Event, None, SearchOutcome]:
    """Find the settings that the recipe leaves open, such that the whole run ends within the budget.

    Yields what happens. The study and weights of promising trials are kept in `folder`, the run's own; a
    search that was begun there goes on.

    Raises:
        UsageError: base and task do not fit each other.
        RunError: something failed; a trial that does not learn is no such thing.
    """
    from azubi.search.study import SearchStudy  # imports optuna

    with closing(SearchStudy(folder, task.recipe.seed)) as study:
        return (yield from _Search(task, budget, cache, TrialWeights(folder), study).run())


@dataclass
class _Attempt:
    """A trial on its way."""

    setting: Setting
    state: State = "done"
    curve: list[Epoch] = field(default_factory=list)
    start: loop.Start | None = None
    """What needs no training, which may be kept."""
    heads: tuple[HeadScore, ...] = ()
    """The linear heads that were tried, for a label head."""
    work: float = 0.0
    """Floating-point operations of trunk and tail that could not be avoided."""

    @property
    def best(self) -> Epoch | loop.Start | None:
        """The best epoch so far, whose weights are kept; the start if no epoch is better."""
        return next((epoch for epoch in reversed(self.curve) if epoch.best), self.start)


@dataclass
class _Search:
    task: SearchTask
    budget: TimeBudget
    cache: ActivationCache
    trial_weights: TrialWeights
    study: "SearchStudy"
    runners: dict[str, TrialRunner] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def run(self) -> Generator[ev.Event, None, SearchOutcome]:
        task, plan, self.trials = self.task, self._plan(), self.study.trials
        speed = plan.gflops if plan is not None else task.machine.gflops
        self.costs = TrialCosts(self.runners, speed * 1e9, len(task.split.train), len(task.split.test))
        name, *others = base_names(task)
        self._open(name)
        if self.study.saved("skipped"):
            return self._without_search()
        if plan is not None:
            self._load_plan(plan)
        elif not self._has_room():
            return (
                yield from self._no_search(
                    f"The budget of {task.recipe.budget} is too small for a search. "
                    "The measured defaults are used."
                )
            )
        else:
            for other in others:
                self._open_if_room(other)
        space = Space({base: self._options(runner, plan) for base, runner in self.runners.items()})
        if space.single:
            return (yield from self._no_search("There is nothing to search, since every setting is given."))
        self.begun = self.budget.clock()
        yield self._planned(space, plan)
        if self.study.saved("ending") is None:
            yield from self._try_settings(space)
        return (yield from self._conclude())

    def _no_search(self, reason: str) -> Generator[ev.Event, None, SearchOutcome]:
        yield ev.Notice(text=reason)
        self.study.save("skipped", True)
        return self._without_search()

    def _without_search(self) -> SearchOutcome:
        setting = self._default
        recipe, timings = self._recipe(setting), self.costs.timings(setting.base)
        return SearchOutcome(recipe, after=self.costs.evaluation(setting), observed=timings)

    def _conclude(self) -> Generator[ev.Event, None, SearchOutcome]:
        choice, ending = choose(self.trials), self.study.saved("ending")
        numbers = (choice.best.number, choice.chosen.number) if choice else (None, None)
        yield ev.SearchEnded(reason=ending, best=numbers[0], chosen=numbers[1])
        if choice is None:
            yield ev.Notice(text="No trial was trained to its end; the measured defaults are used.")
            return replace(self._without_search(), trials=tuple(self.trials))
        chosen = choice.chosen
        self.trial_weights.keep_only({chosen.number})
        return SearchOutcome(
            self._recipe(chosen.setting),
            tuple(self.trials),
            choice,
            self.trial_weights.read(chosen.number) if self.costs.whole else None,
            self.costs.evaluation(chosen),
            self.costs.timings(chosen.base),
        )

    def _recipe(self, setting: Setting) -> Recipe:
        text = self.runners[setting.base].texts[setting.instruction]
        named = instruction.to_setting(text) if setting.instruction else None
        return with_setting(self.task.recipe, setting, named)

    @property
    def _default(self) -> Setting:
        return next(iter(self.runners.values())).default

    # What there is room for

    def _open(self, name: str) -> None:
        begun = self.budget.clock()
        self.runners[name] = open_runner(name, self.task)
        self.costs.observe_opening(name, self.budget.clock() - begun)

    def _load_plan(self, plan: ev.SearchPlanned) -> None:
        """Keep to what was planned when the search began; only the time that is left has changed."""
        self.window, self.costs.count, self.left_out = plan.seconds, plan.encoded, list(plan.left_out)
        for name in plan.depths:
            if name not in self.runners:
                self._open(name)
            self._time_answers(self.runners[name])

    def _has_room(self) -> bool:
        """Set the time for trials and their share of the examples; whether there is room for a search."""
        default, total = self._default, len(self.task.split.train)
        self._time_answers(self.runners[default.base])
        whole = self.costs.trial(default)
        before = self.costs.trunk(default) + self.costs.after(default)
        self.window = max(0.0, self.budget.left() - before)
        share = min(1.0, max(_SMALLEST, self.window / (_ROOM * whole)))
        self.costs.count = min(total, max(_FEW, round(share * total)))
        return self.window >= _FEWEST * self.costs.trial(default)

    def _time_answers(self, runner: TrialRunner) -> None:
        """Learn how long answers take where they are written, which is the longest part after a search."""
        if runner.base.kind == "decoder":
            begun = self.budget.clock()
            asked = runner.answer(runner.default.instruction, _QUESTIONS)
            planned = self.costs.workload(runner.default).answer_questions(asked)
            self.costs.observe("answers", runner.default, planned, self.budget.clock() - begun)

    def _open_if_room(self, name: str) -> None:
        """Take another base in, if it fits the task, and two trials of it have room in half of the time."""
        try:
            self._open(name)
        except (UsageError, RunError) as error:
            self.left_out.append(f"{name}: {error.problem}")
            return
        runner = self.runners[name]
        self._time_answers(runner)
        needed = self.costs.trunk(runner.default) + 2 * self.costs.trial(runner.default)
        if needed > min(self.window / 2, self.budget.left() - self.costs.after(runner.default)):
            self.left_out.append(f"{name}: two trials take about {needed:.0f} s")
            del self.runners[name]

    def _options(self, runner: TrialRunner, plan: ev.SearchPlanned | None) -> Options:
        base = runner.default.base

        def fits(setting: Setting) -> bool:
            if plan is not None:
                return setting.tail_layers in plan.depths[base] and setting.epochs in plan.epochs[base]
            return self.costs.trial(setting) <= _DEAR * self.window

        options = find_options(runner, self.task, fits)
        self.costs.tails[base] = options.tails
        deeper = sorted(set(depth_ladder(runner.base)) - set(options.depths))
        if deeper and self.task.recipe.tail_layers == "auto" and plan is None:
            self.left_out.append(f"{base}: {', '.join(map(str, deeper))} layers take too long")
        return options

    def _plan(self) -> ev.SearchPlanned | None:
        """What was planned when the search began, if it did."""
        saved = self.study.saved("plan")
        return None if saved is None else ev.SearchPlanned(**saved, instructions={})

    def _planned(self, space: Space, plan: ev.SearchPlanned | None) -> ev.SearchPlanned:
        """The plan as an event. The study keeps no texts of instructions, since these may hold examples."""
        if plan is None:
            machine = self.task.machine
            plan = ev.SearchPlanned(
                seconds=self.window,
                encoded=self.costs.count,
                depths={base: options.depths for base, options in space.options.items()},
                ranks=next(iter(space.options.values())).ranks,
                epochs={base: options.epochs for base, options in space.options.items()},
                instructions={},
                left_out=tuple(self.left_out),
                dtype=machine.dtype_name,
                threads=machine.threads,
                gflops=machine.gflops,
            )
            self.study.save("plan", plan.model_dump(mode="json", exclude={"instructions"}))
        texts = {base: self.runners[base].texts for base in space.options}
        return plan.model_copy(update={"instructions": texts, "earlier": tuple(self.trials)})

    def _fits(self, setting: Setting) -> bool:
        """Whether a trial would end in time for what comes after, whichever setting is then chosen."""
        needed = self.costs.trunk(setting) + self.costs.trial(setting)
        return needed + self._reserve(setting) <= self.budget.left()

    def _reserve(self, trying: Setting) -> float:
        """Seconds that must be left after the search if this trial ends, or is given up."""
        choice = choose(self.trials)
        if choice is None:  # then the default is trained, whatever becomes of this trial
            needed = [self.costs.after(self._default)]
        else:
            needed = [
                self.costs.after(trial, self.trial_weights.exist(trial.number))
                for trial in (choice.best, choice.chosen)
            ]
        return max(*needed, self.costs.after(trying, self.costs.whole))

    # Trials

    def _try_settings(self, space: Space) -> Events:
        study = self.study
        study.begin(space)
        while len(self.trials) < _MOST and study.misses < _MISSES:
            attempt = _Attempt(study.ask())
            if any(trial.setting == attempt.setting for trial in self.trials):
                study.end(None)
                continue
            seconds = 0.0
            if self._fits(attempt.setting):
                seconds = yield from self._try(attempt)
            else:
                attempt.state = "no time"
            trial = self._trial(attempt, seconds)
            self.trials.append(trial)
            self._keep_weights(trial)
            study.end(trial, self._standing(attempt)[0])
            yield ev.TrialDone(trial=trial)
        late = any(trial.state == "no time" for trial in self.trials)
        ended: ev.Ending = "the time is used up" if late else "nothing new to try"
        study.save("ending", ended if study.misses >= _MISSES else "enough was tried")

    def _try(self, attempt: _Attempt) -> Generator[ev.Event, None, float]:
        """Run one trial; returns the seconds that it took."""
        begun = self.budget.clock()
        try:
            yield from self._fill(attempt)
            yield from self._train(attempt)
        except TrainingError:
            attempt.state = "failed"
        return self.budget.clock() - begun

    def _fill(self, attempt: _Attempt) -> Events:
        """Run the base once for all tails, at the first trial of a base with an instruction."""
        setting = attempt.setting
        if self.costs.trunk(setting) == 0:
            return
        begun, tails, filled = self.budget.clock(), self.costs.tails[setting.base], None
        runner = self.runners[setting.base]
        for filled in runner.fill(self.cache, setting.instruction, self.costs.count, tails):
            yield self._progress(f"the trunk of {setting.base}: {filled.done:,} of {filled.total:,} examples")
        share = (filled.total - filled.reused) / filled.total if filled else 0.0
        self.costs.observe_trunk(setting, share, self.budget.clock() - begun)
        if filled is None:
            return
        attempt.work += self.costs.workload(setting).work(self.costs.shallowest(setting)).trunk(filled.tokens)
        if filled.without:
            yield ev.Notice(
                text=f"The activations of {filled.without:,} examples are not kept, since "
                f"{self.cache.full}: trials take longer. "
                "--cache-dtype int8 takes a quarter of the room of float32."
            )

    def _train(self, attempt: _Attempt) -> Events:
        setting, checked, seen = attempt.setting, 0.0, 0.0
        workload = self.costs.workload(setting)
        work = workload.work(setting)
        training = self.runners[setting.base].train(setting, self.cache, self.costs.count)
        with closing(training):
            for event in training:
                now = self.budget.clock()
                if isinstance(event, loop.Start):
                    attempt.start, attempt.heads = event, self.runners[setting.base].heads
                elif isinstance(event, loop.RolledBack):
                    # The run itself would go back to another point, and a lower rate is another setting.
                    attempt.state = "failed"
                elif isinstance(event, loop.Step):
                    attempt.work += work.step(event.tokens, event.targets, workload.instruction_tokens)
                    share = event.step / event.steps
                    last = event.step * setting.epochs % event.steps == 0
                    if not seen:
                        # The first step takes what only first ones do, and the tail was made before it.
                        checked, seen = now, share
                    elif now - checked >= _CHECK_EVERY or last:
                        planned = (share - seen) * setting.epochs * self.costs.epoch(setting)[0]
                        self.costs.observe("tail", setting, planned, now - checked)
                        checked, seen = now, share
                        yield self._progress(f"{setting.words}, epoch {event.epoch} of {setting.epochs}")
                        self._give_up_if_late(attempt, self._reserve(setting))
                elif isinstance(event, loop.Epoch):
                    self.costs.observe("validation", setting, self.costs.epoch(setting)[1], now - checked)
                    checked = now
                    self._end_epoch(attempt, event)
                if attempt.state != "done":
                    return

    def _end_epoch(self, attempt: _Attempt, event: loop.Epoch) -> None:
        """Note the epoch, and stop the trial if it is not worth the next, or has no time for it."""
        attempt.curve.append(Epoch(**vars(event)))
        setting, ended = attempt.setting, event.epoch
        if ended < setting.epochs:
            cost = self.costs.planned(setting, setting.epochs)
            if not self.study.report(ended / setting.epochs, *self._standing(attempt), cost):
                attempt.state = "stopped early"
            rest = self.costs.trial(setting, setting.epochs - ended)
            self._give_up_if_late(attempt, self._reserve(setting) + rest)

    def _give_up_if_late(self, attempt: _Attempt, needed: float) -> None:
        if attempt.state == "done" and self.budget.left() < needed:
            attempt.state = "out of time"

    def _keep_weights(self, trial: Trial) -> None:
        """Keep the weights of a trial that may be chosen; those of trials that no longer can be may go."""
        if trial.state != "done" or not self.costs.whole:
            return
        wanted = {other.number for other in undominated(self.trials)}
        if trial.number in wanted:
            with suppress(StorageError):  # then it is trained once more, if it is chosen
                self.trial_weights.write(trial.number, self.runners[trial.base].trained())
        self.trial_weights.keep_only(wanted)

    def _standing(self, attempt: _Attempt) -> tuple[float, float]:
        """Score and its standard error, as halving compares them."""
        score, error = self._score(attempt)
        likelihood = math.exp(-attempt.best.validation_loss) if attempt.best else 0.0
        return (score or 0.0) + _TIE * likelihood, error

    def _score(self, attempt: _Attempt) -> tuple[float | None, float]:
        """Score of the best epoch so far and its standard error; no score before an epoch was ended."""
        best = attempt.best
        if best is None:
            return None, 0.0
        if self.task.contract.task == "text":
            score = math.exp(-best.validation_loss)
            return score, score * best.loss_error
        count = len(self.task.split.validation)
        # One more right and one more wrong than was seen (Agresti and Coull), or all right would be certain.
        share = (best.validation_accuracy * count + 1) / (count + 2)
        return best.validation_accuracy, math.sqrt(share * (1 - share) / (count + 2))

    def _trial(self, attempt: _Attempt, seconds: float) -> Trial:
        score, error = self._score(attempt)
        setting, trained = attempt.setting, len(attempt.curve)
        return Trial(
            **setting.model_dump(),
            number=len(self.trials) + 1,
            trained=trained,
            state=attempt.state,
            score=score,
            error=error,
            cost=self.costs.planned(setting, trained or setting.epochs),
            seconds=seconds,
            curve=tuple(attempt.curve),
            simple_accuracy=attempt.start.validation_accuracy if attempt.start is not None else None,
            heads=attempt.heads,
            work=attempt.work,
        )

    def _progress(self, note: str) -> ev.Progress:
        return ev.Progress(
            stage="search",
            done=min(round(self.budget.clock() - self.begun), round(self.window)),
            total=round(self.window),
            unit="seconds of trials",
            left=max(0.0, self.budget.left()),
            note=f"trial {len(self.trials) + 1}: {note}",
        )
