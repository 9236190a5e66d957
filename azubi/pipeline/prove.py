"""The one way to a proof: a specialist in, its baselines asked the same held-out questions, a verdict out.

    examples -> baselines -> forgetting -> scope -> leaks -> (curve) -> report

`prove` yields what happens as events, as `recipe.run` does, and leaves a folder with every answer
(`predictions.parquet`), all else that the numbers follow from (`facts.json`), and those numbers
(`report.json`, `report.html`).
"""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Event as Flag
from typing import Any, Literal, Protocol, TypeVar

import numpy as np

from azubi.data.datasets.test_access_log import Access, TestAccessLog
from azubi.data.datasets.versions import now
from azubi.data.example import Example
from azubi.data.pii.scanner import Scanner
from azubi.data.readers.reading import read_asked, read_source
from azubi.data.readers.source import Source
from azubi.data.splits.splitting import Split
from azubi.engine.base import hardware
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.inference import scope as scopes
from azubi.engine.inference.answering import Answer, AnswerMode, Question
from azubi.engine.specialist import Specialist
from azubi.errors import DataError, SettingError
from azubi.evaluation import metrics, prediction, proof_summary, report
from azubi.evaluation.audit import (
    canaries,
    extraction,
    membership,
)
from azubi.evaluation.audit import (
    learning_curve as curve,
)
from azubi.evaluation.audit import (
    out_of_scope as outside,
)
from azubi.evaluation.audit import probe as probes
from azubi.evaluation.audit.learning_curve import Retrainer
from azubi.evaluation.baselines import asking, baseline_set
from azubi.evaluation.baselines.baseline_set import BaselineSet
from azubi.evaluation.baselines.lora import Lora
from azubi.evaluation.baselines.task import Baseline, EvaluationTask, subset
from azubi.evaluation.facts import Contender, Curve, Facts
from azubi.evaluation.locale import Locale
from azubi.evaluation.prediction import Prediction
from azubi.evaluation.proof import SPECIALIST, Proof, prove_from
from azubi.events import events as ev
from azubi.pipeline import ask
from azubi.planning.eta import Eta
from azubi.registry import ancestors, split_from_version
from azubi.registry.card import Card
from azubi.registry.store import Store
from azubi.settings import ProofSettings, Recipe
from azubi.storage import files

T = TypeVar("T")

PREDICTIONS, FACTS, NUMBERS, REPORT = "predictions.parquet", "facts.json", "report.json", "report.html"
LORA = "lora"
_USUAL = 0.4
"""Of the speed of matrix products, what training all layers reaches on a processor (docs/benchmarks.md)."""
_OTHER_RULES = (
    "The settings of this proof are not those that the specialist was trained with: they were given with "
    "--recipe, after training."
)
_NEAREST = 3
"""Training examples that are told beside a wrong answer."""
_CHECKED = 400
"""Validation questions that the specialist is asked at most, to choose below which confidence to review."""


@dataclass(frozen=True)
class Wanted:
    """What a proof shall have beside what every proof has."""

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


def prove(name: str, home: Path, wanted: Wanted | None = None) -> Iterator[ev.Event]:
    """Prove the specialist `name` (or `name@version`); yields what happens, the verdict last.

    Raises:
        UnknownSpecialist: there is none of that name.
        UnknownData: the examples that it was made from are not kept here.
        DataError: it, or one that it went on from, has learned from the test.
        SettingError: something that was wanted cannot be had.
        StorageError: the disk is full or may not be written.
    """
    card = Store(home).get(name)
    told = wanted or Wanted()
    begun = time.monotonic()
    folder = home / "proofs" / card.name / str(card.version) / files.moment()
    work = _Work(card, home, told, folder)
    with files.new_folder(folder) as scratch, (scratch / "events.jsonl").open("w", encoding="utf-8") as log:
        for event in work.run(scratch):
            stamped = event.model_copy(update={"at": time.time(), "elapsed": time.monotonic() - begun})
            log.write(stamped.model_dump_json() + "\n")
            if isinstance(event, ev.Proved):
                log.flush()
                last = stamped
            else:
                yield stamped
    # Now only does the folder have its name.
    yield last


