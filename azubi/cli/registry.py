"""`azubi promote`, `rollback`, `history`, `diff`, `audit`, `keygen`, `verify` and `licence`: what is in use,
and why."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from azubi.cli.command import Session
from azubi.cli.formatting import as_json, clean, count, facts, interval, metric, moment, plain_table, shorten
from azubi.cli.specialists import Name
from azubi.errors import SettingError
from azubi.locale.current import translated

if TYPE_CHECKING:
    from azubi.pipeline.promote import Rule
    from azubi.registry.lineage import VersionDifference
    from azubi.registry.log import Entry

Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; it stays in the log (azubi history).")
]
NeededReason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Who read it, and what was decided; stays in the log.")
]
Force = Annotated[
    bool, typer.Option("--force", help="Promote it although a rule does not hold; needs --reason.")
]
OneName = Annotated[str, typer.Argument(metavar="NAME", help="The specialist, as `azubi list` names it.")]
Before = Annotated[str, typer.Argument(metavar="A", help="One version: NAME@1, or NAME@production.")]
After = Annotated[str, typer.Argument(metavar="B", help="Another one: NAME@2, or NAME@candidate.")]
Contains = Annotated[
    str,
    typer.Option(
        "--contains", metavar="HASH", help="Also look for an entry's hash that was noted elsewhere."
    ),
]
SignAll = Annotated[
    bool, typer.Option("--sign", help="Make no key; sign the versions that are not signed with the one here.")
]
Folder = Annotated[
    str,
    typer.Argument(
        metavar="FOLDER|NAME", help="A signed folder from anywhere, or a specialist of this home."
    ),
]
PublicKey = Annotated[
    Path | None,
    typer.Option(
        "--key", metavar="FILE", help="The public key of whoever signed it, from a source you trust."
    ),
]


def promote(session: Session, name: Name, reason: Reason = "", force: Force = False) -> None:
    """Bring a version into production, if the rules of its recipe's gate hold."""
    from azubi.pipeline import promote as promotion

    done = promotion.promote(name, session.home, reason, force=force)
    if session.json:
        session.emit(_entry_document(done.entry) | {"before": done.before, "own_gate": done.own_gate})
        return
    if not done.own_gate:
        print(translated(f"Its recipe has no gate; the usual one holds: {promotion.DEFAULT}."))
    for rule in done.rules:
        session.out().print(
            f"{_sign(rule)} {translated(rule.name)}: {clean(translated(rule.text))}", markup=False
        )
    before = f" in the place of version {done.before}" if done.before else ""
    print(
        f"{done.entry.version_name} is in production{before}. Ask it: azubi ask {done.entry.name}@production"
    )


def _sign(rule: "Rule") -> str:
    return {True: "✓", False: "✗", None: "–"}[rule.holds]


def rollback(session: Session, name: OneName, reason: Reason = "") -> None:
    """Bring back the version that was in production before."""
    from azubi.pipeline import promote as promotion

    entry, before = promotion.rollback(name, session.home, reason)
    if session.json:
        session.emit(_entry_document(entry) | {"before": before})
    else:
        print(translated(f"{entry.version_name} is in production again; version {before} is not."))


def history(session: Session, name: OneName) -> None:
    """Show what was done with a specialist: who, when, and why."""
    from azubi.registry.store import Store

    store = Store(session.home)
    entries = [entry for entry in store.log.entries() if entry.name == name.partition("@")[0]]
    if not entries:
        store.get(name)  # names those that there are
    if session.json:
        session.emit({"entries": [_entry_document(entry) for entry in entries]})
        return
    table = plain_table(">#", "when", "who", "what", "why")
    for entry in entries:
        what = f"{translated(_action(entry))} {entry.version_name}"
        table.add_row(str(entry.number), moment(entry.when), clean(entry.who), what, clean(entry.why))
    session.out().print(table)


def _action(entry: "Entry") -> str:
    return "promote (forced)" if entry.details.get("forced") else entry.action


def diff(session: Session, before: Before, after: After) -> None:
    """Compare two versions: data, recipe, scores."""
    from azubi.registry import lineage
    from azubi.registry.store import Store

    store = Store(session.home)
    difference = lineage.differences(store.get(before), store.get(after), session.home)
    if session.json:
        session.emit(difference.model_dump(mode="json"))
        return
    for line in _difference_lines(difference):
        session.out().print(clean(line), markup=False, highlight=False, soft_wrap=True)


