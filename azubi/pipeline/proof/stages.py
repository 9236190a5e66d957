"""The stages of a proof after its examples: the baselines answer, the audits run, the report is written."""

import contextlib
import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from azubi.data.contract import Task
from azubi.data.datasets.versions import now
from azubi.data.example import Example
from azubi.data.pii.scanner import Scanner
from azubi.data.readers.reading import read_asked, read_source
from azubi.data.readers.source import Source
from azubi.engine.base import hardware
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.inference import scope as scopes
from azubi.engine.inference.answering import Answer, AnswerMode, Question
from azubi.engine.specialist import Specialist
from azubi.errors import DataError
from azubi.evaluation import leaks, metrics, prediction, probe, report, retraining
from azubi.evaluation.baselines import asking, baseline_set
from azubi.evaluation.baselines.asking import Baseline
from azubi.evaluation.baselines.baseline_set import BaselineResult
from azubi.evaluation.leaks import extraction, membership
from azubi.evaluation.prediction import Contender, Curve, Facts, Prediction
from azubi.evaluation.probe import out_of_scope, scope_row
from azubi.evaluation.proof import SPECIALIST, Proof, prove_from
from azubi.evaluation.retraining import Retrainer
from azubi.events import events as ev
from azubi.events.events import Step, Work
from azubi.locale.current import current
from azubi.pipeline import ask
from azubi.pipeline.proof.context import ProofContext, ProofExamples, show_progress
from azubi.planning.forecast import Eta
from azubi.registry import card as cards
from azubi.registry import lineage
from azubi.storage import files

_CHECKS = 400
"""Validation questions that the specialist is asked at most, to choose below which confidence to review."""


@dataclass(frozen=True)
class Baselines:
    """What everybody answered."""

    rows: tuple[Prediction, ...]
    contenders: tuple[Contender, ...]
    answers: dict[Question, Answer]
    """The specialist's, as it is served, with the trunk's activations of each question."""
    lora: Specialist | None
    notes: tuple[str, ...]


def compare_baselines(
    context: ProofContext, examples: ProofExamples, eta: Eta
) -> Generator[ev.Event, None, Baselines]:
    """Ask the specialist, then its baselines in an order in which each takes its share of the time.

    Raises whatever preparing or answering raises.
    """
    options, task, test = context.options, examples.task, examples.test
    baselines = baseline_set.baseline_set(
        examples.specialist,
        task,
        context.home,
        examples.recipe,
        upfront=sum(context.card.seconds.values()),
        seconds=options.seconds,
        against=options.against,
        price=options.price,
    )
    notes = yield from _tell_new(baselines.notes, [])
    specialist, answers = _recorded(baselines.specialist, task.contract.task)
    checks = task.checks[:_CHECKS]
    chooser = _before_it_knew(specialist, context.card.folder, checks)
    choosing = asking.ask(chooser, task, checks, range(len(checks)), part="choice")
    note = "specialist answers validation questions"
    rows = yield from show_progress(eta, "baselines", choosing, note, stop=0.0)
    contenders, trained = list[Contender](), None
    working = [baseline_set.examine(baselines, specialist, task, test)]
    working += [
        baseline_set.prepare_and_examine(baselines, who, task, test) for who in baselines.preparations
    ]
    for number, work in enumerate(working):
        started, count = time.monotonic(), len(working)
        share, next_share = number / count, (number + 1) / count
        result = yield from show_progress(eta, "baselines", work, start=share, stop=next_share)
        rows += result.rows
        contenders.append(result.contender)
        notes += yield from _tell_new(result.notes, notes)
        if result.contender.who == "lora":
            trained = result.baseline.specialist
        yield _measured(context, result, time.monotonic() - started)
    return Baselines(tuple(rows), tuple(contenders), answers, trained, tuple(notes))


def _before_it_knew(specialist: Baseline, folder: Path, checks: Sequence[Example]) -> Baseline:
    """The specialist as it answered the validation examples before it learned from them, too, if it did."""
    path = folder / cards.VALIDATION
    if not path.is_file():
        return specialist
    kept = json.loads(path.read_text(encoding="utf-8"))
    answers = {example.turns: Answer(*kept[example.name]) for example in checks}

    def answer(questions: Sequence[Question], _: AnswerMode) -> Iterator[tuple[int, Answer]]:
        return enumerate(answers[question] for question in questions)

    return replace(specialist, answer=answer)


