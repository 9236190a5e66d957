"""The program `azubi`: its commands, its global options, its exit codes."""

import os
import sys
from collections.abc import Sequence

import typer
from typer.main import get_command

from azubi.cli import (
    ask,
    check,
    data,
    doctor,
    export,
    prove,
    registry,
    runs,
    serve,
    specialists,
    tune,
    upkeep,
)
from azubi.cli.command import (
    Debug,
    Home,
    Json,
    Language,
    Program,
    Session,
    SettingsCommand,
    asks_for,
    forgive_encodings,
    register,
    register_group,
    translate_help,
)
from azubi.cli.failure import NoCommand, report
from azubi.errors import SettingError
from azubi.locale.current import chosen, of_system, using

app = typer.Typer(
    cls=Program,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def azubi(
    context: typer.Context,
    home: Home = None,
    lang: Language = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train the last layers of an open model on your own work, prove it, and own the result."""
    session: Session = context.obj
    session.update(home, json, debug)
    if context.invoked_subcommand is None:
        if session.json:
            raise NoCommand
        print(context.get_help())


register(app, check.check, "check", SettingsCommand)
register(app, tune.tune, "tune", SettingsCommand)
register(app, tune.resume, "resume")
register(app, tune.plan, "plan", SettingsCommand)
register(register_group(app, runs.list_all, "runs"), runs.show, "show")
_data = register_group(app, data.list_all, "data")
register(_data, data.list_all, "list")
register(_data, data.show, "show")
register(_data, data.diff, "diff")
register(_data, data.erase, "erase")
register(_data, data.reveal, "reveal")
register(app, prove.prove, "prove")
register(app, prove.compare, "compare")
register(app, ask.ask, "ask")
register(app, serve.serve, "serve")
_keys = register_group(app, serve.list_keys, "keys")
register(_keys, serve.list_keys, "list")
register(_keys, serve.create_key, "create")
register(_keys, serve.revoke_key, "revoke")
register(app, export.export, "export")
register(app, export.import_, "import")
register(app, specialists.list_all, "list")
register(app, specialists.show, "show")
register(app, registry.promote, "promote")
register(app, registry.rollback, "rollback")
register(app, registry.history, "history")
register(app, registry.diff, "diff")
register(app, registry.audit, "audit")
register(app, registry.keygen, "keygen")
register(app, registry.verify, "verify")
register(app, upkeep.papers, "papers")
register(app, upkeep.push, "push")
register(app, upkeep.pull, "pull")
register(app, upkeep.reproduce, "reproduce")
register(app, upkeep.purge, "purge")
_licence = register_group(app, registry.licences, "licence")
register(_licence, registry.licence_show, "show")
register(_licence, registry.licence_confirm, "confirm")
register(register_group(app, specialists.list_bases, "bases"), specialists.get_base, "get")
register(app, doctor.doctor, "doctor")
register(app, doctor.version, "version")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give the exit code: 0 done, 1 failed while running, 2 wrong usage or input."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    forgive_encodings()
    try:
        with using(chosen(given, os.environ)):
            return _run(given)
    except SettingError as error:  # there is no such language
        with using(of_system(os.environ)):
            return report(error, Session(json=asks_for("--json", given)))


def _run(given: list[str]) -> int:
    session = Session()
    try:
        program = get_command(app)
        translate_help(program)
        # Not `program.main`: it would turn Ctrl-C and closed pipes into exits of its own.
        with program.make_context("azubi", list(given), obj=session) as context:
            program.invoke(context)
        sys.stdout.flush()
        return 0
    except typer.Exit as done:
        return done.exit_code
    except BaseException as error:
        session.update(None, json=asks_for("--json", given), debug=asks_for("--debug", given))
        return report(error, session)
