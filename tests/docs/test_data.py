"""The examples of docs/data.md do what they say: a section's files are written, its Python is run."""

import re
from pathlib import Path

import pytest
from rich.console import Console

from azubi import data
from azubi.cli.findings import show
from azubi.cli.recipe_file import recipe_from
from azubi.data.checks.check import check
from azubi.data.readers.row import Rejected
from azubi.data.readers.source import Source
from azubi.settings import LimitSettings

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def section(title):
    """What stands under a heading of the second level."""
    (reading,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return reading


@pytest.fixture
def blocks(tmp_path, monkeypatch):
    """The blocks of a section as (language, code); those with a name lie as files in the working folder."""

    def find(title):
        monkeypatch.chdir(tmp_path)
        blocks = BLOCK.findall(section(title))
        for _, name, content in blocks:
            if name:
                Path(name).write_text(content)
        return [(language, content) for language, _, content in blocks]

    return find


def test_bringing_your_data(blocks, monkeypatch):
    monkeypatch.setenv("CLAIMS", "")  # the page sets it
    code = "\n".join(content for language, content in blocks("Bringing your data") if language == "python")
    exec(compile(code, str(PAGE), "exec"), {})  # the page is ours
    rows = list(Source.of(recipe_from(Path("claims.yaml"), {})).stream())
    flags = {
        "prompt": "{subject}: {body}",
        "answer": "{line: lob, amount: {column: amount, type: number}}",
    }
    assert [row.id for row in rows] == [
        event.id for event in Source.of(recipe_from(Path("claims.csv"), flags)).stream()
    ]
    assert len(rows) == 3 and not any(isinstance(row, Rejected) for row in rows)


def test_checking_it(blocks, capsys):
    content_blocks = blocks("Checking it")
    code = "\n".join(content for language, content in content_blocks if language == "python")
    exec(compile(code, str(PAGE), "exec"), {})  # the page is ours
    assert "1 prompt has more than one answer" in capsys.readouterr().out
    (shown,) = [content for language, content in content_blocks if language == "console"]
    result = check("letters.csv", prompt="text", answer="label", limits={"rejected": 0.2})
    show(result, Console(width=100, highlight=False, emoji=False, markup=False))
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    for line in shown.splitlines()[1:]:
        assert line == "…" or line in printed or line.rstrip("…").strip() in "\n".join(printed)


def test_every_kind_of_finding_stands_on_the_page():
    table = section("Checking it")
    folder = Path(data.__file__).parent / "checks"
    source = "".join(path.read_text() for path in folder.glob("*.py") if path.name != "records.py")
    kinds = {
        *re.findall(r'kind="([a-z_]+)"', source),
        *re.findall(r'"(leak_[a-z_]+|rejected_[a-z_]+)"', source),
    }
    assert len(kinds) > 15
    assert {kind for kind in kinds if f"`{kind}`" not in table} <= {"reading"}


def test_the_defaults_of_the_limits_are_those_of_the_page():
    table = section("Bringing your data").split("| `--limits-…`")[1]
    for name, field in LimitSettings.model_fields.items():
        row = next(line for line in table.splitlines() if f"`{name}`" in line)
        default = field.default
        if hasattr(default, "human_readable"):
            shown = default.human_readable(decimal=True, separator=" ").replace(".0 ", " ")
        else:
            shown = f"{default:,}"
        assert shown in row, (name, shown)
