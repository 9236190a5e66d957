"""The log of a registry: who did what to which version, when, and why.

    <home>/specialists/registry.sqlite     one table; an entry is only ever added

It is the registry: which versions there are, which is in production and which is the candidate follows from
the entries, read from the first to the last. So a change is one entry, and happens whole or not at all. Each
entry has the hash of the one before it: whoever changes or removes one in the middle is found by whoever
reads next. Its last hash is to be noted elsewhere (`azubi audit` names it, `azubi audit --contains HASH`
looks for it), since a chain cannot show that its end was cut off (see `storage.hash_chain`).
"""

import getpass
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

from azubi.storage.database import Database
from azubi.storage.hash_chain import TABLE, HashChain, Link

Action = Literal["register", "sign", "promote", "rollback", "delete", "confirm licence", "keygen", "export"]
PRODUCTION, CANDIDATE = "production", "candidate"
FILE = "registry.sqlite"
_REMEDY = (
    "Bring the file back from a copy. Until then, no specialist of this home is used or changed; a "
    "version's folder can be checked with: azubi verify FOLDER"
)


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
        self._database = Database(home / "specialists" / FILE, (TABLE,))
        self._chain = HashChain(self._database.path, _REMEDY)

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
            yield Addition(connection, self._chain, list(self._checked(connection)))

    def _checked(self, connection: sqlite3.Connection) -> Iterator[Entry]:
        for link in self._chain.verified(connection):
            try:
                entry = Entry.model_validate_json(link.text)
            except ValidationError as error:
                problem = "cannot be read; a newer azubi may have written it"
                raise self._chain.broken(link.number, problem) from error
            if entry.number != link.number:
                raise self._chain.broken(link.number, f"calls itself number {entry.number}")
            yield entry.model_copy(update={"hash": link.hash})


@dataclass
class Addition:
    """The entries of a log, within a transaction, and the way to add to them."""

    connection: sqlite3.Connection
    chain: HashChain
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
        previous = Link(len(self.entries), "", self.entries[-1].hash) if self.entries else None
        link = self.chain.add(self.connection, previous, text)
        self.entries.append(entry.model_copy(update={"hash": link.hash}))
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
