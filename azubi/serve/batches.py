"""Batches: many requests in a file, answered when nobody else asks. How each stands, and the answers so far.

    <home>/serve/batches.sqlite          a row per batch, a row per request that is done, its answer encrypted
    <home>/keys/batches-<id>.key         until the batch has its files

    validating -> in_progress -> finalizing -> completed | expired | cancelled
        failed        cancelling ^

Knows nothing of HTTP or models.
"""

import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import BaseModel, ConfigDict

from azubi.errors import CorruptFile
from azubi.serve.uploads import new_id
from azubi.storage.database import Database
from azubi.storage.encrypted_file import Keys

Status = Literal[
    "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
]
ACTIVE: tuple[Status, ...] = ("validating", "in_progress", "cancelling", "finalizing")
WINDOW_SECONDS = 24 * 3600
_NONCE = 12
_MIGRATIONS = (
    (
        "CREATE TABLE batches (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, "
        "status TEXT NOT NULL, record TEXT NOT NULL)",
        "CREATE TABLE answers (batch TEXT NOT NULL, line INTEGER NOT NULL, ok INTEGER NOT NULL, "
        "sealed BLOB NOT NULL, PRIMARY KEY (batch, line))",
    ),
)


class LineError(BaseModel):
    """What is wrong with a line of a batch's file, in OpenAI's terms."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class Batch(BaseModel):
    """One batch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    owner: str
    """The id of the key that it belongs to."""
    status: Status
    endpoint: str
    input_file: str
    metadata: dict[str, str] | None = None
    created: int
    times: dict[Status, int] = {}
    """When it came to stand so."""
    ends_as: Literal["completed", "expired", "cancelled"] = "completed"
    """How it ends once its files are written."""
    errors: tuple[LineError, ...] = ()
    total: int = 0
    output_file: str | None = None
    error_file: str | None = None
    completed: int = 0
    failed: int = 0

    @property
    def expires(self) -> int:
        """When what is not done by then is not done any more."""
        return self.created + WINDOW_SECONDS


