"""What the data have shown of how they write numbers holds for the test and goes into the papers."""

import io
import sys
import time
from pathlib import Path

import pytest

from azubi.data.readers.opening import STDIN
from azubi.errors import DataError
from azubi.pipeline.stages.run_context import RunContext
from azubi.pipeline.stages.sources import read, read_one_shot
from azubi.registry import runs
from azubi.settings import Recipe


def rows(*values: tuple[str, str]) -> str:
    return "prompt;sum;at\n" + "".join(f"note {i};{v};{at}\n" for i, (v, at) in enumerate(values))


def brought(tmp_path: Path, data: Path, test: Path):
    recipe = Recipe.model_validate(
        {"data": data, "test_data": test, "time": "at", "answer": "{sum: {column: sum, type: number}}"}
    )
    one_shot = read_one_shot(recipe)
    context = RunContext(tmp_path, runs.unwritten("a", tmp_path), time.monotonic(), recipe)
    reading = read(context, one_shot)
    while True:
        try:
            next(reading)
        except StopIteration as end:
            return end.value, context.recipe


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """Data and test, of which one may come by standard input."""

    def write(data: str, test: str, piped: str = "") -> tuple[Path, Path]:
        paths = {"data": tmp_path / "data.csv", "test": tmp_path / "test.csv"}
        for name, content in (("data", data), ("test", test)):
            paths[name].write_text(content)
            if name == piped:
                monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
                paths[name] = STDIN
        return paths["data"], paths["test"]

    return write


@pytest.mark.parametrize("piped", ["", "data"])
def test_the_test_is_read_as_the_data_are(sources, tmp_path, piped):
    data = rows(("1.250,00", "13/02/2025"), ("36.954", "03/04/2025"))
    parts, recipe = brought(tmp_path, *sources(data, rows(("36.954", "03/04/2025")), piped))
    assert [part.answer for part in parts.parts["test_data"]] == ['{"sum": 36954}']
    assert [part.time for part in parts.parts["test_data"]] == ["2025-04-03"]
    assert (recipe.answer["sum"].decimal, recipe.dates) == (",", "day-first")


@pytest.mark.parametrize("piped", ["", "data", "test"])
def test_a_test_that_writes_numbers_otherwise_is_refused(sources, tmp_path, piped):
    data, test = rows(("1.250,00", ""), ("36.954", "")), rows(("1,250.00", ""), ("36.954", ""))
    with pytest.raises(DataError) as caught:
        brought(tmp_path, *sources(data, test, piped))
    assert "the field “sum”" in caught.value.problem.lower()


def test_what_the_data_leave_open_is_not_decided_by_the_test(sources, tmp_path):
    with pytest.raises(DataError, match="can be read in two ways"):
        brought(tmp_path, *sources(rows(("36.954", "")), rows(("1.250,00", ""))))


@pytest.mark.parametrize(("policy", "shown"), [("report", "P-12345678.html"), ("mask", "[policy].html")])
def test_notices_do_not_quote_what_is_hidden(tmp_path, policy, shown):
    folder = tmp_path / "letters"
    folder.mkdir()
    (folder / "P-12345678.html").write_text("<p>A stone has hit the car.<img src=a>")
    (folder / "answers.csv").write_text("file,answer\nP-12345678.html,motor\n")
    recipe = Recipe(data=folder, personal_data=policy, patterns={"policy": r"P-\d{8}"})
    context = RunContext(tmp_path, runs.unwritten("a", tmp_path), time.monotonic(), recipe)
    (event,) = read(context, read_one_shot(recipe))
    assert f"1 document has parts that were not read: {shown}: 1 picture." in event.text
