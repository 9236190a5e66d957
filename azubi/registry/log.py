"""The log of a registry: who did what to which version, when, and why.

    <home>/specialists/registry.sqlite     one table; an entry is only ever added

It is the registry: which versions there are, which is in production and which is the candidate follows from
the entries, read from the first to the last. So a change is one entry, and happens whole or not at all. Each
entry has the hash of the one before it: whoever changes or removes one in the middle is found by whoever
reads next. What a hash chain cannot show is that its end was cut off, or that all of it was written anew; for
that, note the last hash elsewhere (`azubi audit` names it, `azubi audit --contains HASH` looks for it).
"""

import getpass
import hashlib
import json
import platform
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from azubi.errors import CorruptFile
from azubi.storage.database import Database

Action = Literal["register", "sign", "promote", "rollback", "delete", "confirm licence", "keygen", "export"]
PRODUCTION, CANDIDATE = "production", "candidate"
FILE = "registry.sqlite"
_MIGRATIONS = (
    (
        "CREATE TABLE log (number INTEGER PRIMARY KEY, entry TEXT NOT NULL, hash TEXT NOT NULL)",
        "CREATE TRIGGER only_added BEFORE UPDATE ON log BEGIN SELECT RAISE(ABORT, 'append-only'); END",
        "CREATE TRIGGER never_removed BEFORE DELETE ON log BEGIN SELECT RAISE(ABORT, 'append-only'); END",
    ),
)
_BEFORE_THE_FIRST = "0" * 64


class Entry(BaseModel):
    """One line of the log."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int
    """Counts from 1."""
    when: datetime
    who: str
    """User and machine: jana@srv-claims-1."""
    action: Action
    name: str = ""
    """Of the specialist."""
    version: int = 0
    why: str = ""
    """As its author gave it."""
    details: dict[str, Any] = {}
    """By action: `files` with their SHA-256 and the `key` that signed them (register, sign); `rules` and
    `forced` (promote); `licence` and `base_sha256` (confirm licence)."""
    hash: str = ""
    """Over this entry and the hash before it; not part of what is hashed."""

    @property
    def version_name(self) -> str:
        """The version that it is about: claims@1."""
        return f"{self.name}@{self.version}" if self.version else self.name


@dataclass
class Specialist:
    """What the log says of one name."""

    versions: dict[int, Entry] = field(default_factory=dict)
    """The entries with which versions that are still there were registered, or signed later."""
    promotions: list[int] = field(default_factory=list)
    """Versions in the order in which they came into production; those rolled back are gone from it."""
    candidate: int | None = None
    """The newest version that was registered and not promoted yet."""

    @property
    def production(self) -> int | None:
        """The version in production, if there is one."""
        return self.promotions[-1] if self.promotions else None

    @property
    def aliases(self) -> dict[str, int]:
        """The versions that have another name than their number."""
        named = {PRODUCTION: self.production, CANDIDATE: self.candidate}
        return {alias: version for alias, version in named.items() if version is not None}


class Log:
    """The log of one home."""

    def __init__(self, home: Path) -> None:
        """`home` need not exist yet."""
        self._database = Database(home / "specialists" / FILE, _MIGRATIONS)

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self._database.path

    def entries(self) -> list[Entry]:
        """All entries, the first one first.

        Raises:
            CorruptFile: an entry was changed or removed; names the first one.
            StorageError: a newer azubi wrote the file.
        """
        with self._database.reading() as connection:
            return [] if connection is None else list(self._checked(connection))

    def specialists(self) -> dict[str, Specialist]:
        """What there is, by name. Raises as `entries` does."""
        return fold(self.entries())

    @contextmanager
    def adding(self) -> Iterator["Addition"]:
        """Add entries in one transaction: a decision on what there is cannot be overtaken by another process.

        Raises:
            CorruptFile: the log is damaged; nothing is added to it then.
            StorageError: the disk is full or may not be written.
        """
        with self._database.writing() as connection:
            yield Addition(connection, list(self._checked(connection)))

    def _checked(self, connection: sqlite3.Connection) -> Iterator[Entry]:
        previous = _BEFORE_THE_FIRST
        rows = connection.execute("SELECT number, entry, hash FROM log ORDER BY number")
        for place, (number, text, digest) in enumerate(rows, start=1):
            if number != place:
                raise self._broken(place, "is missing")
            if digest != _hash(previous, text):
                raise self._broken(place, "is not what was written: its hash does not fit")
            try:
                entry = Entry.model_validate_json(text)
            except ValidationError as error:
                raise self._broken(place, "cannot be read; a newer azubi may have written it") from error
            if entry.number != place:
                raise self._broken(place, f"calls itself number {entry.number}")
            previous = digest
            yield entry.model_copy(update={"hash": digest})

    def _broken(self, number: int, problem: str) -> CorruptFile:
        return CorruptFile(
            f"Entry {number} of {self.path} {problem}.",
            "Bring the file back from a copy. Until then, no specialist of this home is used or changed; a "
            "version's folder can be checked with: azubi verify FOLDER",
        )


@dataclass
class Addition:
    """The entries of a log, within a transaction, and the way to add to them."""

    connection: sqlite3.Connection
    entries: list[Entry]

    def add(self, action: Action, name: str = "", version: int = 0, why: str = "", **details: Any) -> Entry:
        """Add an entry by whoever runs this process, now."""
        entry = Entry(
            number=len(self.entries) + 1,
            when=datetime.now(UTC),
            who=who(),
            action=action,
            name=name,
            version=version,
            why=why,
            details=details,
        )
        text = json.dumps(entry.model_dump(mode="json", exclude={"hash"}), ensure_ascii=False, sort_keys=True)
        digest = _hash(self.entries[-1].hash if self.entries else _BEFORE_THE_FIRST, text)
        self.connection.execute("INSERT INTO log VALUES (?, ?, ?)", (entry.number, text, digest))
        self.entries.append(entry.model_copy(update={"hash": digest}))
        return self.entries[-1]

    def specialist(self, name: str) -> Specialist:
        """What the log says of a name."""
        return fold(self.entries).get(name, Specialist())


def fold(entries: Iterable[Entry]) -> dict[str, Specialist]:
    """What there is after these entries, by name."""
    specialists: dict[str, Specialist] = {}
    for entry in entries:
        if not entry.version:
            continue
        of, version = specialists.setdefault(entry.name, Specialist()), entry.version
        match entry.action:
            case "register":
                of.versions[version] = entry
                of.candidate = version
            case "sign":  # the same files, and a signature beside them
                of.versions[version] = entry
            case "promote":
                of.promotions = [*(other for other in of.promotions if other != version), version]
                of.candidate = None if of.candidate == version else of.candidate
            case "rollback":
                of.promotions = of.promotions[: of.promotions.index(version) + 1]
            case "delete":
                of.versions.pop(version, None)
                of.promotions = [other for other in of.promotions if other != version]
                of.candidate = None if of.candidate == version else of.candidate
    return specialists


def who() -> str:
    """Who runs this process: user and machine."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user need not have a name
        user = "unknown"
    return f"{user}@{platform.node() or 'unknown'}"


def _hash(previous: str, text: str) -> str:
    return hashlib.sha256(f"{previous}\n{text}".encode()).hexdigest()