def _recorded(baseline: Baseline, task: Task) -> tuple[Baseline, dict[Question, Answer]]:
    """The same baseline, and a record of its answers; if in several modes, as they are served."""
    answers: dict[Question, Answer] = {}
    mode = "unconstrained" if task == "json" else "constrained"

    def answer(questions: Sequence[Question], asked_mode: AnswerMode) -> Iterator[tuple[int, Answer]]:
        for number, given in baseline.answer(questions, asked_mode):
            if asked_mode == mode or questions[number] not in answers:
                answers[questions[number]] = given
            yield number, given

    return replace(baseline, answer=answer), answers


def _measured(context: ProofContext, result: BaselineResult, seconds: float) -> ev.Event:
    scores = [row.score for row in result.rows if row.part == "test" and row.mode == "constrained"]
    return ev.BaselineMeasured(
        who=result.contender.who,
        says=result.contender.says,
        score=metrics.mean_score(context.metric, np.array(scores, dtype=np.float64)),
        seconds=seconds,
    )


def _tell_new(notes: Sequence[str], known: Sequence[str]) -> Generator[ev.Event, None, list[str]]:
    new = [note for note in dict.fromkeys(notes) if note not in known]
    for note in new:
        yield ev.Notice(text=note)
    return new


T = TypeVar("T")


@dataclass(frozen=True)
class Audit:
    """What one of the stages found."""

    rows: tuple[Prediction, ...] = ()
    curves: tuple[Curve, ...] = ()
    notes: tuple[str, ...] = ()


def measure_forgetting(
    context: ProofContext, examples: ProofExamples, tails: Mapping[str, Any], eta: Eta
) -> Generator[ev.Event, None, Audit]:
    """Ask base and specialist what is not the job: the general probe and the user's regression set."""
    specialist = examples.specialist
    if specialist.base.kind == "encoder":
        yield ev.Notice(text=probe.NOT_PROBED)
        yield ev.StageSummed(stage="forgetting", text="an encoder writes nothing")
        return Audit(notes=(probe.NOT_PROBED,))
    probing = probe.probe(specialist, tails, probe.probe_items())
    rows = yield from show_progress(eta, "forgetting", probing)
    summary = [f"{who} has {_count_right(rows, who)} right" for who in tails]
    if (path := context.options.regression_set) is not None:
        own = _read_like_examples(context, path, read_source).examples
        own_rows = yield from show_progress(eta, "forgetting", probe.regression_set(specialist, tails, own))
        rows += own_rows
        summary += [f"{who} has {_count_right(own_rows, who)} of yours right" for who in tails]
    yield ev.StageSummed(stage="forgetting", text=f"general questions: {', '.join(summary)}")
    return Audit(tuple(rows))


def measure_scope(
    context: ProofContext, examples: ProofExamples, baselines: Baselines, eta: Eta
) -> Generator[ev.Event, None, Audit]:
    """Score the test questions and questions that are not the specialist's job."""
    specialist, notes = examples.specialist, list[str]()
    scope = specialist.scope
    if scope is None:
        note = f"{context.name} was trained without a scope; train it again for that."
        yield ev.Notice(text=note)
        yield ev.StageSummed(stage="scope", text="not known of this specialist")
        return Audit(notes=(note,))
    inside = [
        scope_row(scope, answer, number, kind="test", in_scope=True, id=example.name)
        for number, example in enumerate(examples.test)
        if (answer := baselines.answers.get(example.turns)) is not None and answer.vector is not None
    ]
    others = {"probe": [item.turns for item in probe.probe_items()]}
    if (path := context.options.out_of_scope) is not None:
        asked = _read_like_examples(context, path, read_asked)
        others["yours"] = [row.turns for row in asked if not row.fault]
        if faulty := len(asked) - len(others["yours"]):
            notes.append(f"{faulty:,} rows of {path} cannot be asked.")
            yield ev.Notice(text=notes[-1])
    answering = specialist.answering(context.card.longest)
    scoring = out_of_scope(answering, scope, others, first=len(examples.test))
    outside = yield from show_progress(eta, "scope", scoring)
    known, apart = _count_right(inside), _count_right(outside)
    yield ev.StageSummed(stage="scope", text=f"{known} own questions known, {apart} others told apart")
    return Audit((*inside, *outside), notes=tuple(notes))


