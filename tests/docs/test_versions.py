"""The examples of docs/data.md, parts “Splitting” and “Versions and erasing”, as they stand there."""

import re
import shlex
from pathlib import Path

import pytest

from azubi.cli import main
from azubi.cli.recipe_file import recipe_from
from azubi.settings import SplitSettings
from tests import tiny
from tests.docs.test_data import PAGE, section

CONSOLE = re.compile(r"^\$ azubi (.*)\n((?:(?!\$ |```).*\n)*)", re.MULTILINE)


def write_claims():
    """Claims, and what became of them: one gone, one new, one answered otherwise."""
    rows = [(f"C-{n}", row["prompt"], row["answer"]) for n, row in enumerate(tiny.labels(80))]
    write(Path("claims.csv"), rows)
    _, second, third, *others = rows
    write(
        Path("claims-new.csv"),
        [(*second[:2], third[2]), third, *others, ("C-80", "A tree fell on my roof, 31", "home")],
    )


def write(path, rows):
    lines = ["claim_no,note,team", *(f'{key},"{note}",{team}' for key, note, team in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_claims()
    return tmp_path


def test_the_split_of_the_page(folder):
    part = section("Splitting")
    (code,) = re.findall(r"```python\n(.*?)```", part, re.DOTALL)
    exec(compile(code, str(PAGE), "exec"), {})  # the page is ours
    (recipe,) = re.findall(r"```yaml split.yaml\n(.*?)```", part, re.DOTALL)
    Path("split.yaml").write_text(recipe)
    assert recipe_from(Path("split.yaml"), {}).split == SplitSettings(), "the page shows the defaults"
    for name, field in SplitSettings.model_fields.items():
        row = next(line for line in part.splitlines() if line.startswith(f"| `{name}`"))
        default = "" if field.default is None else str(field.default).lower()
        assert row.split("|")[2].strip() == default


def test_the_commands_say_what_the_page_says(folder, bases, capsys):
    shown = CONSOLE.findall(section("Versions and erasing"))
    assert [words.split()[:2] for words, _ in shown if words.startswith("data")] == [
        ["data", "list"],
        ["data", "diff"],
        ["data", "show"],
        ["data", "erase"],
    ]
    for words, said in shown:
        line = shlex.split(words.replace("minilm", str(bases.encoder)))
        assert main([*line, *(["--threads", "1"] if line[0] == "tune" else [])]) == 0
        out = capsys.readouterr().out
        if said:
            assert plain(out) == plain(said)


def plain(text):
    """A text without times, without rules across the page, and without which files quote a row."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "WHEN", text)
    lines = [re.sub(r"[ ─]+", " ", line).strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith(("/", "It is quoted"))]
