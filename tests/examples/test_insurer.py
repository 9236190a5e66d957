"""The example company: one truth in handbook and code, and notes that can be answered.

Dates and sums are read here with patterns of their own, not with the generator's formats, so
that a wrong format shows.
"""

import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import company
import english
import generate
import pytest
import stories
import yaml

from azubi.data.contract import infer
from azubi.data.rules import derivation

INSURER = Path(generate.__file__).parent
HANDBOOK = (INSURER / "handbook.md").read_text(encoding="utf-8")
FILES = ("triage.jsonl", "triage-heldout.jsonl", "intake.jsonl", "intake-heldout.jsonl")
MONTHS = {name[:3]: number for number, name in enumerate(english.MONTHS, start=1)}

Notes = list[generate.Note]


@pytest.fixture(scope="module")
def sides() -> tuple[Notes, Notes]:
    return generate.generate()


@pytest.fixture(scope="module")
def notes(sides: tuple[Notes, Notes]) -> Notes:
    return [*sides[0], *sides[1]]


# Handbook --------------------------------------------------------------------------------


def tables() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Every table of the handbook with the heading above it."""
    heading, header = "", list[str]()
    rows = list[dict[str, str]]()
    for line in [*HANDBOOK.splitlines(), ""]:
        if line.startswith("#"):
            heading = line.lstrip("# ")
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not header:
                header = cells
            elif not set(cells[0]) <= {"-"}:
                rows.append(dict(zip(header, cells, strict=True)))
        elif header:
            yield heading, rows
            header, rows = [], []


TABLES = dict(tables())


def euros(text: str) -> int:
    amount = re.search(r"€([\d.]+)", text)
    assert amount, text
    return int(amount[1].replace(".", ""))


def test_handbook_fields_are_the_record() -> None:
    fields = [row["field"] for row in TABLES["The record, from top to bottom"]]
    assert fields == list(company.Record.__annotations__)


def test_handbook_lines_are_the_company() -> None:
    rows = TABLES["The six lines"]
    assert [row["line"] for row in rows] == list(company.LINES)
    for row in rows:
        line = company.LINES[row["line"]]
        assert euros(row["deductible"]) == line.deductible
        assert row["large losses from"] == line.escalates_from


def test_handbook_bands_are_the_company() -> None:
    rows = TABLES["Reserve bands"]
    assert [row["line"] for row in rows] == list(company.LINES)
    for row in rows:
        limits = tuple(euros(row[f"{band} below"]) for band in company.BANDS[:-1])
        assert limits == company.LINES[row["line"]].band_limits
        assert limits == tuple(sorted(limits))


def cover_cell(peril: company.Peril) -> str:
    if peril.excluded:
        return "excluded"
    return "yes" if peril.sublimit is None else f"up to €{peril.sublimit:,}".replace(",", ".")


def test_handbook_perils_are_the_company() -> None:
    listed = [
        (name, row["peril"], row["code"], row["team"], row["cover"], row["documents"])
        for name in company.LINES
        for row in TABLES[name]
    ]
    assert listed == [
        (
            peril.line,
            peril.name,
            peril.code,
            peril.team,
            cover_cell(peril),
            ", ".join(peril.documents),
        )
        for peril in company.PERILS.values()
    ]


def test_handbook_teams_and_documents_are_the_company() -> None:
    teams = {row["team"]: row["what they do"] for row in TABLES["Who takes over"]}
    papers = {row["name"]: row["document"] for row in TABLES["Documents and their short names"]}
    assert teams == company.TEAMS
    assert papers == company.DOCUMENTS
    assert f"**{company.SMALL_CLAIMS_TEAM}**, our desk for small claims" in HANDBOOK
    assert f"large-loss band, or in a higher one, goes to **{company.LARGE_LOSS_TEAM}**" in HANDBOOK


def test_handbook_examples_follow_the_rules() -> None:
    worked = re.findall(r"^> (.*?)\n\n```json\n(.*?)\n```", HANDBOOK, flags=re.M | re.S)
    assert len(worked) == 2
    for text, answer in worked:
        record = json.loads(answer)
        here = tuple(record["attached"])
        facts = company.Facts(record["line"], record["peril"], record["date"], record["amount"], here)
        assert json.dumps(company.handle(facts), ensure_ascii=False) == answer
        assert record["amount"] in [*sums_in(text), None]


# Rules -----------------------------------------------------------------------------------


def test_company_is_complete() -> None:
    perils = list(company.PERILS.values())
    assert len({peril.code for peril in perils}) == len(perils) == 28
    regular = {peril.team for peril in perils}
    apart = {company.LARGE_LOSS_TEAM, company.SMALL_CLAIMS_TEAM}
    assert len(company.TEAMS) == 12
    assert regular | apart == set(company.TEAMS)
    assert not regular & apart
    assert {paper for peril in perils for paper in peril.documents} == set(company.DOCUMENTS)
    assert set(stories.PAPERS) == set(company.DOCUMENTS)
    assert set(stories.STORIES) == set(company.PERILS) == set(generate.USUAL_AMOUNTS)


@pytest.mark.parametrize(
    ("line", "peril", "amount", "cover", "team"),
    [
        ("motor", "marten", 299, "none", "Otter"),
        ("motor", "marten", 300, "full", "Biber"),
        ("motor", "marten", 1_800, "full", "Biber"),
        ("motor", "marten", 1_801, "limited", "Biber"),
        ("motor", "crash", 9_999, "full", "Adler"),
        ("motor", "crash", 10_000, "full", "Milan"),
        ("motor", "crash", None, "full", "Adler"),
        ("liability", "tenant", 12_000, "limited", "Milan"),
        ("building", "damp", 499, "none", "Otter"),
        ("building", "damp", 500, "none", "Gans"),
        ("building", "damp", 30_000, "none", "Milan"),
        ("building", "damp", None, "none", "Gans"),
    ],
)
def test_rules_at_their_limits(line: str, peril: str, amount: int | None, cover: str, team: str) -> None:
    record = company.handle(company.Facts(line, peril, None, amount))
    assert (record["cover"], record["team"]) == (cover, team)


def test_escalation_limit_is_where_its_band_begins() -> None:
    for line in company.LINES.values():
        limit = line.escalation_limit()
        assert line.band(limit) == line.escalates_from
        assert line.band(limit - 1) < line.escalates_from


def test_the_recipe_derives_what_the_rules_say(notes: Notes) -> None:
    recipe = yaml.safe_load((INSURER.parent.parent / "recipes" / "intake.yaml").read_text(encoding="utf-8"))
    contract = infer([generate.intake_answer(note) for note in notes]).deriving(recipe["derive"])
    assert set(contract.derived) == {"code", "cover", "band", "team", "missing"}
    records: list[tuple[int, dict[str, Any]]] = []
    for line in company.LINES.values():
        limits = {line.deductible, line.escalation_limit(), *line.band_limits}
        for peril in (peril for peril in company.PERILS.values() if peril.line == line.name):
            near = {limit + step for limit in {*limits, peril.sublimit or 0} for step in (-1, 0, 1)}
            for amount in (None, *sorted(near)):
                facts = company.Facts(line.name, peril.name, None, amount, peril.documents[1:])
                records.append((len(records), dict(company.handle(facts))))
    assert len(records) > 28 * 6
    assert derivation.contradictions(contract, records) is None
    assert derivation.contradictions(contract, [(0, dict(note.record)) for note in notes]) is None


def test_missing_are_the_required_documents_that_did_not_come() -> None:
    record = company.handle(company.Facts("contents", "burglary", None, None, ("list", "photos")))
    assert record["missing"] == ["police"]
    assert company.handle(company.Facts("pet", "accident", None, None, ()))["missing"] == ["vet", "bill"]


# Notes -----------------------------------------------------------------------------------


def run(out: Path, *more: str, hashseed: str = "0") -> dict[str, bytes]:
    command = [sys.executable, str(INSURER / "generate.py"), "--out", str(out), *more]
    environment = {**os.environ, "PYTHONHASHSEED": hashseed}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return {name: (out / name).read_bytes() for name in FILES}


def test_same_seed_same_bytes_whatever_the_hash_seed(tmp_path: Path) -> None:
    first = run(tmp_path / "a", "--notes", "200", hashseed="1")
    again = run(tmp_path / "b", "--notes", "200", hashseed="2")
    other = run(tmp_path / "c", "--notes", "200", "--seed", "8")
    assert first == again
    assert all(first[name] != other[name] for name in FILES)


def test_heldout_does_not_depend_on_how_many_train(sides: tuple[Notes, Notes]) -> None:
    assert generate.generate(notes=50)[1] == sides[1]


def test_files_hold_both_tasks_over_the_same_notes(tmp_path: Path, sides: tuple[Notes, Notes]) -> None:
    written = run(tmp_path)
    for side, suffix in zip(sides, ("", "-heldout"), strict=True):
        triage = [json.loads(row) for row in written[f"triage{suffix}.jsonl"].splitlines()]
        intake = [json.loads(row) for row in written[f"intake{suffix}.jsonl"].splitlines()]
        assert [row["prompt"] for row in triage] == [row["prompt"] for row in intake]
        assert [row["prompt"] for row in triage] == [note.text for note in side]
        assert [row["answer"] for row in triage] == [note.record["team"] for note in side]
        records = [json.loads(row["answer"]) for row in intake]
        assert records == [note.record for note in side]
        assert all(list(record) == list(company.Record.__annotations__) for record in records)


def test_counts(sides: tuple[Notes, Notes]) -> None:
    training, heldout = sides
    assert (len(training), len(heldout)) == (1_800, 120)
    claims = Counter(note.holder.policy for note in heldout)
    assert len(claims) == 48
    assert set(claims.values()) == {2, 3}


def test_heldout_policyholders_never_train(sides: tuple[Notes, Notes]) -> None:
    training, heldout = sides
    text = " ".join(note.text for note in training)
    for note in heldout:
        assert note.holder.policy not in text
        assert not re.search(rf"\b{note.holder.surname}\b", text)
    numbers = set(re.findall(r"P-\d{8}", text))
    assert not numbers & {note.holder.policy for note in heldout}


def test_no_note_twice(notes: Notes) -> None:
    assert len({note.text for note in notes}) == len(notes)


def test_every_team_and_code_is_learnable(sides: tuple[Notes, Notes]) -> None:
    teams = Counter(note.record["team"] for note in sides[0])
    codes = Counter(note.record["code"] for note in sides[0])
    assert set(teams) == set(company.TEAMS)
    assert len(codes) == len(company.PERILS)
    assert min([*teams.values(), *codes.values()]) >= 15


def test_team_cover_and_code_follow_from_line_peril_and_amount(notes: Notes) -> None:
    seen: dict[Any, set[Any]] = defaultdict(set)
    for note in notes:
        record = note.record
        facts = company.Facts(record["line"], record["peril"], None, record["amount"])
        ruled = company.handle(facts)
        answer = (record["code"], record["cover"], record["team"])
        assert answer == (ruled["code"], ruled["cover"], ruled["team"])
        seen[record["line"], record["peril"], record["amount"]].add(answer)
    assert all(len(answers) == 1 for answers in seen.values())


def days_in(text: str) -> list[str]:
    """All days in a text, as an honest reader finds them."""
    dates = [f"{y}-{m}-{d}" for y, m, d in re.findall(r"\b(\d{4})-(\d\d)-(\d\d)\b", text)]
    for day, month, year in re.findall(r"\b(\d{1,2})[./](\d{1,2})[./](\d{4}|\d\d)\b", text):
        dates.append(date(int(year) % 100 + 2000, int(month), int(day)).isoformat())
    names = "|".join(english.MONTHS) + "|" + "|".join(MONTHS)
    for day, month, year in re.findall(rf"\b(\d{{1,2}}) ({names}) (\d{{4}})\b", text):
        dates.append(date(int(year), MONTHS[month[:3]], int(day)).isoformat())
    for month, day, year in re.findall(rf"\b({names}) (\d{{1,2}})(?:st|nd|rd|th) (\d{{4}})\b", text):
        dates.append(date(int(year), MONTHS[month[:3]], int(day)).isoformat())
    return dates


def sums_in(text: str) -> list[int]:
    """All sums of money in a text."""
    number = r"\d+(?:[.,]\d{3})*"
    patterns = (
        rf"(?<![\d.,])({number})(?:,00)? (?:EUR|euros|€)(?!\w)",
        rf"€({number})(?![\d,.]*\d)",
        rf"EUR ({number}),-",
    )
    sums = [int(re.sub(r"\D", "", hit)) for pattern in patterns for hit in re.findall(pattern, text)]
    thousands = re.findall(r"\b(\d+)(?:\.(\d))?k EUR", text)
    return [*sums, *(int(whole) * 1_000 + int(rest or 0) * 100 for whole, rest in thousands)]


def test_date_of_loss_is_in_the_note_and_unambiguous(notes: Notes) -> None:
    beside = r"(?:Policy began|Insured since|Written on|Reported on) "
    for note in notes:
        plain = note.text
        for marker in re.finditer(beside, note.text):
            rest = note.text[marker.end() :]
            word = re.match(r"\w+ \w+ \d{4}|[\d./-]+\d", rest)
            assert word, note.text
            plain = plain.replace(marker[0] + word[0], "")
        stated = note.record["date"]
        assert days_in(plain) == ([] if stated is None else [stated]), note.text


def test_amount_is_in_the_note_and_alone(notes: Notes) -> None:
    for note in notes:
        stated = note.record["amount"]
        assert sums_in(note.text) == ([] if stated is None else [stated]), note.text


def test_stories_state_no_fact_that_is_said_elsewhere() -> None:
    for key, version in stories.STORIES.items():
        assert len(version.spoken) - generate.HELDOUT_STORIES >= 4, key
        assert len(version.spoken) + len(version.noted) >= 9, key
        for story in (*version.spoken, *version.noted):
            assert not re.search(r"euro|EUR|€|\d{4}|attach|enclos|photo|report|receipt", story), story


def test_hard_cases_have_their_share(sides: tuple[Notes, Notes]) -> None:
    records = [note.record for note in sides[0]]
    priced = [record for record in records if record["amount"] is not None]
    teams = Counter(record["team"] for record in priced)
    limited = sum(record["cover"] == "limited" for record in records)
    assert 0.11 < teams[company.LARGE_LOSS_TEAM] / len(priced) < 0.19
    assert 0.10 < teams[company.SMALL_CLAIMS_TEAM] / len(priced) < 0.17
    assert 0.06 < limited / len(records) < 0.12
    for field in ("date", "amount"):
        assert 0.05 < sum(record[field] is None for record in records) / len(records) < 0.12
