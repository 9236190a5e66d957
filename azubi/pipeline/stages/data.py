"""The first stage: examples read, what is to be hidden hidden, parted, and what their answers have in common.

Knows examples, contracts and a parent's papers; nothing of models.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

from azubi.data import instruction
from azubi.data.contract import LEARNABLE, Contract, Task, infer
from azubi.data.datasets.rows import Manifest, Row, notes, rows_of, split_note, version_of
from azubi.data.datasets.versions import Versions, now
from azubi.data.finding import Finding
from azubi.data.language import TextProfile
from azubi.data.levels import declared_order, levels_of
from azubi.data.splits.splitting import Split
from azubi.engine.training import privacy
from azubi.errors import SettingError
from azubi.events import events as ev
from azubi.pipeline.stages.removal import redact, so_many
from azubi.pipeline.stages.run_context import RunContext
from azubi.pipeline.stages.sources import SOURCES, OneShotSources, apply_rules, read
from azubi.registry import lineage, warm_start
from azubi.registry.warm_start import WarmStart
from azubi.settings import Recipe

_MAPPING = {
    *("prompt", "answer", "id", "group", "time", "weight", "turns"),
    *("decimal", "dates", "query", "sheet", "header", "encoding", "delimiter", "repair"),
}
"""The settings by which sources become rows, as far as there are such."""
_LABELS = 5
"""Labels that are named in a notice."""


@dataclass(frozen=True)
class Data:
    """What there is to learn from."""

    parent: WarmStart | None
    """The specialist to go on from."""
    rows: tuple[Row, ...]
    version: str
    """The name of this state of the data."""
    hashes: dict[str, str]
    """SHA-256 of each source, by its name."""
    system: str | None
    """The system message with which every example began; it stands in none of them any more."""
    split: Split
    """Train and validation without the fields that are derived."""
    follows: str
    """The earlier state of the data whose cut-offs the split keeps; empty if none."""
    contract: Contract
    findings: tuple[Finding, ...]
    """What is wrong with the records."""
    texts: TextProfile
    """What the prompts are like, if the choice of a base depends on it."""

    @property
    def counts(self) -> dict[str, int]:
        """Examples by split."""
        split = self.split
        return {"train": len(split.train), "validation": len(split.validation), "test": len(split.test)}


def prepare(context: RunContext, one_shot: OneShotSources) -> Generator[ev.Event, None, Data]:
    """Read the examples and settle all that follows from them alone; `one_shot` is emptied.

    Raises:
        UsageError: settings, examples or parent cannot be used, or do not fit each other.
    """
    recipe = context.recipe
    _check_settings(recipe)
    parent = warm_start.find(recipe.from_, context.home) if recipe.from_ is not None else None
    task = _task(recipe, parent)
    if parent is not None:
        context.recipe = parent.based(recipe)
    sources = yield from read(context, one_shot, task)
    recipe = context.recipe
    parts = yield from redact(context.home, recipe, sources.parts, plan_only=context.plan_only)
    rows = rows_of(parts)
    version = version_of(rows)
    parted = lineage.parted(context.home, version, rows, recipe)
    given = recipe.instruction
    if None not in (parted.system, given) and instruction.from_setting(given or "") != parted.system:
        yield ev.Notice(text="The instruction that was given replaces the system message of the examples.")
    seen = [*parted.split.train, *parted.split.validation]
    contract = infer([example.answer for example in seen], sources.task)
    contract, findings = yield from apply_rules(context, contract, parent, seen, parted.split.test)
    if recipe.label_weights == "balanced" and contract.task != "labels":
        raise SettingError(
            "label_weights is balanced, but the answers are not labels of a closed set.",
            "Leave --label-weights out.",
        )
    if parent is not None:
        contract = parent.widened(contract)
        context.recipe = parent.fitted(context.recipe)
        context.resolve(from_=parent.name)
    if contract.multi:
        _check_sets(recipe)
    if contract.task == "labels":
        if parent is None and not contract.multi:
            contract = yield from _with_levels(recipe, contract)
        tested = {example.answer for example in parted.split.test}
        contract = contract.with_order(declared_order(recipe.answer) or contract.order, tested)
        contract = yield from _rare_labels(recipe, contract, parent, parted.split)
    yield from _remarks(parted.split)
    yield from _test_covered(recipe, contract, parted.split)
    data = Data(
        parent=parent,
        rows=rows,
        version=version,
        hashes=sources.hashes,
        system=parted.system,
        split=lineage.without_derived(parted.split, contract),
        follows=parted.follows,
        contract=contract,
        findings=findings,
        texts=sources.texts,
    )
    yield ev.DataReady(
        task=contract.task,
        train=len(data.split.train),
        validation=len(data.split.validation),
        test=len(data.split.test),
        labels=contract.labels,
        multi=contract.multi,
        fields=contract.fields,
        derived=contract.derived,
        version=version,
    )
    return data


def keep(context: RunContext, data: Data) -> None:
    """Keep what the run is about to learn from: the same rows are kept once.

    Raises:
        StorageError: the home cannot be written.
    """
    recipe, split = context.recipe, data.split
    mapping: dict[str, Any] = recipe.model_dump(mode="json", include=_MAPPING)
    note = split_note(split, recipe.split, recipe.seed, lineage.splits_given(recipe), data.follows)
    counts = {name: sum(row.part == name for row in data.rows) for name in SOURCES}
    manifest = Manifest(
        version=data.version,
        created=now(),
        source=data.hashes,
        mapping=mapping,
        counts={name: count for name, count in counts.items() if count},
        findings=notes(data.findings),
    )
    Versions(context.home).keep(manifest, data.rows, note, split.state.splits)


def _check_settings(recipe: Recipe) -> None:
    if recipe.budget is not None and recipe.from_ is not None:
        raise SettingError(
            f"A search (budget {recipe.budget}) cannot go on from {recipe.from_}, "
            "whose base and tail are settled.",
            "Leave --budget out, or search without --from.",
        )
    if recipe.privacy is not None:
        _check_privacy(recipe)


def _check_sets(recipe: Recipe) -> None:
    """What is not made for sets of labels is refused."""
    for name, given, why in (
        ("label_weights balanced", recipe.label_weights == "balanced", "a text counts for all of its labels"),
        ("privacy", recipe.privacy is not None, "thresholds per label would tell of single examples"),
    ):
        if given:
            raise SettingError(
                f"{name} cannot be had where each answer is a set of labels: {why}.", "Leave it out."
            )


def _check_privacy(recipe: Recipe) -> None:
    """What would spend more than is counted, or tell of all examples at once, is refused."""
    cause = "with privacy: what it gives away of the examples could not be counted."
    for name, given, remedy in (
        ("budget", recipe.budget, "Choose --tail-layers and the like without a search."),
        ("from", recipe.from_, "Train from the base itself."),
        ("label_weights balanced", recipe.label_weights == "balanced", "Leave --label-weights out."),
        ("weight", recipe.weight, "Leave --weight out: all examples count the same."),
        ("accept_rules", recipe.accept_rules, "Give the rules yourself with derive."),
    ):
        if given:
            raise SettingError(f"{name} cannot be had {cause}", remedy)
    privacy.check_available()


def _task(recipe: Recipe, parent: WarmStart | None) -> Task | None:
    """As the recipe says, or as the parent was trained; None where the answers are to tell."""
    if recipe.task != "auto":
        return recipe.task
    return parent.card.task if parent is not None else None


def _with_levels(recipe: Recipe, contract: Contract) -> Generator[ev.Notice, None, Contract]:
    """The contract with the levels of its labels, if they have any."""
    levels, note, remedy = levels_of(contract.labels, recipe.answer)
    if note:
        yield ev.Notice(text=f"{note} {remedy}")
    return contract.with_levels(levels)


def _rare_labels(
    recipe: Recipe, contract: Contract, parent: WarmStart | None, split: Split
) -> Generator[ev.Notice, None, Contract]:
    """Name the labels that are too rare to be learned; what a parent has learned is not."""
    own = parent.card.contract if parent is not None else None
    learned = set(own.labels) - set(own.rare) if own is not None else set()
    marked = contract.with_rare([example.answer for example in split.train], learned)
    if marked.rare:
        few = sorted(marked.rare.items(), key=lambda pair: (pair[1], pair[0]))
        named = ", ".join(f"{label} ({count:,})" for label, count in few[:_LABELS])
        text = (
            f"{so_many(len(few), 'label', f' with fewer than {LEARNABLE} training examples')} too rare to be "
        )
        text += f"learned: {named}{' …' if len(few) > _LABELS else ''}. "
        if recipe.privacy is None:
            yield ev.Notice(text=text + "Answers that are or may be one of these are marked for review.")
            return marked
        # How many examples a label has is told by the examples themselves, which privacy does not let out.
        yield ev.Notice(text=text + "With privacy, answers are not marked for it: review them yourself.")
    return contract


def _remarks(split: Split) -> Iterator[ev.Notice]:
    """What parting has left out or moved."""
    if split.duplicates:
        repeated = so_many(split.duplicates, "repeated example")
        yield ev.Notice(text=f"{repeated} left out: the same prompt and answer count once.")
    if split.overlapping:
        shared = so_many(split.overlapping, "example")
        yield ev.Notice(
            text=f"{shared} not learned from, chosen with or tested with: the same or nearly the same "
            "prompt stands in another split."
        )
    if split.moved:
        text = f"{so_many(split.moved, 'prompt')} in another split than chance would have it: where "
        yield ev.Notice(text=text + "nearly the same prompt stands.")
    if split.untimed:
        untimed = so_many(split.untimed, "example", " without a time")
        yield ev.Notice(text=f"{untimed} learned from: when it happened is not known.")


def _test_covered(recipe: Recipe, contract: Contract, split: Split) -> Iterator[ev.Notice]:
    """A given test has to fit the contract; in one that chance has drawn, rare labels may stand alone."""
    answers = [example.answer for example in split.test]
    if recipe.test_data is not None:
        contract.check_covers(answers)
    elif contract.task == "labels":
        said = {label for answer in answers for label in contract.label_set(answer) or ()}
        lone = sorted(said - set(contract.labels))
        if lone:
            named = ", ".join(lone[:_LABELS]) + (" …" if len(lone) > _LABELS else "")
            yield ev.Notice(
                text=f"{so_many(len(lone), 'label')} in the test alone, having too few examples, and will "
                f"count as wrong: {named}."
            )