@dataclass
class _Work:
    """One proof on its way; each stage leaves what the later ones need."""

    card: Card
    home: Path
    wanted: Wanted
    folder: Path
    rows: list[Prediction] = field(default_factory=list)
    contenders: list[Contender] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    """Questions that the report shows, by the example's id."""
    limit: float | None = None
    """Of the scope."""
    training: float = 0.0
    """Seconds that LoRA on all layers will take, where that was asked for."""

    @property
    def name(self) -> str:
        return f"{self.card.name}@{self.card.version}"

    def run(self, folder: Path) -> Iterator[ev.Event]:
        """All stages; files go into `folder`."""
        begun = time.monotonic()
        yield from self._examples()
        self.outlook = Eta(self._planned())
        for stage, work in self._asked_for().items():
            yield ev.StageStarted(stage=stage)
            yield from work()
            hardware.release_memory()
        yield ev.StageStarted(stage="report")
        proof = yield from self._report(folder)
        yield ev.Proved(
            verdict=proof.verdict.kind,
            sentence=proof_summary.verdict(Locale(self.wanted.lang), proof),
            advice=proof_summary.advice(Locale(self.wanted.lang), proof),
            passes=proof.verdict.passes,
            folder=str(self.folder),
            report=str(self.folder / REPORT),
            seconds=time.monotonic() - begun,
        )

    # Examples

    def _examples(self) -> Iterator[ev.Event]:
        card = self.card
        self.recipe = Recipe.model_validate(card.recipe)
        if (settings := self.wanted.settings) is not None and settings != self.recipe.proof:
            self.recipe = self.recipe.model_copy(update={"proof": settings})
            self.notes.append(_OTHER_RULES)
        self.split: Split = split_from_version.of(card, self.home)
        self.test = self._drawn(self.split.test)
        unseen = ancestors.check_unseen(card, self.home, self.test)
        self.slices = self._sliced()
        access = Access(when=now(), by=f"prove {self.name} {self.folder.name}")
        # Who sees some of the test has accessed it.
        self.test_accesses = TestAccessLog(self.home).add(self.split.test, access)
        yield ev.ProofStarted(
            name=self.name,
            folder=str(self.folder),
            stages=("examples", *self._asked_for(), "report"),
            test=len(self.test),
            test_accesses=len(self.test_accesses),
        )
        yield ev.StageStarted(stage="examples")
        yield from self._tell_notes(unseen)
        self.machine = hardware.probe("auto", self.wanted.threads, self.recipe.device)
        self.both: Specialist = ask.loaded(card, self.home)
        self.case = EvaluationTask(
            contract=card.contract,
            train=self.split.train,
            validation=self.split.validation,
            instruction=card.instruction,
            longest=card.longest,
            seed=self.recipe.seed,
        )
        if gone := card.counts.get("train", 0) - len(self.split.train):
            self.notes.append(f"{gone:,} of the examples that it learned from were erased since.")
        yield from self._tell_lasting()
        sides = f"{len(self.test):,} of {len(self.split.test):,} held-out examples"
        yield ev.StageSummed(
            stage="examples", text=f"{sides}, looked at for the {_nth(len(self.test_accesses))} time"
        )

    def _tell_lasting(self) -> Iterator[ev.Event]:
        """What trains again says beforehand how long it will take."""
        taken = self.card.seconds
        if LORA in self.wanted.against:
            speed = self.machine.gflops * 1e9 * _USUAL
            self.training = Lora(self.both, self.case, self.recipe).seconds(speed)
            yield _lasting("Training LoRA on all layers", self.training)
        if self.wanted.canaries:
            yield _lasting("Training with planted secrets", canaries.seconds(taken))
        if self.wanted.learning_curve:
            yield _lasting("Training on parts of the examples", curve.seconds(taken))

    def _drawn(self, test: Sequence[Example]) -> tuple[Example, ...]:
        limit = self.wanted.limit
        if limit is None or limit >= len(test):
            return tuple(test)
        return tuple(test[place] for place in subset(test, limit, self.recipe.seed))

    def _sliced(self) -> dict[str, tuple[str, ...]]:
        """The slice of every test example, by the way to slice.

        Raises:
            SettingError: the examples have no such thing.
        """
        by = self.wanted.slice or self.recipe.proof.slice
        return {by: tuple(_slices(by, self.card, self.test))} if by is not None else {}

    def _asked_for(self) -> dict[ev.ProofStage, Callable[[], Iterator[ev.Event]]]:
        """The stages between the examples and the report."""
        stages: dict[ev.ProofStage, Callable[[], Iterator[ev.Event]]] = {
            "baselines": self._baselines,
            "forgetting": self._forgetting,
            "scope": self._scope,
            "leaks": self._leaks,
        }
        return stages | ({"learning-curve": self._curve} if self.wanted.learning_curve else {})

    def _planned(self) -> dict[str, float]:
        """Seconds that each stage will take: what has a budget takes about that, what trains was measured."""
        budget = baseline_set.LABELS_SECONDS if self.card.task == "labels" else baseline_set.RECORDS_SECONDS
        baselines = 1.2 * (self.wanted.seconds or budget) + self.training
        taken = self.card.seconds
        secrets = canaries.seconds(taken) if self.wanted.canaries else 0.0
        roughly = {"baselines": baselines, "forgetting": 30.0, "scope": 20.0, "leaks": 40.0 + secrets}
        return {stage: roughly.get(stage, curve.seconds(taken)) for stage in self._asked_for()}

    # Baselines

    def _baselines(self) -> Iterator[ev.Event]:
        stage: ev.ProofStage = "baselines"
        against = [one for one in self.wanted.against if one != LORA]
        line = baseline_set.baseline_set(
            self.both,
            self.case,
            self.home,
            upfront=sum(self.card.seconds.values()),
            seconds=self.wanted.seconds,
            lora=self.recipe if LORA in self.wanted.against else None,
            against=against,
            price_per_question=self.recipe.proof.price_per_question,
        )
        yield from self._tell_notes(line.notes)
        self.heard = self._listen(line)
        yield from self._choose_review()
        for done, baseline in enumerate(line.baselines):
            begun = time.monotonic()
            work = partial(self._examined, line, baseline)
            span = (done / len(line.baselines), (done + 1) / len(line.baselines))
            shown = yield from self._watched(stage, work, baseline.who, span)
            self.rows += shown.rows
            self.contenders.append(shown.contender)
            yield from self._tell_notes(shown.notes)
            yield self._measured(shown, time.monotonic() - begun)
        self.lora = next((one for one in line.baselines if isinstance(one, Lora)), None)

    def _examined(self, line: BaselineSet, baseline: Baseline, tell: "Said") -> baseline_set.BaselineResult:
        """One baseline of the line; told is what it is at."""
        return baseline_set.examine(
            line,
            baseline,
            self.case,
            self.test,
            lambda who, what, done, total: tell(done, total, f"{who} {what}"),
        )

    def _listen(self, line: BaselineSet) -> "_Heard":
        """The specialist, so that what its trunk made of each question is kept."""
        place = next(at for at, one in enumerate(line.baselines) if one.who == SPECIALIST)
        heard = _Heard(line.baselines[place], "unconstrained" if self.card.task == "json" else "constrained")
        line.baselines[place] = heard
        return heard

    def _choose_review(self) -> Iterator[ev.Event]:
        """The specialist's answers to validation questions, by which its confidence is judged."""
        checks = self.case.checks[:_CHECKED]
        numbers = list(range(len(checks)))

        def work(tell: "Said") -> list[Prediction]:
            return asking.ask(self.heard, self.case, checks, numbers, tell, part="choice")

        self.rows += yield from self._watched(
            "baselines", work, "specialist answers validation questions", (0, 0)
        )

    def _measured(self, shown: baseline_set.BaselineResult, seconds: float) -> ev.Event:
        rows = [one for one in shown.rows if one.part == "test" and one.mode == "constrained"]
        values = np.array([one.score for one in rows], dtype=np.float64)
        return ev.BaselineMeasured(
            who=shown.contender.who,
            says=shown.contender.says,
            score=metrics.mean_score(self.main, values),
            seconds=seconds,
        )

    @property
    def main(self) -> str:
        """The main metric."""
        return metrics.MAIN[self.card.task]

    # Forgetting

    def _forgetting(self) -> Iterator[ev.Event]:
        stage: ev.ProofStage = "forgetting"
        self.both.set_instruction(self.card.instruction)
        self.tails = {SPECIALIST: self.both.tail, "base": self.both.base_tail()}
        if self.both.base.kind == "encoder":
            yield from self._tell_notes([probes.NOT_PROBED])
            yield ev.StageSummed(stage=stage, text="an encoder writes nothing")
            return
        found = yield from self._gathered(
            stage, partial(probes.probe, self.both, self.tails, probes.probe_items())
        )
        told = [f"{who} {_right(found, who)}" for who in self.tails]
        if self.wanted.regression_set is not None:
            own = _brought(self.card, self.wanted.regression_set, read_source).examples
            kept = yield from self._gathered(stage, partial(probes.retained, self.both, self.tails, own))
            told += [f"{who} {_right(kept, who)} of yours" for who in self.tails]
        yield ev.StageSummed(stage=stage, text=f"general questions: {', '.join(told)} right")

    # Scope

    def _scope(self) -> Iterator[ev.Event]:
        stage: ev.ProofStage = "scope"
        scope = ask.scope_of(self.card)
        if scope is None:
            yield from self._tell_notes(
                [f"{self.name} was made by an azubi that told nothing of scope; train it again for that."]
            )
            yield ev.StageSummed(stage=stage, text="not known of this specialist")
            return
        self.limit = scope.limit
        self.both.set_instruction(self.card.instruction)
        heard = [(number, one, self.heard.of(one)) for number, one in enumerate(self.test)]
        inside = [
            _inside(number, one, scope.score(answer.vector, answer.evidence), scope.limit)
            for number, one, answer in heard
            if answer is not None and answer.vector is not None
        ]
        others = {"probe": outside.as_questions(probes.probe_items())}
        if self.wanted.out_of_scope is not None:
            rows = _brought(self.card, self.wanted.out_of_scope, read_asked)
            others["yours"] = [one.turns for one in rows if not one.fault]
            if faulty := len(rows) - len(others["yours"]):
                yield from self._tell_notes(
                    [f"{faulty:,} rows of {self.wanted.out_of_scope} cannot be asked."]
                )
        speak = self.both.answering(self.card.longest)

        def work(tell: "Said") -> list[Prediction]:
            return list(outside.out_of_scope(speak, scope, (), others, tell))

        found = yield from self._watched(stage, work, "")
        outer = [replace(one, number=one.number + len(self.test)) for one in found]
        self.rows += [*inside, *outer]
        told = [sum(bool(one.right) for one in side) for side in (inside, outer)]
        own, apart = f"{told[0]} of {len(inside)}", f"{told[1]} of {len(outer)}"
        yield ev.StageSummed(stage=stage, text=f"{own} own questions known, {apart} others told apart")

    # Leaks

    def _leaks(self) -> Iterator[ev.Event]:
        stage: ev.ProofStage = "leaks"
        self.both.set_instruction(self.card.instruction)
        train, others = self.case.taught, split_from_version.learned(self.test, self.card.contract)
        work: Rows = partial(membership.membership, self.both, self.tails, train, others, self.recipe.seed)
        yield from self._gathered(stage, work)
        if self.lora is not None:
            tails = {LORA: self.lora.specialist.tail}
            work = partial(
                membership.membership, self.lora.specialist, tails, train, others, self.recipe.seed
            )
            yield from self._gathered(stage, work)
        scanner = Scanner(self.recipe.patterns or {}, self.recipe.names)
        led = yield from self._gathered(
            stage, partial(extraction.extraction, self.both, self.tails, train, scanner)
        )
        came = sum(bool(one.right) for one in led if one.who == SPECIALIST)
        values = len(led) // len(self.tails)
        told = f"{came} of {values} personal values of the prompts came back word for word"
        if self.wanted.canaries:
            told += yield from self._canaries(train)
        yield ev.StageSummed(stage=stage, text=told if led or self.wanted.canaries else "losses compared")

    def _canaries(self, train: Sequence[Example]) -> Generator[ev.Event, None, str]:
        planted = canaries.plant(self.card.contract, train, self.recipe.seed)
        if not planted:
            yield from self._tell_notes(
                ["No field of the records varies, so no secret could be hidden in one."]
            )
            return ""

        def work(tell: "Said") -> list[Prediction]:
            with self._school() as school:  # the cache's index belongs to the thread that opened it
                return list(canaries.canaries(school, train, planted, self.recipe.seed, tell=tell))

        self.rows += yield from self._watched("leaks", work, "training with planted secrets")
        return f"; {len(planted)} secrets planted"

    # Curve

    def _curve(self) -> Iterator[ev.Event]:
        stage: ev.ProofStage = "learning-curve"
        train, case = self.case.taught, self.case

        def work(tell: "Said") -> list[Curve | Prediction]:
            with self._school() as school:
                return list(
                    curve.learning_curve(school, case.contract, train, self.test, case.longest, tell=tell)
                )

        found = yield from self._watched(stage, work, "training again")
        self.curves = [one for one in found if isinstance(one, Curve)]
        self.rows += [one for one in found if isinstance(one, Prediction)]
        yield ev.StageSummed(stage=stage, text=f"{len(self.curves)} trainings")

    @contextlib.contextmanager
    def _school(self) -> Iterator[Retrainer]:
        with contextlib.closing(ActivationCache(self.home, self.card.data_version)) as cache:
            checks = split_from_version.learned(self.split.validation, self.card.contract)
            yield Retrainer(self.both, self.card.instruction, self.recipe, cache, checks)

    # Report

    def _report(self, folder: Path) -> Generator[ev.Event, None, Proof]:
        yield from self._neighbours()
        facts = self._facts()
        table = prediction.table(self.rows)
        prediction.write(table, folder / PREDICTIONS)
        files.write_text(folder / FACTS, facts.model_dump_json(indent=1))
        proof = prove_from(table, facts)
        files.write_text(folder / NUMBERS, proof.model_dump_json(indent=1))
        files.write_text(folder / REPORT, report.render_proof(proof, self.wanted.lang))
        for name in (PREDICTIONS, FACTS, NUMBERS, REPORT):
            (folder / name).chmod(0o600)
        yield ev.StageSummed(stage="report", text=proof.verdict.kind)
        return proof

    def _neighbours(self) -> Iterator[ev.Event]:
        """The training examples that the trunk finds most like each wrong answer's question."""
        wrong = [
            one for one in self.rows if one.part == "test" and one.who == SPECIALIST and one.right is False
        ]
        wrong = [one for one in wrong if one.mode == "constrained"]

        def work(tell: "Said") -> np.ndarray[Any, np.dtype[np.float32]]:
            self.both.set_instruction(self.card.instruction)
            encoded = [self.both.encode(one) for one in self.case.taught]
            with contextlib.closing(ActivationCache(self.home, self.card.data_version)) as cache:
                read = self.both.activations.reader(cache)
                found = []
                for start in range(0, len(encoded), 64):
                    found.append(self.both.question_vectors(encoded[start : start + 64], read))
                    tell(min(start + 64, len(encoded)), len(encoded))
            return np.concatenate(found)

        answers = {one.number: self.heard.of(self.test[one.number]) for one in wrong}
        vectors = {
            number: answer.vector
            for number, answer in answers.items()
            if answer is not None and answer.vector is not None
        }
        if not vectors:
            return
        known = yield from self._watched("report", work, "training examples like the mistakes")
        centre = known.mean(0)
        known = scopes.unit(known - centre)
        for number, vector in vectors.items():
            likeness = known @ scopes.unit((vector - centre)[None])[0]
            test = self.test[number]
            self.texts[test.name] = test.prompt
            for place in np.argsort(-likeness, kind="stable")[:_NEAREST].tolist():
                near = self.split.train[place]
                self.texts[near.name] = near.prompt
                self.rows.append(
                    Prediction(
                        part="neighbour",
                        who=SPECIALIST,
                        number=number,
                        id=near.name,
                        answer=near.answer,
                        score=float(likeness[place]),
                    )
                )

    def _facts(self) -> Facts:
        card = self.card
        return Facts(
            name=card.name,
            version=card.version,
            date=f"{now():%Y-%m-%d}",
            contract=card.contract,
            main=self.main,
            base=card.base,
            base_licence=card.licence,
            base_parameters=card.parameters,
            trained=card.trained,
            tail_layers=card.tail_layers,
            rank=card.rank,
            instruction=card.instruction,
            train=len(self.split.train),
            validation=len(self.split.validation),
            test=len(self.test),
            test_given=self.recipe.test_data is not None,
            split_by=self.recipe.split.by,
            data_version=card.data_version,
            test_accesses=self.test_accesses,
            settings=self.recipe.proof,
            contenders=tuple(self.contenders),
            curves=tuple(self.curves),
            texts=self.texts,
            slices=self.slices,
            limit=self.limit,
            epsilon=card.epsilon,
            delta=card.delta,
            cpu=hardware.processor(),
            threads=self.machine.threads,
            dtype=str(self.both.dtype).removeprefix("torch."),
            versions=card.versions,
            notes=tuple(dict.fromkeys(self.notes)),
        )

    # Progress

    def _tell_notes(self, notes: Sequence[str]) -> Iterator[ev.Event]:
        for note in notes:
            if note not in self.notes:
                self.notes.append(note)
                yield ev.Notice(text=note)

    def _gathered(self, stage: ev.ProofStage, rows: "Rows") -> Generator[ev.Event, None, list[Prediction]]:
        """Take up the rows that a generator gives."""
        found = yield from self._watched(stage, lambda tell: list(rows(tell=tell)), "")
        self.rows += found
        return found

    def _watched(
        self,
        stage: ev.ProofStage,
        work: Callable[["Said"], T],
        note: str,
        span: tuple[float, float] = (0.0, 1.0),
    ) -> Generator[ev.Event, None, T]:
        """Work that tells how far it is, as events; it is stopped where nobody listens any more.

        It runs in a thread of its own, since what it calls tells by callbacks and cannot yield. `span` is the
        part of the stage that it is.
        """
        told: SimpleQueue[tuple[int, int, str] | None] = SimpleQueue()
        stopped = Flag()

        def tell(done: int, total: int, what: str = note) -> None:
            if stopped.is_set():
                raise _Stopped
            told.put((done, total, what))

        def begin() -> T:
            hardware.use_device(self.recipe.device)
            return work(tell)

        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(copy_context().run, begin)
            future.add_done_callback(lambda _: told.put(None))
            try:
                while (heard := told.get()) is not None:
                    done, total, what = heard
                    share = span[0] + (span[1] - span[0]) * (done / total if total else 1.0)
                    left = self.outlook.left(stage, share)
                    yield ev.Progress(stage=stage, done=done, total=total, unit="", left=left, note=what)
            finally:
                stopped.set()
            return future.result()


