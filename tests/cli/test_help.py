"""Help in sections: every setting and every command has its place, rare settings stand behind --help-all."""

import pytest

from azubi.cli import main
from azubi.cli.app import app
from azubi.cli.command import COMMANDS, COMMON, RARE
from azubi.cli.recipe_file import fields, flag, parameter_name
from azubi.settings import Recipe

SETTINGS = [name for table in (COMMON, RARE) for names in table.values() for name in names]
OF_COMMANDS = {"home", "json", "debug", "quiet", "fresh"}


def printed(capsys, *words):
    assert main(list(words)) == 0
    return capsys.readouterr().out


def test_every_setting_has_one_place():
    tops = {field.alias or name for name, field in Recipe.model_fields.items()}
    assert sorted(SETTINGS) == sorted(tops | OF_COMMANDS)


def test_every_command_has_one_place():
    registered = [command.name for command in app.registered_commands]
    registered += [group.name for group in app.registered_groups]
    assert sorted(name for names in COMMANDS.values() for name in names) == sorted(registered)


@pytest.mark.parametrize("command", ["tune", "check", "plan"])
def test_rare_settings_stand_behind_help_all(capsys, command):
    common, whole = printed(capsys, command, "--help"), printed(capsys, command, "--help-all")
    for path, _ in fields():
        shown = f"{flag(parameter_name(path))} "
        assert shown in whole
        assert (shown in common) is any(path[0] in names for names in COMMON.values()), shown
    titles = [
        line for line in common.splitlines() if line and not line.startswith(" ") and line.endswith(":")
    ]
    assert titles == ["Arguments:", *(f"{name}:" for name in COMMON), "Help:"]
    assert "rare settings more: --help-all" in common and "--help-all" not in whole.splitlines()[-1]


def test_each_common_setting_stands_in_its_own_section(capsys):
    section, shown = "", {}
    for line in printed(capsys, "tune", "--help").splitlines():
        if line and not line.startswith(" ") and line.endswith(":"):
            section = line.removesuffix(":")
        if line.startswith("  --"):
            shown[line.split()[0]] = section
    for path, _ in fields():
        for name, settings in COMMON.items():
            if path[0] in settings:
                assert shown[flag(parameter_name(path))] == name


def test_the_commands_stand_in_sections(capsys):
    lines = printed(capsys, "--help").splitlines()
    places = [lines.index(f"{title}:") for title in COMMANDS]
    assert places == sorted(places)
