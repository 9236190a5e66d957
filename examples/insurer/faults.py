"""Writes the example company's inbox "as it came out of the claims system": with one fault of each kind.

    python examples/insurer/faults.py --out DIR [--lang en]

    inbox.csv        claims that clerks have worked on: a semicolon export with the answers in columns
    inbox-new.csv    the latest of them, meant as the test
    planted.json     what was planted where, so that tests and the demo can compare what a check finds

The notes are told by `generate.py` from a seed of their own: no note of the demo's specialists stands here,
and what is spoilt here is trained on by nobody. Numbers that look like a person's are samples: published by
whoever issues them, or from blocks that are given to nobody. Everything is invented, and the same everywhere.
"""

import argparse
import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from company import LARGE_LOSS_TEAM, PERILS, SMALL_CLAIMS_TEAM, Peril
from faults_text import QUOTED, TEXTS, FaultText
from generate import HELDOUT_SURNAMES, LANGUAGES, SURNAMES, Dice, Note, SplitName, write_notes

SEED = 1_031
CLAIMS, NEW_CLAIMS = 480, 60
"""Sound ones, in the two files."""
FIRST_REPORT = date(2026, 7, 1)
"""Behind the last day of loss. After it about three claims a day are reported; the new ones come last."""
COLUMNS = (
    "claim_no", "policy", "reported", "note", "line", "peril", "code", "date", "amount", "cover", "team",
)  # fmt: skip
ANSWERS = COLUMNS[4:]
"""What the clerks filled in."""
OLD, NEW = "inbox.csv", "inbox-new.csv"

Row = dict[str, str]


@dataclass(frozen=True)
class Planted:
    """A fault, and where it stands."""

    fault: str
    what: str
    """In plain words, as the demo tells it."""
    places: tuple[tuple[str, int], ...]
    """(file, line); the first line of a file, its heading, is line 1."""
    fields: tuple[str, ...] = ()
    """The columns that are wrong, where it is not the whole row."""


@dataclass
class Sheet:
    """A file in the making: rows, each perhaps to be spoilt once more when it is bytes."""

    name: str
    rows: list[Row]
    raw: dict[int, Callable[[bytes], bytes]] = field(default_factory=dict)
    """By place: what happens to the finished line."""

    def add(self, row: Row) -> tuple[str, int]:
        """Put a row at the end; gives its file and line."""
        self.rows.append(row)
        return self.at(len(self.rows) - 1)

    def at(self, place: int) -> tuple[str, int]:
        """File and line of a row."""
        return self.name, place + 2

    def content(self) -> bytes:
        """The file."""
        heading = _line(COLUMNS)
        lines = (_line([row[name] for name in COLUMNS]) for row in self.rows)
        whole = (self.raw.get(place, _as_it_is)(line) for place, line in enumerate(lines))
        return b"".join([heading, *whole])


def _as_it_is(line: bytes) -> bytes:
    return line


def _line(values: Sequence[str]) -> bytes:
    """One line of a semicolon export, in UTF-8."""
    out = io.StringIO()
    csv.writer(out, delimiter=";", lineterminator="\r\n").writerow(values)
    return out.getvalue().encode()


# Sound rows ------------------------------------------------------------------------------


def sound_sheets(language: str = "en") -> tuple[Sheet, Sheet]:
    """Both files before anything is spoilt."""
    taken: set[str] = set()
    seen: set[str] = set()
    wording = LANGUAGES[language]
    old = write_notes(SplitName(2 * SEED, SURNAMES, False, wording), CLAIMS, taken, seen)
    new = write_notes(SplitName(2 * SEED + 1, HELDOUT_SURNAMES, True, wording), NEW_CLAIMS, taken, seen)
    dice = Dice(SEED)
    numbered = enumerate([*old, *new])
    rows = [as_row(note, number, dice) for number, note in numbered]
    return Sheet(OLD, rows[:CLAIMS]), Sheet(NEW, rows[CLAIMS:])


