"""Successive halving: which setting is tried next, and whether a trial is worth going on with.

optuna draws the settings (tree-structured Parzen estimator, Bergstra et al., NeurIPS 2011) and halves
(asynchronous successive halving, Li et al., arXiv 1810.05934). A trial is judged at a quarter, at half
of its epochs, against all trials that came so far. The study lives in memory, and its draws follow from
the seed and from what was reported; so a search that was interrupted tells it once more what had happened,
and goes on as if it had never ended. optuna is imported when a search begins. Knows settings and scores;
nothing of training or time.
"""

from collections import defaultdict
from dataclasses import dataclass

from azubi.search.candidates import Space
from azubi.search.trial_runner import Setting

_STARTUP = 8
"""Trials before draws begin to follow what was seen."""


@dataclass(frozen=True)
class TrialScore:
    """How a trial stood when it was judged."""

    score: float
    error: float
    """Standard error of the score."""
    cost: float


class Halving:
    """One study. `ask` for a setting, `judge` it as it trains, then `end` it."""

    def __init__(self, space: Space, seed: int) -> None:
        import optuna

        self._states = optuna.trial.TrialState
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP),
            pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
        )
        for setting in space.first():
            self._study.enqueue_trial(space.parameters(setting))
        self._scores: defaultdict[int, list[TrialScore]] = defaultdict(list)

    def ask(self) -> Setting:
        """The next setting; it may be one that was tried."""
        self._trial = self._study.ask()
        self._reached = 0
        return self._space.draw(self._trial)

    def judge(self, share: float, current: TrialScore) -> bool:
        """Whether a trial that has done `share` (above 0, at most 1) of its epochs should go on.

        It should if it is in the better half of those that came so far, or if it could still be chosen as the
        bargain: cheaper than the leader, and no more than a standard error behind.
        """
        quarter = int(4 * share + 1e-9)
        if quarter <= self._reached:
            return True
        self._reached = quarter
        self._trial.report(current.score, quarter)
        leader = max(self._scores[quarter], key=lambda scored: scored.score, default=None)
        self._scores[quarter].append(current)
        if not self._trial.should_prune():
            return True
        return (
            leader is not None and current.cost < leader.cost and current.score >= leader.score - leader.error
        )

    def end(self, score: float | None) -> None:
        """The trial is over; without a score it is only remembered as no good."""
        if score is None:
            self._study.tell(self._trial, state=self._states.FAIL)
        else:
            self._study.tell(self._trial, score)

    def stop(self) -> None:
        """The trial was stopped on the way."""
        self._study.tell(self._trial, state=self._states.PRUNED)
