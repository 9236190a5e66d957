"""What a recipe names, by names that hold from any folder. Knows settings and paths; reads no file."""

from pathlib import Path
from typing import Any

from azubi.data.readers.opening import STDIN
from azubi.engine.base import catalog
from azubi.pipeline.stages.sources import SOURCES
from azubi.settings import Recipe


def recipe(given: Recipe) -> Recipe:
    """The recipe with such names throughout."""
    lasting: dict[str, Any] = {
        name: one.absolute()
        for name in (*SOURCES, "answers", "schema_", "names", "personal_key")
        if (one := getattr(given, name)) and one != STDIN
    }
    if given.sql is not None:
        lasting["sql"] = given.sql.from_folder(Path())
    if given.instruction is not None and given.instruction.startswith("@"):
        lasting["instruction"] = f"@{Path(given.instruction[1:]).expanduser().absolute()}"
    return given.model_copy(update=lasting | {"base": base(given.base)})


def base(name: str) -> str:
    """Of a base; one that is in the catalog keeps its name even where a folder is called the same."""
    found = Path(name).expanduser()
    return name if catalog.find(name) or not found.exists() else str(found.absolute())


def path(given: Path | None) -> str:
    """Of a file or folder; empty if none is given."""
    return str(given.absolute()) if given is not None else ""
