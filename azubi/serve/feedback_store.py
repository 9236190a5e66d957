"""Corrections of answers, for a person to review before they become examples.

    <home>/serve/feedback.sqlite     encrypted questions and answers, and what the answer should have been

It is written only by a server that was started with --store-feedback. A question without a correction is
thrown away after `KEPT_DAYS`.
"""

import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from azubi.data.example import Turn
from azubi.errors import CorruptFile
from azubi.storage.database import Database
from azubi.storage.encrypted_file import Keys

KEPT_DAYS = 30
_KIND, _VERSION, _NONCE = "feedback", "1", 12
_MIGRATIONS = (
    (
        "CREATE TABLE answers (id TEXT PRIMARY KEY, key TEXT NOT NULL, model TEXT NOT NULL, "
        "created TEXT NOT NULL, content BLOB NOT NULL, corrected TEXT)",
    ),
)


@dataclass(frozen=True)
class Correction:
    """An answer that a person corrected."""

    id: str
    model: str
    turns: tuple[Turn, ...]
    answer: str
    """As it was given."""
    correction: str
    comment: str
    corrected: str
    """ISO 8601."""


class FeedbackStore:
    """Answers that may be corrected, and corrections."""

    def __init__(self, home: Path) -> None:
        """Makes the key on first use."""
        self._database = Database(home / "serve" / "feedback.sqlite", _MIGRATIONS)
        self._keys = Keys(home, _KIND)

    def keep(self, id: str, key: str, model: str, turns: Sequence[Turn], answer: str) -> None:
        """Keep a question and its answer, so that it can be corrected; throws old ones away."""
        content = {"turns": [[turn.role, turn.content] for turn in turns], "answer": answer}
        now = datetime.now(UTC)
        with self._database.writing() as connection:
            oldest = (now - timedelta(days=KEPT_DAYS)).isoformat()
            connection.execute("DELETE FROM answers WHERE corrected IS NULL AND created < ?", (oldest,))
            row = (id, key, model, now.isoformat(), self._sealed(id, content))
            connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, NULL)", row)

    def correct(self, id: str, key: str, correction: str, comment: str) -> bool:
        """Note what an answer should have been; tells whether this key got that answer."""
        with self._database.writing() as connection:
            query = "SELECT content FROM answers WHERE id = ? AND key = ?"
            row = connection.execute(query, (id, key)).fetchone()
            if row is None:
                return False
            content = self._opened(id, row[0]) | {"correction": correction, "comment": comment}
            now = datetime.now(UTC).isoformat()
            connection.execute(
                "UPDATE answers SET content = ?, corrected = ? WHERE id = ?",
                (self._sealed(id, content), now, id),
            )
        return True

    def corrections(self) -> Iterator[Correction]:
        """All corrections, the oldest first."""
        with self._database.reading() as connection:
            query = (
                "SELECT id, model, content, corrected FROM answers WHERE corrected IS NOT NULL "
                "ORDER BY corrected"
            )
            rows = [] if connection is None else connection.execute(query).fetchall()
        for id, model, sealed, corrected in rows:
            content = self._opened(id, sealed)
            turns = tuple(Turn(role, text) for role, text in content["turns"])
            answer, correction, comment = (content[name] for name in ("answer", "correction", "comment"))
            yield Correction(id, model, turns, answer, correction, comment, corrected)

    def remove(self, id: str) -> bool:
        """Throw a question, its answer and correction away; tells whether there was one."""
        with self._database.writing() as connection, closing(connection.cursor()) as cursor:
            return cursor.execute("DELETE FROM answers WHERE id = ?", (id,)).rowcount > 0

    def _cipher(self) -> AESGCM:
        self._keys.make(_VERSION)
        cipher = self._keys.find(_VERSION)
        if cipher is None:
            raise CorruptFile(
                f"{self._keys.path(_VERSION)} is no key.",
                "Bring it back from a copy; without it, corrections cannot be read.",
            )
        return cipher

    def _sealed(self, id: str, content: dict[str, Any]) -> bytes:
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._cipher().encrypt(nonce, json.dumps(content).encode(), id.encode())

    def _opened(self, id: str, sealed: bytes) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(
            self._cipher().decrypt(sealed[:_NONCE], sealed[_NONCE:], id.encode())
        )
        return content
