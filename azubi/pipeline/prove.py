"""A proof: a specialist and its baselines answer the same held-out questions, and a verdict follows.

    examples -> baselines -> forgetting -> scope -> leaks -> (learning-curve) -> report

`prove` yields what happens as events, as `run` does. It leaves a folder with every answer
(`predictions.parquet`), all else that the numbers follow from (`facts.json`), and those numbers
(`report.json`, `report.html`). What each stage does is in `azubi.pipeline.proof`.

`compare` asks two specialists, or two versions of one, the same questions: what stands in the test of either
and was learned by neither, nor by one that either went on from. `evaluation.comparison` compares the answers.
"""

import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import numpy as np

from azubi.data.datasets.erased import Access, TestAccessLog
from azubi.data.datasets.versions import now
from azubi.data.example import Example
from azubi.data.splits.splitting import question
from azubi.engine.base import hardware
from azubi.errors import SettingError
from azubi.evaluation import metrics, prediction, report, summary
from azubi.evaluation.baselines import asking, baseline_set
from azubi.evaluation.baselines.asking import Baseline, EvaluationTask
from azubi.evaluation.comparison import versus
from azubi.evaluation.prediction import Contender, Prediction
from azubi.evaluation.proof import SPECIALIST
from azubi.events import events as ev
from azubi.locale.current import current
from azubi.locale.locale import Locale
from azubi.pipeline import ask
from azubi.pipeline.proof.context import (
    ProofContext,
    ProofExamples,
    ProofOptions,
    prepare_examples,
    show_progress,
)
from azubi.pipeline.proof.stages import (
    NUMBERS,
    REPORT,
    compare_baselines,
    measure_forgetting,
    measure_leaks,
    measure_learning_curve,
    measure_scope,
    write_report,
)
from azubi.pipeline.stages.run_context import announced
from azubi.planning.forecast import Eta
from azubi.registry import lineage
from azubi.registry.card import Card
from azubi.registry.store import Store
from azubi.storage import files

__all__ = ["NUMBERS", "REPORT", "ProofOptions", "compare", "prove"]


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
    baselines = yield from announced("baselines", comparing)
    specialist = examples.specialist
    tails = {SPECIALIST: specialist.tail, "base": specialist.base_tail()}
    audits = [
        (yield from announced("forgetting", measure_forgetting(context, examples, tails, eta))),
        (yield from announced("scope", measure_scope(context, examples, baselines, eta))),
        (yield from announced("leaks", measure_leaks(context, examples, baselines, tails, eta))),
    ]
    if options.learning_curve:
        measuring = measure_learning_curve(context, examples, eta)
        audits.append((yield from announced("learning-curve", measuring)))
    reporting = write_report(context, examples, baselines, audits, eta, scratch)
    proof = yield from announced("report", reporting)
    yield ev.Proved(
        verdict=proof.verdict.kind,
        sentence=report.verdict(Locale("en"), proof),
        advice=report.advice(Locale("en"), proof),
        passes=proof.verdict.passes,
        folder=str(context.folder),
        report=str(context.folder / REPORT),
        seconds=time.monotonic() - started,
    )


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


_ANSWERS = {"labels": "labels", "json": "records", "text": "free text"}