def measure_leaks(
    context: ProofContext, examples: ProofExamples, baselines: Baselines, tails: Mapping[str, Any], eta: Eta
) -> Generator[ev.Event, None, Audit]:
    """Try to get training data out of the specialist: by losses, by leading up to it, by planted secrets."""
    specialist, recipe, train = examples.specialist, examples.recipe, examples.task.learned_train
    others, notes = lineage.learned(examples.test, context.card.contract), list[str]()
    comparing = membership(specialist, tails, train, others, recipe.seed)
    rows = yield from show_progress(eta, "leaks", comparing)
    if (lora := baselines.lora) is not None:
        comparing = membership(lora, {"lora": lora.tail}, train, others, recipe.seed)
        rows += yield from show_progress(eta, "leaks", comparing)
    leading = extraction(specialist, tails, train, Scanner(recipe.patterns or {}, recipe.names))
    extracted = yield from show_progress(eta, "leaks", leading)
    rows += extracted
    summary = []
    if extracted or context.options.canaries:
        text = _count_right(extracted, SPECIALIST)
        summary.append(f"{text} personal values of the prompts came back word for word")
    if context.options.canaries:
        planted = leaks.plant(context.card.contract, train, recipe.seed)
        if planted:
            summary.append(f"{len(planted)} secrets planted")
            with _retrainer(context, examples) as retrainer:
                ranking = leaks.canaries(retrainer, train, planted, recipe.seed)
                rows += yield from show_progress(eta, "leaks", ranking, "training with planted secrets")
        else:
            notes.append("No field of the records varies, so no secret could be hidden in one.")
            yield ev.Notice(text=notes[-1])
    yield ev.StageSummed(stage="leaks", text="; ".join(summary) or "losses compared")
    return Audit(tuple(rows), notes=tuple(notes))


def measure_learning_curve(
    context: ProofContext, examples: ProofExamples, eta: Eta
) -> Generator[ev.Event, None, Audit]:
    """Train on parts of the examples and answer the test with each."""
    card, train = context.card, examples.task.learned_train
    with _retrainer(context, examples) as retrainer:
        training = retraining.learning_curve(retrainer, card.contract, train, examples.test, card.longest)
        curves, rows = yield from show_progress(eta, "learning-curve", training, "training again")
    yield ev.StageSummed(stage="learning-curve", text=f"{len(curves)} trainings")
    return Audit(tuple(rows), tuple(curves))


@contextlib.contextmanager
def _retrainer(context: ProofContext, examples: ProofExamples) -> Iterator[Retrainer]:
    with contextlib.closing(ActivationCache(context.home, context.card.data_version)) as cache:
        validation = examples.task.learned_validation
        yield Retrainer(examples.specialist, context.card.instruction, examples.recipe, cache, validation)


def _read_like_examples(context: ProofContext, path: Path, read: Callable[[Source], T]) -> T:
    """What a file holds, by the columns of the specialist's examples or else by prompt and answer."""
    try:
        return read(ask.source(context.card, path))
    except DataError:
        return read(ask.source(context.card, path, prompt="prompt", answer="answer"))


def _count_right(rows: Sequence[Prediction], who: str = SPECIALIST) -> str:
    own = [bool(row.right) for row in rows if row.who == who]
    return f"{sum(own)} of {len(own)}"


PREDICTIONS, FACTS, NUMBERS, REPORT = "predictions.parquet", "facts.json", "report.json", "report.html"
_NEAREST = 3
"""Training examples that are shown beside a wrong answer."""
_BATCH = 64
_FROM_CARD = (
    *(
        "name",
        "version",
        "contract",
        "base",
        "trained",
        "tail_layers",
        "prompt_layers",
        "rank",
        "instruction",
    ),
    *("data_version", "epsilon", "delta", "versions"),
)


