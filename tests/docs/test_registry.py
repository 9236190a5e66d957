"""docs/registry.md: its gate is the program's, and its commands are there and work."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from azubi.cli import main
from azubi.cli.app import app
from azubi.cli.recipe_file import read_recipe
from azubi.registry import licence
from azubi.settings import Gate
from tests.pipeline.test_promote import put

PAGE = Path(__file__).parents[2] / "docs" / "registry.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_gate_of_the_page_has_the_defaults(tmp_path):
    (recipe,) = re.findall(r"```yaml gate.yaml\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "gate.yaml").write_text(recipe)
    assert Gate.model_validate(read_recipe(tmp_path / "gate.yaml")["gate"]) == Gate()
    for name, field in Gate.model_fields.items():
        row = next(line for line in TEXT.splitlines() if line.startswith(f"| `{name}`"))
        assert row.split("|")[2].strip() == str(field.default).lower()


def test_every_command_of_the_page_is_there():
    program = get_command(app)
    for line in re.findall(r"^    azubi (.*?)(?:  +.*)?$", TEXT, re.MULTILINE) + re.findall(
        r"`azubi ([^`]*)`", TEXT
    ):
        name, *rest = shlex.split(line.replace("…", ""))
        command = program.commands[name]
        if rest and rest[0] in getattr(command, "commands", {}):
            command, rest = command.commands[rest[0]], rest[1:]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= options, line


@pytest.mark.parametrize("name", ["Apache-2.0", "MIT", "BSD-3-Clause", "llama2", "llama3.3", "gemma", "qwen"])
def test_the_licences_that_it_names_are_known(name):
    assert licence.find(name).known


def test_what_the_page_tells_to_type_works_in_a_row(home, capsys):
    put(home)
    put(home)
    for line in (
        *("keygen", "list", "history claims", "diff claims@1 claims@2", "licence", "licence show claims"),
        'promote claims@1 --force --reason "a try"',
        'promote claims@2 --force --reason "approved by Dr. Weber"',
        'rollback claims --reason "complaints from motor"',
        *("verify claims@2", "audit", "purge"),
    ):
        assert main(shlex.split(line)) == 0, capsys.readouterr().err
    assert "claims@1" in capsys.readouterr().out
