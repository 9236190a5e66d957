"""The baselines of one specialist, and how each goes through a proof within a budget of time.

Knows who there is and how time is shared out; nothing of statistics or of how answers are made.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from azubi.data.example import Example
from azubi.engine.base import catalog
from azubi.engine.base.opening import open_base
from azubi.engine.features import frozen_features
from azubi.engine.specialist import Specialist, longest_answer, new_specialist
from azubi.evaluation.baselines import asking, simple
from azubi.evaluation.baselines.endpoint import Endpoint
from azubi.evaluation.baselines.generalist import Generalist
from azubi.evaluation.baselines.lora import Lora
from azubi.evaluation.baselines.prompted import Prompted
from azubi.evaluation.baselines.prompted_model import PromptableModel, base_model, trained
from azubi.evaluation.baselines.retrieval import (
    COUNTS,
    WITH_NONE,
    BM25Retriever,
    DenseRetriever,
    FusedRetriever,
    Retrieval,
    Retriever,
    Vectors,
)
from azubi.evaluation.baselines.task import Baseline, EvaluationTask
from azubi.evaluation.facts import Contender
from azubi.evaluation.prediction import Prediction
from azubi.events.tell import Tell
from azubi.settings import Recipe

RECORDS_SECONDS = 1000.0
"""What language models may take in all, where answers are written: choosing, answering, answering freely."""
LABELS_SECONDS = 90.0
"""The same for labels, of which 3 minutes are to do."""
_CHOOSING = {"prompted": 0.1, "retrieval": 0.1, "specialist+retrieval": 0.05}
"""Shares of the time that go into choosing."""
_ANSWERING = {"base": 3.0, "prompted": 4.0, "retrieval": 7.0, "specialist+retrieval": 4.0}
"""How the time that is left is shared out among those that are yet to answer the test: shown examples have to
be read for each question. Who needs less leaves it to the others. The specialist, and what is asked for by
flag, answer the whole test and take none of this time."""
_FREE = 0.2
"""Of the time for answering, what goes into answers that are not held to the contract."""
_FEWEST = 30
"""Test questions below which an answer rate says nothing."""
_ALONE = 0.02
"""Of all the time, what each may take to answer questions one at a time."""
WRITER = "smollm2-135m"
"""What writes where the specialist's own base cannot."""

Watch = Callable[[str, str, int, int], None]
"""Hears who does what, and how much of how much is done."""


@dataclass
class BaselineSet:
    """Everybody who takes part."""

    baselines: list[Baseline]
    notes: list[str] = field(default_factory=list)
    seconds: float = RECORDS_SECONDS
    """What those that share the time may take in all."""
    spent: float = 0.0
    """What they have taken."""


@dataclass(frozen=True)
class BaselineResult:
    """What one baseline has shown."""

    rows: tuple[Prediction, ...]
    contender: Contender
    notes: tuple[str, ...]


def baseline_set(
    both: Specialist,
    task: EvaluationTask,
    home: Path,
    *,
    upfront: float,
    seconds: float | None = None,
    lora: Recipe | None = None,
    against: Sequence[str] = (),
    price_per_question: float = 0.0,
    encoder: str = "minilm",
    writer: str = WRITER,
) -> BaselineSet:
    """Put the baselines together; nothing is fitted or asked yet, but bases are loaded.

    `both` is the specialist as `ask.loaded` gives it, `upfront` what its training took in seconds, `given`
    the user's own instructions, `lora` the specialist's recipe if LoRA is asked for, `against` endpoints.
    `encoder` reads texts for the simple baselines and for finding; without it they are left out, with a note.

    Raises:
        SettingError: an endpoint's address is none.
    """
    labels = task.contract.task == "labels"
    line = BaselineSet([], seconds=seconds or (LABELS_SECONDS if labels else RECORDS_SECONDS))
    says = "trained from the company's examples" + (", with a label head" if _heads(both) else "")
    line.baselines.append(trained("specialist", both, task, says, upfront))
    vectors = _vectors(encoder, home, line)
    _add_simple(line, task, vectors)
    _add_language(line, both, task, home, upfront, vectors, writer)
    if lora is not None:
        line.baselines.append(Lora(both, task, lora))
    for url in against:
        line.baselines.append(Generalist(Endpoint(url), task, price_per_question=price_per_question))
    return line


def examine(
    line: BaselineSet, baseline: Baseline, task: EvaluationTask, test: Sequence[Example], watch: Watch
) -> BaselineResult:
    """Let a baseline prepare, answer the test in each of its modes, and answer a few questions one at a time.

    One that takes long answers a sample of the test, the same for all as far as they get: `task.subset`. Its
    share of the time depends on who of the line comes after it, so they are examined in their order.

    Raises whatever preparing or answering raises.
    """
    place = line.baselines.index(baseline)
    begun = time.perf_counter()
    baseline.prepare(_watched(watch, baseline.who, "prepares"))
    if baseline.who not in _ANSWERING:
        return _examined(baseline, task, test, watch, None, _ALONE * line.seconds)
    waiting = sum(_ANSWERING.get(later.who, 0.0) for later in line.baselines[place:])
    choosing = sum(line.seconds * _CHOOSING.get(later.who, 0.0) for later in line.baselines[place + 1 :])
    mask_boilerplate = line.seconds - line.spent - (time.perf_counter() - begun) - choosing
    share = max(0.0, mask_boilerplate) * _ANSWERING[baseline.who] / waiting
    shown = _examined(baseline, task, test, watch, share, _ALONE * line.seconds)
    line.spent += time.perf_counter() - begun
    return shown


