"""Examples as the sources give them, and what reading them told. Rows that cannot be used are left out.

Knows sources and rejected rows; nothing of what is done with examples.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from azubi.data.contract import Task, TaskInference
from azubi.data.example import Example, Part
from azubi.data.pii import policy
from azubi.data.readers.reading import Reading, read_source, reject_faulty, reject_non_record
from azubi.data.readers.row import Rejected
from azubi.data.readers.source import Source
from azubi.errors import DataError
from azubi.events import events as ev
from azubi.pipeline.stages.overlong import Fault, fault_of
from azubi.pipeline.stages.run_context import RunContext
from azubi.pipeline.stages.wording import some
from azubi.settings import Recipe
from azubi.storage import files

SOURCES: tuple[Part, ...] = ("data", "test_data", "validation_data")
"""The settings that name examples."""
_REJECTED = "rejected.jsonl"
_NAMED = 3
"""Rejected rows that are told of in a notice."""

Parts = dict[Part, tuple[Example, ...]]
"""Examples by the setting that named their source, in the order of `SOURCES`; only those that are named."""
OneShotSources = dict[Part, tuple[Source, Reading]]
"""What was read from sources that are no files and so cannot be hashed without: by the setting's name."""


@dataclass(frozen=True)
class LoadedSources:
    """What the sources gave."""

    parts: Parts
    hashes: dict[str, str]
    """SHA-256 of each source, by its name."""
    recipe: Recipe
    """With what the columns have shown: how they write numbers and dates."""
    task: Task
    """What the answers are."""


def read_passing(recipe: Recipe) -> OneShotSources:
    """Read what can be read but once, or has no hash before it is read.

    Raises:
        UsageError: a source is named wrongly, or cannot be read.
    """
    return {name: (one, read_source(one)) for name, one in _sources(recipe).items() if not one.is_file}


def read(
    context: RunContext, recipe: Recipe, passing: OneShotSources, declared: Task | None = None
) -> Generator[ev.Event, None, LoadedSources]:
    """Read all sources; what stands in `passing` is taken out of it, so that it is not held twice.

    What the answers are is told from all of the data, unless it is `declared`: before they are split. What
    the base cannot read is left out with what cannot be used.

    Raises:
        UsageError: a source is named wrongly, cannot be read, or too few of its rows can be used.
    """
    parts: Parts = {}
    hashes: dict[str, str] = {}
    rejected: list[str] = []
    inference, task = TaskInference(), declared
    fault: Fault | None = None
    for setting, named in _sources(recipe).items():
        if setting in passing:
            source, found = passing.pop(setting)
        else:
            source = replace(named, recipe=recipe)
            found = read_source(source)
        recipe = _agreed(recipe, source)
        name = source.path.name if source.is_file and source.path is not None else source.name
        hashes[source.name if name in hashes else name] = source.sha256(found.examples)
        notes = list(found.notes)
        if setting == "data":
            for one in found.examples:
                inference.add(one.answer, one.line)
            task = inference.task(declared)
            notes += inference.notes(task)
        if task == "json":
            found = reject_faulty(source, found, reject_non_record)
        fault = fault or fault_of(recipe, task, context.home, found.examples)
        found = reject_faulty(source, found, fault)
        for note in _hidden(notes, recipe):
            yield ev.Notice(text=note)
        if found.rejected:
            left_out = _discreet(found.rejected, recipe)
            rejected += [one.as_json(source=source.name) for one in left_out]
            path = context.work.folder / _REJECTED
            files.write_text(path, "".join(f"{line}\n" for line in rejected))
            yield ev.Notice(text=_told(name, left_out, None if context.plan_only else path))
        parts[setting] = found.examples
    assert task is not None  # the data come first
    return LoadedSources(parts, hashes, recipe, task)


def _agreed(recipe: Recipe, source: Source) -> Recipe:
    """The recipe with what a source has shown of how numbers and dates are written.

    Raises:
        DataError: an earlier source has shown the opposite.
    """
    before, shown = _ways(recipe), _ways(source.recipe)
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


def _ways(recipe: Recipe) -> dict[str, str | None]:
    """How numbers and dates are written, as far as it is known."""
    ways: dict[str, str | None] = {"the time": recipe.dates}
    if not isinstance(recipe.answer, str):
        ways |= {f"the field “{name}”": field.decimal for name, field in recipe.answer.items()}
    return ways


def _sources(recipe: Recipe) -> dict[Part, Source]:
    found: dict[Part, Source] = {"data": Source.of(recipe)}
    for name in SOURCES[1:]:
        if (path := getattr(recipe, name)) is not None:
            found[name] = Source(recipe, path)
    return found


def _discreet(rejected: Sequence[Rejected], recipe: Recipe) -> list[Rejected]:
    """Rows that were left out, without what is to be hidden: a broken row cannot be searched reliably."""
    if recipe.personal_data not in _HIDING:
        return list(rejected)
    reasons = _hidden([row.reason for row in rejected], recipe)
    return [
        replace(row, reason=reason, raw="(hidden)") for row, reason in zip(rejected, reasons, strict=True)
    ]


def _hidden(texts: Sequence[str], recipe: Recipe) -> list[str]:
    """Sentences without what is to be hidden in them: they quote words and names of files."""
    if recipe.personal_data not in _HIDING:
        return list(texts)
    return policy.mask_all(texts, recipe.patterns, recipe.names)


_HIDING = ("mask", "pseudonym")


def _told(name: str, left_out: Sequence[Rejected], path: Path | None) -> str:
    first = "; ".join(f"line {one.line}: {one.reason}" for one in left_out[:_NAMED])
    more = "; …" if len(left_out) > _NAMED else ""
    where = f", see {path}" if path is not None else ""
    return f"{name}: {some(len(left_out), 'row', ' that cannot be used')} left out ({first}{more}){where}"
