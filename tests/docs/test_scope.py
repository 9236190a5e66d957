"""The examples of docs/scope.md do what they say, and its figures are those that were measured."""

import json
import re
from pathlib import Path

from azubi.cli import main
from azubi.cli.recipe_file import recipe_from
from azubi.evaluation.probe import probe_items
from azubi.pipeline import run
from azubi.settings import Recipe
from tests import tiny

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "scope.md"
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = BLOCK.findall(PAGE.read_text(encoding="utf-8"))


def test_the_recipes_are_ones(tmp_path):
    recipes = {name: content for language, name, content in BLOCKS if language == "yaml"}
    for name, content in recipes.items():
        (tmp_path / name).write_text(content)
    scope = recipe_from(tmp_path / "scope.yaml", {}).scope
    assert scope.out_of_scope == "caller"
    privacy = recipe_from(tmp_path / "privacy.yaml", {})
    assert (privacy.privacy.epsilon, privacy.tail_layers) == (8.0, 0)


def test_the_code_runs_and_the_document_has_these_fields(bases, tmp_path, home, capsys):
    data = tiny.write(tmp_path / "notes.jsonl", tiny.labels())
    settings = {"name": "triage", "data": data, "base": str(bases.encoder), "tail_layers": 0, "epochs": 2}
    for _ in run.run(Recipe(**settings), home):
        pass
    (code,) = (content for language, _, content in BLOCKS if language == "python")
    exec(compile(code, str(PAGE), "exec"), {"home": home})  # the page is ours
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert main(["ask", "triage", "The van was hit by hail", "--json", "--home", str(home)]) == 0
    (answer,) = json.loads(capsys.readouterr().out)["answers"]
    (shown,) = (json.loads(content) for language, _, content in BLOCKS if language == "json")
    assert list(answer) == list(shown)


def test_its_figures_were_measured():
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    items = probe_items()
    assert f"{len(items)} short questions" in text
    assert f"{sum(one.language == 'de' for one in items)} are German" in text
    document = json.loads((Path(__file__).parent / "scope-clinc150-minilm.json").read_text())
    score, passed = document["interval"], document["candidates"]["combined"]["false_alarms"]
    assert f"AUROC {score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})" in text
    assert f"{passed:.0%} of those pass".replace("%", " %") in text
    assert score["value"] >= 0.95, "the issue's aim"