def _difference_lines(difference: "VersionDifference") -> Iterator[str]:
    yield f"{difference.before} → {difference.after}"
    yield f"{translated('Data:')} {translated(difference.data)}"
    yield translated("Recipe:" if difference.recipe else "Recipe: the same")
    for name, (old, new) in difference.recipe.items():
        yield f"  {name}: {shorten(as_json(old), 60)} → {shorten(as_json(new), 60)}"
    yield translated("Scores, each on its own test:")
    for name, (first, second) in difference.scores.items():
        old_score, new_score = (interval(each) if each else "–" for each in (first, second))
        yield f"  {metric(name).strip()}: {old_score} → {new_score}"


def audit(session: Session, contains: Contains = "") -> None:
    """Verify the log of what was registered, promoted and deleted, that every version is as registered,
    and the log of the server."""
    from azubi.registry.store import Store
    from azubi.serve.audit import AuditLog

    store, served = Store(session.home), AuditLog(session.home)
    entries = store.log.entries()
    known = [entry.number for entry in entries if contains and entry.hash.startswith(contains)]
    last_served, known_served = served.verify(contains)
    if contains and not known and known_served is None:
        raise SettingError(
            f"No entry of {store.log.path} or {served.path} has the hash {contains}.",
            "Its end was cut off, or it was written anew, since that hash was noted.",
        )
    versions = list(store.all())
    for card in versions:
        store.verify(card)
    last = entries[-1].hash if entries else ""
    document: dict[str, Any] = {"entries": len(entries), "versions": len(versions), "last_hash": last}
    if last_served is not None:
        document |= {"served_entries": last_served.number, "served_last_hash": last_served.hash}
    number = known[0] if known else known_served.number if known_served is not None else 0
    if session.json:
        session.emit(document | ({"contains": number} if number else {}))
        return
    for line in _audit_lines(document):
        print(line)
    if number:
        print(translated(f"Entry {number} has the hash {contains}."))


def _audit_lines(document: dict[str, Any]) -> Iterator[str]:
    entries, versions = count(document["entries"]), count(document["versions"])
    yield translated(f"{entries} entries, none changed or removed; {versions} versions as registered.")
    if served := document.get("served_entries"):
        yield translated(f"{count(served)} entries in the server's log, none changed or removed.")
    if last := document["last_hash"]:
        yield translated(f"Hash of the last entry: {last}")
    if served:
        last = document["served_last_hash"]
        yield translated(f"Hash of the last entry of the server's log: {last}")
    if last:
        yield translated("Note it elsewhere: only that shows if the log was cut short.")


def keygen(session: Session, sign: SignAll = False) -> None:
    """Make a key with which this home signs its versions, and sign those that are here."""
    from azubi.registry import signature
    from azubi.registry.store import Store

    if not sign:
        signature.make_key(session.home)
    elif not signature.has_key(session.home):
        raise SettingError("There is no key here.", "Make one: azubi keygen")
    path, store = session.home / "keys" / signature.PUBLIC_KEY, Store(session.home)
    unsigned = [card for card in store.all() if not store.verify(card).details["key"]]
    signed = [store.sign(card).version_name for card in unsigned]
    key = signature.fingerprint(path)
    if session.json:
        session.emit({"public_key": str(path), "fingerprint": key, "signed": signed})
        return
    print(translated(f"Public key: {path}\nFingerprint: {key}"))
    print(translated(f"Signed: {', '.join(signed) or 'nothing was unsigned'}."))
    print(translated(f"Keep a copy of {path.with_suffix('.key')} where only you get at it."))