class Said(Protocol):
    """Hears how much of how much is done, and what is being done."""

    def __call__(self, done: int, total: int, what: str = ...) -> None:
        """Raises where the work is not wanted any more."""


class Rows(Protocol):
    """Work that gives rows."""

    def __call__(self, *, tell: Said) -> Iterator[Prediction]:
        """Do it; `tell` hears how far it is."""


class _Stopped(Exception):
    """Nobody listens any more."""


class _Heard:
    """The specialist as a baseline, whose answers are kept with what the trunk made of the questions."""

    def __init__(self, baseline: Baseline, mode: AnswerMode) -> None:
        self._baseline = baseline
        self._mode = mode
        self._answers: dict[Question, Answer] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._baseline, name)

    def answer(
        self, questions: Sequence[Question], mode: AnswerMode = "constrained"
    ) -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) as they are done."""
        for number, answer in self._baseline.answer(questions, mode):
            if mode == self._mode or questions[number] not in self._answers:
                self._answers[questions[number]] = answer
            yield number, answer

    def of(self, example: Example) -> Answer | None:
        """What it said to an example's question, in the form in which it is served."""
        return self._answers.get(example.turns)


def _slices(by: str, card: Card, test: Sequence[Example]) -> Iterator[str]:
    if by == "length":
        lengths = np.array([len(one.prompt) for one in test])
        low, middle, high = np.quantile(lengths, (0.25, 0.5, 0.75))
        for length in lengths:
            shortest, short, long = length <= low, length <= middle, length <= high
            yield (
                "shortest quarter"
                if shortest
                else "shorter"
                if short
                else "longer"
                if long
                else "longest quarter"
            )
    elif by == "group" and any(one.group for one in test):
        yield from (one.group or "(none)" for one in test)
    elif by == "label" and card.task == "labels":
        yield from (one.answer for one in test)
    elif by in card.contract.fields:
        for one in test:
            record = card.contract.parse(one.answer) or {}
            yield str(record.get(by, "(left out)"))
    else:
        fields = [*card.contract.fields, *(["label"] if card.task == "labels" else []), "group", "length"]
        raise SettingError(
            f"The examples cannot be sliced by {by!r}.", f"Choose one of: {', '.join(fields)}."
        )


def _brought(card: Card, path: Path, read: Callable[[Source], T]) -> T:
    """What a file holds, read as the specialist's examples were, or else by the columns prompt and answer."""
    try:
        return read(ask.source(card, path))
    except DataError:
        return read(ask.source(card, path, prompt="prompt", answer="answer"))


def _inside(number: int, example: Example, score: float, limit: float) -> Prediction:
    return Prediction(
        part="scope",
        who=SPECIALIST,
        number=number,
        id=example.name,
        kind=outside.IN,
        truth="in",
        answer="in" if score >= limit else "out",
        right=score >= limit,
        score=score,
    )


def _right(rows: Sequence[Prediction], who: str) -> str:
    own = [bool(one.right) for one in rows if one.who == who]
    return f"{sum(own)} of {len(own)}"


def _lasting(what: str, seconds: float) -> ev.Event:
    return ev.Notice(text=f"{what} takes about {Locale('en').duration(seconds)}.")


def _nth(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
