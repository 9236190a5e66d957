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


def file_of(house, room):
    folder = house.joinpath(*room.split("."))
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


@pytest.fixture
def house(tmp_path):
    """A house with the same rooms, all empty."""
    for room in rooms():
        file = tmp_path.joinpath(*room.split(".")).with_suffix(".py")
        file.parent.mkdir(exist_ok=True)
        (file.parent / "__init__.py").touch()
        file.touch()
    (tmp_path / "azubi" / "stages.py").unlink()  # a folder, as it has rooms of its own
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
        ("stages", "recipe"),
        ("search", "stages"),
        ("stages.data", "stages.search"),
        ("stages.evaluation", "stages.tail"),
    ],
)
def test_a_forbidden_import_is_found(house, room, imported):
    file_of(house, f"azubi.{room}").write_text(f"import azubi.{imported}\n")
    done = lint(house)
    assert done.returncode == 1
    assert f"azubi.{room} is not allowed to import azubi.{imported}" in " ".join(done.stdout.split())


@pytest.mark.parametrize("place", ["azubi", "azubi/stages"])
def test_a_new_module_must_take_its_place(house, place):
    (house / place / "utils.py").touch()
    done = lint(house)
    assert done.returncode == 1
    assert "utils" in done.stdout
