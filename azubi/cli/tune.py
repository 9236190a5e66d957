"""`azubi tune` and `azubi resume`: parse; `azubi.pipeline.run` works; `azubi.cli.terminal` draws."""

from pathlib import Path
from typing import Annotated

import typer

from azubi.cli.flags import with_recipe_flags
from azubi.cli.recipe_file import recipe_from
from azubi.cli.session import Session
from azubi.storage.importing import importing

Source = Annotated[
    Path | None,
    typer.Argument(
        metavar="SOURCE",
        help="The worked examples (a file, a folder, or -), or a recipe (.yaml). Not needed with --sql.",
    ),
]
Fresh = Annotated[
    bool,
    typer.Option("--fresh", help="Begin anew, even if a run of the same settings and data was interrupted."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress, only what came out.")]
RunId = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN", help="The run, as `azubi runs` lists it; the last unfinished one if not given."
    ),
]


@with_recipe_flags
def tune(
    session: Session,
    source: Source = None,
    fresh: Fresh = False,
    quiet: Quiet = False,
    **flags: str | bool | None,
) -> None:
    """Train a specialist from worked examples.

    It is measured against its base on examples that neither has seen, and kept.

    SOURCE is data or a recipe file. A flag that is given overrides the recipe file. After an
    interruption the same command goes on where it was.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    recipe = recipe_from(source, given)

    with importing():
        from azubi.cli.terminal import follow, tell
        from azubi.pipeline.run import run

    tell(follow(run(recipe, session.home, fresh=fresh), session.err(), quiet=quiet), session)


def resume(session: Session, run: RunId = None, quiet: Quiet = False) -> None:
    """Go on with a run that was stopped or killed."""
    with importing():
        from azubi.cli.terminal import follow, tell
        from azubi.pipeline import run as recipe

    tell(follow(recipe.resume(session.home, run), session.err(), quiet=quiet), session)