def verify(session: Session, folder: Folder, key: PublicKey = None) -> None:
    """Verify that a folder or a version is what was signed; needs no home for a folder."""
    from azubi.registry import signature
    from azubi.registry.store import Store

    path, store = Path(folder), Store(session.home)
    if path.is_dir() and path.name == folder and folder in store.log.specialists():
        raise SettingError(
            f"{folder} is a folder here and a specialist.", f"Write ./{folder} or {folder}@VERSION."
        )
    if not path.is_dir():
        entry = store.verify(store.get(folder))
        verified = Verified(len(entry.details["files"]), str(entry.details["key"]), trusted=True)
    else:
        verified = _verified(path, [key] if key is not None else signature.trusted_keys(session.home))
    if session.json:
        trusted = verified.trusted and bool(verified.key)
        session.emit({"intact": True, "files": verified.files, "key": verified.key, "trusted": trusted})
        return
    if verified.key:
        print(translated(f"{folder}: {count(verified.files)} files, all as they were signed."))
        print(translated(f"Signed with the key {verified.key}."))
    else:
        print(
            translated(f"{folder}: {count(verified.files)} files, all as they are listed. It is not signed.")
        )
    if verified.key and not verified.trusted:
        print(translated("That key came with the folder. Compare it with what the sender told you, or"))
        print(translated("give the sender's public key: --key FILE"))


@dataclass(frozen=True)
class Verified:
    """A folder that is as it was signed or listed."""

    files: int
    key: str
    """Fingerprint of the key that signed it; empty if it is not signed."""
    trusted: bool


def _verified(folder: Path, keys: Sequence[Path]) -> Verified:
    """A folder from anywhere: by its signature, or of an export that is not signed by its list of files."""
    from azubi.export import papers
    from azubi.registry import signature
    from azubi.registry.store import REMOVABLE

    listed = {} if (folder / signature.SIGNATURE).is_file() else papers.listed(folder)
    if listed and not keys:
        signature.compare(folder, signature.hashes_of(folder), listed, extra=(papers.MANIFEST,))
        return Verified(len(listed), "", trusted=False)
    signed = signature.verify(folder, keys or [folder / signature.PUBLIC_KEY], REMOVABLE)
    return Verified(len(signed.files), signed.key, trusted=bool(keys))


def licences(session: Session) -> None:
    """List under which licences the specialists' bases stand, and what they allow."""
    from azubi.registry import licence
    from azubi.registry.store import Store

    rows = [(card, licence.find(card.licence)) for card in Store(session.home).all()]
    if session.json:
        session.emit(
            {"licences": [_licence_document(f"{card.name}@{card.version}", entry) for card, entry in rows]}
        )
        return
    table = plain_table("specialist", "base", "licence", "for businesses")
    says = {True: "yes", False: "no", None: "unknown"}
    for card, entry in rows:
        table.add_row(f"{card.name}@{card.version}", Path(card.base).name, entry.id, says[entry.commercial])
    session.out().print(table)


def licence_show(session: Session, name: Name) -> None:
    """Say in plain words what the licence of a specialist's base asks of you."""
    from azubi.registry import licence
    from azubi.registry.store import Store

    card = Store(session.home).get(name)
    entry = licence.find(card.licence)
    if session.json:
        session.emit(_licence_document(f"{card.name}@{card.version}", entry))
        return
    for line in facts(
        {"Base": card.base, "Licence": f"{entry.title} ({entry.id})", "Text": entry.url or "unknown"}
    ):
        print(line)
    for sentence in licence.explained(entry):
        print(translated(f"* {sentence}"))
    print(translated(licence.NO_ADVICE))


def licence_confirm(session: Session, name: Name, reason: NeededReason) -> None:
    """Confirm that the licence of a specialist's base allows what you do with it."""
    from azubi.registry.store import Store

    if not reason.strip():
        raise SettingError("--reason is empty.", "Say who read the licence, and what was decided.")
    store = Store(session.home)
    card = store.get(name)
    with store.log.adding() as addition:
        about = {"licence": card.licence, "base_sha256": card.base_sha256}
        entry = addition.add("confirm licence", card.name, card.version, reason, **about)
    if session.json:
        session.emit(_entry_document(entry))
    else:
        print(
            translated(
                f"Confirmed by {entry.who}: “{card.licence}” of {card.base}, for every specialist on it."
            )
        )


def _licence_document(name: str, entry: Any) -> dict[str, object]:
    from azubi.registry import licence

    return {
        "specialist": name,
        "id": entry.id,
        "title": entry.title,
        "url": entry.url,
        "commercial": entry.commercial,
        "own_weights": entry.own_weights,
        "duties": list(licence.explained(entry)),
    }


def _entry_document(entry: "Entry") -> dict[str, object]:
    return entry.model_dump(mode="json")
