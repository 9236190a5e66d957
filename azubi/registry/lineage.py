"""Where a specialist comes from: the versions that it goes on from, and the split of its data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from azubi.data.contract import Contract
from azubi.data.datasets.rows import Row, difference, split_name
from azubi.data.datasets.versions import Versions
from azubi.data.example import Example, Part, SplitName
from azubi.data.rules.derivation import Derivation
from azubi.data.splits import splitting
from azubi.data.splits.near_duplicates import ExactNearDuplicates
from azubi.data.splits.splitting import Split, SplitState, question
from azubi.errors import CorruptFile, DataError, UnknownData, UnknownSpecialist
from azubi.events.figures import Score
from azubi.registry.card import Card
from azubi.registry.store import Store
from azubi.settings import Recipe

_APART: Mapping[SplitName, Part] = {"test": "test_data", "validation": "validation_data"}


class VersionDifference(BaseModel, extra="forbid", frozen=True):
    """What two versions do not have in common."""

    before: str
    after: str
    data: str
    """As a sentence."""
    recipe: dict[str, tuple[Any, Any]]
    """Settings that differ, by their names; of groups the whole."""
    scores: dict[str, tuple[Score | None, Score | None]]
    """Each on the version's own test; None where it has no such metric."""


def differences(before: Card, after: Card, home: Path) -> VersionDifference:
    """Compare two versions by their cards, and their data where these are kept."""
    old, new = (
        {score.name: score for score in card.scores.get("specialist", ())} for card in (before, after)
    )
    names = dict.fromkeys((*before.recipe, *after.recipe))
    pairs = {name: (before.recipe.get(name), after.recipe.get(name)) for name in names}
    return VersionDifference(
        before=f"{before.name}@{before.version}",
        after=f"{after.name}@{after.version}",
        data=_data_difference(before, after, home),
        recipe={name: pair for name, pair in pairs.items() if pair[0] != pair[1]},
        scores={name: (old.get(name), new.get(name)) for name in dict.fromkeys((*old, *new))},
    )


def _data_difference(before: Card, after: Card, home: Path) -> str:
    if before.data_version == after.data_version:
        return f"the same, version {after.data_version}"
    names = f"version {before.data_version or 'unknown'} → {after.data_version or 'unknown'}"
    versions = Versions(home)
    try:
        rows = [list(versions.rows(versions.get(card.data_version))) for card in (before, after)]
    except (UnknownData, CorruptFile) as error:
        return f"{names}. {error.problem}"
    changes = difference(*rows)
    return (
        f"{names}: {len(changes.added):,} rows added, {len(changes.removed):,} removed, "
        f"{len(changes.changed):,} changed, {changes.same:,} the same"
    )


@dataclass(frozen=True)
class PartedRows:
    """Rows of a data version, parted."""

    system: str | None
    """The system message with which every example began; it is the instruction, and in none of them."""
    split: Split
    follows: str
    """The earlier state of the data whose cut-offs the split keeps; empty if none."""


def parted(home: Path, version: str, rows: Sequence[Row], recipe: Recipe) -> PartedRows:
    """Part the rows of a version as the recipe says; the same rows and recipe always give the same.

    Raises:
        SettingError, DataError: see `splitting.split`.
    """
    given = splits_given(recipe)
    parts: dict[Part, list[Example]] = {name: [] for name in _named(recipe)}
    for row in rows:
        if row.part in parts:
            parts[row.part].append(row.example)
    name, follows = split_name(recipe.split, recipe.seed, given), ""

    def earlier(asked: set[str]) -> SplitState:
        nonlocal follows
        settled, follows = Versions(home).earlier(version, name, asked)
        return settled

    system, split = splitting.split_by_recipe(parts, recipe, earlier)
    return PartedRows(system, split, follows)


def splits_given(recipe: Recipe) -> tuple[SplitName, ...]:
    """The splits for which the recipe names a file of their own."""
    named = _named(recipe)
    return tuple(split for split, part in _APART.items() if part in named)


def _named(recipe: Recipe) -> tuple[Part, ...]:
    return ("data", *(part for part in _APART.values() if getattr(recipe, part) is not None))


def without_derived(split: Split, contract: Contract) -> Split:
    """The split without the fields that are derived: the test alone keeps the whole records."""
    return replace(
        split, train=learned(split.train, contract), validation=learned(split.validation, contract)
    )


def learned(examples: Sequence[Example], contract: Contract) -> tuple[Example, ...]:
    """The examples without the fields that are derived."""
    return Derivation(contract).without_derived(examples) if contract.derived else tuple(examples)


def of(card: Card, home: Path) -> Split:
    """What a specialist was trained, chosen and tested with, before derived fields are taken out.

    Raises:
        UnknownData: its data version is not kept here.
        CorruptFile: the data cannot be read, or are other ones than it was made from.
    """
    if not card.data_version:
        raise UnknownData(
            f"{card.name}@{card.version} was made by an azubi that kept no data, so it cannot be proved.",
            "Train it again from the same examples: azubi tune.",
        )
    versions = Versions(home)
    rows = tuple(versions.rows(versions.get(card.data_version)))
    split = parted(home, card.data_version, rows, Recipe.model_validate(card.recipe)).split
    counts = {"train": len(split.train), "validation": len(split.validation), "test": len(split.test)}
    more = [name for name, count in counts.items() if count > card.counts.get(name, count)]
    if more:
        raise CorruptFile(
            f"The data version {card.data_version} gives {counts}, but {card.name}@{card.version} was made "
            f"from {card.counts}.",
            "Train it again from the same examples: azubi tune.",
        )
    return split


def ancestors_of(card: Card, home: Path) -> Iterator[Card]:
    """The specialist itself, the one that it went on from, and so on.

    Raises:
        UnknownSpecialist: one of them is not here any more.
    """
    yield card
    while card.parent:
        card = Store(home).get(card.parent)
        yield card


def check_unseen(card: Card, home: Path, test: Sequence[Example]) -> tuple[str, ...]:
    """Refuse a test of which the specialist or an ancestor has learned the questions, or nearly the same.

    Returns what could not be compared, as sentences.

    Raises:
        DataError: there are such questions.
    """
    asked = {question(example.prompt): example.prompt for example in test}
    notes = []
    try:
        for ancestor in ancestors_of(card, home):
            name = f"{ancestor.name}@{ancestor.version}"
            try:
                split = of(ancestor, home)
            except UnknownData as error:
                notes.append(
                    f"What {name} learned from is not known here, so it was not compared. {error.problem}"
                )
                continue
            _check(card, name, [*split.train, *split.validation], asked)
    except UnknownSpecialist as error:
        notes.append(f"Not all that {card.name} went on from is here. {error.problem}")
    return tuple(notes)


def _check(card: Card, learner: str, learned: Sequence[Example], asked: dict[str, str]) -> None:
    trained = {question(example.prompt): example.prompt for example in learned}
    both = trained | asked
    neighbours = ExactNearDuplicates(both, apart=len(both))
    for name in trained:
        neighbours.put(name, "train")
    known = [name for name in asked if name in trained or "train" in neighbours.splits(name)]
    if not known:
        return
    own = f"{card.name}@{card.version}"
    through = "" if learner == own else f", from which {own} went on,"
    first = " ".join(asked[known[0]].split())[:80]
    raise DataError(
        f"{len(known):,} of the {len(asked):,} test questions stood, the same or nearly, among what "
        f"{learner}{through} was trained with; the first begins “{first}”. Its figures on them would prove "
        "nothing.",
        "Train again without --from, or with a test (--test-data) of which no ancestor learned.",
    )
