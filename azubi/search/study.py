"""The optuna study of a search, in a database in the folder of its run: what is tried next, and what goes on.

optuna draws the settings (tree-structured Parzen estimator, Bergstra et al., NeurIPS 2011) and stops the
worse half of trials at a quarter and at half of their epochs (asynchronous successive halving, Li et al.,
arXiv 1810.05934). Each draw follows from the seed, the number of the trial and the trials before it, all of
which the database holds: a search that was stopped loads its study and goes on as if it had never stopped.
Imports optuna, so import this only when a search begins. Knows settings and scores; nothing of training or
time.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState

from azubi.data import instruction as instructions
from azubi.engine.base import catalog
from azubi.engine.base.base import Base
from azubi.engine.base.opening import open_base
from azubi.engine.training import defaults
from azubi.events.figures import Setting, Trial
from azubi.search.trial_runner import SearchTask, TrialRunner, study_path
from azubi.storage import files

if TYPE_CHECKING:
    import optuna


RANKS = (0, 4, 16)
CONTROL = 16
"""Rank of LoRA on all layers, the way that most tuning goes and so the control."""
RATE_RANGE = 5.0
"""The learning rate is searched between a fifth and five times the measured default."""
PLAIN, WITH_EXAMPLES = "plain", "with examples"

PromptDepth = int | Literal["all", "half", "none"]
"""How many layers of a tail act on the prompt, as a share of its depth or a number that was given."""
ALL_PROMPTS: tuple[PromptDepth, ...] = ("all", "none", "half")
T = TypeVar("T", bound=int | str)


@dataclass(frozen=True)
class Options:
    """What may be tried with one base."""

    default: Setting
    """What is taken without a search."""
    instructions: tuple[str, ...]
    depths: tuple[int, ...]
    ranks: tuple[int, ...]
    epochs: tuple[int, ...]
    rate: Callable[[int, int], float]
    """The measured default of a depth and a rank."""
    rate_range: float = RATE_RANGE
    """By what factor at most the learning rate departs from its default; 1 if it was given."""
    prompts: tuple[PromptDepth, ...] = ("all",)
    """How many layers of a tail may act on the prompt, the default first."""

    @property
    def tails(self) -> tuple[tuple[int, int], ...]:
        """All pairs of `tail_layers` and `prompt_layers`."""
        pairs = {(depth, prompt_layers(prompt, depth)) for depth in self.depths for prompt in self.prompts}
        return tuple(sorted(pairs))

    def setting(
        self,
        depth: int,
        rank: int,
        factor: float = 1.0,
        instruction: str = "",
        epochs: int = 0,
        prompt: PromptDepth | None = None,
    ) -> Setting:
        """A setting with `factor` times the default rate; what is not named is as in the default setting."""
        rate = self.rate(depth, rank)
        return Setting(
            base=self.default.base,
            instruction=instruction or self.default.instruction,
            tail_layers=depth,
            prompt_layers=prompt_layers(self.prompts[0] if prompt is None else prompt, depth),
            rank=rank,
            # Two digits are all that matters of a rate, and can be read.
            learning_rate=rate if factor == 1.0 else float(f"{rate * factor:.2g}"),
            epochs=epochs or self.default.epochs,
        )


def prompt_layers(prompt: PromptDepth, depth: int) -> int:
    """Layers that act on the prompt in a tail of `depth`."""
    return {"all": depth, "half": depth // 2, "none": 0}[prompt] if isinstance(prompt, str) else prompt


class Space:
    """All settings that may be tried."""

    def __init__(self, options: Mapping[str, Options]) -> None:
        """`options` by base; the first base is the default."""
        self.options = dict(options)

    @property
    def single(self) -> bool:
        """Whether there is only one setting."""
        options = next(iter(self.options.values()))
        choices = (options.instructions, options.depths, options.prompts, options.ranks, options.epochs)
        return len(self.options) == 1 and options.rate_range == 1 and all(len(some) == 1 for some in choices)

    def first(self) -> list[Setting]:
        """What is tried before anything is drawn: the defaults, the same with fewer layers on the prompt, low
        rank, a head alone, the control."""
        settings: list[Setting] = []
        for number, options in enumerate(self.options.values()):
            wanted = [(options.default.tail_layers, CONTROL), (0, 0)] if number == 0 else []
            default = options.default
            settings.append(default)
            if number == 0:
                settings += [
                    options.setting(default.tail_layers, default.rank, prompt=prompt)
                    for prompt in options.prompts[1:]
                ]
            settings += [
                options.setting(depth, rank)
                for depth, rank in [*wanted, (max(options.depths), CONTROL)]
                if depth in options.depths and (rank in options.ranks or depth == 0)
            ]
        return list(dict.fromkeys(settings))

    def draw(self, trial: "optuna.Trial") -> Setting:
        """The setting that a trial is about; asks optuna for whatever is open."""
        base = _choose(trial, "base", list(self.options))
        options, factor = self.options[base], 1.0
        depth = _choose(trial, f"tail_layers of {base}", options.depths)
        prompt = _choose(trial, f"prompt_layers of {base}", options.prompts)
        rank = _choose(trial, "rank", options.ranks) if depth else 0
        if options.rate_range > 1:
            factor = trial.suggest_float("rate", 1 / options.rate_range, options.rate_range, log=True)
        instruction = _choose(trial, f"instruction of {base}", options.instructions)
        epochs = _choose(trial, f"epochs of {base}", options.epochs)
        return options.setting(depth, rank, factor, instruction, epochs, prompt)

    def parameters(self, setting: Setting) -> dict[str, object]:
        """A setting as `draw` asks for it."""
        options, depth = self.options[setting.base], setting.tail_layers
        default_rate = options.rate(depth, setting.rank)
        prompts = {prompt_layers(prompt, depth): prompt for prompt in reversed(options.prompts)}
        return {
            "base": setting.base,
            f"tail_layers of {setting.base}": depth,
            f"prompt_layers of {setting.base}": prompts[setting.prompt_layers],
            "rank": setting.rank,
            "rate": setting.learning_rate / default_rate,
            f"instruction of {setting.base}": setting.instruction,
            f"epochs of {setting.base}": setting.epochs,
        }


def _choose(trial: "optuna.Trial", name: str, choices: Sequence[T]) -> T:
    return choices[0] if len(choices) == 1 else cast(T, trial.suggest_categorical(name, choices))


def base_names(task: SearchTask) -> list[str]:
    """The bases that are named, or the default and all others that come with azubi and fit the task."""
    recipe, labels = task.recipe, task.contract.task == "labels"
    if recipe.base != "auto":
        is_path = Path(recipe.base).expanduser().exists()
        return [recipe.base] if is_path else [name.strip() for name in recipe.base.split(",")]
    here = [entry for entry in catalog.known() if entry.path(task.home)]
    fitting = [entry.name for entry in here if entry.kind == "decoder" or labels]
    return list(dict.fromkeys([defaults.base_for(recipe, task.contract.task, task.texts), *fitting]))


def open_runner(name: str, task: SearchTask) -> TrialRunner:
    """Load a base by its name.

    Raises:
        UsageError: it is not there, or does not fit the task or the examples.
    """
    base = open_base(name, task.home)
    resolved = defaults.resolved(task.recipe.model_copy(update={"base": name}), base, task.contract.task)
    return TrialRunner(base, task, resolved, _instruction_texts(base, task))


def _instruction_texts(base: Base, task: SearchTask) -> dict[str, str]:
    """The instruction's variants by name. Few, since each sends all examples through the trunk once more."""
    if base.kind == "encoder":
        return {"": ""}
    recipe = task.recipe
    texts = {PLAIN: instructions.choose(recipe.instruction, task.system, task.contract)}
    if recipe.instruction is None:
        more = instructions.with_examples(texts[PLAIN], task.split.train, recipe.seed)
        texts |= {WITH_EXAMPLES: more} if more is not None else {}
    return texts


