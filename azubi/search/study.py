"""The optuna study of a search, in a database in the folder of its run: what is tried next, and what goes on.

optuna draws the settings (tree-structured Parzen estimator, Bergstra et al., NeurIPS 2011) and stops the
worse half of trials at a quarter and at half of their epochs (asynchronous successive halving, Li et al.,
arXiv 1810.05934). Each draw follows from the seed, the number of the trial and the trials before it, all of
which the database holds: a search that was stopped loads its study and goes on as if it had never stopped.
Imports optuna, so import this only when a search begins. Knows settings and scores; nothing of training or
time.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any, cast

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState

from azubi.events.trial import Setting, Trial
from azubi.search.candidates import Space
from azubi.search.trial_weights import study_path
from azubi.storage import files

_STARTUP = 8
"""Trials before draws begin to follow what was seen."""
_STATES = {
    "done": TrialState.COMPLETE,
    "stopped early": TrialState.PRUNED,
    "out of time": TrialState.PRUNED,
    "no time": TrialState.FAIL,
    "failed": TrialState.FAIL,
}


class BargainPruner(optuna.pruners.SuccessiveHalvingPruner):
    """Successive halving, but a trial that may be chosen as the bargain goes on.

    That is one that is cheaper than the leader of those that came before, and no more than a standard error
    behind it.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether a trial is stopped at its last step, a quarter of its epochs."""
        step = trial.last_step
        if step is None or not super().prune(study, trial):
            return False
        before = [
            other
            for other in study.get_trials(deepcopy=False)
            if other.number < trial.number and step in other.intermediate_values
        ]
        if not before:
            return True
        leader = max(before, key=lambda other: other.intermediate_values[step])
        enough = leader.intermediate_values[step] - leader.user_attrs[_error_at(step)]
        cheaper = trial.user_attrs["cost"] < leader.user_attrs["cost"]
        return not (cheaper and trial.intermediate_values[step] >= enough)


class SearchStudy:
    """One study. `ask` for a setting, `report` how it goes, then `end` it."""

    def __init__(self, folder: Path, seed: int) -> None:
        """Begin the study of the run in `folder`, or load it."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._folder, self._seed = folder, seed
        with self._storage_errors():
            self._storage = optuna.storages.RDBStorage("sqlite://", engine_kwargs={"creator": self._connect})
            self._study = optuna.create_study(
                study_name="search",
                storage=self._storage,
                direction="maximize",
                pruner=BargainPruner(min_resource=1, reduction_factor=2),
                load_if_exists=True,
            )

    def close(self) -> None:
        """Close the database."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def saved(self, name: str) -> Any:
        """What was saved under a name; None if nothing was."""
        return self._study.user_attrs.get(name)

    def save(self, name: str, value: object) -> None:
        """Keep a decision of the search, as JSON."""
        with self._storage_errors():
            self._study.set_user_attr(name, value)

    @property
    def trials(self) -> list[Trial]:
        """All trials that are over."""
        records = [trial.user_attrs.get("trial") for trial in self._over()]
        return [Trial.model_validate(record) for record in records if record is not None]

    @property
    def misses(self) -> int:
        """How many of the last draws were tried before, or found no time."""
        missed = takewhile(
            lambda trial: trial.user_attrs.get("trial", {"state": "no time"})["state"] == "no time",
            reversed(self._over()),
        )
        return sum(1 for _ in missed)

    def begin(self, space: Space) -> None:
        """Draw from `space`, its first settings first."""
        self._space = space
        first = space.first()
        with self._storage_errors():
            for setting in first[len(self._study.get_trials(deepcopy=False)) :]:
                self._study.enqueue_trial(space.parameters(setting))

    def ask(self) -> Setting:
        """The setting that was being tried when the search stopped, or the next; it may be one of before."""
        with self._storage_errors():
            running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            number = running[0].number if running else len(self._study.get_trials(deepcopy=False))
            self._study.sampler = optuna.samplers.TPESampler(
                seed=(1000 * self._seed + number) % 2**32, n_startup_trials=_STARTUP
            )
            self._trial = optuna.Trial(self._study, running[0]._trial_id) if running else self._study.ask()
            self._reported = (running[0].last_step if running else None) or 0
            return self._space.draw(self._trial)

    def report(self, share: float, score: float, error: float, cost: float) -> bool:
        """Whether a trial goes on that has done a `share` (above 0, at most 1) of its epochs.

        `error` is the standard error of its score; `cost` what training with its setting takes in seconds.
        """
        quarter = int(4 * share + 1e-9)
        if quarter <= self._reported:
            return True
        self._reported = quarter
        with self._storage_errors():
            self._trial.set_user_attr("cost", cost)
            self._trial.set_user_attr(_error_at(quarter), error)
            self._trial.report(score, quarter)
            return not self._trial.should_prune()

    def end(self, trial: Trial | None, score: float | None = None) -> None:
        """The trial is over; None for a setting that was tried before. `score` is how it stood at its end."""
        state = _STATES[trial.state] if trial is not None else TrialState.FAIL
        with self._storage_errors():
            if trial is not None:
                self._trial.set_user_attr("trial", trial.model_dump(mode="json"))
            self._study.tell(self._trial, score if state == TrialState.COMPLETE else None, state=state)

    def _over(self) -> list[FrozenTrial]:
        states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        return self._study.get_trials(deepcopy=False, states=states)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(study_path(self._folder))
        # A trial takes a dozen writes; with a log of them the disk need not be waited for at each.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        """Turn a full or closed disk into a StorageError."""
        try:
            yield
        except StorageInternalError as error:
            with files.explained(self._folder):
                raise cast(Exception, getattr(error.__cause__, "orig", error)) from error


def _error_at(step: int) -> str:
    return f"error at {step}"
