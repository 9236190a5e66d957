"""The stages after the baselines: forgetting, scope, leaks and the learning curve."""

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from azubi.data.pii.scanner import Scanner
from azubi.data.readers.reading import read_asked, read_source
from azubi.data.readers.source import Source
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.errors import DataError
from azubi.evaluation.audit import canaries, learning_curve, probe
from azubi.evaluation.audit.extraction import extraction
from azubi.evaluation.audit.membership import membership
from azubi.evaluation.audit.out_of_scope import out_of_scope, scope_row
from azubi.evaluation.facts import Curve
from azubi.evaluation.prediction import Prediction
from azubi.evaluation.proof import SPECIALIST
from azubi.evaluation.retraining import Retrainer
from azubi.events import events as ev
from azubi.pipeline import ask
from azubi.pipeline.proof.baselines import Baselines
from azubi.pipeline.proof.context import ProofContext, show_progress
from azubi.pipeline.proof.examples import ProofExamples
from azubi.planning.eta import Eta
from azubi.registry import split_from_version

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
    summary = [f"{who} {_count_right(rows, who)}" for who in tails]
    if (path := context.options.regression_set) is not None:
        own = _read_like_examples(context, path, read_source).examples
        own_rows = yield from show_progress(eta, "forgetting", probe.regression_set(specialist, tails, own))
        rows += own_rows
        summary += [f"{who} {_count_right(own_rows, who)} of yours" for who in tails]
    yield ev.StageSummed(stage="forgetting", text=f"general questions: {', '.join(summary)} right")
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
    others, notes = split_from_version.learned(examples.test, context.card.contract), list[str]()
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
        planted = canaries.plant(context.card.contract, train, recipe.seed)
        if planted:
            summary.append(f"{len(planted)} secrets planted")
            with _retrainer(context, examples) as retrainer:
                ranking = canaries.canaries(retrainer, train, planted, recipe.seed)
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
        training = learning_curve.learning_curve(retrainer, card.contract, train, examples.test, card.longest)
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