def find_options(runner: TrialRunner, task: SearchTask, fits: Callable[[Setting], bool]) -> Options:
    """What to try with a base; `fits` says whether a trial is short enough. The default always is."""
    default, recipe = runner.default, task.recipe

    def rate(depth: int, rank: int) -> float:
        chosen = recipe.model_copy(update={"tail_layers": depth, "rank": rank})
        resolved = defaults.resolved(chosen, runner.base, task.contract.task)
        return resolved.learning_rate or default.learning_rate

    depths, epochs = {default.tail_layers}, {default.epochs}
    prompts: tuple[PromptDepth, ...] = ("all",)
    if runner.two_cuts and recipe.prompt_layers != "all":
        prompts = ALL_PROMPTS if recipe.prompt_layers == "auto" else (recipe.prompt_layers,)
    fewest = max(prompt_layers(prompt, 0) for prompt in prompts)
    if recipe.tail_layers == "auto":
        deeper = [
            default.model_copy(update={"tail_layers": depth, "prompt_layers": depth, "rank": CONTROL})
            for depth in depth_ladder(runner.base)
            if depth >= fewest
        ]
        depths |= {setting.tail_layers for setting in deeper if fits(setting)}
    if recipe.epochs is None:
        wanted = [max(1, round(default.epochs * factor)) for factor in (0.5, 2)]
        epochs |= {count for count in wanted if fits(default.model_copy(update={"epochs": count}))}
    return Options(
        default=default,
        instructions=tuple(runner.texts),
        depths=tuple(sorted(depths)),
        ranks=RANKS if recipe.rank == "auto" else (int(recipe.rank),),
        epochs=tuple(sorted(epochs)),
        rate=rate,
        rate_range=RATE_RANGE if recipe.learning_rate is None else 1.0,
        prompts=prompts,
    )


def depth_ladder(base: Base) -> list[int]:
    """0 for a base with a label head, then 1, 2, 4, 8 … and all layers."""
    doubled = [2**power for power in range(base.layers.bit_length()) if 2**power < base.layers]
    return [*([0] if base.kind == "encoder" else []), *doubled, base.layers]


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
