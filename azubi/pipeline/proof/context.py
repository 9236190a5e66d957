"""What all stages of a proof are given, and how their work becomes events."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from azubi.data.datasets.erased import Access, TestAccessLog
from azubi.data.datasets.versions import now
from azubi.data.example import Example
from azubi.data.splits.splitting import Split
from azubi.engine.base import hardware
from azubi.engine.specialist import Specialist
from azubi.errors import SettingError
from azubi.evaluation import metrics, retraining
from azubi.evaluation.baselines import instructed_model
from azubi.evaluation.baselines.asking import EvaluationTask, sample_numbers
from azubi.evaluation.retraining import expected_seconds
from azubi.events import events as ev
from azubi.events.events import Step, Work, translate
from azubi.locale.locale import Locale
from azubi.pipeline import ask
from azubi.planning.forecast import Eta
from azubi.registry import lineage
from azubi.registry.card import Card
from azubi.settings import ProofSettings, Recipe

T = TypeVar("T")


@dataclass(frozen=True)
class ProofOptions:
    """What a proof does beside what every proof does."""

    against: tuple[str, ...] = ()
    """lora, or addresses of OpenAI-compatible endpoints."""
    price: float = 0.0
    """What a question to such an endpoint costs, in EUR."""
    regression_set: Path | None = None
    """A file of questions and answers that must not be forgotten."""
    out_of_scope: Path | None = None
    """A file of questions that are not the specialist's job."""
    canaries: bool = False
    """Plant secrets, train with them, and try to get them out again."""
    learning_curve: bool = False
    """Train on parts of the examples, to tell what more of them would bring."""
    slice: str | None = None
    """Also score by this: a field of the record, label, group or length."""
    limit: int | None = None
    """Ask at most so many of the test examples."""
    seconds: float | None = None
    """About how long the baselines may take together."""
    settings: ProofSettings | None = None
    """Other rules of the verdict than those that the specialist was trained with."""
    threads: int | None = None


@dataclass(frozen=True)
class ProofContext:
    """Whom a proof is about, and where it is written."""

    card: Card
    home: Path
    options: ProofOptions
    folder: Path

    @property
    def name(self) -> str:
        """The specialist with its version: claims@1."""
        return f"{self.card.name}@{self.card.version}"

    @property
    def metric(self) -> str:
        """The main metric."""
        return metrics.main(self.card.contract)

    @property
    def stages(self) -> tuple[ev.ProofStage, ...]:
        """Those between the examples and the report."""
        always: tuple[ev.ProofStage, ...] = ("baselines", "forgetting", "scope", "leaks")
        return (*always, "learning-curve") if self.options.learning_curve else always


def show_progress(
    eta: Eta, stage: ev.ProofStage, work: Work[T], note: str = "", *, start: float = 0.0, stop: float = 1.0
) -> Generator[ev.Event, None, T]:
    """Do work that takes a stage from share `start` to `stop`; its steps become events."""

    def event(step: Step) -> ev.Event:
        share = start + (stop - start) * (step.done / step.total if step.total else 1.0)
        return ev.Progress(
            stage=stage,
            done=step.done,
            total=step.total,
            unit="",
            left=eta.left(stage, share),
            note=step.note or note,
        )

    return translate(work, event)


_UTILISATION = 0.4
"""Of the speed of matrix products, what training all layers reaches on a processor (docs/benchmarks.md)."""
_OTHER_RULES = (
    "The settings of this proof are not those that the specialist was trained with: they were given with "
    "--recipe, after training."
)


@dataclass(frozen=True)
class ProofExamples:
    """What all later stages work with."""

    recipe: Recipe
    """The specialist's, with the settings of this proof."""
    split: Split
    test: tuple[Example, ...]
    """The test examples that are asked."""
    slices: dict[str, tuple[str, ...]]
    """The slice of every test example, by the way to slice."""
    test_accesses: tuple[Access, ...]
    specialist: Specialist
    task: EvaluationTask
    threads: int
    training_seconds: dict[ev.ProofStage, float]
    """About how long each stage trains, where it does."""
    notes: tuple[str, ...]


