"""The one way through: examples in, a measured specialist out.

    data -> (search) -> base -> prime -> trunk -> tail -> evaluate -> package

`run` yields what happens as events and writes each of them to the run's `events.jsonl`. The
terminal, a page or a program draw them; none of them does anything that is not in here.
"""

import contextlib
import json
import math
import platform
import shutil
import tempfile
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
import transformers

import azubi
from azubi import defaults, erasure, files, halves, material, runs, scoping
from azubi import events as ev
from azubi import parent as parents
from azubi.activations import ActivationCache
from azubi.answering import Answer, Answering, check_fits
from azubi.base import catalog, memory, probe
from azubi.base.opening import open_base
from azubi.data import prime as primes
from azubi.data import schema as schemas
from azubi.data.contract import infer
from azubi.data.example import Example
from azubi.data.finding import Finding
from azubi.data.personal import policy
from azubi.data.personal.keeping import KeyFile, Map
from azubi.data.personal.standins import derived_key
from azubi.data.reading import STDIN, Reading, Rejected, Source, read_source
from azubi.data.rules import derivation, proposing
from azubi.data.template import check_length
from azubi.data.versions.manifest import Manifest, notes, split_note
from azubi.data.versions.row import Part, rows_of, version_of
from azubi.dataroom.erased import Erased
from azubi.dataroom.looks import Look, Looks
from azubi.dataroom.versions import Versions, now
from azubi.errors import (
    AzubiError,
    MemoryShortage,
    SettingError,
    StorageError,
    TrainingError,
    UsageError,
    tells_of_memory,
)
from azubi.evaluate import metrics
from azubi.evaluate.comparison import Comparison, compare_pick
from azubi.evaluate.confusion import confusions
from azubi.evaluate.epoch import Epoch
from azubi.evaluate.report import Report, render
from azubi.evaluate.score import Score
from azubi.halves import Halves
from azubi.outlook import Outlook, Pace
from azubi.package import card as cards
from azubi.package import writing
from azubi.package.card import Card, Hidden
from azubi.planning import load as loads
from azubi.planning.forecast import Forecast
from azubi.planning.load import Load
from azubi.planning.observed import Observed
from azubi.planning.prospect import Prospect, foreseen
from azubi.planning.rehearsal import rehearse
from azubi.registry.store import Store
from azubi.runs import Run, Runs
from azubi.scope import Scope
from azubi.search import searching
from azubi.search.allowance import Allowance
from azubi.search.searching import Found, Quest
from azubi.search.shelf import Shelf
from azubi.settings import Recipe, seconds
from azubi.sinks import sink as sinks
from azubi.tail import checkpoint, course, private, training, weights
from azubi.tail.batch import Lesson
from azubi.tail.checkpoint import Checkpoints
from azubi.tail.plan import Plan
from azubi.tail.private import Spent
from azubi.work import Work

_SOURCES: tuple[Part, ...] = ("data", "test_data", "validation_data")
"""The settings that name examples."""
_ANY_KEY = bytes(32)
"""Of stand-ins, where placeholders alone are made."""
_MAPPING = {
    *("prompt", "answer", "id", "group", "time", "weight", "turns"),
    *("query", "sheet", "encoding", "delimiter", "file"),
}
"""The settings by which sources become rows, as far as there are such."""
_WORTH_REHEARSING = 60.0
"""A run that will take fewer seconds is planned from arithmetic alone."""
_HOUSEKEEPING = 5.0
"""Seconds between two looks at disk and memory."""
_RESERVE = 64 << 20
_TRAINED_BYTES = 28
"""Of the disk, the cache leaves this free for what the run has yet to write: some, and per trained weight two
checkpoints (float32, and AdamW's two moments) and the packaged tail."""


def run(recipe: Recipe, home: Path, *, fresh: bool = False) -> Iterator[ev.Event]:
    """Make a specialist as `recipe` says, in `home`; yields what happens.

    A run of the same recipe and data that was stopped or killed is gone on with, unless `fresh`. Closing the
    iterator stops the run. One that had not come as far as the trunk then leaves nothing.

    Raises:
        UsageError: settings, data or base cannot be used.
        RunError: something failed on the way.
    """
    erasure.finish(home)
    lasting, passing = _absolute(recipe), _passing(recipe)
    identity, place = _identity(lasting, passing), Runs(home)
    found = None if fresh else place.take(identity)
    work = found or place.begin(recipe.name, identity, lasting.model_dump(mode="json"))
    yield from _work_on(recipe, home, work, passing)


def _work_on(recipe: Recipe, home: Path, work: Run, passing: "_Passing") -> Iterator[ev.Event]:
    """Run `recipe` in the folder of `work`, each event written there as it is yielded."""
    line = _Line(recipe, home, work, passing)
    before = work.earlier[-1].elapsed if work.earlier else 0.0
    begun = time.monotonic()
    try:
        with (
            _memory_explained(),
            sinks.opened(recipe.sink, work.folder, home) as sink,
            contextlib.closing(line.run()) as events,
        ):
            for event in events:
                line.under_way |= isinstance(event, ev.SearchPlanned)
                elapsed = before + time.monotonic() - begun
                stamped = event.model_copy(update={"at": time.time(), "elapsed": elapsed})
                work.log(stamped)
                sink.hear(stamped)
                yield stamped
    except BaseException as error:
        _stopped(work, error, before + time.monotonic() - begun, line.under_way)
        raise
    finally:
        work.release()


def plan(recipe: Recipe, home: Path) -> Iterator[ev.Event]:
    """Say what a run of `recipe` would take, before anything runs; the last event is `Planned`.

    Data are read, the base is loaded, and a few lessons go the whole way, to be forgotten. Nothing is kept.
    With a budget it is the run that a search begins with: the first base, with the defaults.

    Raises:
        UsageError: settings, data or base cannot be used; all that `run` would say before the trunk.
    """
    if recipe.budget and not Path(recipe.base).expanduser().exists():
        recipe = recipe.model_copy(update={"base": recipe.base.split(",")[0].strip()})
    # What a run would write on its way to the trunk, such as the rows that it leaves out, is written there.
    with _memory_explained(), tempfile.TemporaryDirectory() as folder:
        work = runs.unwritten(recipe.name, Path(folder))
        yield from _Line(recipe, home, work, _passing(recipe), thorough=True).plan()


