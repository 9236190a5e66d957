"""The READMEs and the German pages: what they run, link to and quote is that of the present program."""

import re
from pathlib import Path

import pytest
from rich.console import Console

from azubi.cli.findings import show
from azubi.data.checks.check import check
from azubi.locale.current import using
from tests import tiny
from tests.engine.families import DECODERS, ENCODERS
from tests.locale.test_locale import texts

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ("README.md", "README.de.md", "docs/de/bericht.md", "docs/de/daten-pruefen.md")


def flat(page):
    """A page without its code and its quote marks, each gap between words one space."""
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.S | re.M)
    return " ".join(re.sub(r"^> ", "", text, flags=re.M).split())


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [f'"{row["prompt"]}",{row["answer"]}' for row in tiny.labels(120)]
    Path("claims.csv").write_text("\n".join(["note,team", *rows]) + "\n", encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    exec(compile(code, "README.md", "exec"), {})  # the page is ours
    teams = {row["answer"] for row in tiny.labels(120)}
    assert capsys.readouterr().out.strip() in teams


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert len(links) > 3
    for link in links:
        path, _, heading = link.partition("#")
        target = (ROOT / page).parent / path
        assert target.exists(), link
        if heading:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), flags=re.M)
            anchors = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings]
            assert heading in anchors, link


def test_the_readmes_name_each_other():
    assert "](README.de.md)" in README.split("\n\n")[1]
    assert "](README.md)" in (ROOT / "README.de.md").read_text(encoding="utf-8").split("\n\n")[1]


def test_german_quotes_are_those_of_the_report():
    catalogue = {key: " ".join(text.split()) for key, text in texts("de").items()}
    # Texts that are hardly more than gaps would match everything.
    worded = {key: text for key, text in catalogue.items() if len(re.sub(r"\{\w+\}|\W", "", text)) > 5}
    gaps = {key: re.sub(r"\\\{\w+\\\}", ".*", re.escape(text)) for key, text in worded.items()}
    quoted = set()
    for page in ("README.de.md", "docs/de/bericht.md"):
        for quote in re.findall("„([^“]+)“", flat(page)):
            keys = {key for key, text in catalogue.items() if quote == text}
            keys |= {key for key, gap in gaps.items() if re.fullmatch(gap, quote)}
            # A long text may be quoted by one of its sentences.
            keys |= {key for key, text in worded.items() if quote.endswith(".") and quote in text}
            assert keys, quote
            quoted |= keys
    explained = ("verdict.", "advice.", "achieved.", "rule.", "standing.", "difference.")
    missing = {key for key in catalogue if key.startswith(explained)} - quoted
    # Figures, what is said by a word alone, and texts that are named by their title.
    assert missing <= {"rule.measured", "rule.unseen.figures", "rule.least.figures", "standing.better"}


def test_quotes_on_the_page_about_the_check_are_those_of_the_catalogue():
    source = "\n".join(texts("de").values())
    quotes = re.findall("„([^“]+)“", flat("docs/de/daten-pruefen.md"))
    pieces = [piece.strip() for quote in quotes for piece in quote.split("…") if piece.strip(" .")]
    assert len(pieces) > 25
    assert [piece for piece in pieces if piece not in source and piece != "Anführungszeichen"] == []


def test_the_german_page_names_every_kind_of_finding():
    def kinds(page):
        return set(re.findall(r"`([a-z]+(?:_[a-z]+)+|schema|split|lengths|languages|mojibake)`", page))

    table = (
        (ROOT / "docs/data.md").read_text(encoding="utf-8").split("| subject | kinds |")[1].split("\n\n")[0]
    )
    assert kinds(table) <= kinds((ROOT / "docs/de/daten-pruefen.md").read_text(encoding="utf-8"))


def test_the_german_check_prints_what_its_page_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/de/daten-pruefen.md").read_text(encoding="utf-8")
    (data,) = re.findall(r"^```csv schaeden.csv\n(.*?)^```$", page, flags=re.S | re.M)
    (shown,) = re.findall(r"^```console\n(.*?)^```$", page, flags=re.S | re.M)
    Path("schaeden.csv").write_text(data, encoding="utf-8")
    result = check("schaeden.csv", prompt="Notiz", answer="Team", task="labels")
    with using("de"):
        show(result, Console(width=100, highlight=False, emoji=False, markup=False))
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert [line for line in shown.splitlines()[1:] if line != "…" and line not in printed] == []


def test_the_families_are_those_that_are_checked():
    (line,) = re.findall(r"\*\*Bases\.\*\*(.*?)\n\n", README, flags=re.S)
    named = re.sub(r"[-_]", "", line.lower())
    for family in (*DECODERS, *ENCODERS):
        name = family.name.split()[0].removesuffix("_text").removesuffix("moehybrid")
        assert re.sub(r"[-_]", "", name) in named, family.name
