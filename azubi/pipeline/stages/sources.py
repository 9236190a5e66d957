"""Examples as the sources give them, and what reading them showed. Rows that cannot be used are left out.

Knows sources and rejected rows; nothing of what is done with examples.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azubi.data import schema as schemas
from azubi.data.contract import Contract, Task, TaskInference
from azubi.data.example import Example, Part
from azubi.data.finding import Finding
from azubi.data.language import TextProfile, profile_of
from azubi.data.pii import policy
from azubi.data.readers.opening import STDIN
from azubi.data.readers.reading import (
    Reading,
    read_source,
    reject_faulty,
    reject_non_list,
    reject_non_record,
    with_label_set,
)
from azubi.data.readers.row import Rejected
from azubi.data.readers.source import Source
from azubi.data.rules import derivation
from azubi.engine.base import catalog
from azubi.errors import DataError, SettingError
from azubi.events import events as ev
from azubi.pipeline.stages.removal import Fault, Parts, fault_of, so_many
from azubi.pipeline.stages.run_context import RunContext
from azubi.registry.warm_start import WarmStart
from azubi.settings import Recipe
from azubi.storage import files

if TYPE_CHECKING:
    pass


def apply_rules(
    context: RunContext,
    contract: Contract,
    parent: WarmStart | None,
    seen: Sequence[Example],
    test: Sequence[Example],
) -> Generator[ev.Event, None, tuple[Contract, tuple[Finding, ...]]]:
    """Settle schema and rules; returns the contract with them, and what is wrong with the examples' records.

    `seen` are the examples to learn from and to choose with.

    Raises:
        SettingError: a schema or rules are given that do not fit the answers, or the parent.
        DataError: what is to be derived cannot be, whatever the record.
    """
    recipe = context.recipe
    schema = schemas.load(recipe.schema_) if recipe.schema_ is not None else None
    if contract.task != "json":
        _refuse_settings(recipe)
        return contract, ()
    if schema is not None:
        contract = contract.following(schema)
    rules = yield from _rules(recipe, contract, parent, seen)
    contract = contract.deriving(rules)
    findings: list[Finding] = []
    for split, examples in (("", seen), ("test ", test)):
        records = [(example.line, contract.parse(example.answer) or {}) for example in examples]
        if not split:
            derivation.Derivation(contract).check_possible([record for _, record in records])
        for finding in (
            schemas.finding(contract.json_schema, records),
            derivation.contradictions(contract, records),
        ):
            if finding is not None:
                findings.append(finding)
                yield ev.Notice(text=_one_line(split, finding))
    context.resolve(derive=rules, accept_rules=None)
    return contract, tuple(findings)


def _rules(
    recipe: Recipe, contract: Contract, parent: WarmStart | None, seen: Sequence[Example]
) -> Generator[ev.Event, None, dict[str, str]]:
    """Given, the parent's, or found in the examples."""
    if parent is not None:
        rules = parent.rules(recipe.derive)
        if recipe.accept_rules:
            yield ev.Notice(text=f"Which fields are derived is settled by {parent.name}: no others are.")
        return rules
    rules = dict(recipe.derive)
    if recipe.accept_rules:
        records = [contract.parse(example.answer) or {} for example in seen]
        for proposal in derivation.propose(records, tuple(rules)):
            rules[proposal.field] = proposal.rule
            yield ev.Notice(text=f"Derived, not learned: {proposal}")
    return rules


def _refuse_settings(recipe: Recipe) -> None:
    for name, given in (
        ("derive", recipe.derive),
        ("schema", recipe.schema_),
        ("accept_rules", recipe.accept_rules),
    ):
        if given:
            raise SettingError(
                f"{name} is given, but the answers are not JSON records.",
                f"Leave {name} out, or bring records.",
            )


def _one_line(split: str, finding: Finding) -> str:
    cases = "; ".join(f"{split}line {case.lines[0]:,}: {case.text}" for case in finding.cases)
    return f"{finding.title} {cases}{' …' if finding.count > len(finding.cases) else ''}"


SOURCES: tuple[Part, ...] = ("data", "test_data", "validation_data")
"""The settings that name examples."""
_REJECTED = "rejected.jsonl"
_NAMED = 3
"""Rejected rows that a notice names."""

OneShotSources = dict[Part, tuple[Source, Reading]]
"""What was read from sources that are no files and so cannot be hashed without: by the setting's name."""


@dataclass(frozen=True)
class LoadedSources:
    """What the sources gave."""

    parts: Parts
    hashes: dict[str, str]
    """SHA-256 of each source, by its name."""
    task: Task
    """What the answers are."""
    texts: TextProfile
    """What the prompts of the data are like; not looked at where the recipe names a base."""


def read_one_shot(recipe: Recipe) -> OneShotSources:
    """Read what can be read but once, or has no hash before it is read.

    Raises:
        UsageError: a source is named wrongly, or cannot be read.
    """
    return {
        name: (source, read_source(source)) for name, source in _sources(recipe).items() if not source.is_file
    }


