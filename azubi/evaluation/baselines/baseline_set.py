"""The rivals of one specialist, put together, and the way each goes through a proof within a budget of time.

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
from azubi.evaluation.baselines import asking, base, simple
from azubi.evaluation.baselines.baseline import Baseline
from azubi.evaluation.baselines.endpoint import Endpoint
from azubi.evaluation.baselines.generalist import Generalist
from azubi.evaluation.baselines.lora import Lora
from azubi.evaluation.baselines.promptable_model import PromptableModel
from azubi.evaluation.baselines.prompted import Prompted
from azubi.evaluation.baselines.retrieval import COUNTS, WITH_NONE, Retrieval
from azubi.evaluation.baselines.retrievers import Both, Finder, Meaning, Vectors, Words
from azubi.evaluation.baselines.specialist import trained
from azubi.evaluation.baselines.task import Case
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
class Lineup:
    """Everybody who takes part."""

    rivals: list[Baseline]
    notes: list[str] = field(default_factory=list)
    seconds: float = RECORDS_SECONDS
    """What those that share the time may take in all."""
    spent: float = 0.0
    """What they have taken."""


@dataclass(frozen=True)
class Shown:
    """What one rival has shown."""

    rows: tuple[Prediction, ...]
    contender: Contender
    notes: tuple[str, ...]


def line_up(
    both: Specialist,
    case: Case,
    home: Path,
    *,
    upfront: float,
    given: Sequence[str] = (),
    seconds: float | None = None,
    lora: Recipe | None = None,
    against: Sequence[str] = (),
    price_per_question: float = 0.0,
    encoder: str = "minilm",
    writer: str = WRITER,
) -> Lineup:
    """Put the rivals together; nothing is fitted or asked yet, but bases are loaded.

    `both` is the specialist as `ask.loaded` gives it, `upfront` what its training took in seconds, `given`
    the user's own instructions, `lora` the specialist's recipe if LoRA is asked for, `against` endpoints.
    `encoder` reads texts for the simple rivals and for finding; without it they are left out, with a note.

    Raises:
        SettingError: an endpoint's address is none.
    """
    labels = case.contract.task == "labels"
    line = Lineup([], seconds=seconds or (LABELS_SECONDS if labels else RECORDS_SECONDS))
    says = "trained from the company's examples" + (", with a label head" if _heads(both) else "")
    line.rivals.append(trained("specialist", both, case, says, upfront))
    vectors = _vectors(encoder, home, line)
    _add_simple(line, case, vectors)
    _add_language(line, both, case, home, given, upfront, vectors, writer)
    if lora is not None:
        line.rivals.append(Lora(both, case, lora))
    for url in against:
        line.rivals.append(Generalist(Endpoint(url), case, price_per_question=price_per_question))
    return line


def examine(line: Lineup, rival: Baseline, case: Case, test: Sequence[Example], watch: Watch) -> Shown:
    """Let a rival prepare, answer the test in each of its forms, and answer a few questions one at a time.

    One that takes long answers a sample of the test, the same for all as far as they get: `case.subset`. Its
    share of the time depends on who of the line comes after it, so they are examined in their order.

    Raises whatever preparing or answering raises.
    """
    place = next(at for at, one in enumerate(line.rivals) if one is rival)
    begun = time.perf_counter()
    rival.prepare(_told(watch, rival.who, "prepares"))
    if rival.who not in _ANSWERING:
        return _examined(rival, case, test, watch, None, _ALONE * line.seconds)
    waiting = sum(_ANSWERING.get(one.who, 0.0) for one in line.rivals[place:])
    choosing = sum(line.seconds * _CHOOSING.get(one.who, 0.0) for one in line.rivals[place + 1 :])
    spare = line.seconds - line.spent - (time.perf_counter() - begun) - choosing
    share = max(0.0, spare) * _ANSWERING[rival.who] / waiting
    shown = _examined(rival, case, test, watch, share, _ALONE * line.seconds)
    line.spent += time.perf_counter() - begun
    return shown


def _examined(
    rival: Baseline, case: Case, test: Sequence[Example], watch: Watch, seconds: float | None, alone: float
) -> Shown:
    """Ask a rival that is prepared; at most so many questions as fit into `seconds`, if that is given.

    Those that are asked one at a time may take `alone` seconds beside.
    """
    who, rows, notes = rival.who, list(rival.choice), list(rival.notes)
    contender = rival.contender()
    for form in rival.forms:
        free = form == "free"
        tell = _told(watch, who, "answers freely" if free else "answers")
        if seconds is None:
            made = asking.ask(rival, case, test, range(len(test)), tell, form=form)
        else:
            share = _FREE if free else 1.0 - _FREE if "free" in rival.forms else 1.0
            made = asking.within(rival, case, test, share * seconds, tell, form=form, fewest=_FEWEST)
        if len(made) < len(test):
            count = f"{'freely ' if free else ''}{len(made)}"
            notes.append(f"{who} answered {count} of the {len(test)} test questions, chosen by chance.")
        rows += made
        if not free:
            contender = asking.weighed(rival.contender())
    rows += asking.latency(rival, case, test, _told(watch, who, "answers one at a time"), alone)
    return Shown(tuple(rows), contender, tuple(dict.fromkeys([*notes, *rival.notes])))


def _told(watch: Watch, who: str, what: str) -> Tell:
    return lambda done, total: watch(who, what, done, total)


def _heads(both: Specialist) -> bool:
    return both.base.kind == "encoder"


def _vectors(encoder: str, home: Path, line: Lineup) -> Vectors | None:
    entry = catalog.find(encoder)
    if entry is not None and entry.path(home) is None:
        line.notes.append(
            "Logistic regression, nearest neighbours and finding by meaning are left out: they read texts "
            f"with {encoder}, which is not on this machine (azubi bases get {encoder})."
        )
        return None
    return simple.Remembered(frozen_features(home, encoder))


def _add_simple(line: Lineup, case: Case, vectors: Vectors | None) -> None:
    if case.contract.task == "json":
        line.rivals.append(simple.frequent(case))
    if vectors is None:
        return
    line.rivals.append(simple.neighbours(case, vectors))
    regression = simple.classical(case, vectors)
    if regression is not None:
        line.rivals.append(regression)


def _add_language(
    line: Lineup,
    both: Specialist,
    case: Case,
    home: Path,
    given: Sequence[str],
    upfront: float,
    vectors: Vectors | None,
    writer: str,
) -> None:
    """Those that write: with the specialist's own base, or with another one where that cannot write."""
    model, note = both, ""
    if _heads(both):
        found = _writing(case, home, line, writer, both.dtype)
        if found is None:
            return
        model, case = found, replace(case, longest=_longest(case, found))
        note = (
            f"base, prompted and retrieval are {writer}, since the specialist's base {both.base.name} is an "
            "encoder, which takes no instruction."
        )
    talker = PromptableModel(model, case.contract, case.longest, case.like, own=False)
    finders = _finders(case, vectors)
    time_for = {who: line.seconds * share for who, share in _CHOOSING.items()}
    line.rivals.append(base.base(talker, case, note))
    line.rivals.append(Prompted(talker, case, given, time_for["prompted"]))
    line.rivals.append(Retrieval("retrieval", talker, case, finders, COUNTS, time_for["retrieval"]))
    if _heads(both):
        return
    own = PromptableModel(both, case.contract, case.longest, case.like, own=True)
    who = "specialist+retrieval"
    line.rivals.append(Retrieval(who, own, case, finders[-1:], WITH_NONE, time_for[who], upfront=upfront))


def _writing(case: Case, home: Path, line: Lineup, writer: str, dtype: torch.dtype) -> Specialist | None:
    entry = catalog.find(writer)
    if entry is not None and entry.path(home) is None:
        line.notes.append(
            f"base, prompted and retrieval are left out: the specialist's base is an encoder, which takes no "
            f"instruction, and {writer} is not on this machine (azubi bases get {writer})."
        )
        return None
    return new_specialist(open_base(writer, home), case.contract, 1, 0, 0, dtype)


def _longest(case: Case, writer: Specialist) -> int:
    """Tokens that an answer of another base may have, as `longest_answer` reckons."""
    lessons = [writer.encode(one) for one in case.taught]
    return longest_answer(lessons)


def _finders(case: Case, vectors: Vectors | None) -> list[Finder]:
    texts = [one.prompt for one in case.taught]
    words = Words(texts)
    if vectors is None:
        return [words]
    meaning = Meaning(texts, vectors)
    return [words, meaning, Both([words, meaning])]