class Batches:
    """The batches of one home."""

    def __init__(self, home: Path) -> None:
        """`home` need not exist yet."""
        self._database = Database(home / "serve" / "batches.sqlite", _MIGRATIONS)
        self._keys = Keys(home, "batches")

    def create(self, owner: str, endpoint: str, input_file: str, metadata: dict[str, str] | None) -> Batch:
        """A new batch."""
        batch = Batch(
            id=new_id("batch").replace("-", "_"),
            owner=owner,
            status="validating",
            endpoint=endpoint,
            input_file=input_file,
            metadata=metadata,
            created=int(time.time()),
        )
        self._keys.make(batch.id)
        with self._database.writing() as database:
            database.execute(
                "INSERT INTO batches (id, owner, status, record) VALUES (?, ?, ?, ?)",
                (batch.id, owner, batch.status, batch.model_dump_json()),
            )
        return batch

    def find(self, id: str, owner: str | None = None) -> Batch | None:
        """The batch of that id; None if there is none, or it belongs to another than `owner` (None: any)."""
        return next(self._select("id = ? AND (? IS NULL OR owner = ?)", (id, owner, owner)), None)

    def list(self, owner: str | None, after: str | None) -> Iterator[Batch]:
        """The batches of an owner (None: of all), the newest first; those older than the batch `after`."""
        return self._select(
            "(? IS NULL OR owner = ?) AND (? IS NULL OR number < (SELECT number FROM batches WHERE id = ?)) "
            "ORDER BY number DESC",
            (owner, owner, after, after),
        )

    def next(self) -> Batch | None:
        """The oldest that is not at its end."""
        places = ", ".join("?" * len(ACTIVE))
        return next(self._select(f"status IN ({places}) ORDER BY number LIMIT 1", ACTIVE), None)

    def uses(self, file: str) -> Batch | None:
        """A batch that is not at its end and reads this file."""
        places = ", ".join("?" * len(ACTIVE))
        active = self._select(f"status IN ({places})", ACTIVE)
        return next((batch for batch in active if batch.input_file == file), None)

    def change(self, id: str, only_from: Sequence[Status], **changes: Any) -> Batch | None:
        """Change a batch; None, and nothing done, if it stands otherwise."""
        with self._database.writing() as database:
            row = database.execute("SELECT record FROM batches WHERE id = ?", (id,)).fetchone()
            batch = Batch.model_validate_json(row[0]) if row else None
            if batch is None or batch.status not in only_from:
                return None
            if (status := changes.get("status")) is not None:
                changes["times"] = {**batch.times, status: int(time.time())}
            batch = batch.model_copy(update=changes)
            database.execute(
                "UPDATE batches SET status = ?, record = ? WHERE id = ?",
                (batch.status, batch.model_dump_json(), id),
            )
        return batch

    # Answers

    def keep(self, batch: Batch, line: int, answer: str, *, ok: bool) -> None:
        """Keep the answer to a request, by its line in the file; it outlasts the process."""
        nonce = secrets.token_bytes(_NONCE)
        sealed = nonce + self._cipher(batch).encrypt(nonce, answer.encode(), _label(batch, line, ok))
        with self._database.writing() as database:
            database.execute(
                "INSERT OR REPLACE INTO answers (batch, line, ok, sealed) VALUES (?, ?, ?, ?)",
                (batch.id, line, ok, sealed),
            )

    def done(self, batch: Batch) -> set[int]:
        """Lines whose answers are kept."""
        rows = self._database.select("SELECT line FROM answers WHERE batch = ?", (batch.id,))
        return {line for (line,) in rows}

    def counts(self, batch: Batch) -> tuple[int, int]:
        """How many requests were answered, and how many failed."""
        query = "SELECT ok, count(*) FROM answers WHERE batch = ? GROUP BY ok"
        counts = dict(self._database.select(query, (batch.id,)))
        return (counts.get(1, 0), counts.get(0, 0)) if counts else (batch.completed, batch.failed)

    def answers(self, batch: Batch, *, ok: bool) -> Iterator[str]:
        """The answers that are kept, or the failures, in the order of the file.

        Raises:
            CorruptFile: they or their key are damaged or gone.
        """
        cipher = self._cipher(batch)
        with self._database.reading() as database:
            if database is None:
                return
            query = "SELECT line, sealed FROM answers WHERE batch = ? AND ok = ? ORDER BY line"
            for line, sealed in database.execute(query, (batch.id, ok)):
                try:
                    answer = cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], _label(batch, line, ok))
                except InvalidTag as error:
                    raise CorruptFile(
                        f"The answer to line {line} of the batch {batch.id} is damaged.",
                        "Create the batch anew.",
                    ) from error
                yield answer.decode()

    def forget(self, batch: Batch) -> None:
        """Remove the answers: they stand in the batch's files."""
        with self._database.writing() as database:
            database.execute("DELETE FROM answers WHERE batch = ?", (batch.id,))
        self._keys.throw_away(batch.id)

    def forget_ended(self) -> None:
        """Remove the answers of batches that were at their end when their server was killed."""
        places = ", ".join("?" * len(ACTIVE))
        rows = self._database.select("SELECT DISTINCT batch FROM answers")
        active = {batch.id for batch in self._select(f"status IN ({places})", ACTIVE)}
        for (id,) in rows:
            if id not in active and (batch := self.find(id)) is not None:
                self.forget(batch)

    def _cipher(self, batch: Batch) -> AESGCM:
        cipher = self._keys.find(batch.id)
        if cipher is None:
            raise CorruptFile(f"The key of the batch {batch.id} is gone.", "Create the batch anew.")
        return cipher

    def _select(self, where: str, values: Sequence[object]) -> Iterator[Batch]:
        rows = self._database.select(f"SELECT record FROM batches WHERE {where}", values)
        return (Batch.model_validate_json(row[0]) for row in rows)


def _label(batch: Batch, line: int, ok: bool) -> bytes:
    return f"{batch.id} {line} {ok}".encode()
