"""The baselines of one specialist, and how each goes through a proof within a budget of time."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from azubi.data.example import Example
from azubi.data.language import profile_of
from azubi.engine.base import catalog, hardware
from azubi.engine.base.base import Base
from azubi.engine.base.opening import open_base
from azubi.engine.features import frozen_features
from azubi.engine.specialist import Specialist, longest_answer, new_specialist
from azubi.engine.training.defaults import encoder_for
from azubi.evaluation.baselines import asking, simple
from azubi.evaluation.baselines.asking import Baseline, EvaluationTask
from azubi.evaluation.baselines.endpoint import Endpoint, generalist
from azubi.evaluation.baselines.instructed_model import InstructedModel, lora, prompted, untouched_base
from azubi.evaluation.baselines.retrieval import Retriever, Vectors, bm25, dense, fused, retrieval
from azubi.evaluation.prediction import Contender, Prediction
from azubi.events.events import Work, noted
from azubi.settings import Recipe

RECORDS_SECONDS = 1000.0
"""What language models may take in all where answers are written: choosing, then answering in each mode."""
LABELS_SECONDS = 90.0
"""The same for labels: the whole proof shall take 3 minutes."""
WRITER = "smollm2-135m"
"""Writes where the specialist's own base cannot."""
_CHOOSING = {"prompted": 0.1, "retrieval": 0.1, "specialist+retrieval": 0.05}
"""Shares of the time that go into choosing."""
_ANSWERING = {"base": 3.0, "prompted": 4.0, "retrieval": 7.0, "specialist+retrieval": 4.0}
"""How the time that is left is shared out among those that are yet to answer: shown examples have to be read
for each question. All others answer the whole test and take none of this time."""
_UNCONSTRAINED = 0.2
"""Of the time for answering, the share of unconstrained answers."""
_FEWEST = 30
"""Test questions below which a share of right answers says nothing."""
_ALONE = 0.02
"""Of all the time, what each may take to answer questions one at a time."""
_EXAMPLES_SHOWN, _EXAMPLES_FOR_SPECIALIST = (2, 4, 8), (0, 2, 4)


@dataclass
class BaselineSet:
    """Everybody who takes part."""

    specialist: Baseline
    preparations: dict[str, Work[Baseline]] = field(default_factory=dict)
    """By name; they begin when they are asked for."""
    notes: list[str] = field(default_factory=list)
    seconds: float = RECORDS_SECONDS
    """What those that share the time may take in all."""
    spent: float = 0.0


@dataclass(frozen=True)
class BaselineResult:
    """What one baseline has shown."""

    rows: tuple[Prediction, ...]
    contender: Contender
    notes: tuple[str, ...]
    baseline: Baseline


def baseline_set(
    specialist: Specialist,
    task: EvaluationTask,
    home: Path,
    recipe: Recipe,
    *,
    upfront: float,
    seconds: float | None = None,
    against: Sequence[str] = (),
    price: float = 0.0,
) -> BaselineSet:
    """Put the baselines together; nothing is fitted or asked yet, but bases are loaded.

    `recipe` is the specialist's; `upfront`: seconds of its training; `against`: "lora", or endpoints;
    `price`: of a question to one, in EUR.

    Raises:
        SettingError: an endpoint's address is none.
    """
    labels, encoder = task.contract.task == "labels", specialist.base.kind == "encoder"
    setup = "trained from the company's examples" + (", with a label head" if encoder else "")
    baselines = BaselineSet(
        InstructedModel(specialist, task).baseline("specialist", setup, upfront=upfront),
        seconds=seconds or (LABELS_SECONDS if labels else RECORDS_SECONDS),
    )
    # What the specialist reads with, or the encoder that knows the language of its examples.
    prompts = [example.prompt for example in task.learned_train]
    vectors = _vectors(specialist.base if encoder else encoder_for(profile_of(prompts)), home, baselines)
    _add_simple(baselines, task, vectors)
    prompting = _Prompting(task, _retrievers(task, vectors))
    if encoder:
        _add_writer(baselines, specialist, home, prompting)
    else:
        _add_prompted(baselines, specialist, prompting)
        _add_specialist_with_retrieval(baselines, specialist, prompting, upfront)
    for name in against:
        if name == "lora":
            baselines.preparations[name] = lora(specialist, task, recipe)
        else:
            others = sum(who.startswith("generalist") for who in baselines.preparations)
            who = f"generalist {others + 1}" if others else "generalist"
            baselines.preparations[who] = generalist(who, Endpoint(name), task, price)
    return baselines


def examine(
    baselines: BaselineSet, baseline: Baseline, task: EvaluationTask, test: Sequence[Example]
) -> Work[BaselineResult]:
    """Let a baseline answer the whole test in each of its modes, and a few questions one at a time."""
    return _examine(baseline, task, test, None, _ALONE * baselines.seconds)


def prepare_and_examine(
    baselines: BaselineSet, who: str, task: EvaluationTask, test: Sequence[Example]
) -> Work[BaselineResult]:
    """Let a baseline prepare, and examine it.

    One that takes long answers a sample of the test, which lies within the larger samples of others. Its
    share of the time depends on who comes after it, so all are examined in their order.

    Raises whatever preparing or answering raises.
    """
    started = time.perf_counter()
    baseline = yield from noted(baselines.preparations[who], f"{who} prepares")
    if who not in _ANSWERING:
        return (yield from examine(baselines, baseline, task, test))
    names = list(baselines.preparations)
    later = names[names.index(who) + 1 :]
    waiting = sum(_ANSWERING.get(name, 0.0) for name in (who, *later))
    choosing = sum(_CHOOSING.get(name, 0.0) for name in later) * baselines.seconds
    left = baselines.seconds - baselines.spent - (time.perf_counter() - started) - choosing
    seconds = max(0.0, left) * _ANSWERING[who] / waiting
    result = yield from _examine(baseline, task, test, seconds, _ALONE * baselines.seconds)
    baselines.spent += time.perf_counter() - started
    return result


