"""How help is laid out: commands and flags in sections; rare flags only behind `--help-all`.

Knows the names of settings and commands, and nothing of what they do.
"""

from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

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
    "Model": ("base", "from", "instruction", "tail_layers", "rank"),
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
    "Output": ("scope", "proof", "lang", "sink", "debug"),
}
"""Settings that most never need."""

COMMANDS = {
    "Train": ("check", "plan", "tune", "resume"),
    "Judge": ("prove", "compare"),
    "Use": ("ask", "list", "show"),
    "Manage": ("runs", "data", "bases", "doctor", "version"),
}
"""The commands, in the order in which a newcomer meets them."""

_ALL = "help_all"


def _section(parameter: str, table: dict[str, tuple[str, ...]]) -> str | None:
    name = parameter.rstrip("_")
    for section, settings in table.items():
        if any(name == setting or name.startswith(f"{setting}_") for setting in settings):
            return section
    return None


class SettingsCommand(TyperCommand):
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
                with formatter.section(title):
                    formatter.write_dl(records)
        if hidden:
            formatter.write_paragraph()
            formatter.write_text(f"{hidden} rare settings more: --help-all")


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


class Program(TyperGroup):
    """The program: its commands stand in sections."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each section's commands in their order; what has no section comes last."""
        left = [
            name for name in self.list_commands(ctx) if not any(name in names for names in COMMANDS.values())
        ]
        for title, names in (COMMANDS | ({"More": tuple(left)} if left else {})).items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            limit = formatter.width - 6 - max(map(len, names))
            with formatter.section(title):
                formatter.write_dl(
                    [(name, command.get_short_help_str(limit)) for name, command in commands if command]
                )