def write_report(
    context: ProofContext,
    examples: ProofExamples,
    baselines: Baselines,
    audits: Sequence[Audit],
    eta: Eta,
    folder: Path,
) -> Generator[ev.Event, None, Proof]:
    """Write predictions, facts, numbers and report into `folder`.

    Raises:
        StorageError: the disk is full or may not be written.
    """
    neighbours, texts = yield from _neighbours(context, examples, baselines, eta)
    rows = [*baselines.rows, *(row for audit in audits for row in audit.rows), *neighbours]
    facts = _facts(context, examples, baselines, audits, texts)
    table = prediction.table(rows)
    prediction.write(table, folder / PREDICTIONS)
    files.write_text(folder / FACTS, facts.model_dump_json(indent=1))
    proof = prove_from(table, facts)
    files.write_text(folder / NUMBERS, proof.model_dump_json(indent=1))
    files.write_text(folder / REPORT, report.render_proof(proof, current().lang))
    for name in (PREDICTIONS, FACTS, NUMBERS, REPORT):
        (folder / name).chmod(0o600)
    yield ev.StageSummed(stage="report", text=proof.verdict.kind)
    return proof


def _neighbours(
    context: ProofContext, examples: ProofExamples, baselines: Baselines, eta: Eta
) -> Generator[ev.Event, None, tuple[list[Prediction], dict[str, str]]]:
    """The training examples most like each wrongly answered question, by the trunk; and all their texts."""
    rows, texts = list[Prediction](), dict[str, str]()
    wrong = [
        row.number
        for row in baselines.rows
        if (row.part, row.who, row.mode, row.right) == ("test", SPECIALIST, "constrained", False)
    ]
    answers = {number: baselines.answers.get(examples.test[number].turns) for number in wrong}
    vectors = {
        number: answer.vector
        for number, answer in answers.items()
        if answer is not None and answer.vector is not None
    }
    if not vectors:
        return rows, texts
    note = "training examples like the mistakes"
    known = yield from show_progress(eta, "report", _training_vectors(context, examples), note)
    centre = known.mean(0)
    known = scopes.unit(known - centre)
    for number, vector in vectors.items():
        similarity = known @ scopes.unit((vector - centre)[None])[0]
        test = examples.test[number]
        texts[test.name] = test.prompt
        for nearest in np.argsort(-similarity, kind="stable")[:_NEAREST].tolist():
            near, score = examples.split.train[nearest], float(similarity[nearest])
            texts[near.name] = near.prompt
            rows.append(
                Prediction("neighbour", SPECIALIST, number, near.name, answer=near.answer, score=score)
            )
    return rows, texts


def _training_vectors(context: ProofContext, examples: ProofExamples) -> Work[npt.NDArray[np.float32]]:
    specialist, vectors = examples.specialist, list[npt.NDArray[Any]]()
    encoded = [specialist.encode(example) for example in examples.task.learned_train]
    with contextlib.closing(ActivationCache(context.home, context.card.data_version)) as cache:
        read = specialist.activations.reader(cache)
        for start in range(0, len(encoded), _BATCH):
            vectors.append(specialist.question_vectors(encoded[start : start + _BATCH], read))
            yield Step(min(start + _BATCH, len(encoded)), len(encoded))
    return np.concatenate(vectors)


def _facts(
    context: ProofContext,
    examples: ProofExamples,
    baselines: Baselines,
    audits: Sequence[Audit],
    texts: dict[str, str],
) -> Facts:
    card, split, recipe, specialist = context.card, examples.split, examples.recipe, examples.specialist
    notes = [*examples.notes, *baselines.notes, *(note for audit in audits for note in audit.notes)]
    return Facts(
        **{name: getattr(card, name) for name in _FROM_CARD},
        date=f"{now():%Y-%m-%d}",
        main=context.metric,
        base_licence=card.licence,
        base_parameters=card.parameters,
        train=len(split.train),
        validation=len(split.validation),
        test=len(examples.test),
        test_given=recipe.test_data is not None,
        split_by=recipe.split.by,
        test_accesses=examples.test_accesses,
        settings=recipe.proof,
        contenders=baselines.contenders,
        curves=tuple(curve for audit in audits for curve in audit.curves),
        texts=texts,
        slices=examples.slices,
        limit=specialist.scope.limit if specialist.scope is not None else None,
        cpu=hardware.processor(),
        threads=examples.threads,
        dtype=str(specialist.dtype).removeprefix("torch."),
        notes=tuple(dict.fromkeys(notes)),
    )
