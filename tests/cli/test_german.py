"""The command line in German: what people read of a run, a check, an answer, help and a failure."""

import json
import re

import pytest

from azubi.cli import main
from azubi.events import events as ev
from tests.cli.conftest import run_events

ENGLISH = re.compile(r"\b(the|of|is|are|and|with|were|has|have|been|by|for|which|what|or)\b", re.I)
NAMES = re.compile(r"“[^”]*”|„[^“]*“|`[^`]*`|/\S*|--\S+|^Aufruf: .*|\[.*?\]", re.MULTILINE)
"""What is no sentence: quotations, paths, flags."""


def german(text: str) -> str:
    """The text, if it has no English words."""
    for line in NAMES.sub("", text).splitlines():
        assert not ENGLISH.search(line), line
    return text


def test_a_run(stub, capsys, monkeypatch):
    def run(recipe, home, fresh=False):
        return (event for event in run_events(str(home)) if not isinstance(event, ev.Compared))

    stub("azubi.pipeline.run", run=run)
    monkeypatch.setenv("AZUBI_LANG", "")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    assert main(["tune", "notes.csv", "--name", "intake"]) == 0
    captured = capsys.readouterr()
    told = german(re.sub(r".*3 examples are longer.*\n", "", captured.err))
    assert "Daten: die Beispiele werden gelesen, geprüft und aufgeteilt" in told
    assert (
        "Training: Epoche 1 von 3, Verlust 0,400, Validierungsverlust 0,440, 92 % richtig, bisher am besten"
        in told
    )
    shown = german(captured.out)
    assert "In Klammern: 95-%-Konfidenzintervalle." in shown and "Ganzer Datensatz richtig" in shown


def test_a_check_and_its_page(tmp_path, capsys):
    rows = [f"{n};Hagel am Auto Nummer {n}, Delle {n * 7};{'Kfz' if n % 3 else 'kfz'}" for n in range(1_200)]
    rows += ["1;Rohrbruch;", "2;Frau Maier, Tel. 0451 1234567, FahrrÃ¤der weg;Hausrat"]
    (tmp_path / "s.csv").write_text("\n".join(["Nr;Notiz;Team", *rows]), encoding="utf-8")
    words = [
        "check",
        str(tmp_path / "s.csv"),
        "--prompt",
        "Notiz",
        "--answer",
        "Team",
        "--out",
        str(tmp_path),
    ]
    assert main(["--lang", "de", *words]) == 0
    out = capsys.readouterr().out
    assert "1.201 Beispiele in 1.202 Zeilen; die Antworten sind 3 Klassen." in " ".join(german(out).split())
    page = (tmp_path / "check.html").read_text("utf-8")
    assert '<html lang="de">' in page
    german(re.sub(r"<[^>]+>", "\n", re.sub(r"<style>.*</style>|<code>.*?</code>", "", page, flags=re.DOTALL)))
    assert main([*words, "--json", "--lang", "de"]) == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert "cannot be used" in findings[0]["title"]  # programs read English


@pytest.mark.parametrize(
    "words", [[], ["tune"], ["check"], ["ask"], ["prove"], ["data"], ["runs", "show"], ["doctor"]]
)
def test_help(words, capsys):
    assert main([*words, "--lang", "de", "--help"]) == 0
    out = capsys.readouterr().out
    assert "Aufruf: azubi" in out and "Diese Hilfe zeigen und beenden." in out
    german(out)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["ask", "kfz", "Hagel"], "keinen Spezialisten 'kfz'.\n"),
        (
            ["tune", "nirgends.csv"],
            "Es gibt keine Datei nirgends.csv.\nPrüfen Sie den Pfad.\n",
        ),
        (["tune", "a.csv", "--epochs", "-1"], "--epochs kann nicht "),
        (
            ["tune", "--frei"],
            "--frei (Ähnliche: --fresh, --from, --repair)\nSiehe: azubi tune --help\n",
        ),
        (["resume"], "Es gibt keinen unfertigen Lauf, der sich fortsetzen ließe.\n"),
    ],
)
def test_a_failure(words, told, capsys):
    assert main([*words, "--lang", "de"]) == 2
    assert told in german(capsys.readouterr().err)


def test_a_language_that_is_not_here(capsys):
    assert main(["runs", "--lang", "fr", "--json"]) == 2
    assert "en (English), de (Deutsch)" in json.loads(capsys.readouterr().out)["error"]["remedy"]
