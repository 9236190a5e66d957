"""Training a version again: to see whether the same comes out, or without rows that were erased.

`reproduce` runs in a home of its own, which shares bases, data, keys and activations with the real one, so
that no new version appears there. The same recipe, data and software give the same weights, bit for bit, on
the same type of machine with as many threads; elsewhere sums are rounded otherwise.
"""

import tempfile
from collections.abc import Collection, Generator, Iterator
from pathlib import Path
from shutil import copytree

from pydantic import BaseModel, ConfigDict

from azubi.data.readers.row import Asked
from azubi.errors import DataError
from azubi.events import events as ev
from azubi.pipeline import ask, run
from azubi.registry import lineage, record
from azubi.registry.card import Card
from azubi.registry.store import Store
from azubi.settings import Recipe

_SHARED = ("bases", "data", "keys", "cache", "pseudonyms")


class Reproduction(BaseModel):
    """What came of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    same_weights: bool
    """Bit for bit."""
    asked: int = 0
    """Test examples that both answered; 0 if the weights are the same."""
    same_answers: int = 0
    differences: dict[str, tuple[str, str]] = {}
    """What was other than at the first time: processor, threads, libraries."""
    text: str


def reproduce(name: str, home: Path) -> Generator[ev.Event, None, Reproduction]:
    """Train the version `name` again from its card's recipe; yields the run's events.

    Raises:
        UnknownSpecialist: there is none of that name.
        CorruptFile: its files are not those that were registered.
        DataError: the examples are other ones by now.
        UsageError, RunError: as a run raises them.
    """
    store = Store(home)
    card = store.get(name)
    store.verify(card)
    recipe = Recipe.model_validate(card.recipe)
    with tempfile.TemporaryDirectory(prefix="azubi-reproduce-") as folder:
        other = _home_beside(home, Path(folder), card)
        yield from _same_data(run.run(recipe, other, fresh=True), card)
        again = Store(other).get(card.name)
        differences = dict(_differences(card, again))
        if again.tail_sha256 == card.tail_sha256:
            text = f"{card.name}@{card.version} was trained again: its weights are the same, bit for bit."
            return Reproduction(name=name, same_weights=True, differences=differences, text=text)
        asked, same = _compared(card, home, again, other)
    text = (
        f"{card.name}@{card.version} was trained again: its weights differ. {same:,} of {asked:,} test "
        f"questions are answered alike. Other than at the first time: {_listed(differences)}."
    )
    return Reproduction(
        name=name, same_weights=False, asked=asked, same_answers=same, differences=differences, text=text
    )


def retrain(names: Collection[str], home: Path) -> Generator[ev.Event, None, dict[str, str]]:
    """Train versions again without the rows that were erased; returns what took the place of each.

    A version that went on from one that learned from such rows goes on from what takes that one's place.
    Yields the events of all runs.

    Raises:
        UsageError, RunError: as a run raises them.
    """
    store, replaced = Store(home), dict[str, str]()
    affected = store.with_erased_rows()

    def again(name: str) -> Generator[ev.Event, None, None]:
        card = store.get(name)
        recipe = Recipe.model_validate(card.recipe)
        if card.parent in affected:
            if card.parent not in replaced:
                yield from again(card.parent)
            recipe = recipe.model_copy(update={"from_": replaced[card.parent]})
        for event in run.run(recipe, home, fresh=True):
            if isinstance(event, ev.Packaged):
                replaced[name] = f"{event.name}@{event.version}"
            yield event

    for name in sorted(names):
        if name not in replaced:
            yield from again(name)
    return replaced


def _home_beside(home: Path, folder: Path, card: Card) -> Path:
    """A home that shares all but specialists and runs, with the version's parent in it."""
    for name in _SHARED:
        (home / name).mkdir(exist_ok=True)
        (folder / name).symlink_to(home / name)
    if card.parent:
        parent = Store(home).get(card.parent)
        Store(home).verify(parent)
        copytree(parent.folder, Store(folder).place(parent.name, parent.version))
        Store(folder).register(parent)
    return folder


def _same_data(events: Iterator[ev.Event], card: Card) -> Iterator[ev.Event]:
    for event in events:
        if isinstance(event, ev.DataReady) and event.version != card.data_version:
            raise DataError(
                f"{card.name}@{card.version} was made from the data version {card.data_version}, but its "
                f"source gives {event.version} by now.",
                "Bring the source back as it was when it was made.",
            )
        yield event


def _differences(card: Card, again: Card) -> Iterator[tuple[str, tuple[str, str]]]:
    old, new = record.of(card), record.of(again)
    pairs = {
        "processor": (old.machine.processor, new.machine.processor),
        "threads": (str(old.machine.threads), str(new.machine.threads)),
        "number format": (old.machine.dtype, new.machine.dtype),
        "azubi": (old.software.source_sha256[:12], new.software.source_sha256[:12]),
    }
    for name in sorted({*old.software.libraries, *new.software.libraries}):
        pairs[name] = (
            old.software.libraries.get(name, "none"),
            new.software.libraries.get(name, "none"),
        )
    yield from ((name, pair) for name, pair in pairs.items() if pair[0] != pair[1])


def _listed(differences: dict[str, tuple[str, str]]) -> str:
    shown = [f"{name} {old} → {new}" for name, (old, new) in differences.items()]
    return ", ".join(shown[:6]) + (" …" if len(shown) > 6 else "") or "nothing that is known here"


def _compared(card: Card, home: Path, again: Card, other: Path) -> tuple[int, int]:
    """Test examples that both answered, and how many alike."""
    prompts = [Asked(0, {}, turns=example.turns) for example in lineage.of(card, home).test]
    old = ask.answer(home, f"{card.name}@{card.version}", prompts)
    new = ask.answer(other, f"{again.name}@{again.version}", prompts)
    same = sum(first.text == second.text for first, second in zip(old, new, strict=True))
    return len(prompts), same