def compare(first: str, second: str, home: Path, threads: int | None = None) -> Iterator[ev.Event]:
    """Compare two specialists, `second` being the new one; yields what happens, `ComparisonEnded` last.

    Raises:
        UnknownSpecialist: there is none of one of the names.
        UnknownData: the examples that one was made from are not kept here.
        SettingError: their answers have different forms, or there is nothing that both can be asked.
        StorageError: the disk is full or may not be written.
    """
    started = time.monotonic()
    cards = Store(home).get(first), Store(home).get(second)
    names = [f"{card.name}@{card.version}" for card in cards]
    _check_alike(cards, names)
    folder = home / "proofs" / "compared" / f"{files.moment()}-{names[0]}-{names[1]}"
    yield ev.ProofStarted(
        name=f"{names[1]} against {names[0]}",
        folder=str(folder),
        stages=("examples", "baselines", "report"),
        test=0,
        test_accesses=0,
    )
    yield ev.StageStarted(stage="examples")
    examples = unseen(cards, home)
    if not examples:
        raise SettingError(
            f"There is no example in the tests of {names[0]} and {names[1]} that neither has learned.",
            "Train one of them with the other's test: --test-data.",
        )
    for card in cards:
        access = Access(when=now(), by=f"compare {folder.name}")
        TestAccessLog(home).add(lineage.of(card, home).test, access)
    yield ev.StageSummed(stage="examples", text=f"{len(examples):,} questions that neither has learned")
    yield ev.StageStarted(stage="baselines")
    eta = Eta({name: sum(card.seconds.values()) / 10 for name, card in zip(names, cards, strict=True)})
    tables = []
    for card, name in zip(cards, names, strict=True):
        rows = yield from _answer(card, name, home, examples, eta, threads)
        tables.append(prediction.table(rows))
        hardware.release_memory()
    yield ev.StageStarted(stage="report")
    texts = {example.name: example.prompt for example in examples}
    result = versus(tables[0], tables[1], (names[0], names[1]), cards[1].contract, texts)
    with files.new_folder(folder) as scratch:
        for table, letter in zip(tables, "ab", strict=True):
            prediction.write(table, scratch / f"predictions-{letter}.parquet")
        files.write_text(scratch / NUMBERS, result.model_dump_json(indent=1))
        files.write_text(scratch / REPORT, report.render_comparison(result, current().lang))
        for path in scratch.iterdir():
            path.chmod(0o600)
    sentence, seconds = summary.comparison(Locale("en"), result), time.monotonic() - started
    yield ev.ComparisonEnded(
        sentence=sentence, folder=str(folder), report=str(folder / REPORT), seconds=seconds
    )


def _check_alike(cards: Sequence[Card], names: Sequence[str]) -> None:
    if (cards[0].task, cards[0].contract.multi) != (cards[1].task, cards[1].contract.multi):
        answers = [_ANSWERS[card.task] for card in cards]
        raise SettingError(
            f"{names[0]} answers with {answers[0]}, {names[1]} with {answers[1]}.",
            "Compare specialists for the same work.",
        )


def unseen(cards: Sequence[Card], home: Path) -> tuple[Example, ...]:
    """What stands in a test of the specialists and was learned by none of them nor of their ancestors."""
    tests: dict[str, Example] = {}
    learned: set[str] = set()
    for card in cards:
        for example in lineage.of(card, home).test:
            tests.setdefault(example.name, example)
        for ancestor in lineage.ancestors_of(card, home):
            split = lineage.of(ancestor, home)
            learned |= {question(example.prompt) for example in (*split.train, *split.validation)}
    return tuple(example for example in tests.values() if question(example.prompt) not in learned)


def _answer(
    card: Card, name: str, home: Path, examples: Sequence[Example], eta: Eta, threads: int | None
) -> Generator[ev.Event, None, list[Prediction]]:
    """Let a specialist answer as it is served."""
    started = time.monotonic()
    specialist = ask.loaded(card, home)
    hardware.use_threads(threads)
    task = EvaluationTask(card.contract, (), (), card.instruction, card.longest)
    # As it is served: records are not constrained, and what its base cannot read is answered by nobody.
    answering = ask.FittingAnswers(specialist.answering(card.longest), specialist, card.longest)
    shared = len(specialist.instruction_tokens)
    baseline = Baseline(Contender(who="specialist"), lambda asked, _: answering(asked), shared_tokens=shared)
    work = asking.ask(baseline, task, examples, range(len(examples)))
    rows = yield from show_progress(eta, "baselines", work, f"{name} answers")
    scores = np.array([row.score for row in rows], np.float64)
    main = metrics.mean_score(metrics.main(card.contract), scores)
    yield ev.BaselineMeasured(who=name, says="", score=main, seconds=time.monotonic() - started)
    return rows