def as_row(note: Note, number: int, dice: Dice) -> Row:
    """A note as a row of the export, which knows no line breaks. Later numbers are reported later."""
    record = note.record
    return {
        "claim_no": f"C-2026-{1_000 + number}",
        "policy": note.holder.policy,
        "reported": (FIRST_REPORT + timedelta(days=number // 3)).isoformat(),
        "note": " ".join(note.text.split()),
        "line": record["line"],
        "peril": record["peril"],
        "code": record["code"],
        "date": record["date"] or "",
        "amount": "" if record["amount"] is None else str(record["amount"]),
        "cover": record["cover"],
        "team": record["team"],
    }


# Faults ----------------------------------------------------------------------------------


@dataclass
class Planter:
    """Spoils some rows, adds others, and keeps the list of what it did."""

    old: Sheet
    new: Sheet
    text: FaultText
    planted: list[Planted] = field(default_factory=list)
    used: set[int] = field(default_factory=set)

    def note(self, fault: str, *places: tuple[str, int], fields: Sequence[str] = ()) -> None:
        """Keep what was done."""
        name, _, kind = fault.partition("_")
        what = self.text.what[fault if fault in self.text.what else name].format(kind=kind.replace("_", " "))
        self.planted.append(Planted(fault, what, places, tuple(fields)))

    def pick(self, wanted: Callable[[Row], bool] = lambda row: True) -> int:
        """The place of a sound row of the old file that no other fault has; spread over the file."""
        count = CLAIMS
        start = (37 * len(self.used) + 11) % count
        for step in range(count):
            place = (start + step) % count
            if place not in self.used and wanted(self.old.rows[place]):
                self.used.add(place)
                return place
        raise LookupError("no sound row is left for this fault")

    def spoil(self, fault: str, place: int, **values: str) -> None:
        """Change columns of a row."""
        self.old.rows[place] |= values
        self.note(fault, self.old.at(place), fields=tuple(values))

    def copy(self, place: int, **values: str) -> Row:
        """A row like another, under a number of its own."""
        number = CLAIMS + NEW_CLAIMS + len(self.planted)
        return self.old.rows[place] | {"claim_no": f"C-2026-{1_000 + number}"} | values


def plant(old: Sheet, new: Sheet, text: FaultText) -> list[Planted]:
    """One fault of each kind."""
    planter = Planter(old, new, text)
    for part in (rows, repeats, labels, records, lengths, persons, leaks):
        part(planter)
    return planter.planted


def rows(planter: Planter) -> None:
    """Rows that cannot be read or used."""
    nobody = {name: "" for name in ANSWERS}
    planter.spoil("no_answer", planter.pick(), **nobody)
    place = planter.pick(lambda row: "ü" in row["note"] or "ö" in row["note"] or "ä" in row["note"])
    planter.old.raw[place] = lambda line: line.decode().encode("latin-1", "replace")
    planter.note("broken_encoding", planter.old.at(place))
    place = planter.pick()
    planter.old.raw[place] = lambda line: b";".join(line.split(b";")[:5]) + b"\r\n"
    planter.note("broken_row", planter.old.at(place))


def repeats(planter: Planter) -> None:
    """The same again, nearly the same, and the same with another answer."""
    old = planter.old
    place = planter.pick()
    planter.note("exact_duplicate", old.at(place), old.add(planter.copy(place)))
    place = planter.pick(lambda row: len(row["note"]) > 150)
    again = f"{old.rows[place]['note']} {planter.text.again}"
    planter.note(
        "near_duplicate",
        old.at(place),
        old.add(planter.copy(place, note=again)),
    )
    place = planter.pick(lambda row: row["team"] not in (LARGE_LOSS_TEAM, SMALL_CLAIMS_TEAM))
    other = _other_peril(old.rows[place])
    twin = planter.copy(place, line=other.line, peril=other.name, code=other.code, team=other.team)
    planter.note("contradiction", old.at(place), old.add(twin), fields=("peril", "team"))


def labels(planter: Planter) -> None:
    """Teams that are no teams."""
    place = planter.pick(lambda row: row["team"] == "Storch")
    planter.spoil("label_case", place, team="storch")
    place = planter.pick(lambda row: row["team"] == "Elster")
    planter.spoil("label_typo", place, team="Eslter")
    places = [planter.pick(lambda row: row["team"] == "Igel") for _ in range(2)]
    for place in places:
        planter.old.rows[place]["team"] = "Kranich"
    where = [planter.old.at(place) for place in places]
    planter.note("rare_label", *where, fields=("team",))


def records(planter: Planter) -> None:
    """Records that break their schema or the house's rules, and one that is right in itself but wrong."""
    place = planter.pick(lambda row: row["amount"] != "")
    amount = planter.old.rows[place]["amount"]
    planter.spoil("no_number", place, amount=planter.text.amount.format(amount=amount))
    place = planter.pick(lambda row: row["date"] != "")
    planter.spoil("schema_break", place, date=planter.text.date)
    place = planter.pick(lambda row: row["line"] == "motor")
    own = planter.old.rows[place]["code"]
    code = next(peril.code for peril in PERILS.values() if peril.line == "motor" and peril.code != own)
    planter.spoil("rule_break", place, code=code)
    place = planter.pick(lambda row: row["team"] not in (LARGE_LOSS_TEAM, SMALL_CLAIMS_TEAM))
    other = _other_peril(planter.old.rows[place])
    wrong = {"line": other.line, "peril": other.name, "code": other.code, "team": other.team}
    planter.spoil("wrong_answer", place, **wrong)


def lengths(planter: Planter) -> None:
    """A whole mail thread, and another language."""
    place = planter.pick()
    planter.spoil(
        "too_long",
        place,
        note=planter.old.rows[place]["note"] + " " + planter.text.thread * QUOTED,
    )
    pipe = PERILS["building", "pipe"]
    places = [planter.pick(lambda row: row["peril"] == pipe.name) for _ in planter.text.foreign]
    for place, note in zip(places, planter.text.foreign, strict=True):
        columns = {"note": note, "date": "2026-02-12", "amount": "2400", "cover": "full", "team": pipe.team}
        planter.old.rows[place] |= columns
    where = [planter.old.at(place) for place in places]
    planter.note("other_language", *where, fields=("note",))


def persons(planter: Planter) -> None:
    """Personal data of each kind."""
    for kind, sentence in planter.text.personal.items():
        place = planter.pick()
        note = f"{planter.old.rows[place]['note']} {sentence}"
        planter.spoil(f"personal_{kind}", place, note=note)


def leaks(planter: Planter) -> None:
    """What the test has from training, or gives away by itself."""
    old, new = planter.old, planter.new
    place = planter.pick(lambda row: len(row["note"]) > 150)
    late = {"reported": new.rows[-1]["reported"], "policy": "P-90417753"}
    again = planter.copy(place, note=f"{old.rows[place]['note']} {planter.text.thanks}", **late)
    planter.note("leak_near_equal", old.at(place), new.add(again))
    place = planter.pick()
    new.rows[5]["policy"] = old.rows[place]["policy"]
    planter.note("leak_group", old.at(place), new.at(5), fields=("policy",))
    place = planter.pick()
    note = f"{old.rows[place]['note']} {as_record(old.rows[place])}"
    planter.spoil("leak_answer_in_prompt", place, note=note)
    new.rows[29]["reported"] = (FIRST_REPORT + timedelta(days=3)).isoformat()
    planter.note("leak_time", new.at(29), fields=("reported",))


def as_record(row: Row) -> str:
    """The answer as the recipe writes it."""
    record: dict[str, str | int | None] = {name: row[name] or None for name in ANSWERS}
    return json.dumps(record | {"amount": int(row["amount"]) if row["amount"] else None}, ensure_ascii=False)


def _other_peril(row: Row) -> Peril:
    """A peril of another line, with another team."""
    own = PERILS[row["line"], row["peril"]]
    return next(peril for peril in PERILS.values() if peril.line != own.line and peril.team != own.team)


# Files -----------------------------------------------------------------------------------


def write_inbox(out: Path, language: str = "en") -> list[Planted]:
    """Write the three files; gives what was planted."""
    old, new = sound_sheets(language)
    planted = plant(old, new, TEXTS[language])
    out.mkdir(parents=True, exist_ok=True)
    for sheet in (old, new):
        (out / sheet.name).write_bytes(sheet.content())
    document = {"planted": list(_documents(planted))}
    (out / "planted.json").write_bytes((json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode())
    return planted


def _documents(planted: Sequence[Planted]) -> Iterator[dict[str, object]]:
    for fault in planted:
        places = [{"file": name, "line": line} for name, line in fault.places]
        yield {"fault": fault.fault, "what": fault.what, "places": places, "fields": list(fault.fields)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the example company's inbox, faults and all.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the three files")
    parser.add_argument("--lang", choices=LANGUAGES, default="en", help="language of the notes")
    given = parser.parse_args()
    planted = write_inbox(given.out, given.lang)
    print(f"{len(planted)} faults planted in {given.out / OLD} and {given.out / NEW}")


if __name__ == "__main__":
    main()
