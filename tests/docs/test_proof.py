"""The examples of docs/proof.md, as they stand there; its tables hold the defaults and every flag."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from azubi.cli import main
from azubi.cli.recipe_file import recipe_from
from azubi.evaluation.baselines import baseline_set
from azubi.evaluation.proof import ORDER
from azubi.settings import PrivacySettings, ProofSettings, ScopeSettings
from tests import tiny
from tests.locale.test_locale import texts

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "proof.md"
TEXT = PAGE.read_text(encoding="utf-8")
CONSOLE = re.findall(r"^```console\n\$ azubi (.*)\n((?:.*\n)*?)```$", TEXT, re.MULTILINE)
PYTHON = re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
RECIPES = re.findall(r"^```yaml (\S+)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
SHELL = re.findall(r"^```sh\n(.*?)\n```$", TEXT, re.DOTALL | re.MULTILINE)
GROUPS = {"proof": ProofSettings, "scope": ScopeSettings, "privacy": PrivacySettings}


@pytest.fixture
def notes(tmp_path, monkeypatch, bases):
    """`notes.csv` where the examples are run, and baselines that use the tiny bases, briefly."""
    monkeypatch.chdir(tmp_path)
    rows = [f'"{row["prompt"]}",{row["answer"]}' for row in tiny.labels(160)]
    Path("notes.csv").write_text("\n".join(["note,team", *rows]) + "\n", encoding="utf-8")
    monkeypatch.setattr(baseline_set, "encoder_for", lambda texts: str(bases.encoder))
    monkeypatch.setattr(baseline_set, "WRITER", str(bases.decoder))
    monkeypatch.setattr(baseline_set, "LABELS_SECONDS", 2.0)
    quick = ["--threads", "1", "--quiet", "--epochs", "3"]

    def tune(words):
        return main([*shlex.split(words)[1:], "--base", str(bases.encoder), *quick])

    return tune


def rows(text):
    """What the lines of a table and of facts begin with: baselines, versions, Test, Report, Took."""
    known = {*ORDER, "triage@1", "triage@2", "Test", "Report", "Took"}
    return [first for line in text.splitlines() if (first := (line.split() or [""])[0]) in known]


def says(line, prefix):
    """Whether a line is one of the report's sentences, whatever stands in its gaps."""
    flat = " ".join(line.split())
    gaps = (re.escape(text) for key, text in texts("en").items() if key.startswith(prefix))
    return any(re.fullmatch(re.sub(r"\\\{\w+\\\}", ".+", text), flat) for text in gaps)


def sentence(text):
    """What stands before the first empty line."""
    return text.split("\n\n")[0]


def test_the_examples_do_what_they_say(notes, home, capsys):
    (first, *_) = SHELL
    assert notes(first) == 0
    (prove, proved), (compare, compared) = CONSOLE
    capsys.readouterr()

    assert main([*shlex.split(prove), "--threads", "1", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert says(sentence(out), "verdict.") and says(sentence(proved), "verdict.")
    assert rows(out) == rows(proved) and "specialist" in rows(proved)

    (folder,) = (home / "proofs" / "triage" / "1").iterdir()
    assert {path.name for path in folder.iterdir()} == named("| file |")
    for code in PYTHON:
        exec(compile(code, str(PAGE), "exec"), {"home": home, "folder": folder})  # the page is ours
    assert "specialist" in capsys.readouterr().out

    (script,) = (line for line in SHELL if "reproduce.py" in line)
    command = [sys.executable, str(ROOT / shlex.split(script)[1]), str(folder)]
    assert subprocess.run(command, timeout=120, capture_output=True).returncode == 0

    assert notes(first) == 0  # version 2, with the same test
    capsys.readouterr()
    assert main([*shlex.split(compare), "--threads", "1", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert says(sentence(out), "versus.") and says(sentence(compared), "versus.")
    assert rows(out.split("\n\n", 1)[1]) == rows(compared.split("\n\n", 1)[1])


def named(head):
    """The first column of the table that begins so: what stands there as code."""
    table = TEXT[TEXT.index(head) :].split("\n\n")[0]
    return {name for line in table.splitlines()[2:] for name in re.findall(r"`([^`]+)`", line.split("|")[1])}


def test_the_recipes_hold_the_defaults(tmp_path):
    (tmp_path / "notes.csv").write_text("note,team\n", encoding="utf-8")
    recipes = {}
    for name, content in RECIPES:
        (tmp_path / name).write_text(content, encoding="utf-8")
        recipes[name] = recipe_from(tmp_path / name, {})
    assert recipes["recipe.yaml"].proof == ProofSettings()
    assert recipes["recipe.yaml"].scope == ScopeSettings()
    assert recipes["private.yaml"].privacy == PrivacySettings()


@pytest.mark.parametrize("group", GROUPS)
def test_the_tables_show_every_setting_with_its_default(group):
    table = TEXT[TEXT.index(f"| `{group}:` |") :].split("\n\n")[0]
    shown = {line.split("|")[1].strip(" `"): line.split("|")[2].strip() for line in table.splitlines()[2:]}
    fields = GROUPS[group].model_fields
    assert shown.keys() == fields.keys()
    for name, field in fields.items():
        assert shown[name] == str(field.default)


@pytest.mark.parametrize("command", ["prove", "compare"])
def test_every_flag_stands_on_the_page(command, capsys):
    with pytest.raises(SystemExit):
        raise SystemExit(main([command, "--help"]))
    flags = set(re.findall(r"^\s+(?:-\w, )?(--[a-z-]+)", capsys.readouterr().out, re.MULTILINE)) - {"--help"}
    assert {"--lang", "--threads"} <= flags
    part = TEXT if command == "prove" else TEXT.split("\n## Comparing two\n")[1].split("\n## ")[0]
    assert not [flag for flag in flags if not re.search(rf"`{flag}\b", part)]