def _examine(
    baseline: Baseline,
    task: EvaluationTask,
    test: Sequence[Example],
    seconds: float | None,
    seconds_alone: float,
) -> Work[BaselineResult]:
    """Ask as many questions as fit into `seconds`; the whole test if that is None."""
    who, rows, notes = baseline.who, list(baseline.choice), list[str]()
    most_memory = 0
    for mode in baseline.modes:
        constrained = mode == "constrained"
        hardware.reset_peak_memory()
        if seconds is None:
            asking_all = asking.ask(baseline, task, test, range(len(test)), mode=mode)
        else:
            share = 1.0 if len(baseline.modes) == 1 else 1 - _UNCONSTRAINED if constrained else _UNCONSTRAINED
            asking_all = asking.ask_within(baseline, task, test, share * seconds, mode=mode, fewest=_FEWEST)
        answered = yield from noted(asking_all, f"{who} answers" if constrained else f"{who} answers freely")
        rows += answered
        if constrained:
            most_memory = hardware.peak_memory()
        if len(answered) < len(test):
            count = f"{'' if constrained else 'freely '}{len(answered)}"
            notes.append(f"{who} answered {count} of the {len(test)} test questions, chosen by chance.")
    latency = asking.measure_latency(baseline, task, test, seconds_alone)
    rows += yield from noted(latency, f"{who} answers one at a time")
    contender = baseline.contender.model_copy(update={"memory": most_memory})
    return BaselineResult(tuple(rows), contender, (*notes, *baseline.notes), baseline)


@dataclass(frozen=True)
class _Prompting:
    """What models that take an instruction are given."""

    task: EvaluationTask
    retrievers: dict[str, Retriever]
    """The best last."""


def _vectors(encoder: Base | str, home: Path, baselines: BaselineSet) -> Vectors | None:
    entry = catalog.find(encoder) if isinstance(encoder, str) else None
    if entry is not None and entry.path(home) is None:
        baselines.notes.append(
            "Logistic regression, nearest neighbours and finding by meaning are left out: they read texts "
            f"with {entry.name}, which is not on this machine (azubi bases get {entry.name})."
        )
        return None
    return simple.cached(frozen_features(home, encoder, quick=True))


def _add_simple(baselines: BaselineSet, task: EvaluationTask, vectors: Vectors | None) -> None:
    if task.contract.task == "json":
        baselines.preparations["frequent"] = simple.most_frequent(task)
    if vectors is None:
        return
    baselines.preparations["neighbours"] = simple.nearest_neighbours(task, vectors)
    if (regression := simple.regression(task, vectors, with_words=True)) is not None:
        baselines.preparations["classical"] = regression


def _retrievers(task: EvaluationTask, vectors: Vectors | None) -> dict[str, Retriever]:
    texts = [example.prompt for example in task.learned_train]
    by_words = bm25(texts)
    if vectors is None:
        return {"bm25": by_words}
    by_meaning = dense(texts, vectors)
    return {"bm25": by_words, "dense": by_meaning, "both": fused([by_words, by_meaning])}


def _add_writer(baselines: BaselineSet, specialist: Specialist, home: Path, prompting: _Prompting) -> None:
    """Prompt another base, since the specialist's is an encoder."""
    entry = catalog.find(WRITER)
    if entry is not None and entry.path(home) is None:
        baselines.notes.append(
            f"base, prompted and retrieval are left out: the specialist's base is an encoder, which takes no "
            f"instruction, and {WRITER} is not on this machine (azubi bases get {WRITER})."
        )
        return
    task = prompting.task
    writer = new_specialist(open_base(WRITER, home), task.contract, 1, 0, 0, specialist.dtype)
    longest = longest_answer([writer.encode(example) for example in task.learned_train])
    baselines.notes.append(
        f"base, prompted and retrieval are {WRITER}, since the specialist's base {specialist.base.name} is "
        "an encoder, which takes no instruction."
    )
    _add_prompted(baselines, writer, replace(prompting, task=replace(task, longest=longest)))


def _add_prompted(baselines: BaselineSet, specialist: Specialist, prompting: _Prompting) -> None:
    """The untouched base: with the company's instruction, with good prompting, with similar examples."""
    task, retrievers, counts = prompting.task, prompting.retrievers, _EXAMPLES_SHOWN
    # Where the cut lies does not matter for the base, and the last layer alone is the smallest copy.
    model = InstructedModel(specialist.with_new_tail(1, 0, 0), task)
    seconds = {who: share * baselines.seconds for who, share in _CHOOSING.items()}
    baselines.preparations |= {
        "base": untouched_base(model, task),
        "prompted": prompted(model, task, seconds["prompted"]),
        "retrieval": retrieval("retrieval", model, task, retrievers, counts, seconds["retrieval"]),
    }


def _add_specialist_with_retrieval(
    baselines: BaselineSet, specialist: Specialist, prompting: _Prompting, upfront: float
) -> None:
    who, (name, retriever) = "specialist+retrieval", list(prompting.retrievers.items())[-1]
    baselines.preparations[who] = retrieval(
        who,
        InstructedModel(specialist, prompting.task),
        prompting.task,
        {name: retriever},
        _EXAMPLES_FOR_SPECIALIST,
        _CHOOSING[who] * baselines.seconds,
        upfront=upfront,
    )
