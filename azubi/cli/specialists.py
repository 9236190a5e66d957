"""`azubi list` and `azubi show`: the specialists of this home."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from azubi.cli.command import Session
from azubi.cli.formatting import (
    clean,
    facts,
    interval,
    plain_table,
    scores_table,
    share_trained,
    shorten,
    size,
)

if TYPE_CHECKING:
    from azubi.registry.store import Card

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="The specialist, as `azubi list` names it; NAME@2 is its version 2."),
]


def list_all(session: Session) -> None:
    """List the specialists of this home."""
    from azubi.registry.store import Store

    cards = list(Store(session.home).list())
    if session.json:
        session.emit({"specialists": [_document(card) for card in cards]})
        return
    if not cards:
        print("There are no specialists here yet. Make one: azubi tune FILE --name NAME")
        return
    table = plain_table("name", ">version", "task", "base", ">score", ">size", "made")
    for card in cards:
        what = (card.name, str(card.version), card.task, Path(card.base).name)
        table.add_row(*what, _score(card), size(card.bytes), f"{card.created.astimezone():%Y-%m-%d}")
    session.out().print(table)


def show(session: Session, name: Name) -> None:
    """Show where one came from and what it scored."""
    from azubi.registry.store import Store

    card = Store(session.home).get(name)
    if session.json:
        session.emit(_document(card))
        return
    session.out().print(scores_table(card.scores.get("base", ()), card.scores.get("specialist", ())))
    for line in facts(_facts(card)):
        print(line)


def _document(card: "Card") -> dict[str, object]:
    return card.model_dump(mode="json") | {"folder": str(card.folder)}


def _facts(card: "Card") -> dict[str, str]:
    return {
        "Specialist": f"{card.name}, version {card.version}",
        "Made": f"{card.created.astimezone():%Y-%m-%d %H:%M}",
        "Task": card.task,
        "Base": f"{card.base} ({card.licence})",
        **({"Went on from": f"{card.parent} ({card.parent_sha256[:16]}…)"} if card.parent else {}),
        "Trained": share_trained(card.trained, card.parameters),
        **({"Data": f"version {card.data_version}"} if card.data_version else {}),
        "Instruction": clean(shorten(" ".join((card.instruction or "none").split()), 300)),
        **{
            f"Derived {name}": clean(shorten(" ".join(rule.split()), 300))
            for name, rule in card.contract.derived.items()
        },
        "Folder": f"{card.folder} ({size(card.bytes)})",
    }


def _score(card: "Card") -> str:
    """Give the main score; which metric that is follows from the task."""
    scores = card.scores.get("specialist", ())
    return interval(scores[0]) if scores else "not measured"