def read(
    context: RunContext, one_shot: OneShotSources, declared: Task | None = None
) -> Generator[ev.Event, None, LoadedSources]:
    """Read all sources; what stands in `one_shot` is taken out of it, so that memory holds it once.

    The task follows from all of the data, before they are split, unless it is `declared`. What the base
    cannot read is left out with what cannot be used. The recipe learns how columns write numbers and dates.

    Raises:
        UsageError: a source is named wrongly, cannot be read, or too few of its rows can be used.
    """
    parts: Parts = {}
    hashes: dict[str, str] = {}
    rejected: list[str] = []
    inference, task, texts = TaskInference(), declared, TextProfile()
    fault: Fault | None = None
    for setting, named in _sources(context.recipe).items():
        if setting in one_shot:
            source, reading = one_shot.pop(setting)
        else:
            source = replace(named, recipe=context.recipe)
            reading = read_source(source)
        recipe = context.recipe = _agreed(context.recipe, source)
        name = source.path.name if source.is_file and source.path is not None else source.name
        hashes[source.name if name in hashes else name] = source.sha256(reading.examples)
        notes = list(reading.notes)
        if setting == "data":
            for example in reading.examples:
                inference.add(example.answer, example.line)
            task = inference.task(declared)
            notes += inference.notes(task)
        if task == "json":
            reading = reject_faulty(source, reading, reject_non_record)
        elif task is not None and inference.multi(task):
            reading = reject_faulty(source, reading, reject_non_list)
            reading = replace(reading, examples=tuple(map(with_label_set, reading.examples)))
        if setting == "data" and recipe.base == "auto":
            texts = profile_of([example.prompt for example in reading.examples])
        fault = fault or fault_of(recipe, task, context.home, reading.examples, texts)
        reading = reject_faulty(source, reading, fault)
        for note in _redact(notes, recipe):
            yield ev.Notice(text=note)
        if reading.rejected:
            left_out = _redact_rows(reading.rejected, recipe)
            rejected += [row.as_json(source=source.name) for row in left_out]
            path = context.work.folder / _REJECTED
            files.write_text(path, "".join(f"{line}\n" for line in rejected))
            yield ev.Notice(text=_left_out(name, left_out, None if context.plan_only else path))
        parts[setting] = reading.examples
    assert task is not None  # the data come first
    return LoadedSources(parts, hashes, task, texts)


def with_absolute_paths(recipe: Recipe) -> Recipe:
    """The recipe with names of files, folders and bases that hold from any folder; reads no file."""
    paths: dict[str, Any] = {
        name: path.absolute()
        for name in (*SOURCES, "answers", "schema_", "names", "personal_key")
        if (path := getattr(recipe, name)) and path != STDIN
    }
    if recipe.sql is not None:
        paths["sql"] = recipe.sql.from_folder(Path())
    if recipe.instruction is not None and recipe.instruction.startswith("@"):
        paths["instruction"] = f"@{Path(recipe.instruction[1:]).expanduser().absolute()}"
    return recipe.model_copy(update=paths | {"base": absolute_base(recipe.base)})


def absolute_base(name: str) -> str:
    """A base by a name that holds from any folder; one of the catalog keeps its name."""
    path = Path(name).expanduser()
    return name if catalog.find(name) or not path.exists() else str(path.absolute())


def _agreed(recipe: Recipe, source: Source) -> Recipe:
    """The recipe with what a source has shown of how numbers and dates are written.

    Raises:
        DataError: an earlier source has shown the opposite.
    """
    before, shown = _notation(recipe), _notation(source.recipe)
    for name in before:
        if before[name] and shown[name] and before[name] != shown[name]:
            raise DataError(
                f"{source.name}: {name} is written with “{shown[name]}”, and in the other data with "
                f"“{before[name]}”.",
                "Write both alike.",
            )
    settled: dict[str, object] = {"dates": recipe.dates or source.recipe.dates}
    if not isinstance(recipe.answer, str):
        settled["answer"] = {
            name: field.model_copy(update={"decimal": field.decimal or shown[f"the field “{name}”"]})
            for name, field in recipe.answer.items()
        }
    return recipe.model_copy(update=settled)


def _notation(recipe: Recipe) -> dict[str, str | None]:
    """How numbers and dates are written, as far as it is known."""
    ways: dict[str, str | None] = {"the time": recipe.dates}
    if not isinstance(recipe.answer, str):
        ways |= {f"the field “{name}”": field.decimal for name, field in recipe.answer.items()}
    return ways


def _sources(recipe: Recipe) -> dict[Part, Source]:
    sources: dict[Part, Source] = {"data": Source.of(recipe)}
    for name in SOURCES[1:]:
        if (path := getattr(recipe, name)) is not None:
            sources[name] = Source(recipe, path)
    return sources


def _redact_rows(rejected: Sequence[Rejected], recipe: Recipe) -> list[Rejected]:
    """Rows that were left out, without what is to be hidden: a broken row cannot be searched reliably."""
    if recipe.personal_data not in _HIDING:
        return list(rejected)
    reasons = _redact([row.reason for row in rejected], recipe)
    return [
        replace(row, reason=reason, raw="(hidden)") for row, reason in zip(rejected, reasons, strict=True)
    ]


def _redact(texts: Sequence[str], recipe: Recipe) -> list[str]:
    """Sentences without what is to be hidden in them: they quote words and names of files."""
    if recipe.personal_data not in _HIDING:
        return list(texts)
    return policy.mask_all(texts, recipe.patterns, recipe.names)


_HIDING = ("mask", "pseudonym")


def _left_out(name: str, left_out: Sequence[Rejected], path: Path | None) -> str:
    first = "; ".join(f"line {row.line}: {row.reason}" for row in left_out[:_NAMED])
    more = "; …" if len(left_out) > _NAMED else ""
    where = f", see {path}" if path is not None else ""
    return f"{name}: {so_many(len(left_out), 'row', ' that cannot be used')} left out ({first}{more}){where}"
