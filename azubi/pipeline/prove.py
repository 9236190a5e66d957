"""A proof: a specialist and its baselines answer the same held-out questions, and a verdict follows.

    examples -> baselines -> forgetting -> scope -> leaks -> (learning-curve) -> report

`prove` yields what happens as events, as `run` does. It leaves a folder with every answer
(`predictions.parquet`), all else that the numbers follow from (`facts.json`), and those numbers
(`report.json`, `report.html`). What each stage does is in `azubi.pipeline.proof`.
"""

import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TypeVar

from azubi.engine.base import hardware
from azubi.evaluation import report
from azubi.evaluation.baselines import baseline_set
from azubi.evaluation.locale import Locale
from azubi.evaluation.proof import SPECIALIST
from azubi.events import events as ev
from azubi.pipeline.proof.context import ProofContext, ProofExamples, ProofOptions, prepare_examples
from azubi.pipeline.proof.stages import (
    REPORT,
    compare_baselines,
    measure_forgetting,
    measure_leaks,
    measure_learning_curve,
    measure_scope,
    write_report,
)
from azubi.planning.forecast import Eta
from azubi.registry.store import Store
from azubi.storage import files

__all__ = ["ProofOptions", "prove"]

T = TypeVar("T")


def prove(name: str, home: Path, options: ProofOptions | None = None) -> Iterator[ev.Event]:
    """Prove the specialist `name` (or `name@version`); yields what happens, the verdict last.

    Raises:
        UnknownSpecialist: there is none of that name.
        UnknownData: the examples that it was made from are not kept here.
        DataError: it, or one that it went on from, has learned from the test.
        SettingError: an option cannot be used.
        StorageError: the disk is full or may not be written.
    """
    card, started = Store(home).get(name), time.monotonic()
    folder = home / "proofs" / card.name / str(card.version) / files.moment()
    context = ProofContext(card, home, options or ProofOptions(), folder)
    with files.new_folder(folder) as scratch, (scratch / "events.jsonl").open("w", encoding="utf-8") as log:
        for event in _stages(context, scratch):
            last = event.model_copy(update={"at": time.time(), "elapsed": time.monotonic() - started})
            log.write(last.model_dump_json() + "\n")
            if not isinstance(last, ev.Proved):
                yield last
    yield last  # when the folder has its name


def _stages(context: ProofContext, scratch: Path) -> Generator[ev.Event, None, None]:
    """All stages; files go into `scratch`."""
    started, options = time.monotonic(), context.options
    examples = yield from prepare_examples(context)
    eta = Eta(_planned_seconds(context, examples))
    comparing = compare_baselines(context, examples, eta)
    baselines = yield from _stage("baselines", comparing)
    specialist = examples.specialist
    tails = {SPECIALIST: specialist.tail, "base": specialist.base_tail()}
    audits = [
        (yield from _stage("forgetting", measure_forgetting(context, examples, tails, eta))),
        (yield from _stage("scope", measure_scope(context, examples, baselines, eta))),
        (yield from _stage("leaks", measure_leaks(context, examples, baselines, tails, eta))),
    ]
    if options.learning_curve:
        measuring = measure_learning_curve(context, examples, eta)
        audits.append((yield from _stage("learning-curve", measuring)))
    reporting = write_report(context, examples, baselines, audits, eta, scratch)
    proof = yield from _stage("report", reporting)
    yield ev.Proved(
        verdict=proof.verdict.kind,
        sentence=report.verdict(Locale(options.lang), proof),
        advice=report.advice(Locale(options.lang), proof),
        passes=proof.verdict.passes,
        folder=str(context.folder),
        report=str(context.folder / REPORT),
        seconds=time.monotonic() - started,
    )


def _stage(name: ev.ProofStage, events: Generator[ev.Event, None, T]) -> Generator[ev.Event, None, T]:
    yield ev.StageStarted(stage=name)
    result = yield from events
    hardware.release_memory()
    return result


def _planned_seconds(context: ProofContext, examples: ProofExamples) -> dict[str, float]:
    """What each stage will take: what has a budget takes about that, what trains was estimated."""
    labels = context.card.task == "labels"
    budget = baseline_set.LABELS_SECONDS if labels else baseline_set.RECORDS_SECONDS
    roughly: dict[ev.ProofStage, float] = {
        "baselines": 1.2 * (context.options.seconds or budget),
        "forgetting": 30.0,
        "scope": 20.0,
        "leaks": 40.0,
    }
    training = examples.training_seconds
    return {stage: roughly.get(stage, 0.0) + training.get(stage, 0.0) for stage in context.stages}
