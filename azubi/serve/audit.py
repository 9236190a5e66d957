"""The audit log of a server: who asked which model, when, at what cost; never what was asked or answered.

    <home>/serve/audit.sqlite     one table; an entry is only ever added, with the hash of the one before

An answer goes out when its entry is written. Entries that come together are written together, so that many
clients wait for one write. A killed process loses none; a power cut may take those of the last seconds, since
waiting for the disk each time would take longer than choosing a label.
"""

import asyncio
import json
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from azubi.storage.database import Database
from azubi.storage.hash_chain import TABLE, HashChain, Link

_REMEDY = "Bring the file back from a copy, or move it away: the server then begins a new one."


@dataclass(frozen=True)
class AuditEntry:
    """One answer, or another act of a key."""

    action: str
    """answer, embed, feedback, upload …"""
    key: str
    """The id of the key."""
    key_name: str
    request: str
    """The id of the request or answer, as the client got it."""
    model: str = ""
    """As it answered: claims@2, or the name of a base."""
    result: str = "ok"
    """ok, or why there was no whole answer: out_of_scope, cancelled, or the code of the error."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    scope: float | None = None
    """The score of the question; None where the specialist learned no scope."""
    in_scope: bool | None = None
    answered_by: str = ""
    """specialist, base or nobody."""


class AuditLog:
    """The audit log of one home."""

    def __init__(self, home: Path) -> None:
        """`home` need not exist yet."""
        self.path = home / "serve" / "audit.sqlite"
        self._database = Database(self.path, (TABLE,))
        self._chain = HashChain(self.path, _REMEDY)
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._connection: sqlite3.Connection | None = None

    async def add(self, entry: AuditEntry) -> None:
        """Add an entry; returns when it is written.

        Raises:
            StorageError: the disk is full or may not be written.
        """
        written = {name: value for name, value in vars(entry).items() if value not in (None, "")}
        text = json.dumps({"when": datetime.now(UTC).isoformat()} | written, ensure_ascii=False)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((text, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all())
        await asyncio.shield(done)  # whoever stops waiting does not take the entry back

    async def _write_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            error: Exception | None = None
            try:
                await asyncio.to_thread(self._write, [text for text, _ in batch])
            except Exception as failure:
                error = failure
            for _, done in batch:
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)
                    done.exception()  # it counts as read, should nobody wait any more

    def _write(self, texts: list[str]) -> None:
        if self._connection is None:
            self._connection = self._database.connect(synchronous="NORMAL")
        with self._database.transaction(self._connection):
            last = self._chain.last(self._connection)
            for text in texts:
                last = self._chain.add(self._connection, last, text)

    def verify(self, contains: str = "") -> tuple[Link | None, Link | None]:
        """Read all entries; returns the last one, and that whose hash begins with `contains`, if there are.

        Raises:
            CorruptFile: an entry was changed or removed.
        """
        last = known = None
        with self._database.reading() as connection:
            for link in iter(()) if connection is None else self._chain.verified(connection):
                known = link if contains and link.hash.startswith(contains) else known
                last = link
        return last, known

    def entries(self) -> list[dict[str, Any]]:
        """All entries, the first one first. Raises as `verify` does."""
        with self._database.reading() as connection:
            links = () if connection is None else self._chain.verified(connection)
            return [json.loads(link.text) for link in links]

    async def close(self) -> None:
        """Wait until all entries are written."""
        if self._writer is not None:
            await self._writer
        if self._connection is not None:
            self._connection.close()
            self._connection = None
