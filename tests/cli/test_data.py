"""`azubi data`: what was trained on is listed, shown, compared, and erased, for people and for programs."""

import json

import pytest

from azubi.cli import main
from azubi.pipeline import run
from azubi.settings import Recipe
from tests import tiny


@pytest.fixture
def versions(bases, home, tmp_path):
    """Two data versions in the home: the second lacks a row and answers another one otherwise."""
    rows = [{"id": f"C-{number}", **row} for number, row in enumerate(tiny.labels(60))]
    changed = [*rows[1:2], {**rows[2], "answer": rows[3]["answer"]}, *rows[3:]]
    names = []
    for name, examples in (("first", rows), ("second", changed)):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in examples))
        made = Recipe(name=name, data=path, id="id", base=str(bases.encoder), epochs=1, threads=1)
        events = list(run.run(made, home))
        names.append(next(event.version for event in events if event.kind == "data_ready"))
    return names


def document(capsys):
    return json.loads(capsys.readouterr().out)


def test_versions_are_listed_shown_compared_and_rows_erased(versions, capsys):
    first, second = versions
    assert main(["data", "list", "--json"]) == 0
    assert {version["version"] for version in document(capsys)["versions"]} == set(versions)
    assert main(["data", "list"]) == 0 and first[:8] in capsys.readouterr().out
    assert main(["data", "show", first, "--json"]) == 0
    assert document(capsys)["version"] == first
    assert main(["data", "diff", first, second, "--json"]) == 0
    printed = document(capsys)
    assert [len(printed[kind]) for kind in ("added", "removed", "changed")] == [0, 1, 1]
    assert main(["data", "erase", "--id", "C-7", "--json"]) == 0
    assert "first" in capsys.readouterr().out
    assert main(["data", "show", "nothing"]) == 2
