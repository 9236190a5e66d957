"""`azubi check`: parse; `azubi.pipeline.check` works; the findings are printed here."""

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from azubi.cli.command import Session
from azubi.cli.recipe_file import recipe_from, with_recipe_flags
from azubi.locale.current import translated
from azubi.storage.libraries import importing

if TYPE_CHECKING:
    from azubi.data.checks.check import Check

Source = Annotated[
    Path | None,
    typer.Argument(
        metavar="DATA",
        help="The worked examples, or a recipe (.yaml) that names them. Not needed with --sql.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="PATH",
        help="The folder for check.html and rejected.jsonl; one below --home if not given.",
    ),
]


Brief = Annotated[bool, typer.Option("--brief", help="A line for each finding; the page tells the rest.")]


@with_recipe_flags
def check(
    session: Session, source: Source = None, out: Out = None, brief: Brief = False, **flags: str | bool | None
) -> None:
    """Look through worked examples and say what is wrong with them.

    They are read as `azubi tune` would read them, with the same settings. With --accept-rules the rules that
    are found in records are printed as a recipe takes them. The exit code is 2 if something keeps azubi from
    training, else 0.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    recipe = recipe_from(source, given)

    with importing():
        from azubi.cli.findings import show
        from azubi.pipeline.check import inspect

    # What libraries print must not end up in the result on standard output.
    with contextlib.redirect_stdout(sys.stderr), session.err().status(translated("Reading …")) as status:
        result = inspect(
            recipe, session.home, folder=out, handle=lambda text: status.update(f"{translated(text)} …")
        )
    if session.json:
        session.emit(result.model_dump(mode="json"))
    else:
        show(result, session.out(), brief=brief)
        if recipe.accept_rules:
            print(_for_recipe(recipe.derive, result))
    if result.level == "error":
        raise typer.Exit(2)


def _for_recipe(given: Mapping[str, str], result: "Check") -> str:
    """The given rules and the found ones, as a recipe takes them."""
    from azubi.data.rules.derivation import as_recipe

    rules = dict(given)
    for finding in result.findings:
        if finding.kind == "hidden_rules":
            rules |= finding.details["derive"]
    if not rules:
        return f"\n{translated('No rules were found in the examples.')}"
    return f"\n# {translated('For the recipe:')}\n{as_recipe(rules)}"
