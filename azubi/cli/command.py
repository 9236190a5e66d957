"""Commands: the options of the whole program, how help is laid out, and the one way to standard output."""

import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperArgument, TyperCommand, TyperGroup

from azubi.locale.current import translated


def default_home() -> Path:
    """Give the home that holds when no `--home` is given: AZUBI_HOME, or ~/.azubi."""
    return Path(os.environ.get("AZUBI_HOME") or "~/.azubi").expanduser().absolute()


@dataclass
class Session:
    """The global options; a command may change what stood before its name."""

    home: Path = field(default_factory=default_home)
    json: bool = False
    debug: bool = False

    def update(self, home: Path | None, json: bool, debug: bool) -> None:
        """Take over what was given, before or after the command's name."""
        if home is not None:
            self.home = home.expanduser().absolute()
        self.json = self.json or json
        self.debug = self.debug or debug

    def emit(self, document: object) -> None:
        """Print the call's one JSON document."""
        from azubi.data import strict_json

        print(strict_json.write(document, indent=2))

    def out(self) -> Console:
        """Give a console on standard output, for results that a person reads."""
        return Console(highlight=False, emoji=False, markup=False)

    def err(self) -> Console:
        """Give a console on standard error, for progress and for what went wrong."""
        return Console(stderr=True, highlight=False, emoji=False, markup=False)


def asks_for(flag: str, arguments: Sequence[str]) -> bool:
    """Tell whether a global flag was given, for when the arguments could not be parsed."""
    before_stop = list(arguments)
    if "--" in before_stop:
        before_stop = before_stop[: before_stop.index("--")]
    return flag in before_stop


def forgive_encodings() -> None:
    """Print a question mark for what the terminal's encoding lacks, rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


COMMON = {
    "Data": (
        *(
            "data",
            "test_data",
            "validation_data",
            "sql",
            "query",
            "sheet",
            "prompt",
            "answer",
            "decimal",
            "dates",
        ),
        *("group", "time", "id", "task", "derive", "accept_rules", "split"),
    ),
    "Model": ("base", "from", "instruction", "tail_layers", "prompt_layers", "rank"),
    "Training": ("budget", "epochs", "learning_rate", "limit", "test_limit", "threads", "seed"),
    "Privacy": ("personal_data", "patterns", "names", "personal_key"),
    "Output": ("name", "home", "json", "quiet"),
}
"""Settings whose flags `--help` shows, by section; a group such as `split` stands for all its fields."""

RARE = {
    "Data": (
        *(
            "header",
            "encoding",
            "delimiter",
            "repair",
            "answers",
            "weight",
            "turns",
            "schema",
        ),
        "limits",
    ),
    "Training": (
        *("batch", "label_weights", "patience"),
        *("dtype", "device", "cache", "fresh"),
    ),
    "Privacy": ("privacy",),
    "Output": ("scope", "proof", "gate", "lang", "sink", "debug"),
}
"""Settings that most never need."""

COMMANDS = {
    "Train": ("check", "plan", "tune", "resume"),
    "Judge": ("prove", "compare"),
    "Use": ("ask", "list", "show"),
    "Serve": ("serve", "keys"),
    "Own": ("promote", "rollback", "history", "diff", "licence", "papers", "keygen", "verify", "audit"),
    "Hand on": ("export", "import", "push", "pull", "reproduce"),
    "Manage": ("runs", "data", "bases", "purge", "doctor", "version"),
}
"""The commands, in the order in which a newcomer meets them."""

_ALL = "help_all"


def _section(parameter: str, table: dict[str, tuple[str, ...]]) -> str | None:
    name = parameter.rstrip("_")
    of_group = [
        section
        for section, settings in table.items()
        if any(name.startswith(f"{setting}_") for setting in settings)
    ]
    own = [section for section, settings in table.items() if name in settings]
    return next(iter([*own, *of_group]), None)


class _Help:
    """Help in the language that holds, also where typer has the words."""

    def get_help(self, ctx: Any) -> str:
        """The help as typer lays it out, its headings translated."""
        lines: str = super().get_help(ctx)  # type: ignore[misc]
        lines = "\n".join(line if line.startswith(" ") else translated(line) for line in lines.split("\n"))
        return lines.replace(_HELP, translated(_HELP))


_HELP = "Show this message and exit."
"""typer's own."""