def resume(home: Path, run_id: str | None = None) -> Iterator[ev.Event]:
    """Go on with a run, the newest unfinished one if none is named; yields as `run` does.

    Raises:
        SettingError: there is none, it has ended or is running, or its data have changed since.
    """
    found = Runs(home).get(run_id)
    state = runs.state(found)
    if state != "unfinished":
        raise SettingError(f"The run {found.id} is {state} and cannot be gone on with.", "See: azubi runs")
    recipe = Recipe.model_validate(found.paper.settings)
    if STDIN in (getattr(recipe, name) for name in _SOURCES):
        raise SettingError(
            f"The examples of the run {found.id} came by standard input, which is gone.",
            "Give the command that began it once more, with the same input.",
        )
    passing = _passing(recipe)
    work = Runs(home).take(_identity(recipe, passing), found.id)
    if work is None:
        raise SettingError(
            f"The data of the run {found.id} have changed since it began.",
            "Begin a new run with azubi tune; what the trunk said about unchanged examples is used again.",
        )
    return _work_on(recipe, home, work, passing)


_Passing = dict[str, tuple[Source, Reading]]
"""What was read from sources that are no files and so cannot be hashed without: by the setting's name."""


def _passing(recipe: Recipe) -> _Passing:
    sources = {"data": Source.of(recipe)}
    for name in _SOURCES[1:]:
        if (path := getattr(recipe, name)) is not None:
            sources[name] = Source(recipe, path)
    return {name: (one, read_source(one)) for name, one in sources.items() if not one.lasting}


def _identity(recipe: Recipe, passing: _Passing) -> str:
    """Hash of the settings and of the files' content: what makes two runs the same run."""
    # A streamed trunk gives the same numbers: a run that had too little memory goes on with one.
    told = recipe.model_dump(mode="json", exclude={"sink", "stream_trunk"})
    prime = Path(recipe.prime[1:]) if recipe.prime and recipe.prime.startswith("@") else None
    paths = {name: getattr(recipe, name) for name in _SOURCES} | {"schema": recipe.schema_, "prime": prime}
    for name, path in paths.items():
        # What cannot be read is said by whoever reads it for its content.
        with contextlib.suppress(OSError):
            told[name] = files.sha256(path) if path is not None else told[name]
    told |= {name: source.sha256(read.examples) for name, (source, read) in passing.items()}
    return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _stopped(work: Run, error: BaseException, elapsed: float, under_way: bool) -> None:
    """Note why a run ended early; one that had not begun to work leaves nothing."""
    if not under_way and not work.earlier:
        work.remove()
        return
    # What the user asked for would fail again; but before work began, a later try may find a better world.
    resumable = not (under_way and isinstance(error, UsageError | TrainingError))
    problem, remedy = (error.problem, error.remedy) if isinstance(error, AzubiError) else (repr(error), "")
    if isinstance(error, GeneratorExit | KeyboardInterrupt):
        problem = "Stopped."
    told = ev.RunStopped(problem=problem, remedy=remedy, resumable=resumable, at=time.time(), elapsed=elapsed)
    with contextlib.suppress(StorageError):
        work.log(told)
    if not resumable:
        _clear(work.folder)


def _clear(folder: Path) -> None:
    """Remove what was only kept to go on with."""
    checkpoint.clear(folder)
    Shelf(folder).clear()


@contextlib.contextmanager
def _memory_explained() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if isinstance(error, AzubiError) or not tells_of_memory(error):
            raise
        raise MemoryShortage(
            "The memory that this machine (or a limit on this process) allows is used up.",
            "Try --stream-trunk, a smaller --batch or fewer --tail-layers, or close other programs.",
        ) from error


@dataclass
class _Measurement:
    """What one answerer made of the test."""

    answers: list[str]
    scores: tuple[Score, ...]


