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
    """Every room with a place of its own, by its dotted name."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return [
        f"{container}.{room.strip('() ')}"
        for contract in settings["tool"]["importlinter"]["contracts"]
        for container in contract["containers"]
        for layer in contract["layers"]
        for room in layer.split("|")
    ]


@pytest.fixture
def house(tmp_path):
    """A package with the same rooms, all empty."""
    for room in rooms():
        folder = tmp_path.joinpath(*room.split("."))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").touch()
        (folder.parent / "__init__.py").touch()
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
        ("errors", "storage"),
        ("events", "storage"),
        ("settings", "events"),
        ("storage", "data"),
        ("data", "engine"),
        ("engine", "registry"),
        ("planning", "registry"),
        ("registry", "evaluation"),
        ("search", "evaluation"),
        ("evaluation", "pipeline"),
        ("pipeline", "cli"),
        ("engine.base", "engine.model"),
        ("engine.model", "engine.cache"),
        ("engine.cache", "engine.training"),
        ("engine.training", "engine.inference"),
    ],
)
def test_a_forbidden_import_is_found(house, room, imported):
    house.joinpath("azubi", *room.split("."), "__init__.py").write_text(f"import azubi.{imported}\n")
    done = lint(house)
    assert done.returncode == 1
    assert f"azubi.{room} is not allowed to import azubi.{imported}" in " ".join(done.stdout.split())


@pytest.mark.parametrize("place", ["azubi", "azubi/engine"])
def test_a_new_room_must_take_its_place(house, place):
    (house / place / "utils.py").touch()
    done = lint(house)
    assert done.returncode == 1
    assert "utils" in done.stdout