def _examined(
    baseline: Baseline,
    task: EvaluationTask,
    test: Sequence[Example],
    watch: Watch,
    seconds: float | None,
    alone: float,
) -> BaselineResult:
    """Ask a baseline that is prepared; at most so many questions as fit into `seconds`, if that is given.

    Those that are asked one at a time may take `alone` seconds beside.
    """
    who, rows, notes = baseline.who, list(baseline.choice), list(baseline.notes)
    contender = baseline.contender()
    for mode in baseline.modes:
        free = mode == "unconstrained"
        tell = _watched(watch, who, "answers freely" if free else "answers")
        if seconds is None:
            made = asking.ask(baseline, task, test, range(len(test)), tell, mode=mode)
        else:
            share = _FREE if free else 1.0 - _FREE if "unconstrained" in baseline.modes else 1.0
            made = asking.ask_within(baseline, task, test, share * seconds, tell, mode=mode, fewest=_FEWEST)
        if len(made) < len(test):
            count = f"{'freely ' if free else ''}{len(made)}"
            notes.append(f"{who} answered {count} of the {len(test)} test questions, chosen by chance.")
        rows += made
        if not free:
            contender = asking.with_peak_memory(baseline.contender())
    rows += asking.latency(baseline, task, test, _watched(watch, who, "answers one at a time"), alone)
    return BaselineResult(tuple(rows), contender, tuple(dict.fromkeys([*notes, *baseline.notes])))


def _watched(watch: Watch, who: str, what: str) -> Tell:
    return lambda done, total: watch(who, what, done, total)


def _heads(both: Specialist) -> bool:
    return both.base.kind == "encoder"


def _vectors(encoder: str, home: Path, line: BaselineSet) -> Vectors | None:
    entry = catalog.find(encoder)
    if entry is not None and entry.path(home) is None:
        line.notes.append(
            "Logistic regression, nearest neighbours and finding by meaning are left out: they read texts "
            f"with {encoder}, which is not on this machine (azubi bases get {encoder})."
        )
        return None
    return simple.CachedFeatures(frozen_features(home, encoder))


def _add_simple(line: BaselineSet, task: EvaluationTask, vectors: Vectors | None) -> None:
    if task.contract.task == "json":
        line.baselines.append(simple.frequent(task))
    if vectors is None:
        return
    line.baselines.append(simple.neighbours(task, vectors))
    regression = simple.classical(task, vectors)
    if regression is not None:
        line.baselines.append(regression)


def _add_language(
    line: BaselineSet,
    both: Specialist,
    task: EvaluationTask,
    home: Path,
    upfront: float,
    vectors: Vectors | None,
    writer: str,
) -> None:
    """Those that write: with the specialist's own base, or with another one where that cannot write."""
    model, note = both, ""
    if _heads(both):
        writing_model = _writing(task, home, line, writer, both.dtype)
        if writing_model is None:
            return
        model, task = writing_model, replace(task, longest=_longest(task, writing_model))
        note = (
            f"base, prompted and retrieval are {writer}, since the specialist's base {both.base.name} is an "
            "encoder, which takes no instruction."
        )
    promptable = PromptableModel(model, task.contract, task.longest, task.like, own=False)
    retrievers = _retrievers(task, vectors)
    time_for = {who: line.seconds * share for who, share in _CHOOSING.items()}
    line.baselines.append(base_model(promptable, task, note))
    line.baselines.append(Prompted(promptable, task, time_for["prompted"]))
    line.baselines.append(Retrieval("retrieval", promptable, task, retrievers, COUNTS, time_for["retrieval"]))
    if _heads(both):
        return
    own = PromptableModel(both, task.contract, task.longest, task.like, own=True)
    who = "specialist+retrieval"
    line.baselines.append(
        Retrieval(who, own, task, retrievers[-1:], WITH_NONE, time_for[who], upfront=upfront)
    )


def _writing(
    task: EvaluationTask, home: Path, line: BaselineSet, writer: str, dtype: torch.dtype
) -> Specialist | None:
    entry = catalog.find(writer)
    if entry is not None and entry.path(home) is None:
        line.notes.append(
            f"base, prompted and retrieval are left out: the specialist's base is an encoder, which takes no "
            f"instruction, and {writer} is not on this machine (azubi bases get {writer})."
        )
        return None
    return new_specialist(open_base(writer, home), task.contract, 1, 0, 0, dtype)


def _longest(task: EvaluationTask, writer: Specialist) -> int:
    """Tokens that an answer of another base may have, as `longest_answer` reckons."""
    encoded_examples = [writer.encode(example) for example in task.taught]
    return longest_answer(encoded_examples)


def _retrievers(task: EvaluationTask, vectors: Vectors | None) -> list[Retriever]:
    texts = [example.prompt for example in task.taught]
    words = BM25Retriever(texts)
    if vectors is None:
        return [words]
    meaning = DenseRetriever(texts, vectors)
    return [words, meaning, FusedRetriever([words, meaning])]
