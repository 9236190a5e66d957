"""What is imported is declared, and what is declared is imported."""

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOT_IMPORTED = {
    "python-multipart": "fastapi reads uploads with it",
    "pyopenssl": "model-signing imports it and does not declare it",
    "protobuf": "sentencepiece's description of a tokenizer.model imports it",
}


def canonical(requirement):
    """A distribution's name as registries compare it, without extras and versions."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


RUNTIME = {canonical(line) for line in PROJECT["dependencies"]}
OPTIONAL = {
    canonical(line)
    for extra, lines in PROJECT["optional-dependencies"].items()
    for line in lines
    if extra != "dev"
}


def imported(path):
    """The top-level names that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


DEVELOPMENT = {canonical(line) for line in PROJECT["optional-dependencies"]["dev"]}
INSTALLED = metadata.packages_distributions()


CHILD = ROOT / "azubi" / "export" / "child.py"
"""Runs without azubi, in environments that it makes."""


def names_in(folder):
    paths = [path for path in (ROOT / folder).rglob("*.py") if path != CHILD]
    names = {name for path in paths for name in imported(path)}
    return names - {"azubi", *sys.stdlib_module_names}


@pytest.fixture(scope="module")
def third_party():
    """The distributions whose modules azubi imports."""
    return {canonical(INSTALLED.get(name, [name])[0]) for name in names_in("azubi")}


def test_every_import_is_declared(third_party):
    assert third_party - RUNTIME - OPTIONAL == set()
    # Tests import files of their own, too; those are installed nowhere.
    tests = {canonical(INSTALLED[name][0]) for name in names_in("tests") if name in INSTALLED}
    assert tests - RUNTIME - OPTIONAL - DEVELOPMENT == set()


def test_every_declared_package_is_imported_or_has_a_reason(third_party):
    assert RUNTIME - third_party == set(NOT_IMPORTED)
    assert OPTIONAL - third_party == set()


def test_every_package_has_a_pinned_version():
    pinned = {canonical(line) for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert (RUNTIME | OPTIONAL | DEVELOPMENT) - pinned == set()


def test_every_package_says_why_it_is_there():
    lines = (
        (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("dependencies = [\n")[1].split("]\n")[0]
    )
    assert [line for line in lines.splitlines() if not re.search(r'",  # \w', line)] == []


def test_what_runs_elsewhere_is_installed_there_as_it_was_tried():
    from azubi.export.runtime import RUNTIMES

    pins = {line for runtime in RUNTIMES.values() for line in runtime.packages}
    there = {canonical(line) for line in pins} | {"numpy"}  # which each of them brings
    assert {canonical(name) for name in imported(CHILD)} - {"azubi", *sys.stdlib_module_names} <= there
    here = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    )
    assert all("==" in line for line in pins)
    assert [
        line for line in pins if here.get(line.split("==")[0], line.split("==")[1]) != line.split("==")[1]
    ] == []
