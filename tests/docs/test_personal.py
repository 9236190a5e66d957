"""The examples of docs/data.md on personal data do what they say."""

import re
from pathlib import Path

from azubi.cli.recipe_file import recipe_from
from azubi.data.pii import kinds

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def section():
    (reading,) = re.findall(
        r"^## Personal data\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.DOTALL | re.MULTILINE
    )
    return reading


def test_the_python_runs():
    code = "\n".join(content for language, _, content in BLOCK.findall(section()) if language == "python")
    assert "apply(" in code
    exec(compile(code, str(PAGE), "exec"), {})  # the page is ours


def test_the_recipe_is_one(tmp_path):
    ((_, name, content),) = [block for block in BLOCK.findall(section()) if block[0] == "yaml"]
    (tmp_path / name).write_text(content)
    recipe = recipe_from(tmp_path / name, {})
    assert (recipe.personal_data, recipe.patterns) == ("pseudonym", {"policy": r"P-\d{8}"})
    assert recipe.personal_key == tmp_path / "claims.key"


def test_the_table_names_every_kind():
    table = section().split("### What is found")[1].split("**Not found")[0]
    for word, _ in (words for kind, words in kinds.WORDS.items() if kind != kinds.NAME):
        assert re.split(r" \(| or ", word)[0] in table or word in (
            "tax ID (Steuer-ID)",
            "tax number (Steuernummer)",
        )
    assert "Steuer-ID" in table and "Steuernummer" in table