@dataclass
class _Line:
    """One run on its way; each stage leaves what the later ones need."""

    recipe: Recipe
    home: Path
    work: Run
    passing: _Passing = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    follows: str = ""
    """The earlier state of the data whose cut-offs the split keeps."""
    epochs: dict[int, Epoch] = field(default_factory=dict)
    cache: ActivationCache | None = None
    found: Found | None = None
    """By the search, if there was one."""
    spent: Spent | None = None
    """Of privacy, if it was asked for."""
    under_way: bool = False
    """Whether trunk or search have begun: what was done so far is worth keeping."""
    told_not_kept: bool = False
    rejected: list[str] = field(default_factory=list)
    """Lines of rejected.jsonl."""
    findings: list[Finding] = field(default_factory=list)
    """What is wrong with the records."""
    thorough: bool = False
    """Whether the plan is all that is wanted, so that it is worth a rehearsal however short the run."""
    memory: dict[str, int] = field(default_factory=dict)
    """Most bytes that the process held, by stage."""
    checkpoints: int = 0
    """Most bytes that checkpoints took on disk."""
    looked: float = 0.0
    """When house was last kept."""
    once: float = 0.0
    """Seconds that a run after this plan is spared: a GGUF file was converted, weights were hashed."""

    def plan(self) -> Iterator[ev.Event]:
        """All that comes before the trunk; the last event is the plan."""
        self.started = time.monotonic()
        for stage, events in self._preparing():
            yield ev.StageStarted(stage=stage)
            yield from events

    def _preparing(self) -> Iterator[tuple[ev.Stage, Iterator[ev.Event]]]:
        yield "data", self._data()
        if self.recipe.budget and not self.thorough:
            yield "search", self._search()
        yield "base", self._base()
        yield "prime", self._prime()

    def run(self) -> Generator[ev.Event, None, None]:
        try:
            yield from self._stages()
        finally:
            self._close_cache()

    def _stages(self) -> Iterator[ev.Event]:
        self.started = started = time.monotonic()
        yield ev.RunStarted(
            name=self.recipe.name,
            folder=str(self.work.folder),
            settings=self.recipe.model_dump(mode="json"),
            again=bool(self.work.earlier),
        )
        stages: tuple[tuple[ev.Stage, Iterator[ev.Event]], ...] = (
            *self._preparing(),
            ("trunk", self._trunk()),
            ("tail", self._tail()),
            ("evaluate", self._evaluate()),
            ("package", self._package()),
        )
        for stage, events in stages:
            begun = time.monotonic()
            self.under_way |= stage == "trunk"
            memory.forget_peak()
            yield ev.StageStarted(stage=stage)
            yield from events
            self.memory[stage] = memory.peak()
            memory.tidy()
            self.seconds[stage] = round(time.monotonic() - begun, 2)
        _clear(self.work.folder)
        yield ev.RunEnded(
            seconds=time.monotonic() - started, memory=self.memory, checkpoints=self.checkpoints
        )

    # data

    def _data(self) -> Iterator[ev.Event]:
        if self.recipe.budget is not None and self.recipe.from_ is not None:
            raise SettingError(
                f"A search (budget {self.recipe.budget}) cannot go on from {self.recipe.from_}, "
                "whose base and tail are settled.",
                "Leave --budget out, or search without --from.",
            )
        if self.recipe.privacy is not None:
            self._check_privacy()
        self.parent = parents.find(self.recipe.from_, self.home) if self.recipe.from_ is not None else None
        examples = yield from self._read("data", Source.of(self.recipe))
        tests = yield from self._given("test_data")
        checks = yield from self._given("validation_data")
        examples, tests, checks = yield from self._unerased(examples, tests, checks)
        # Before anything else sees them: cache, model, events and report must not hold what is to be hidden.
        examples, tests, checks = yield from self._hide(examples, tests, checks)
        # Rows without a key are known by their content, which may be another one now.
        examples, tests, checks = yield from self._unerased(examples, tests, checks)
        self.rows = rows_of({"data": examples, "test_data": tests, "validation_data": checks})
        self.version = version_of(self.rows)
        found = material.parted(self.home, self.version, self.rows, self.recipe)
        self.system, self.split, self.follows = found.system, found.split, found.follows
        if (
            self.system is not None
            and self.recipe.prime is not None
            and primes.given(self.recipe.prime) != self.system
        ):
            yield ev.Notice(text="The prime that was given replaces the system message of the examples.")
        seen = [*self.split.train, *self.split.validation]
        task = None if self.recipe.task == "auto" else self.recipe.task
        if task is None and self.parent is not None:
            task = self.parent.card.task
        self.contract = infer([one.answer for one in seen], task)
        yield from self._records(seen)
        if self.recipe.label_weights == "balanced" and self.contract.task != "labels":
            raise SettingError(
                "label_weights is balanced, but the answers are not labels of a closed set.",
                "Leave --label-weights out.",
            )
        if self.parent is not None:
            self.contract = self.parent.widened(self.contract)
            update = {"from_": self.parent.name}
            self.recipe = self.parent.fitted(self.recipe).model_copy(update=update)
        yield from self._check_test()
        self.split = material.taught(self.split, self.contract)
        yield ev.DataReady(
            task=self.contract.task,
            train=len(self.split.train),
            validation=len(self.split.validation),
            test=len(self.split.test),
            labels=self.contract.labels,
            fields=self.contract.fields,
            derived=self.contract.derived,
            version=self.version,
        )

    def _check_privacy(self) -> None:
        """What would spend more than is counted, or tell of all examples at once, is refused."""
        recipe, told = self.recipe, "with privacy: what it gives away of the examples could not be counted."
        for name, given, remedy in (
            ("budget", recipe.budget, "Choose --tail-layers and the like without a search."),
            ("from", recipe.from_, "Train from the base itself."),
            ("label_weights balanced", recipe.label_weights == "balanced", "Leave --label-weights out."),
            ("weight", recipe.weight, "Leave --weight out: all examples count the same."),
            ("accept_rules", recipe.accept_rules, "Give the rules yourself with derive."),
        ):
            if given:
                raise SettingError(f"{name} cannot be had {told}", remedy)
        private.check_available()

    # Between reading and teaching: what records follow, and what of them is computed.

    def _records(self, seen: Sequence[Example]) -> Iterator[ev.Event]:
        """The schema and the rules of records, and where the examples break them."""
        schema = schemas.load(self.recipe.schema_) if self.recipe.schema_ is not None else None
        if self.contract.task != "json":
            self._refuse_records_settings()
            return
        if schema is not None:
            self.contract = self.contract.following(schema)
        rules = self.recipe.derive
        if self.parent is not None:
            rules = self.parent.rules(rules)
            if self.recipe.accept_rules:
                yield ev.Notice(
                    text=f"Which fields are derived is settled by {self.parent.name}: no others are."
                )
        elif self.recipe.accept_rules:
            rules = dict(rules)
            for one in proposing.propose([self.contract.parse(e.answer) or {} for e in seen], tuple(rules)):
                rules[one.field] = one.rule
                yield ev.Notice(text=f"Derived, not learned: {proposing.told(one)}")
        self.contract = self.contract.deriving(rules)
        self.recipe = self.recipe.model_copy(update={"derive": rules, "accept_rules": None})
        for place, examples in (("", seen), ("test ", self.split.test)):
            records = [(one.line, self.contract.parse(one.answer) or {}) for one in examples]
            if not place:
                derivation.check_possible(self.contract, [record for _, record in records])
            for found in (
                schemas.finding(self.contract.json_schema, records),
                derivation.finding(self.contract, records),
            ):
                if found is not None:
                    self.findings.append(found)
                    yield ev.Notice(text=_finding_told(place, found))

    def _refuse_records_settings(self) -> None:
        for name, given in (
            ("derive", self.recipe.derive),
            ("schema", self.recipe.schema_),
            ("accept_rules", self.recipe.accept_rules),
        ):
            if given:
                raise SettingError(
                    f"{name} is given, but the answers are not JSON records.",
                    f"Leave {name} out, or bring records.",
                )

    def _read(self, setting: str, source: Source) -> Generator[ev.Event, None, tuple[Example, ...]]:
        if setting in self.passing:
            source, found = self.passing.pop(setting)
        else:
            found = read_source(source)
        name = source.path.name if source.lasting and source.path is not None else source.name
        self.hashes[source.name if name in self.hashes else name] = source.sha256(found.examples)
        for note in found.notes:
            yield ev.Notice(text=note)
        if found.rejected:
            left_out = self._discreet(found.rejected)
            self.rejected += [one.as_json(source=source.name) for one in left_out]
            path = self.work.folder / "rejected.jsonl"
            files.write_text(path, "".join(f"{line}\n" for line in self.rejected))
            first = "; ".join(f"line {one.line}: {one.reason}" for one in left_out[:3])
            more = "; …" if len(left_out) > 3 else ""
            count = _some(len(left_out), "row", " that cannot be used")
            where = "" if self.thorough else f", see {path}"
            yield ev.Notice(text=f"{name}: {count} left out ({first}{more}){where}")
        return found.examples

    def _given(self, setting: str) -> Generator[ev.Event, None, tuple[Example, ...] | None]:
        """The examples of a side that was given apart, if it was."""
        path: Path | None = getattr(self.recipe, setting)
        return (yield from self._read(setting, Source(self.recipe, path))) if path is not None else None

    def _discreet(self, rejected: Sequence[Rejected]) -> list[Rejected]:
        """Rows that were left out, without what is to be hidden: a broken row cannot be searched reliably."""
        hidden = policy.rules("mask", self.recipe.patterns, self.recipe.names, _ANY_KEY)
        if self.recipe.personal_data not in ("mask", "pseudonym"):
            return list(rejected)
        reasons = policy.treat(((one.reason, "", "") for one in rejected), hidden, 1)
        return [
            replace(one, reason=told.texts[0], raw="(hidden)")
            for one, told in zip(rejected, reasons, strict=True)
        ]

    def _hide(
        self,
        examples: tuple[Example, ...],
        tests: tuple[Example, ...] | None,
        checks: tuple[Example, ...] | None,
    ) -> Generator[
        ev.Event, None, tuple[tuple[Example, ...], tuple[Example, ...] | None, tuple[Example, ...] | None]
    ]:
        """Carry out what the recipe says about personal data, under one key for all sides."""
        recipe, together = self.recipe, (*examples, *(tests or ()), *(checks or ()))
        # A plan makes no key and no map: its stand-ins are thrown away.
        file = KeyFile(recipe.personal_key) if recipe.personal_key and not self.thorough else None
        rules = policy.rules(recipe.personal_data, recipe.patterns, recipe.names)
        if rules.changes:
            rules = replace(rules, key=file.made() if file else derived_key(together))
        applied = policy.apply(together, rules, keep_pairs=rules.changes and file is not None)
        if applied.pairs:
            Map(self.home, rules.key).add(sorted(applied.pairs))
        if applied.tally.touched:
            yield ev.Notice(text=policy.told(rules, applied.tally))
        hidden = iter(applied.examples)
        taken, given_tests, given_checks = (
            None if side is None else tuple(next(hidden) for _ in side) for side in (examples, tests, checks)
        )
        assert taken is not None
        return taken, given_tests, given_checks

    def _unerased(self, *parts: tuple[Example, ...] | None) -> Generator[ev.Event, None, list[Any]]:
        """The examples without what was erased."""
        rows = rows_of(dict(zip(_SOURCES, parts, strict=True)))
        left = Erased(self.home).without(rows)
        if gone := len(rows) - len(left):
            yield ev.Notice(text=f"{_some(gone, 'row')} left out: it was erased (azubi data erase).")
        kept = {name: tuple(row.example for row in left if row.part == name) for name in _SOURCES}
        return [None if part is None else kept[name] for name, part in zip(_SOURCES, parts, strict=True)]

    def _keep_data(self) -> None:
        """Keep what the run is about to learn from: the same rows are kept once."""
        recipe, told = self.recipe, self.recipe.model_dump(mode="json", include=_MAPPING)
        note = split_note(self.split, recipe.split, recipe.seed, material.sides_given(recipe), self.follows)
        counts = {name: sum(row.part == name for row in self.rows) for name in _SOURCES}
        manifest = Manifest(
            version=self.version,
            created=now(),
            source=self.hashes,
            mapping=told,
            counts={name: count for name, count in counts.items() if count},
            findings=notes(tuple(self.findings)),
        )
        Versions(self.home).keep(manifest, self.rows, note, self.split.settled.sides)

    def _check_test(self) -> Iterator[ev.Event]:
        if self.split.duplicates:
            repeated = _some(self.split.duplicates, "repeated example")
            yield ev.Notice(text=f"{repeated} left out: the same prompt and answer count once.")
        if self.split.overlapping:
            shared = _some(self.split.overlapping, "example")
            yield ev.Notice(
                text=f"{shared} not learned from, chosen with or tested with: the same or nearly the same "
                "prompt stands on another side."
            )
        if self.split.moved:
            text = f"{_some(self.split.moved, 'prompt')} on another side than chance would have it: where "
            yield ev.Notice(text=text + "nearly the same prompt stands.")
        if self.split.untimed:
            untimed = _some(self.split.untimed, "example", " without a time")
            yield ev.Notice(text=f"{untimed} learned from: when it happened is not known.")
        answers = [one.answer for one in self.split.test]
        if self.recipe.test_data is not None:
            self.contract.check_covers(answers)
        elif self.contract.task == "labels":
            lone = sorted(set(answers) - set(self.contract.labels))
            if lone:
                named = ", ".join(lone[:5]) + (" …" if len(lone) > 5 else "")
                yield ev.Notice(
                    text=f"{_some(len(lone), 'label')} in the test alone, having too few examples, and will "
                    f"count as wrong: {named}."
                )

    # search

    def _search(self) -> Iterator[ev.Event]:
        assert self.recipe.budget is not None
        self._keep_data()
        earlier = self.work.earlier
        spent = earlier[-1].elapsed if earlier else 0.0
        self.deadline = self.started + seconds(self.recipe.budget) - spent
        self.machine = probe.probe(*self._number_format())
        quest = Quest(self.recipe, self.contract, self.split, self.system, self.machine, self.home)
        self.cache = self._opened_cache(0)
        self.found = yield from searching.search(
            quest, Allowance(self.deadline), self.cache, self.work.folder, earlier
        )
        self.recipe = self.found.recipe
        self._close_cache()

    # base

    def _base(self) -> Iterator[ev.Event]:
        begun = time.monotonic()
        base = open_base(defaults.base_for(self.recipe, self.contract.task), self.home)
        if self.thorough:
            self.once = time.monotonic() - begun
            base = open_base(defaults.base_for(self.recipe, self.contract.task), self.home)
        if self.parent is not None:
            self.parent.check_base(base.sha256)
        self.recipe = defaults.resolved(self.recipe, base, self.contract.task)
        if self.found is None:
            dtype, threads = self._number_format()
            self.machine = probe.probe(dtype, threads, self.recipe.device)
        self.depth, self.rank = int(self.recipe.tail_layers), int(self.recipe.rank)
        self.halves: Halves = halves.cut(
            base,
            self.contract,
            self.depth,
            self.rank,
            self.recipe.seed,
            self.machine.dtype,
            self.recipe.stream_trunk,
        )
        if self.halves.streams:
            why = "" if self.recipe.stream_trunk else ", since it would not fit in the memory that is free"
            slow = " Answers take long that way: each token of one reads the trunk anew."
            yield ev.Notice(
                text=f"{base.name} is read from disk layer by layer{why}."
                + (slow if base.kind == "decoder" else "")
            )
        self.trained = sum(one.numel() for one in weights.trained(self.halves.tail).values())
        yield ev.BaseReady(
            name=base.name,
            licence=base.licence,
            layers=base.layers,
            tail_layers=self.depth,
            rank=self.rank,
            parameters=self.halves.parameters,
            trained=self.trained,
            dtype=self.machine.dtype_name,
            threads=self.machine.threads,
            gflops=self.machine.gflops,
            pretraining=base.pretraining,
        )

    def _number_format(self) -> tuple[probe.DtypeName, int | None]:
        """As the recipe says, but what was measured when the run began holds to its end."""
        for event in self.work.earlier:
            if isinstance(event, ev.BaseReady | ev.SearchPlanned):
                return ("bfloat16" if event.dtype == "bfloat16" else "float32"), event.threads
        return self.recipe.dtype, self.recipe.threads

    # prime

    def _prime(self) -> Iterator[ev.Event]:
        self.prime = ""
        if self.halves.base.kind == "decoder":
            self.prime = self._instruction()
        elif self.recipe.prime:
            yield ev.Notice(
                text=f"{self.halves.base.name} is an encoder and reads no instruction: prime is not used."
            )
        made = self.recipe.prime is None and self.system is None
        tokens = self.halves.prime(self.prime)
        self._check_lengths()
        self.train = training.as_taught([self.halves.lesson(one) for one in self.split.train], self.recipe)
        self.validation = [self.halves.lesson(one).final for one in self.split.validation]
        self.longest = halves.longest_answer(self.train)
        self._check_room()
        self.forecast = self._foreseen()
        self.outlook, self.pace = Outlook(self.forecast.stages), Pace(self.machine.gflops)
        if self.prime:
            self.recipe = self.recipe.model_copy(update={"prime": primes.literal(self.prime)})
        yield ev.PrimeReady(text=self.prime, tokens=len(tokens), made=made)
        yield ev.Planned(
            seconds=self.forecast.stages,
            settings=self.recipe.model_dump(mode="json"),
            forecast=self.forecast,
        )

    def _instruction(self) -> str:
        told = self.recipe.prime is not None or self.system is not None
        if not told and self.parent is not None and self.parent.card.contract == self.contract:
            return self.parent.card.prime  # what the cache holds of known examples was read behind it
        return primes.chosen(self.recipe.prime, self.system, self.contract)

    def _check_lengths(self) -> None:
        settings, split = self.recipe, self.split
        apart = settings.validation_data is not None
        for source, examples in (
            (settings.data or "The data", split.train if apart else (*split.train, *split.validation)),
            (settings.validation_data or "The data", split.validation if apart else ()),
            (settings.test_data or settings.data or "The data", split.test),
        ):
            lengths = [self.halves.tokens(one) for one in examples]
            check_length(examples, lengths, self.halves.base.context, source)

    def _check_room(self) -> None:
        """What could not be answered in the test is said now, not after training."""
        if self.halves.base.kind == "decoder":
            for one in self.split.test:
                tokens = self.halves.tokens(replace(one, answer="")) + self.longest
                check_fits(one.turns, tokens, self.halves.base.context)

    def _foreseen(self) -> Forecast:
        """What the whole run will take; for one that is gone on with, what was said when it began."""
        for event in self.work.earlier:
            if isinstance(event, ev.Planned) and event.forecast is not None:
                return event.forecast
        load = loads.load(self.halves, self.machine.gflops * 1e9, self.train, self.validation)
        lessons = [*self.train, *self.validation]
        prospect = Prospect(
            recipe=self.recipe,
            halves=self.halves,
            task=self.contract.task,
            split=self.split,
            lacking=self._lacking(lessons),
            test_tokens=sum(self.halves.tokens(replace(one, answer="")) for one in self.split.test),
        )
        roughly = foreseen(prospect, load, Observed(), 0.0)
        observed = self._observed(load, roughly.total)
        found = foreseen(prospect, load, observed, time.monotonic() - self.started - self._spared)
        if not self.recipe.budget:
            return found
        assert self.thorough, "a search leaves a recipe without a budget"
        search = max(0.0, seconds(self.recipe.budget) - found.total)
        return found.model_copy(update={"search": search})

    def _observed(self, load: Load, roughly: float) -> Observed:
        """What the search saw, if there was one; else what a rehearsal shows, if the run is worth one."""
        if self.found is not None:
            return self.found.observed
        if not self.thorough and roughly < _WORTH_REHEARSING:
            return Observed()
        questions = [one.turns for one in self.split.test]
        return rehearse(self.halves, self.recipe, load, self.train, self.validation, questions, self.home)

    def _lacking(self, lessons: Sequence[Lesson]) -> Sequence[Lesson]:
        """What the trunk has yet to read. Without a cache that is all; none is begun for the question."""
        if not (self.home / "cache" / "index.sqlite").is_file():
            return lessons
        with contextlib.closing(self._opened_cache(self.trained)) as cache:
            return self.halves.lacking(cache, lessons)

    @property
    def _spared(self) -> float:
        """Seconds so far that are not the run's set-up."""
        return self.once + self.seconds.get("search", 0.0)

    def _progress(self, stage: ev.Stage, done: int, total: int, unit: str, note: str = "") -> ev.Event:
        left = self.outlook.left(stage, done / total if total else 1.0)
        working = stage in ("trunk", "tail")
        return ev.Progress(
            stage=stage,
            done=done,
            total=total,
            unit=unit,
            left=left,
            throughput=self.pace.throughput if working else None,
            peak=self.pace.peak if working else None,
            note=note,
        )

    def _work(self) -> Work:
        """What a token costs."""
        halves = self.halves
        return Work(
            halves.layer_parameters,
            halves.base.layers,
            self.depth,
            bool(self.recipe.rank),
            halves.head_parameters,
        )

    # trunk

    def _trunk(self) -> Iterator[ev.Event]:
        begun = last = time.monotonic()
        self._keep_data()
        self.cache = self._opened_cache(self.trained)
        work, tokens = self._work(), 0
        filled = None
        for filled in self.halves.fill(self.cache, [*self.train, *self.validation]):
            now, new = time.monotonic(), filled.tokens - tokens
            self.pace.add(new, work.trunk(new), now - last)
            last, tokens = now, filled.tokens
            yield self._progress("trunk", filled.done, filled.total, "examples")
        if filled is not None and filled.without:
            yield ev.Notice(
                text=f"The activations of {_some(filled.without, 'example')} not kept, since "
                f"{self.cache.full}: the trunk runs over them again in every epoch, which takes longer. "
                "--cache-dtype int8 takes a quarter of the room of float32."
            )
        if filled is not None:
            yield ev.TrunkDone(
                computed=filled.total - filled.reused - filled.without,
                reused=filled.reused,
                tokens=filled.tokens,
                seconds=time.monotonic() - begun,
                bytes=filled.bytes,
                work=work.trunk(filled.tokens),
            )

    def _opened_cache(self, trained: int) -> ActivationCache:
        return ActivationCache(
            self.home,
            self.version,
            dtype=self.recipe.cache.dtype,
            quota=self.recipe.cache.quota,
            reserve=_RESERVE + _TRAINED_BYTES * trained,
        )

    # tail

    def _tail(self) -> Iterator[ev.Event]:
        assert self.cache is not None
        if self.found is not None and self.found.weights is not None:
            yield from self._taken(self.found.weights)
            self._close_cache()
            return
        read = self.halves.reader(self.cache)
        plan = training.plan_of(self.recipe)
        if self.parent is not None:
            self.parent.put_layers(self.halves.tail)
        if self.recipe.privacy is not None:
            self.halves.begin_unseen()
        else:
            self.halves.begin(self.train, read)
        if self.parent is not None:
            self.parent.put_head(self.halves.tail, self.contract.labels)
        self.pace = Pace(self.machine.gflops)
        self.epochs = _epochs(self.work.earlier)
        checkpoints = Checkpoints(self.work.folder, self._basis(plan))
        if checkpoints.unfit:
            yield ev.Notice(
                text="The checkpoint is damaged, or was made with other libraries or another base: training "
                "begins anew."
            )
        happenings = training.train(
            self.halves.tail,
            self.train,
            self.validation,
            read,
            plan,
            primed=bool(self.halves.prime_tokens),
            checkpoints=checkpoints,
            late=self._late if self.found is not None else None,
        )
        with contextlib.closing(happenings):
            for happened in happenings:
                yield from self._told(happened, plan)
        self._close_cache()

    def _taken(self, state: weights.State) -> Iterator[ev.Event]:
        """Take the weights of the chosen trial: training them again would give the very same."""
        assert self.found is not None and self.found.choice is not None
        chosen = self.found.choice.chosen
        weights.restore(self.halves.tail, state)
        self.halves.tail.eval()
        yield ev.Notice(
            text=f"The weights of trial {chosen.number} are taken as they are, since it was trained with all "
            "examples."
        )
        for one in chosen.curve:
            yield ev.EpochDone(**one.model_dump(exclude={"loss_error"}), epochs=chosen.epochs)
        self.epochs = {one.epoch: one for one in chosen.curve}
        yield ev.TrainingEnded(
            reason="all epochs done" if chosen.trained == chosen.epochs else "no better epoch",
            best_epoch=max(one.epoch for one in chosen.curve if one.best),
            seconds=chosen.seconds,
        )

    def _late(self, epoch: float) -> bool:
        """Whether another epoch, and what comes after it, would end behind the budget."""
        assert self.found is not None
        return time.monotonic() + epoch + self.found.after > self.deadline

    def _told(self, happened: training.Happening, plan: Plan) -> Iterator[ev.Event]:
        match happened:
            case training.Resumed():
                yield ev.TrainingResumed(epoch=happened.epoch, step=happened.step)
            case training.Step():
                self._keep_house()
                yield self._step(happened)
                note = f"epoch {happened.epoch} of at most {plan.epochs}"
                yield self._progress("tail", happened.step, happened.steps, "steps", note)
            case training.SetBack():
                loss = happened.loss if math.isfinite(happened.loss) else None
                yield ev.SetBack(
                    epoch=happened.epoch,
                    step=happened.step,
                    loss=loss,
                    back_to=happened.back_to,
                    learning_rate=happened.learning_rate,
                )
            case training.NotKept() if not self.told_not_kept:
                self.told_not_kept = True
                yield ev.Notice(text=_not_kept(happened.reason))
            case training.Epoch():
                yield self._epoch(happened, plan.epochs)
            case training.Ended():
                self.looked = 0.0
                self._keep_house()
                if happened.reason == "the loss kept exploding":
                    yield ev.Notice(text=f"Epoch {happened.best_epoch} is kept. {course.ADVICE}")
                if happened.reason == "the time is used up":
                    yield ev.Notice(
                        text=f"The budget allowed no more of the {plan.epochs} epochs; epoch "
                        f"{happened.best_epoch} is kept. The recipe that is left would train all of them."
                    )
                self.spent = happened.spent
                yield ev.TrainingEnded(
                    reason=happened.reason,
                    best_epoch=happened.best_epoch,
                    seconds=happened.seconds,
                    epsilon=self.spent.epsilon if self.spent is not None else None,
                    delta=self.spent.delta if self.spent is not None else None,
                )

    def _basis(self, plan: Plan) -> str:
        """Hash of all that training depends on."""
        digest = sha256()
        for part in (
            self.halves.base.sha256,
            self.parent.card.tail_sha256 if self.parent is not None else "",
            self.depth,
            self.recipe.rank,
            self.recipe.label_weights,
            asdict(plan),
            self.machine.dtype,
            self.machine.threads,
            sorted(_versions().items()),
            self.contract.model_dump_json(),
            self.halves.prime_tokens,
            *((one.tokens, one.targets, one.places, one.weight) for one in (*self.train, *self.validation)),
        ):
            digest.update(repr(part).encode() + b"\0")
        return digest.hexdigest()

    def _keep_house(self) -> None:
        """Weigh the checkpoint and tidy memory, every few seconds: both take milliseconds."""
        if time.monotonic() - self.looked > _HOUSEKEEPING:
            self.looked = time.monotonic()
            memory.tidy()
            self.checkpoints = max(self.checkpoints, checkpoint.size(self.work.folder))

    def _close_cache(self) -> None:
        if self.cache is not None:
            self.cache.close()
            self.cache = None

    def _step(self, done: training.Step) -> ev.StepDone:
        work = self._work().step(done.tokens, done.targets, len(self.halves.prime_tokens))
        self.pace.add(done.tokens, work, done.seconds)
        return ev.StepDone(
            step=done.step,
            steps=done.steps,
            epoch=done.epoch,
            loss=done.loss,
            learning_rate=done.learning_rate,
            tokens=done.tokens,
            seconds=done.seconds,
            work=work,
        )

    def _epoch(self, done: training.Epoch, epochs: int) -> ev.EpochDone:
        told = ev.EpochDone(
            epoch=done.epoch,
            epochs=epochs,
            loss=done.loss,
            validation_loss=done.validation_loss,
            validation_accuracy=done.validation_accuracy,
            seconds=done.seconds,
            best=done.best,
        )
        self.epochs |= _epochs([told])
        return told

    # evaluate

    def _evaluate(self) -> Iterator[ev.Event]:
        Looks(self.home).add(self.split.test, Look(when=now(), by=f"tune {self.work.id}"))
        self.measured: dict[ev.Who, _Measurement] = {}
        yield from self._measure("base", self.halves.untouched(self.longest), 0)
        yield from self._measure("specialist", self.halves.answering(self.longest), 1)
        truths = [one.answer for one in self.split.test]
        self.comparisons = [
            Comparison(
                prompt=example.prompt,
                base=base,
                specialist=specialist,
                truth=example.answer,
                base_right=metrics.right(self.contract, base, example.answer),
                specialist_right=metrics.right(self.contract, specialist, example.answer),
            )
            for example, base, specialist in zip(
                self.split.test,
                self.measured["base"].answers,
                self.measured["specialist"].answers,
                strict=True,
            )
        ]
        self.difference = metrics.paired_difference(
            self.contract, self.measured["base"].answers, self.measured["specialist"].answers, truths
        )
        for one in compare_pick(self.comparisons):
            yield ev.Compared(prompt=one.prompt, base=one.base, specialist=one.specialist, truth=one.truth)

    def _measure(self, who: ev.Who, answering: Answering, before: int) -> Iterator[ev.Event]:
        begun = time.monotonic()
        questions = [one.turns for one in self.split.test]
        answers: dict[int, Answer] = {}
        total = len(questions)
        for number, answer in answering(questions):
            answers[number] = answer
            note = f"the {'untouched base' if who == 'base' else 'specialist'} answers"
            yield self._progress("evaluate", before * total + len(answers), 2 * total, "answers", note)
        texts = [answers[number].text for number in range(total)]
        scores = metrics.measure(self.contract, texts, [one.answer for one in self.split.test])
        self.measured[who] = _Measurement(texts, scores)
        yield ev.Measured(who=who, scores=scores, seconds=time.monotonic() - begun)

    # package

    def _package(self) -> Iterator[ev.Event]:
        yield self._progress("package", 0, 1, "folders")
        if self.recipe.privacy is not None:
            yield ev.Notice(
                text="What is out of scope is not learned: it would be told from single examples, which "
                "privacy does not let out."
            )
        card = self._written()
        yield self._progress("package", 1, 1, "folders")
        yield ev.Packaged(
            name=card.name,
            version=card.version,
            folder=str(card.folder),
            report=str(card.folder / "report.html"),
            bytes=card.bytes,
            parameters=card.parameters,
            trained=card.trained,
        )

    def _written(self) -> Card:
        """The specialist in its folder; written once, however often the run was killed meanwhile."""
        store = Store(self.home)
        version = self.work.paper.version
        if version is None:
            version, _ = store.reserve(self.recipe.name)
            self.work.reserve(version)
        elif (known := store.place(self.recipe.name, version)).is_dir():
            return cards.read(known)
        folder = store.place(self.recipe.name, version)
        # The version is this run's alone, so what is half written of it was left by a killed sitting.
        for left in folder.parent.glob(f".{version}.*"):
            shutil.rmtree(left, ignore_errors=True)
        card, scope = self._card(version), self._scope()
        report = render(self._report(card))
        return writing.write(card, weights.trained(self.halves.tail), report, folder, scope)

    def _scope(self) -> Scope | None:
        """What tells which questions are not the specialist's job; the trunk has read all that it takes."""
        if self.recipe.privacy is not None:
            return None
        with contextlib.closing(self._opened_cache(0)) as cache:
            return scoping.learned(
                self.halves,
                self.halves.reader(cache),
                self.train,
                self.split.validation,
                self.contract.task,
                self.longest,
                self.recipe.scope.recall,
            )

    def _card(self, version: int) -> Card:
        base = self.halves.base
        return Card(
            name=self.recipe.name,
            version=version,
            created=datetime.now(UTC),
            base=_lasting(base.name),
            base_sha256=base.sha256,
            family=base.family,
            licence=base.licence,
            layers=base.layers,
            tail_layers=self.depth,
            rank=self.rank,
            parameters=self.halves.parameters,
            trained=self.trained,
            dtype=str(self.halves.dtype).removeprefix("torch."),
            tail_sha256="",
            epsilon=self.spent.epsilon if self.spent is not None else None,
            delta=self.spent.delta if self.spent is not None else None,
            parent=self.parent.name if self.parent is not None else "",
            parent_sha256=self.parent.card.tail_sha256 if self.parent is not None else "",
            contract=self.contract,
            prime=self.prime,
            longest=self.longest,
            data=self.hashes,
            data_version=self.version,
            counts=self._counts(),
            scores={who: one.scores for who, one in self.measured.items()},
            seconds=self.seconds,
            versions=_versions(),
            recipe=_absolute(self.recipe).model_dump(mode="json"),
            hidden=Hidden(
                policy=self.recipe.personal_data,
                patterns=self.recipe.patterns or {},
                names=_placed(self.recipe.names),
                key_file=_placed(self.recipe.personal_key),
            ),
        )

    def _counts(self) -> dict[str, int]:
        split = self.split
        return {"train": len(split.train), "validation": len(split.validation), "test": len(split.test)}

    def _report(self, card: Card) -> Report:
        base, specialist = self.measured["base"], self.measured["specialist"]
        truths = [one.answer for one in self.split.test]
        return Report(
            name=card.name,
            version=card.version,
            date=f"{card.created:%Y-%m-%d}",
            contract=card.contract,
            base=card.base,
            base_licence=card.licence,
            base_parameters=card.parameters,
            base_layers=card.layers,
            trained_parameters=card.trained,
            tail_layers=card.tail_layers,
            rank=card.rank,
            train=card.counts["train"],
            validation=card.counts["validation"],
            test=card.counts["test"],
            test_given=self.recipe.test_data is not None,
            split_by=self.recipe.split.by,
            prime=card.prime,
            specialist_scores=specialist.scores,
            base_scores=base.scores,
            difference=self.difference,
            comparisons=tuple(self.comparisons),
            confusions=confusions(specialist.answers, truths) if card.task == "labels" else (),
            epochs=tuple(self.epochs[number] for number in sorted(self.epochs)),
            trials=self.found.trials if self.found else (),
            choice=self.found.choice if self.found else None,
            seconds=card.seconds,
            cpu=probe.processor(),
            threads=self.machine.threads,
            dtype=card.dtype,
            versions=card.versions,
            settings=card.recipe,
            hashes=card.data
            | {f"base {card.base}": card.base_sha256}
            | ({f"specialist {card.parent}": card.parent_sha256} if card.parent else {}),
        )


