"""`azubi papers`, `push`, `pull`, `reproduce` and `purge`: what is handed on, made again and thrown away."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from azubi.cli.command import Session
from azubi.cli.formatting import clean, count, moment, plain_table, size
from azubi.cli.specialists import Name
from azubi.locale.current import translated
from azubi.storage.libraries import importing

if TYPE_CHECKING:
    from azubi.events import events as ev
    from azubi.pipeline.purge import Item

Out = Annotated[
    Path | None, typer.Option("--out", metavar="FOLDER", help="Where to; NAME-VERSION-papers if not given.")
]
Bundle = Annotated[Path, typer.Argument(metavar="FOLDER", help="The bundle: a folder, on any disk or share.")]
Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME@VERSION]...", help="Which versions; all if none is named."),
]
TrustedKey = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", help="Trust this public key of whoever signed them, from now on."),
]
What = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[cache|runs|proofs|NAME@VERSION]...",
        help="What; cache, runs and proofs if nothing is named.",
    ),
]
Older = Annotated[
    str | None, typer.Option("--older", metavar="TIME", help="Only what is older than this: 30d, 12h.")
]
Larger = Annotated[
    str | None, typer.Option("--larger", metavar="SIZE", help="Only what is larger than this: 100MB, 1GB.")
]
OfName = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="Only what belongs to this specialist.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Remove it; without this it is only listed.")]
PurgeReason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why versions are deleted; stays in the log.")
]


def papers(session: Session, name: Name, out: Out = None) -> None:
    """Write a version's papers: model card, bill of materials, notices, lineage, EU AI Act."""
    from azubi.pipeline import papers as writing
    from azubi.registry.store import Store

    card = Store(session.home).get(name)
    folder = out or Path(f"{card.name}-{card.version}-papers")
    paths = writing.write(f"{card.name}@{card.version}", session.home, folder)
    if session.json:
        session.emit({"papers": [str(path) for path in paths]})
        return
    for path in paths:
        print(path)
    print(translated(writing.NOT_ADVICE))


def push(session: Session, folder: Bundle, names: Names = None) -> None:
    """Put versions into a folder from which another machine can take them."""
    from azubi.registry import bundle

    pushed = bundle.push(session.home, folder, names or ())
    if session.json:
        session.emit({"pushed": pushed})
    else:
        print(translated(f"Pushed to {folder}: {', '.join(pushed) or 'nothing that was not there'}."))


def pull(session: Session, folder: Bundle, names: Names = None, key: TrustedKey = None) -> None:
    """Take versions out of a bundle, after every file was verified."""
    from azubi.registry import bundle
    from azubi.registry.store import Store

    pulled = bundle.pull(session.home, folder, names or (), key)
    store = Store(session.home)
    unsigned = [name for name in pulled if not store.verify(store.get(name)).details["key"]]
    if session.json:
        session.emit({"pulled": pulled, "unsigned": unsigned})
        return
    print(translated(f"Pulled from {folder}: {', '.join(pulled) or 'nothing that was not here'}."))
    if unsigned:
        names_unsigned = ", ".join(unsigned)
        print(translated(f"Not signed, so nothing shows who made them: {names_unsigned}."))


def reproduce(session: Session, name: Name) -> None:
    """Train a version again, and say whether the weights are the same or how far the answers differ."""
    with importing():
        from azubi.cli.terminal import follow
        from azubi.pipeline import reproduce as again
    results: list[again.Reproduction] = []

    def events() -> "Iterator[ev.Event]":
        results.append((yield from again.reproduce(name, session.home)))

    follow(events(), session.err(), quiet=session.json)
    (result,) = results
    if session.json:
        session.emit(result.model_dump(mode="json"))
    else:
        print(translated(result.text))


def purge(
    session: Session,
    what: What = None,
    older: Older = None,
    larger: Larger = None,
    name: OfName = None,
    reason: PurgeReason = "",
    yes: Yes = False,
) -> None:
    """List what takes up room and what it would cost to make again; remove it with --yes."""
    from azubi.pipeline import purge as purging

    items = purging.find(session.home, what or (), older=older, larger=larger, name=name)
    if yes:
        for item in items:
            purging.remove(session.home, item, reason)
    if session.json:
        session.emit({"items": [item.model_dump(mode="json") for item in items], "removed": yes})
        return
    if items:
        session.out().print(_table(items))
    total = size(sum(item.bytes for item in items))
    if yes:
        print(translated(f"Removed: {count(len(items))} of them, {total}."))
    else:
        print(translated(f"{count(len(items))} of them, {total}. Nothing was removed; to do that: --yes"))


def _table(items: "list[Item]") -> object:
    table = plain_table("kind", "what", ">size", "from", "to make again")
    for item in items:
        when = moment(item.when, time=False)
        table.add_row(translated(item.kind), clean(item.name), size(item.bytes), when, translated(item.cost))
    return table
