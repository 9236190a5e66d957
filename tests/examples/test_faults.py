"""The example company's inbox: each fault stands where the list says, and nothing else is wrong."""

import csv
import io
import json
import os
import subprocess
import sys
from collections import Counter
from difflib import SequenceMatcher
from pathlib import Path

import company
import faults
import generate
import pytest
from faults_text import ENGLISH, TEXTS
from stdnum import iban, luhn
from stdnum.de import idnr

from azubi.cli.recipe_file import recipe_from
from azubi.data import schema
from azubi.data.contract import infer
from azubi.data.language import detect_language
from azubi.data.pii.scanner import Scanner
from azubi.data.readers.reading import read_source
from azubi.data.readers.source import Source
from azubi.data.rules import derivation

PERSONAL = {f"personal_{kind}" for kind in ENGLISH.personal}
FAULTS = {
    "no_answer", "broken_encoding", "broken_row", "exact_duplicate", "near_duplicate", "contradiction",
    "label_case", "label_typo", "rare_label", "no_number", "schema_break", "rule_break", "wrong_answer",
    "too_long", "other_language", "leak_near_equal", "leak_group", "leak_answer_in_prompt", "leak_time",
    *PERSONAL,
}  # fmt: skip
RECIPE = Path(__file__).parents[2] / "recipes" / "inbox.yaml"
ON_PURPOSE = {"broken_encoding", "broken_row"}
"""Faults of lines, not of rows."""


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inbox")
    faults.write_inbox(folder)
    return folder


@pytest.fixture(scope="module")
def planted(out):
    document = json.loads((out / "planted.json").read_text(encoding="utf-8"))["planted"]
    return {fault["fault"]: fault for fault in document}


@pytest.fixture(scope="module")
def lines(out):
    """Each line of both files, as bytes, by file and number."""
    return {
        (name, number): line
        for name in (faults.OLD, faults.NEW)
        for number, line in enumerate((out / name).read_bytes().split(b"\r\n"), start=1)
    }


@pytest.fixture
def row(lines):
    def of(place):
        text = lines[place["file"], place["line"]].decode()
        (values,) = csv.reader(io.StringIO(text), delimiter=";")
        return dict(zip(faults.COLUMNS, values, strict=True))

    return of


@pytest.fixture
def spoilt(planted, row):
    """The rows of a fault."""
    return lambda fault: [row(place) for place in planted[fault]["places"]]


def like(row, other):
    return SequenceMatcher(None, row["note"], other["note"], autojunk=False).ratio()


def record_of(row):
    """What the house's rules make of the row's own line, peril and amount."""
    facts = company.Facts(row["line"], row["peril"], row["date"] or None, int(row["amount"] or 0) or None)
    return company.handle(facts)


def test_each_fault_is_there_once_and_said_in_words(planted):
    assert set(planted) == FAULTS
    assert all(fault["what"] and fault["places"] for fault in planted.values())


def test_every_machine_writes_the_same(tmp_path, out):
    script = Path(faults.__file__)
    for seed in ("1", "2"):
        command = [sys.executable, str(script), "--out", str(tmp_path / seed)]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": seed})
        for name in (faults.OLD, faults.NEW, "planted.json"):
            assert (tmp_path / seed / name).read_bytes() == (out / name).read_bytes()


def test_what_is_not_on_the_list_is_sound(planted, lines, row):
    listed = {(place["file"], place["line"]) for fault in planted.values() for place in fault["places"]}
    sound = [
        row({"file": name, "line": number})
        for (name, number), line in lines.items()
        if line and number > 1 and (name, number) not in listed
    ]
    assert len(sound) > 0.9 * (faults.CLAIMS + faults.NEW_CLAIMS)
    for sound_row in sound:
        record = record_of(sound_row)
        assert {name: sound_row[name] for name in ("code", "cover", "team")} == {
            name: record[name] for name in ("code", "cover", "team")
        }
    assert max(Counter(row["note"] for row in sound).values()) == 1
    assert max(Counter(row["claim_no"] for row in sound).values()) == 1
    old = [row for row in sound if row["reported"] < "2026-12-08"]
    assert max(row["date"] for row in sound) < min(row["reported"] for row in sound)
    assert min(Counter(row["team"] for row in old).values()) >= 5


def test_nothing_of_it_is_trained_on_or_tested_with(lines):
    training, heldout = generate.generate()
    texts = {" ".join(note.text.split()).encode() for note in (*training, *heldout)}
    assert not any(note in line for line in lines.values() for note in texts)


def test_rows_that_cannot_be_used(planted, lines, spoilt):
    (unanswered,) = spoilt("no_answer")
    assert unanswered["note"] and not any(unanswered[name] for name in faults.ANSWERS)
    ((place,), (cut,)) = (planted[fault]["places"] for fault in ("broken_encoding", "broken_row"))
    broken = lines[place["file"], place["line"]]
    with pytest.raises(UnicodeDecodeError):
        broken.decode()
    assert broken.decode("latin-1").count(";") == len(faults.COLUMNS) - 1
    assert lines[cut["file"], cut["line"]].count(b";") == 4
    for fault, row in planted.items():
        for place in row["places"]:
            assert fault in ON_PURPOSE or lines[place["file"], place["line"]].decode()


def test_repeats(spoilt):
    row, same = spoilt("exact_duplicate")
    assert row | {"claim_no": ""} == same | {"claim_no": ""}
    row, near = spoilt("near_duplicate")
    assert 0.85 < like(row, near) < 1 and row["team"] == near["team"]
    row, other = spoilt("contradiction")
    assert row["note"] == other["note"] and row["team"] != other["team"]
    assert other["code"] == record_of(other)["code"], "the other answer is in order by itself"


