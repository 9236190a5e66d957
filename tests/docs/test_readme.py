"""The README: its Python example runs, its links and pictures exist, its families are those of the tests."""

import re
from pathlib import Path

from tests import tiny
from tests.engine.families import DECODERS, ENCODERS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [f'"{row["prompt"]}",{row["answer"]}' for row in tiny.labels(120)]
    Path("claims.csv").write_text("\n".join(["note,team", *rows]) + "\n", encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    exec(compile(code, "README.md", "exec"), {})  # the page is ours
    teams = {row["answer"] for row in tiny.labels(120)}
    assert capsys.readouterr().out.strip() in teams


def test_links_and_pictures_exist():
    places = [place for place in re.findall(r"\]\(([^)#]+)", README) if "://" not in place]
    assert len(places) > 10
    assert [place for place in places if not (ROOT / place).exists()] == []


def test_the_families_are_those_that_are_checked():
    (line,) = re.findall(r"\*\*Bases\.\*\*(.*?)\n\n", README, flags=re.S)
    named = re.sub(r"[-_]", "", line.lower())
    for family in (*DECODERS, *ENCODERS):
        name = family.name.split()[0].removesuffix("_text").removesuffix("moehybrid")
        assert re.sub(r"[-_]", "", name) in named, family.name
