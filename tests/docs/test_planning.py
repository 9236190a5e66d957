"""The examples of docs/data.md, part “Planning”, as they stand there."""

import json
import re
import shlex
from pathlib import Path

import pytest

from azubi.cli import main
from tests import tiny

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
PART = PAGE.split("\n## Planning\n")[1].split("\n## ")[0]
CONSOLE = re.findall(r"```console\n\$ azubi (.*?)\n(.*?)```", PART, flags=re.S)
PYTHON = re.findall(r"```python\n(.*?)```", PART, flags=re.S)


@pytest.fixture
def claims(tmp_path, monkeypatch):
    """`claims.csv` where the examples are run."""
    monkeypatch.chdir(tmp_path)
    rows = [f'"{row["prompt"]}",{row["answer"]}' for row in tiny.labels(400)]
    Path("claims.csv").write_text("\n".join(["note,team", *rows]) + "\n", encoding="utf-8")


def shape(text):
    """What a text says, without figures that differ between machines."""
    return re.sub(r"[\d,.]+ ?(bytes|kB|MB|GB|ms|s|min|h)\b", "#", text)


def lines(text):
    return {line.split("  ")[0].strip(): shape(line) for line in text.splitlines() if line.strip()}


def test_there_are_examples():
    assert [words.split()[0] for words, _ in CONSOLE] == ["plan", "plan", "tune"] and len(PYTHON) == 1


def test_each_command_says_what_the_page_says(claims, capsys):
    for words, said in CONSOLE:
        assert main(shlex.split(words)) == 0
        out = capsys.readouterr().out
        if "--json" in words:
            assert json.loads(out)["total"] > 0
        elif said:
            printed, expected = lines(out), lines(said)
            assert printed.keys() == expected.keys()
            for name in expected:
                if name not in ("Base", "Measured"):  # the machine's number format and threads
                    assert printed[name] == expected[name]
        else:
            assert "Plan and truth" in out and "in all" in out


def test_the_program_runs(claims, capsys):
    exec(PYTHON[0], {})
    total, *_ = capsys.readouterr().out.split()
    assert float(total) > 0
