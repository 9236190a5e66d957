"""Whether a specialist, or one that it went on from, has learned from what it is to be tested with.

Knows cards and stored examples; nothing of weights.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from azubi.data.example import Example
from azubi.data.splits.near_duplicates import ExactNearDuplicates
from azubi.data.splits.split_assignment import question
from azubi.errors import DataError, UnknownData, UnknownSpecialist
from azubi.registry import split_from_version
from azubi.registry.card import Card
from azubi.registry.store import Store


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
                split = split_from_version.of(ancestor, home)
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
