"""The report of a training is written in the language that the recipe names."""

from azubi.pipeline.run import run
from azubi.settings import Recipe
from tests import tiny


def test_the_report_is_in_german_if_the_recipe_says_so(bases, home, tmp_path):
    data = tiny.write(tmp_path / "notes.jsonl", tiny.labels())
    base = str(bases.encoder)
    recipe = Recipe(name="tiny", data=data, base=base, epochs=1, dtype="float32", threads=1, lang="de")
    list(run(recipe, home))
    report = (home / "specialists" / "tiny" / "1" / "report.html").read_text(encoding="utf-8")
    assert '<html lang="de">' in report and "Was gemessen wurde, und wie" in report
