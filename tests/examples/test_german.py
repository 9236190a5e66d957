"""The example company in German: the same claims as in English, told by Germans, in azubi's reach."""

import json
import os
import re
import shutil
import subprocess
from datetime import date
from itertools import chain
from types import SimpleNamespace

import company
import demo
import english
import generate
import pytest
import stories_de
from german import GERMAN

from azubi.data.language import profile_of
from azubi.data.readers.value import moment, number
from azubi.engine.training.defaults import ENCODER, encoder_for
from tests.examples.test_insurer import FILES, INSURER, run

HANDBOOKS = [(INSURER / name).read_text(encoding="utf-8") for name in ("handbook.md", "handbuch.md")]
MONTHS = {name[:3]: at for at, name in enumerate(GERMAN.months, start=1)} | {"Mae": 3}
OTHER_DAY = r"(?:Vertrag seit|Versichert seit|Geschrieben am|Gemeldet am) "
DAY = r"\d{4}-\d\d-\d\d|\d{1,2}\.\d{1,2}\.(?:\d{4}|\d\d)(?!\d)|\d{1,2}\. [A-ZM]\w+\.? \d{4}"
MONEY = re.compile(
    r"(?:EUR )?(?<![\d.,])\d+(?:\.\d{3})*(?:,00|,-)?(?: EUR| Euro| €)|EUR [\d.]+,-|\d+(?:,\d)? TEUR"
)


@pytest.fixture(scope="module")
def notes():
    return [note for side in generate.generate(language="de") for note in side]


def day_of(text):
    """An ISO date of a day as Germans write it: by azubi's reader, with what it refuses made plain."""
    if named := re.fullmatch(r"(\d+)\. (\w{3})\w*\.? (\d{4})", text):
        return date(int(named[3]), MONTHS[named[2]], int(named[1])).isoformat()
    if short := re.fullmatch(r"(\d+\.\d+\.)(\d\d)", text):
        text = f"{short[1]}20{short[2]}"
    return moment(text)


def sum_of(text):
    """Whole euros as azubi's reader has them with a decimal comma."""
    if text.endswith(" TEUR"):
        return round(1_000 * number(text.removesuffix(" TEUR"), ","))
    return number(text, ",")


@pytest.mark.parametrize("seed", [7, 8])
def test_the_same_seed_tells_the_same_claims_in_both_languages(seed):
    for there, here in zip(generate.generate(seed), generate.generate(seed, language="de"), strict=True):
        assert [note.record for note in there] == [note.record for note in here]
        assert [note.holder.policy for note in there] == [note.holder.policy for note in here]
        assert not {note.text for note in there} & {note.text for note in here}


def test_same_seed_same_bytes_whatever_the_hash_seed(tmp_path):
    flags = ("--lang", "de", "--notes", "100", "--heldout", "10")
    first, again = (run(tmp_path / seed, *flags, hashseed=seed) for seed in "12")
    assert first == again
    assert json.loads(first[FILES[0]].splitlines()[0])["answer"] in company.TEAMS


def test_the_day_of_loss_is_in_the_note_and_alone(notes):
    for note in notes:
        days = re.findall(DAY, re.sub(rf"{OTHER_DAY}(?:{DAY})", "", note.text))
        assert [*map(day_of, days)] == [day for day in [note.record["date"]] if day], note.text


def test_the_sum_is_in_the_note_and_alone(notes):
    for note in notes:
        sums = [sum_of(found[0]) for found in MONEY.finditer(note.text)]
        assert sums == [amount for amount in [note.record["amount"]] if amount is not None], note.text


@pytest.mark.parametrize(
    ("amount", "written"),
    [(1_250, "1.250,00 EUR"), (1_250, "EUR 1.250,-"), (12_500, "12,5 TEUR"), (980, "980 Euro")],
)
def test_sums_are_written_as_germans_write_them(amount, written):
    assert written in generate.money_formats(GERMAN, amount)


def test_days_are_written_as_germans_write_them():
    written = generate.day_formats(GERMAN, date(2025, 2, 3))
    assert {"03.02.25", "3.2.2025", "3. Februar 2025", "3. Feb. 2025", "2025-02-03"} <= set(written)
    assert not any("/" in day for day in written)


def test_a_story_turns_behind_a_date():
    assert generate.straight("mein Golf|war|weg") == "mein Golf war weg"
    assert generate.turned("mein Golf|war|weg") == "war mein Golf weg"
    assert generate.turned("my car was gone") == "my car was gone"


def test_papers_stand_in_their_case():
    gaps = generate.paper_gaps(GERMAN, ["der KVA", "die Fotos", "ein Kostenvoranschlag"])
    assert gaps["papers"] == "der KVA, die Fotos und ein Kostenvoranschlag"
    assert gaps["Accusative"] == "Den KVA, die Fotos und einen Kostenvoranschlag"