def _epochs(events: Iterable[ev.Event]) -> dict[int, Epoch]:
    """The epochs of a run, each as it was last made."""
    return {
        one.epoch: Epoch(
            epoch=one.epoch,
            loss=one.loss,
            validation_loss=one.validation_loss,
            validation_accuracy=one.validation_accuracy,
            best=one.best,
        )
        for one in events
        if isinstance(one, ev.EpochDone)
    }


def _not_kept(reason: Exception) -> str:
    told = reason.problem if isinstance(reason, AzubiError) else str(reason)
    return f"Training goes on, but a checkpoint could not be written: stopped now, it would fall back. {told}"


def _absolute(recipe: Recipe) -> Recipe:
    """The recipe with paths that hold from any folder."""
    lasting: dict[str, Any] = {
        name: path.absolute()
        for name in (*_SOURCES, "answers", "schema_", "names", "personal_key")
        if (path := getattr(recipe, name)) and path != STDIN
    }
    if recipe.sql is not None:
        lasting["sql"] = recipe.sql.from_folder(Path())
    if recipe.prime is not None and recipe.prime.startswith("@"):
        lasting["prime"] = f"@{Path(recipe.prime[1:]).expanduser().absolute()}"
    return recipe.model_copy(update=lasting | {"base": _lasting(recipe.base)})


def _placed(path: Path | None) -> str:
    return str(path.absolute()) if path is not None else ""


def _lasting(base: str) -> str:
    """A base by a name that holds from any folder."""
    path = Path(base).expanduser()
    return base if catalog.find(base) or not path.exists() else str(path.absolute())


def _finding_told(place: str, found: Finding) -> str:
    """A finding in one line, with the first cases."""
    cases = "; ".join(f"{place}line {one.lines[0]:,}: {one.text}" for one in found.cases)
    return f"{found.title} {cases}{' …' if found.count > len(found.cases) else ''}"


def _some(count: int, what: str, more: str = "") -> str:
    """1 row is, 2 rows are."""
    return f"{count:,} {what}{more} is" if count == 1 else f"{count:,} {what}s{more} are"


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "azubi": azubi.__version__,
    }
