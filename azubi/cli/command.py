"""Commands that take `--home`, `--json` and `--debug` as the whole program does.

A command is a function whose first parameter is the `Session`; the rest are its own arguments.
Knows nothing of what a command does.
"""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from azubi.cli.help import HelpAll, SettingsCommand
from azubi.cli.session import Session

Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="PATH",
        help="The folder under which everything lives. [AZUBI_HOME; default: ~/.azubi]",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on standard output.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback when something goes wrong.")]

_SHARED = {"home": (Home, None), "json": (Json, False), "debug": (Debug, False)}


def register(
    app: typer.Typer, function: Callable[..., None], name: str, kind: type[TyperCommand] = TyperCommand
) -> None:
    """Make `function` a command of the program; `kind` lays out its help."""
    more = {"help_all": (HelpAll, False)} if kind is SettingsCommand else {}
    app.command(name, cls=kind)(_command(function, more))


def register_group(app: typer.Typer, function: Callable[..., None], name: str) -> typer.Typer:
    """Make `function` a command that has commands of its own; gives the place to register those."""
    group = typer.Typer()
    group.callback(invoke_without_command=True)(_command(function))
    app.add_typer(group, name=name)
    return group


def _command(
    function: Callable[..., None], more: Mapping[str, tuple[Any, Any]] = MappingProxyType({})
) -> Callable[..., None]:
    def call(context: typer.Context, **values: Any) -> None:
        session: Session = context.obj
        session.update(values.pop("home"), values.pop("json"), values.pop("debug"))
        for name in more:
            del values[name]  # its callback has done all there is to do
        if context.invoked_subcommand is None:
            function(session, **values)

    call.__doc__ = function.__doc__
    call.__signature__ = _signature(function, more)  # type: ignore[attr-defined]
    return call


def _signature(function: Callable[..., None], more: Mapping[str, tuple[Any, Any]]) -> inspect.Signature:
    kind = inspect.Parameter.KEYWORD_ONLY
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    context = inspect.Parameter("context", kind, annotation=typer.Context)
    shared = [
        inspect.Parameter(name, kind, default=default, annotation=annotation)
        for name, (annotation, default) in (_SHARED | dict(more)).items()
    ]
    return inspect.Signature([context, *(parameter.replace(kind=kind) for parameter in own), *shared])