def test_stories_fit_the_company_and_state_no_fact_that_is_said_elsewhere():
    assert list(stories_de.STORIES) == list(english.ENGLISH.stories)
    assert set(stories_de.PAPERS) == set(company.DOCUMENTS)
    for key, stories in stories_de.STORIES.items():
        assert len(stories.spoken) >= 7 and len(stories.noted) >= 7, key
        for story in (*stories.spoken, *stories.noted):
            assert story.count("|") == (2 if story in stories.spoken else 0), story
            assert set(re.findall(r"{(\w+)}", story)) <= set(stories_de.SLOTS), story
            assert not re.search(r"Euro|EUR|€|\d{3}|anbei|beigefügt|[Ff]oto|Anzeige|Rechnung", story), story


def test_a_broker_without_umlauts_and_people_with_them(notes):
    without = [note.text for note in notes if note.text.startswith(GERMAN.no_umlauts)]
    assert without and not re.search("[äöüÄÖÜß]", "".join(without))
    assert sum(bool(re.search("[äöüß]", note.text)) for note in notes) > 0.75 * len(notes)


def test_azubi_takes_the_notes_for_german(notes):
    profile = profile_of([note.text for note in notes])
    assert profile.language == "de" and profile.share > 0.95
    assert encoder_for(profile) == ENCODER


def tables(handbook):
    """The rows of each table, without its head."""
    rows = re.findall(r"(?:^\|.*\n)+", handbook, re.MULTILINE)
    return [[line.strip("|\n").split("|") for line in table.splitlines()[2:]] for table in rows]


def facts_of(cell):
    """What a cell says in every language: codes, teams, sums, names of papers."""
    words = re.findall(r"[\w.]+", cell)
    known = {*company.TEAMS, *company.DOCUMENTS, *company.LINES, *company.Record.__annotations__}
    return [word for word in words if word in known or re.fullmatch(r"[A-Z]{2}\d\d|R\d|[\d.]{3,}", word)]


def test_both_handbooks_have_the_same_facts():
    there, here = map(tables, HANDBOOKS)
    assert [len(table) for table in there] == [len(table) for table in here]
    for line, zeile in zip(chain.from_iterable(there), chain.from_iterable(here), strict=True):
        assert line[0] == zeile[0]
        is_prose = zeile[0].strip() in (*company.TEAMS, *company.DOCUMENTS, *company.Record.__annotations__)
        if not is_prose:
            assert [*map(facts_of, line)] == [*map(facts_of, zeile)], zeile[0]


def test_the_german_examples_follow_the_rules():
    worked = re.findall(r"^((?:> .*\n)+)\n```json\n(.*?)\n```", HANDBOOKS[1], flags=re.MULTILINE)
    assert len(worked) == 2
    for text, answer in worked:
        record = json.loads(answer)
        facts = [record[name] for name in ("line", "peril", "date", "amount")]
        assert json.dumps(company.handle(company.Facts(*facts, tuple(record["attached"])))) == answer
        assert record["amount"] in [*(sum_of(found[0]) for found in MONEY.finditer(text)), None]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("written", "system", "lang"), [(["LANG=de"], "C", "--lang de"), ([], "de_DE.UTF-8", "")]
)
def test_only_what_is_written_behind_make_demo_chooses_the_language(written, system, lang):
    call = ["make", "-n", "-o", ".venv/.azubi-ready", "demo", *written]
    # Under `make test` this is a make in a make, which says which folder it enters.
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    env = {**outside, "LANG": system}
    said = subprocess.run(
        call, cwd=INSURER.parents[1], env=env, capture_output=True, text=True, check=True
    ).stdout
    assert said.split("demo.py")[1].strip() == lang


@pytest.mark.parametrize(
    ("language", "names", "words"),
    [
        ("en", ["triage", "intake"], ("hands over 1,800 claim notes", "Is triage worth it?")),
        ("de", ["triage-de", "intake-de"], ("übergibt 1800 Schadenmeldungen", "50 % der Erfassungsbögen")),
    ],
)
def test_the_demo_speaks_the_language_of_its_notes(monkeypatch, home, capsys, language, names, words):
    commands = []
    monkeypatch.setattr(demo, "azubi", lambda given: commands.append((os.environ["AZUBI_LANG"], *given)) or 0)
    monkeypatch.setattr(demo, "check_inbox", lambda *given: None)
    score = SimpleNamespace(name="record_exact", value=0.5)
    card = SimpleNamespace(base="smollm2-135m", version=3, scores={"specialist": (score,)})
    monkeypatch.setattr(demo, "Store", lambda home: SimpleNamespace(get=lambda name: card))
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("AZUBI_LANG", "")
    assert demo.main(["--lang", language]) == 0
    assert {command[0] for command in commands} == {language}
    assert [command[command.index("--name") + 1] for command in commands[:2]] == names
    assert [command[1:3] for command in commands[2:4]] == [("prove", name) for name in names]
    owned = f"{names[1]}@3"
    assert [command[1:3] for command in commands[4:]] == [("promote", owned), ("export", owned)]
    folder = home / "examples" / ("insurer" if language == "en" else "insurer-de")
    assert (folder / "triage.jsonl").is_file()
    captured = capsys.readouterr()
    assert all(word in captured.err for word in words)
    assert f"azubi history {names[1]} " in captured.out