def test_labels_that_are_none(spoilt):
    ((case,), (typo,)) = spoilt("label_case"), spoilt("label_typo")
    assert case["team"] not in company.TEAMS and case["team"].capitalize() in company.TEAMS
    assert typo["team"] not in company.TEAMS and sorted(typo["team"]) == sorted("Elster")
    rare = spoilt("rare_label")
    assert len(rare) == 2 and {row["team"] for row in rare} == {"Kranich"}


def test_records_that_are_wrong(planted, spoilt):
    (worded,), (schema,), (rule,), (wrong,) = (
        spoilt(row) for row in ("no_number", "schema_break", "rule_break", "wrong_answer")
    )
    assert not worded["amount"].isdecimal() and any(letter.isdecimal() for letter in worded["amount"])
    assert not any(letter.isdecimal() for letter in schema["date"])
    assert record_of(rule)["code"] != rule["code"] and record_of(rule)["team"] == rule["team"]
    assert rule["code"] in {peril.code for peril in company.PERILS.values() if peril.line == rule["line"]}
    assert (wrong["code"], wrong["team"]) == (
        record_of(wrong)["code"],
        company.PERILS[wrong["line"], wrong["peril"]].team,
    )
    (place,) = planted["wrong_answer"]["places"]
    sound, _ = faults.sound_sheets()
    was = sound.rows[place["line"] - 2]
    assert was["note"] == wrong["note"] and was["line"] != wrong["line"] and was["team"] != wrong["team"]


def test_lengths_and_languages(spoilt):
    (long,), german = spoilt("too_long"), spoilt("other_language")
    assert len(long["note"].split()) > 8_000
    assert [row["note"] for row in german] == list(ENGLISH.foreign)
    assert all(record_of(row)["team"] == row["team"] for row in german)


def test_leaks(spoilt):
    row, near = spoilt("leak_near_equal")
    assert 0.85 < like(row, near) < 1 and row["policy"] != near["policy"]
    row, other = spoilt("leak_group")
    assert row["policy"] == other["policy"]
    (given,) = spoilt("leak_answer_in_prompt")
    assert given["note"].endswith(faults.as_record(given))
    (early,) = spoilt("leak_time")
    assert early["reported"] < "2026-07-10"


def test_sample_numbers_are_valid_and_each_stands_in_its_row(spoilt):
    for kind, sentence in ENGLISH.personal.items():
        (row,) = spoilt(f"personal_{kind}")
        assert row["note"].endswith(sentence)
    assert iban.is_valid(ENGLISH.personal["iban"].removeprefix("Pay into ").rstrip("."))
    digits = "".join(letter for letter in ENGLISH.personal["card"] if letter.isdecimal())
    assert luhn.is_valid(digits)
    assert idnr.is_valid(ENGLISH.personal["tax_id"].removeprefix("Tax ID ").rstrip("."))


def test_the_recipe_reads_it_and_leaves_out_what_cannot_be_used(out, planted):
    recipe = recipe_from(RECIPE, {"data": str(out / faults.OLD), "test_data": str(out / faults.NEW)})
    read = read_source(Source.of(recipe))
    unusable = [
        planted[name]["places"][0]["line"]
        for name in ("no_answer", "broken_encoding", "broken_row", "no_number")
    ]
    assert sorted(row.line for row in read.rejected) == sorted(unusable)
    tested = read_source(Source(recipe, recipe.test_data))
    assert not tested.rejected and len(tested.examples) == faults.NEW_CLAIMS + 1
    (pasted,) = planted["leak_answer_in_prompt"]["places"]
    (example,) = (example for example in read.examples if example.line == pasted["line"])
    assert example.prompt.endswith(example.answer)
    assert {example.line: example.time for example in tested.examples}[
        planted["leak_time"]["places"][0]["line"]
    ] < "2026-07-10"


def test_schema_and_rule_of_the_records_are_found_in_spite_of_the_faults(out, planted):
    recipe = recipe_from(RECIPE, {"data": str(out / faults.OLD)})
    read = read_source(Source.of(recipe)).examples
    contract = infer([example.answer for example in read], "json")
    records = [(example.line, contract.parse(example.answer) or {}) for example in read]
    broken = schema.finding(contract.json_schema, records)
    wrong = ("schema_break", "label_case", "label_typo", "rare_label")
    lines = {place["line"] for name in wrong for place in planted[name]["places"]}
    assert broken is not None and broken.count == len(lines)
    assert {line for case in broken.cases for line in case.lines} <= lines
    proposed = {rule.field: rule.rule for rule in derivation.propose([record for _, record in records], ())}
    against = derivation.contradictions(contract.deriving({"code": proposed["code"]}), records)
    assert against is not None and against.count == 1
    assert against.cases[0].lines == (planted["rule_break"]["places"][0]["line"],)


def test_the_german_inbox_has_the_same_claims_and_faults(tmp_path, planted):
    assert [fault.fault for fault in faults.write_inbox(tmp_path, "de")] == list(planted)
    for there, here in zip(faults.sound_sheets(), faults.sound_sheets("de"), strict=True):
        notes = [[row.pop("note") for row in sheet.rows] for sheet in (there, here)]
        assert there.rows == here.rows and not set(notes[0]) & set(notes[1])


@pytest.mark.parametrize("language", TEXTS)
def test_the_words_of_each_language(language):
    text = TEXTS[language]
    assert text.personal.keys() == ENGLISH.personal.keys() and text.what.keys() == ENGLISH.what.keys()
    scanner = Scanner({"policy": r"P-\d{8}"})
    for kind, sentence in text.personal.items():
        assert [span.kind for span in scanner.find(f"Schade. {sentence}")] == [kind], sentence
    assert {detect_language(letter) for letter in text.foreign} == {
        ("de" if language == "en" else "en", True)
    }
