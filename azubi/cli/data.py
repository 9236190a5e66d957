"""`azubi data list`, `show`, `diff` and `erase`: the states of the data that specialists were made from."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from azubi.cli.formatting import clean, count, shorten
from azubi.cli.session import Session
from azubi.cli.tables import facts, plain_table

if TYPE_CHECKING:
    from azubi.data.datasets.manifest import Manifest, SplitNote
    from azubi.data.datasets.rows import Change, Difference, Row
    from azubi.pipeline.erase import Report

Version = Annotated[
    str,
    typer.Argument(
        metavar="VERSION", help="The data version, as `azubi data list` names it, or how its name begins."
    ),
]
RowCount = Annotated[int, typer.Option("--rows", metavar="INTEGER", min=0, help="Show so many rows too.")]
Ids = Annotated[
    list[str],
    typer.Option(
        "--id",
        metavar="ID",
        help="Id of a row: what its id column says, else what `azubi data show --rows` tells. More than one "
        "can be given.",
    ),
]

_COLUMNS = ("prompt", "answer", "id", "group", "time", "weight")
_SHOWN = 10
"""Rows of a kind that `diff` prints; JSON has them all."""
_USED = {
    "train": "learned from it",
    "validation": "chose its best epoch with it",
    "test": "was tested with it",
}


def list_all(session: Session) -> None:
    """List the data versions of this home, newest first."""
    from azubi.data.datasets.versions import Versions

    found = Versions(session.home).list()
    made = _makers(session)
    if session.json:
        session.emit({"versions": [_document(one, made) for one in found]})
        return
    if not found:
        print("There are no data here yet. A run keeps what it learns from: azubi tune FILE --name NAME")
        return
    table = plain_table("version", ">rows", "source", "first used", "specialists")
    table.columns[0].no_wrap = True
    for one in found:
        source = ", ".join(clean(name) for name in one.source)
        when = f"{one.created.astimezone():%Y-%m-%d %H:%M}"
        table.add_row(one.version, count(one.rows), source, when, ", ".join(made.get(one.version, ())) or "–")
    session.out().print(table)


def show(session: Session, version: Version, rows: RowCount = 0) -> None:
    """Show a data version: where it came from, how it was parted, what was made from it."""
    from itertools import islice

    from azubi.data.datasets.versions import Versions

    versions = Versions(session.home)
    found = versions.get(version)
    made, first = _makers(session), list(islice(versions.rows(found), rows)) if rows else []
    if session.json:
        session.emit(_document(found, made) | ({"shown": [_row(row) for row in first]} if rows else {}))
        return
    for line in facts(_facts(found, made.get(found.version, []))):
        print(line)
    if first:
        print()
    for row in first:
        print(f"{clean(row.id)}  line {row.example.line}  {_quoted(row)}")


def diff(session: Session, before: Version, after: Version) -> None:
    """Tell which rows were added, removed or changed from one data version to another."""
    from azubi.data.datasets.rows import difference
    from azubi.data.datasets.versions import Versions

    versions = Versions(session.home)
    old, new = versions.get(before), versions.get(after)
    told = difference(list(versions.rows(old)), list(versions.rows(new)))
    if session.json:
        session.emit({"before": old.version, "after": new.version} | _difference(told))
        return
    added, removed, changed = (count(len(rows)) for rows in (told.added, told.removed, told.changed))
    print(f"{added} added, {removed} removed, {changed} changed, {count(told.same)} the same.")
    for sign, rows in (("+", told.added), ("-", told.removed)):
        _print_some(f"{sign} {clean(row.id)}  line {row.example.line}  {_quoted(row)}" for row in rows)
    _print_some(f"~ {clean(one.after.id)}  {one.what}  {_changed(one)}" for one in told.changed)


def erase(session: Session, ids: Ids) -> None:
    """Erase rows from the stored data, the activation cache and every later run; name who learned them."""
    from azubi.pipeline import erase as erasure

    report = erasure.erase(session.home, ids)
    if session.json:
        session.emit(_erased(report))
        return
    for line in _told(report):
        print(line)


def _makers(session: Session) -> dict[str, list[str]]:
    """The specialists that were made from each version."""
    from azubi.registry.store import Store

    made: dict[str, list[str]] = {}
    for card in Store(session.home).all():
        made.setdefault(card.data_version, []).append(f"{card.name}@{card.version}")
    return made


def _facts(found: "Manifest", made: Sequence[str]) -> dict[str, str]:
    parts = ", ".join(f"{count(number)} in {part}" for part, number in found.counts.items())
    columns = {name: found.mapping.get(name) for name in _COLUMNS}
    mapping = ", ".join(f"{name} from {value}" for name, value in columns.items() if value is not None)
    told = {
        "Version": found.version,
        "First used": f"{found.created.astimezone():%Y-%m-%d %H:%M}",
        "Source": ", ".join(f"{clean(name)} ({digest[:12]}…)" for name, digest in found.source.items()),
        "Columns": clean(mapping),
        "Rows": parts + (f"; {count(found.erased)} erased" if found.erased else ""),
    }
    if found.findings:
        told["Findings"] = ", ".join(f"{count(one.count)} {one.kind}" for one in found.findings)
    for number, split in enumerate(found.splits, start=1):
        told["Split" if len(found.splits) == 1 else f"Split {number}"] = _split(split)
    return told | {"Specialists": ", ".join(made) or "none yet"}


def _split(split: "SplitNote") -> str:
    sides = ", ".join(f"{count(split.counts.get(side, 0))} {side}" for side in split.counts)
    strata = ", stratified" if split.settings.stratify else ""
    told = f"by {split.settings.by}{strata}, seed {split.seed}: {sides}"
    if split.moved:
        told += f"; {count(split.moved)} moved to nearly the same"
    if split.overlapping:
        told += f"; {count(split.overlapping)} left out, since nearly the same stands elsewhere"
    if split.test_from:
        told += f"; the test begins at {split.test_from}"
    return told + (f"; keeps the cut-off of {split.follows}" if split.follows and split.test_from else "")


def _quoted(row: "Row") -> str:
    example = row.example
    return f"{_short(example.prompt)} → {_short(example.answer)}"


def _changed(one: "Change") -> str:
    if "answer" in one.what:
        return f"{_short(one.before.example.answer)} → {_short(one.after.example.answer)}"
    return _quoted(one.after)


def _short(text: str) -> str:
    return f"“{clean(shorten(' '.join(text.split()), 60))}”"


def _print_some(lines: Iterable[str]) -> None:
    for number, line in enumerate(lines):
        if number == _SHOWN:
            print("  … (all of them: --json)")
            return
        print(line)


def _told(report: "Report") -> Iterable[str]:
    named = ", ".join(f"“{clean(name)}”" for name in report.ids)
    where = ", ".join(report.versions)
    if report.rows:
        yield f"Erased {named}: {count(report.rows)} stored rows, {count(report.activations)} activations."
    else:
        yield f"{named} had been erased before."
    yield f"Data versions: {where}"
    if report.forgotten:
        yield f"The way back from {count(report.forgotten)} stand-ins, which nothing else has, is gone too."
    for path in report.locked:
        yield f"Its stand-ins stay in their map, since the key file {clean(str(path))} is not here."
    yield "Later runs leave it out, whatever source it is read from."
    if report.learners:
        yield "What a specialist learned stays in its weights. These had to do with it:"
    for one in report.learners:
        yield f"  {one.name}  {_USED[one.split] if not one.through else f'went on from {one.through}'}"
    if report.running:
        yield f"Runs that are under way may have read it: {', '.join(report.running)}. Stop them."
    if report.quoted:
        yield "It is quoted in files that were written for people; remove or redact them:"
    for path in report.quoted:
        yield f"  {path}"


# Documents


def _document(one: "Manifest", made: dict[str, list[str]]) -> dict[str, object]:
    return one.model_dump(mode="json") | {"rows": one.rows, "specialists": made.get(one.version, [])}


def _row(row: "Row") -> dict[str, object]:
    one = row.example
    turns = [{"role": turn.role, "content": turn.content} for turn in one.turns]
    return {"id": row.id, "part": row.part, "line": one.line, "turns": turns, "answer": one.answer}


def _difference(told: "Difference") -> dict[str, object]:
    return {
        "added": [_row(row) for row in told.added],
        "removed": [_row(row) for row in told.removed],
        "changed": [
            {"id": one.after.id, "what": one.what, "before": _row(one.before), "after": _row(one.after)}
            for one in told.changed
        ],
        "same": told.same,
    }


def _erased(report: "Report") -> dict[str, object]:
    return {
        "ids": list(report.ids),
        "rows": report.rows,
        "versions": list(report.versions),
        "activations": report.activations,
        "specialists": [one.model_dump(mode="json") for one in report.learners],
        "running": list(report.running),
        "quoted": [str(path) for path in report.quoted],
        "forgotten": report.forgotten,
        "locked": [str(path) for path in report.locked],
    }
