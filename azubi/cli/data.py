"""`azubi data`: versions of the examples, erasing rows, and re-identification."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from azubi.cli.command import Session
from azubi.cli.formatting import clean, count, facts, moment, plain_table, shorten
from azubi.errors import DataError
from azubi.locale.current import translated

if TYPE_CHECKING:
    from azubi.data.datasets.rows import Change, Difference, Manifest, Row, SplitNote
    from azubi.events import events as ev
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

Retrain = Annotated[
    bool, typer.Option("--retrain", help="Train the newest version of each specialist that learned it again.")
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

    manifests = Versions(session.home).list()
    made = _makers(session)
    if session.json:
        session.emit({"versions": [_document(manifest, made) for manifest in manifests]})
        return
    if not manifests:
        none = "There are no data here yet. A run keeps what it learns from: azubi tune FILE --name NAME"
        print(translated(none))
        return
    table = plain_table("version", ">rows", "source", "first used", "specialists")
    table.columns[0].no_wrap = True
    for manifest in manifests:
        source = ", ".join(clean(name) for name in manifest.source)
        makers = ", ".join(made.get(manifest.version, ())) or "–"
        table.add_row(manifest.version, count(manifest.rows), source, moment(manifest.created), makers)
    session.out().print(table)


def show(session: Session, version: Version, rows: RowCount = 0) -> None:
    """Show a data version: where it came from, how it was parted, what was made from it."""
    from itertools import islice

    from azubi.data.datasets.versions import Versions

    versions = Versions(session.home)
    manifest = versions.get(version)
    made, first = _makers(session), list(islice(versions.rows(manifest), rows)) if rows else []
    if session.json:
        session.emit(_document(manifest, made) | ({"shown": [_row(row) for row in first]} if rows else {}))
        return
    for line in facts(_facts(manifest, made.get(manifest.version, []))):
        print(line)
    if first:
        print()
    for row in first:
        print(f"{clean(row.id)}  {_line(row)}  {_quoted(row)}")


def diff(session: Session, before: Version, after: Version) -> None:
    """Tell which rows were added, removed or changed from one data version to another."""
    from azubi.data.datasets.rows import difference
    from azubi.data.datasets.versions import Versions

    versions = Versions(session.home)
    old, new = versions.get(before), versions.get(after)
    changes = difference(list(versions.rows(old)), list(versions.rows(new)))
    if session.json:
        session.emit({"before": old.version, "after": new.version} | _difference(changes))
        return
    added, removed, changed = (count(len(rows)) for rows in (changes.added, changes.removed, changes.changed))
    same = count(changes.same)
    print(translated(f"{added} added, {removed} removed, {changed} changed, {same} the same."))
    for sign, rows in (("+", changes.added), ("-", changes.removed)):
        _print_some(f"{sign} {clean(row.id)}  {_line(row)}  {_quoted(row)}" for row in rows)
    _print_some(
        f"~ {clean(change.after.id)}  {translated(change.what)}  {_changed(change)}"
        for change in changes.changed
    )


def erase(session: Session, ids: Ids, retrain: Retrain = False) -> None:
    """Erase rows from the stored data, the activation cache and every later run; name who learned them."""
    from azubi.pipeline import erase as erasure

    report = erasure.erase(session.home, ids)
    if not session.json:
        for line in _erasure_lines(report):
            print(translated(line))
    replaced = _retrained(session, report) if retrain else {}
    if session.json:
        session.emit(_erased(report) | ({"retrained": replaced} if retrain else {}))
    for old, new in replaced.items() if not session.json else ():
        print(translated(f"{new} was trained without it, in the place of {old}."))


def _retrained(session: Session, report: "Report") -> dict[str, str]:
    """Train the newest affected version of each specialist again; what took the place of each."""
    from azubi.cli.terminal import follow
    from azubi.pipeline import reproduce

    newest: dict[str, int] = {}
    for learner in report.learners:
        name, _, version = learner.name.partition("@")
        if learner.split != "test":
            newest[name] = max(int(version), newest.get(name, 0))
    replaced: dict[str, str] = {}

    def events() -> "Iterator[ev.Event]":
        names = [f"{name}@{version}" for name, version in newest.items()]
        replaced.update((yield from reproduce.retrain(names, session.home)))

    if newest:
        follow(events(), session.err(), quiet=session.json)
    return replaced


def _makers(session: Session) -> dict[str, list[str]]:
    """The specialists that were made from each version."""
    from azubi.registry.store import Store

    made: dict[str, list[str]] = {}
    for card in Store(session.home).all():
        made.setdefault(card.data_version, []).append(f"{card.name}@{card.version}")
    return made


def _facts(manifest: "Manifest", made: Sequence[str]) -> dict[str, str]:
    parts = ", ".join(translated(f"{count(n)} in {part}") for part, n in manifest.counts.items())
    columns = {name: manifest.mapping.get(name) for name in _COLUMNS}
    mapping = ", ".join(f"{name}: {value}" for name, value in columns.items() if value is not None)
    lines = {
        "Version": manifest.version,
        "First used": moment(manifest.created),
        "Source": ", ".join(f"{clean(name)} ({digest[:12]}…)" for name, digest in manifest.source.items()),
        "Columns": clean(mapping),
        "Rows": parts + (translated(f"; {count(manifest.erased)} erased") if manifest.erased else ""),
    }
    if manifest.findings:
        lines["Findings"] = ", ".join(f"{count(note.count)} {note.kind}" for note in manifest.findings)
    for number, split in enumerate(manifest.splits, start=1):
        lines["Split" if len(manifest.splits) == 1 else f"Split {number}"] = _split(split)
    return lines | {"Specialists": ", ".join(made) or translated("none yet")}


def _split(split: "SplitNote") -> str:
    sides = ", ".join(translated(f"{count(number)} {name}") for name, number in split.counts.items())
    parts = [translated(f"by {split.settings.by}, seed {split.seed}: {sides}")]
    if split.moved:
        parts.append(translated(f"{count(split.moved)} moved to nearly the same"))
    if split.overlapping:
        left_out = f"{count(split.overlapping)} left out, since nearly the same stands elsewhere"
        parts.append(translated(left_out))
    if split.test_from:
        parts.append(translated(f"the test begins at {split.test_from}"))
        if split.follows:
            parts.append(translated(f"keeps the cut-off of {split.follows}"))
    return "; ".join(parts)


def _line(row: "Row") -> str:
    return translated(f"line {row.example.line}")


def _quoted(row: "Row") -> str:
    example = row.example
    return f"{_short(example.prompt)} → {_short(example.answer)}"


def _changed(change: "Change") -> str:
    if "answer" in change.what:
        return f"{_short(change.before.example.answer)} → {_short(change.after.example.answer)}"
    return _quoted(change.after)


def _short(text: str) -> str:
    return f"“{clean(shorten(' '.join(text.split()), 60))}”"


def _print_some(lines: Iterable[str]) -> None:
    for number, line in enumerate(lines):
        if number == _SHOWN:
            print(translated("  … (all of them: --json)"))
            return
        print(line)


def _erasure_lines(report: "Report") -> Iterable[str]:
    named = ", ".join(f"“{clean(name)}”" for name in report.ids)
    where = ", ".join(report.versions)
    if report.rows:
        yield f"Erased {named}: {count(report.rows)} stored rows, {count(report.activations)} activations."
    else:
        yield f"{named} had been erased before."
    yield f"Data versions: {where}"
    if report.forgotten:
        yield f"The way back from {count(report.forgotten)} pseudonyms, which nothing else has, is gone too."
    for path in report.locked:
        yield f"Its pseudonyms stay in their map, since the key file {clean(str(path))} is not here."
    yield "Later runs leave it out, whatever source it is read from."
    if report.learners:
        yield "What a specialist learned stays in its weights. These had to do with it:"
    for learner in report.learners:
        use = f"went on from {learner.through}" if learner.through else _USED[learner.split]
        yield f"  {learner.name}  {translated(use)}"
    if any(learner.split != "test" for learner in report.learners):
        yield "Train the newest of each again without it: the same command with --retrain"
    if report.running:
        yield f"Runs that are under way may have read it: {', '.join(report.running)}. Stop them."
    if report.quoted:
        yield "It is quoted in files that were written for people; remove them (do not edit a specialist's):"
    for path in report.quoted:
        yield f"  {path}"


# Documents


def _document(manifest: "Manifest", made: dict[str, list[str]]) -> dict[str, object]:
    specialists = made.get(manifest.version, [])
    return manifest.model_dump(mode="json") | {"rows": manifest.rows, "specialists": specialists}


def _row(row: "Row") -> dict[str, object]:
    example = row.example
    turns = [{"role": turn.role, "content": turn.content} for turn in example.turns]
    return {"id": row.id, "part": row.part, "line": example.line, "turns": turns, "answer": example.answer}


def _difference(difference: "Difference") -> dict[str, object]:
    return {
        "added": [_row(row) for row in difference.added],
        "removed": [_row(row) for row in difference.removed],
        "changed": [
            {
                "id": change.after.id,
                "what": change.what,
                "before": _row(change.before),
                "after": _row(change.after),
            }
            for change in difference.changed
        ],
        "same": difference.same,
    }


def _erased(report: "Report") -> dict[str, object]:
    return {
        "ids": list(report.ids),
        "rows": report.rows,
        "versions": list(report.versions),
        "activations": report.activations,
        "specialists": [learner.model_dump(mode="json") for learner in report.learners],
        "running": list(report.running),
        "quoted": [str(path) for path in report.quoted],
        "forgotten": report.forgotten,
        "locked": [str(path) for path in report.locked],
    }


Text = Annotated[
    Path, typer.Argument(metavar="FILE", help="A text file with pseudonyms in it; - is standard input.")
]
Key = Annotated[Path, typer.Option("--key", metavar="PATH", help="The key file of the run (personal_key).")]


def reveal(session: Session, file: Text, key: Key) -> None:
    """Put the original personal data back in the places of their pseudonyms.

    It takes the key file and the map that lies in the home in which the run was.
    """
    from azubi.data.pii.pseudonyms import KeyFile, PseudonymMap, ReIdentifier

    re_identifier = ReIdentifier(PseudonymMap(session.home, KeyFile(key).read()).pairs())
    text = re_identifier.text(_read(file))
    if session.json:
        session.emit({"text": text})
    else:
        sys.stdout.write(text)


def _read(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}.", "Check the path.") from None
    except UnicodeDecodeError as error:
        problem = f"{file} is not UTF-8 text (byte {error.start})."
        raise DataError(problem, "Save it as UTF-8; of documents, bring the text.") from None
