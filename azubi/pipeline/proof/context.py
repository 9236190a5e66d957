"""What all stages of a proof are given, and how their work becomes events."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from azubi.evaluation import metrics
from azubi.events import events as ev
from azubi.events.work import Step, Work, translate
from azubi.planning.eta import Eta
from azubi.registry.card import Card
from azubi.settings import ProofSettings

T = TypeVar("T")


@dataclass(frozen=True)
class ProofOptions:
    """What a proof does beside what every proof does."""

    against: tuple[str, ...] = ()
    """lora, or addresses of OpenAI-compatible endpoints."""
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
    lang: Literal["en", "de"] = "en"
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
        return metrics.MAIN[self.card.task]

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
