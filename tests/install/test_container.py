"""The Containerfile as text: no engine runs here, so what can be told without one is."""

import shlex
from fnmatch import fnmatch
from pathlib import Path

import pytest

from azubi.engine.base import catalog

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def stages():
    """The instructions as (name, words), a list for each stage."""
    lines = (ROOT / "Containerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#")).replace("\\\n", " ")
    names = []
    for line in filter(str.strip, text.splitlines()):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            names.append([])
        names[-1].append((name, shlex.split(rest)))
    return names


def of(stage, name):
    return [words for instruction, words in stage if instruction == name]


def test_what_is_copied_exists_and_is_not_ignored(stages):
    ignored = (ROOT / ".containerignore").read_text(encoding="utf-8").splitlines()
    wanted = {line[1:] for line in ignored if line.startswith("!")}
    copied = [words for stage in stages for words in of(stage, "COPY")]
    sources = {word for words in copied if not words[0].startswith("--from") for word in words[:-1]}
    assert sources == wanted and "*" in ignored
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert [words for words in copied if words[0].startswith("--from")] == [
        ["--from=build", "/opt/azubi", "/opt/azubi"]
    ]


def test_all_that_pip_installs_is_pinned_and_both_bases_are_there(stages):
    calls = [
        shlex.split(call)
        for stage in stages
        for words in of(stage, "RUN")
        for call in shlex.join(words).replace("'&&'", "&&").split("&&")
        if "pip" in call
    ]
    assert calls and all(call[:4] == ["pip", "install", "-c", "constraints.txt"] for call in calls)
    installed = {word for call in calls for word in call[4:]}
    pinned = (ROOT / "constraints.txt").read_text().splitlines()
    for entry in catalog.known():
        assert entry.package in pinned and entry.package.split("==")[0] in installed


def test_it_runs_offline_and_not_as_root(stages):
    *_, last = stages
    (user,) = of(last, "USER")
    assert user != ["0"] and user[0].isdigit()  # a number: an engine can tell that it is not root
    (settings,) = of(last, "ENV")
    home = next(word.partition("=")[2] for word in settings if word.startswith("AZUBI_HOME="))
    assert "HF_HUB_OFFLINE=1" in settings
    assert of(last, "VOLUME") == [[home]]
    # A volume takes its owner from the folder in the image, so that must be the user's before.
    assert any(home in words and f"--owner={user[0]}" in words for words in of(last, "RUN"))
    assert [name for name, _ in last][-2:] == ["ENTRYPOINT", "CMD"]


def test_the_demo_in_its_first_lines_is_there(stages):
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    (copied,) = (words for words in of(stages[-1], "COPY") if words[0] == "examples")
    command = next(word for word in text.split() if fnmatch(word, "*/demo.py"))
    assert command.startswith(copied[1] + "/")
    assert (ROOT / "examples" / command.removeprefix(copied[1] + "/")).is_file()