class Command(_Help, TyperCommand):
    """A command."""


class Group(_Help, TyperGroup):
    """A command that has commands of its own."""


class SettingsCommand(_Help, TyperCommand):
    """A command that takes the recipe's settings: its flags stand in sections."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the sections; without --help-all, flags of rare settings are counted only."""
        show_all = bool(ctx.meta.get(_ALL))
        sections: dict[str, list[tuple[str, str]]] = {name: [] for name in ("Arguments", *COMMON)}
        hidden = 0
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            name = parameter.name or ""
            if record is None:
                continue
            common = _section(name, COMMON)
            rare = _section(name, RARE)
            if isinstance(parameter, TyperArgument):
                sections["Arguments"].append(record)
            elif name in (_ALL, "help"):
                sections.setdefault("Help", []).append(record)
            elif common:
                sections[common].append(record)
            elif show_all:
                sections[rare or "Output"].append(record)
            else:
                hidden += 1
        for title, records in sections.items():
            if records:
                with formatter.section(translated(title)):
                    formatter.write_dl(records)
        if hidden:
            formatter.write_paragraph()
            formatter.write_text(translated(f"{hidden} rare settings more: --help-all"))


def _show(context: typer.Context, value: bool) -> None:
    if value:
        context.meta[_ALL] = True
        typer.echo(context.get_help(), color=context.color)
        raise typer.Exit


HelpAll = Annotated[
    bool,
    typer.Option(
        "--help-all", is_eager=True, callback=_show, help="Show every setting, rare ones too, and exit."
    ),
]


class Program(_Help, TyperGroup):
    """The program: its commands stand in sections."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each section's commands in their order; what has no section comes last."""
        left = [
            name for name in self.list_commands(ctx) if not any(name in names for names in COMMANDS.values())
        ]
        for title, names in (COMMANDS | ({"More": tuple(left)} if left else {})).items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            limit = formatter.width - 6 - max(map(len, names))
            with formatter.section(translated(title)):
                formatter.write_dl(
                    [(name, command.get_short_help_str(limit)) for name, command in commands if command]
                )


def translate_help(command: Any) -> None:
    """Put the help of a command, of its options and of its own commands into the language that holds."""
    if command.help:
        paragraphs = (" ".join(part.split()) for part in command.help.split("\n\n"))
        command.help = "\n\n".join(map(translated, paragraphs))
    for parameter in command.params:
        if text := getattr(parameter, "help", None):
            parameter.help = translated(" ".join(text.split()))
    for own in getattr(command, "commands", {}).values():
        translate_help(own)


Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="PATH",
        help="The folder under which everything lives. [AZUBI_HOME; default: ~/.azubi]",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on standard output.")]
Language = Annotated[
    str | None,
    typer.Option(
        "--lang",
        metavar="en|de",
        help="The language of what people read. [AZUBI_LANG; default: that of the system, else en]",
    ),
]
"""`locale.current.chosen` reads it, before anything is parsed."""
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback when something goes wrong.")]

_SHARED = {"home": (Home, None), "lang": (Language, None), "json": (Json, False), "debug": (Debug, False)}


def register(
    app: typer.Typer, function: Callable[..., None], name: str, kind: type[TyperCommand] = Command
) -> None:
    """Make `function` a command of the program; `kind` lays out its help."""
    more = {"help_all": (HelpAll, False)} if kind is SettingsCommand else {}
    app.command(name, cls=kind)(_command(function, more))


def register_group(app: typer.Typer, function: Callable[..., None], name: str) -> typer.Typer:
    """Make `function` a command that has commands of its own; gives the place to register those."""
    group = typer.Typer(cls=Group)
    group.callback(invoke_without_command=True)(_command(function))
    app.add_typer(group, name=name)
    return group


def _command(
    function: Callable[..., None], more: Mapping[str, tuple[Any, Any]] = MappingProxyType({})
) -> Callable[..., None]:
    own_language = "lang" in inspect.signature(function).parameters

    def call(context: typer.Context, **values: Any) -> None:
        session: Session = context.obj
        session.update(values.pop("home"), values.pop("json"), values.pop("debug"))
        if not own_language:
            del values["lang"]
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
        if name not in {parameter.name for parameter in own}
    ]
    return inspect.Signature([context, *(parameter.replace(kind=kind) for parameter in own), *shared])