def prepare_examples(context: ProofContext) -> Generator[ev.Event, None, ProofExamples]:
    """Find the examples, check that the test was not learned, and load the specialist.

    Raises:
        UnknownData: the examples are not kept here.
        DataError: the specialist or an ancestor has learned from the test.
        SettingError: the examples cannot be sliced as wanted.
    """
    card, settings, notes = context.card, context.options.settings, list[str]()
    recipe = Recipe.model_validate(card.recipe)
    if settings is not None and settings != recipe.proof:
        recipe = recipe.model_copy(update={"proof": settings})
        notes.append(_OTHER_RULES)
    split = lineage.of(card, context.home)
    test = _limited(split.test, context.options.limit, recipe.seed)
    not_compared = lineage.check_unseen(card, context.home, test)
    slice_by = context.options.slice
    slices = {slice_by: tuple(_slices(slice_by, context, test))} if slice_by else {}
    # Who sees some of the test has accessed all of it.
    access = Access(when=now(), by=f"prove {context.name} {context.folder.name}")
    test_accesses = TestAccessLog(context.home).add(split.test, access)
    yield ev.ProofStarted(
        name=context.name,
        folder=str(context.folder),
        stages=("examples", *context.stages, "report"),
        test=len(test),
        test_accesses=len(test_accesses),
    )
    yield ev.StageStarted(stage="examples")
    for note in not_compared:
        yield ev.Notice(text=note)
    notes += not_compared
    if erased := card.counts.get("train", 0) - len(split.train):
        notes.append(f"{erased:,} of the examples that it learned from were erased since.")
    specialist = ask.loaded(card, context.home)
    machine = hardware.probe("auto", context.options.threads, recipe.device)
    task = EvaluationTask(
        card.contract, split.train, split.validation, card.instruction, card.longest, recipe.seed
    )
    speed = machine.gflops * 1e9 * _UTILISATION
    seconds = yield from _training_seconds(context, specialist, task, recipe, speed)
    sizes, times = f"{len(test):,} of {len(split.test):,}", _ordinal(len(test_accesses))
    yield ev.StageSummed(stage="examples", text=f"{sizes} held-out examples, looked at for the {times} time")
    return ProofExamples(
        recipe, split, test, slices, test_accesses, specialist, task, machine.threads, seconds, tuple(notes)
    )


def _limited(test: Sequence[Example], limit: int | None, seed: int) -> tuple[Example, ...]:
    if limit is None or limit >= len(test):
        return tuple(test)
    return tuple(test[number] for number in sample_numbers(test, limit, seed))


def _training_seconds(
    context: ProofContext, specialist: Specialist, task: EvaluationTask, recipe: Recipe, speed: float
) -> Generator[ev.Event, None, dict[ev.ProofStage, float]]:
    """What trains again says beforehand how long that takes."""
    options, stage_seconds = context.options, context.card.seconds
    seconds: dict[ev.ProofStage, float] = {}
    if "lora" in options.against:
        seconds["baselines"] = instructed_model.expected_seconds(specialist, task, recipe, speed)
        yield _takes("Training LoRA on all layers", seconds["baselines"])
    if options.canaries:
        seconds["leaks"] = expected_seconds(stage_seconds, 1.0, 1)
        yield _takes("Training with planted secrets", seconds["leaks"])
    if options.learning_curve:
        seconds["learning-curve"] = retraining.learning_curve_seconds(stage_seconds)
        yield _takes("Training on parts of the examples", seconds["learning-curve"])
    return seconds


def _slices(by: str, context: ProofContext, test: Sequence[Example]) -> Iterator[str]:
    contract, labels = context.card.contract, context.card.task == "labels"
    if by == "length":
        lengths = np.array([len(example.prompt) for example in test])
        names = np.array(["shortest quarter", "shorter", "longer", "longest quarter"])
        yield from names[np.searchsorted(np.quantile(lengths, (0.25, 0.5, 0.75)), lengths)].tolist()
    elif by == "group" and any(example.group for example in test):
        yield from (example.group or "(none)" for example in test)
    elif by == "label" and labels:
        yield from (example.answer for example in test)
    elif by in contract.fields:
        for example in test:
            record = contract.parse(example.answer) or {}
            yield str(record.get(by, "(left out)"))
    else:
        choices = [*contract.fields, *(["label"] if labels else []), "group", "length"]
        raise SettingError(
            f"The examples cannot be sliced by {by!r}.", f"Choose one of: {', '.join(choices)}."
        )


def _takes(what: str, seconds: float) -> ev.Event:
    return ev.Notice(text=f"{what} takes about {Locale('en').duration(seconds)}.")


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
