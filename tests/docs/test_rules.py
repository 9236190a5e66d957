"""The examples of docs/data.md on rules and likely wrong answers do what they say."""

import re
from pathlib import Path

import pytest

from azubi.cli.recipe_file import recipe_from
from azubi.data.contract import Contract
from azubi.data.rules.derivation import Derivation

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(title):
    """The blocks under a heading of the second level: language, file name, content."""
    text = PAGE.read_text(encoding="utf-8")
    (sections,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return BLOCK.findall(sections)


@pytest.mark.parametrize("title", ["Rules: derive instead of learn", "Likely wrong answers"])
def test_the_code_of_the_page_runs(title):
    code = [content for language, _, content in blocks(title) if language == "python"]
    assert code
    for block in code:
        exec(compile(block, str(PAGE), "exec"), {})  # the page is ours


def test_the_recipe_of_the_page_derives(tmp_path):
    ((_, name, content),) = [
        block for block in blocks("Rules: derive instead of learn") if block[0] == "yaml"
    ]
    (tmp_path / name).write_text(content)
    derive = recipe_from(tmp_path / name, {}).derive
    contract = Contract(task="json", fields=("amount", "reported", "team", "due"), derived=derive)
    done = Derivation(contract).complete({"amount": 5001, "reported": "2026-02-20"})
    assert done.record == {"amount": 5001, "reported": "2026-02-20", "team": "S7", "due": "2026-03-06"}
