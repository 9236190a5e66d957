"""`azubi tune`: parses; `azubi.recipe.run` works; `azubi.cli.terminal` draws."""

from pathlib import Path
from typing import Annotated

import typer

from azubi.cli.flags import with_recipe_flags
from azubi.cli.recipe_file import recipe_from
from azubi.cli.session import Session

Source = Annotated[
    Path, typer.Argument(metavar="SOURCE", help="The worked examples (JSONL or CSV), or a recipe (.yaml).")
]


@with_recipe_flags
def tune(session: Session, source: Source, **flags: str | bool | None) -> None:
    """Train a specialist from worked examples.

    It is measured against its base on examples that neither has seen, and kept.

    SOURCE is a data file or a recipe file. A flag that is given overrides the recipe file.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    recipe = recipe_from(source, given)

    from azubi.cli.terminal import follow, tell
    from azubi.recipe import run

    story = follow(run(recipe, session.home), session.err())
    tell(story, session)
