"""The rooms of the design hold, and the contract that says so can fail."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINT = """
import sys
from importlinter.cli import lint_imports_command
sys.argv = ["lint-imports", "--no-cache", "--no-logo"]
sys.path.insert(0, ".")
lint_imports_command()
"""


def lint(folder):
    return subprocess.run(
        [sys.executable, "-c", LINT], cwd=folder, capture_output=True, text=True, timeout=60
    )


def rooms():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    return [room.strip("() ") for layer in layers for room in layer.split("|")]


@pytest.fixture
def house(tmp_path):
    """A house with the same rooms, all empty."""
    (tmp_path / "azubi").mkdir()
    for name in ["__init__", *rooms()]:
        (tmp_path / "azubi" / f"{name}.py").touch()
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    return tmp_path


def test_the_rooms_hold():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_empty_house_holds(house):
    done = lint(house)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("room", "imported"),
    [
        ("data", "tail"),
        ("trunk", "tail"),
        ("tail", "trunk"),
        ("package", "registry"),
        ("base", "activations"),
        ("errors", "files"),
        ("recipe", "cli"),
        ("search", "recipe"),
        ("events", "search"),
        ("evaluate", "events"),
        ("halves", "evaluate"),
        ("answering", "recipe"),
    ],
)
def test_a_forbidden_import_is_found(house, room, imported):
    (house / "azubi" / f"{room}.py").write_text(f"from azubi import {imported}\n")
    done = lint(house)
    assert done.returncode == 1
    assert f"azubi.{room} is not allowed to import azubi.{imported}" in " ".join(done.stdout.split())


def test_a_new_module_must_take_its_place(house):
    (house / "azubi" / "utils.py").touch()
    done = lint(house)
    assert done.returncode == 1
    assert "utils" in done.stdout
