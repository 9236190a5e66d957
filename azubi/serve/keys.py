"""API keys: who may call the server, for what, with which models, how often.

    <home>/serve/keys.sqlite     one row a key; of the key itself only its SHA-256

A key is 256 random bits, so a fast hash is enough: nobody can try them all, and a slow hash would cost every
request. Each request reads the row anew, so a key that was revoked stops at once, whoever revoked it.
"""

import hashlib
import hmac
import json
import re
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from azubi.errors import SettingError
from azubi.storage.database import Database

Permission = Literal["chat", "files", "tune", "admin", "metrics"]
"""chat: ask models; files: upload and read own files; tune: train; admin: see what belongs to other keys;
metrics: read /metrics."""
PERMISSIONS: tuple[Permission, ...] = get_args(Permission)
ALL_MODELS = "all"
_PREFIX = "azubi-"
_BYTES = 32
_NAME = re.compile(r"[\w.-]{1,64}")
_MIGRATIONS = (
    (
        "CREATE TABLE keys (id TEXT PRIMARY KEY, name TEXT NOT NULL, hash TEXT NOT NULL UNIQUE, "
        "scopes TEXT NOT NULL, models TEXT, requests INTEGER, tokens INTEGER, "
        "created TEXT NOT NULL, revoked TEXT)",
    ),
)
_COLUMNS = "id, name, scopes, models, requests, tokens, created, revoked"


@dataclass(frozen=True)
class Key:
    """What is known of a key; the key itself is not."""

    id: str
    """Names the key in logs and metrics; begins with key_."""
    name: str
    scopes: frozenset[Permission]
    models: tuple[str, ...] | None
    """Names of specialists (all their versions) and bases; None: all, also those to come."""
    requests_per_minute: int | None
    tokens_per_minute: int | None
    created: datetime
    revoked: datetime | None = None

    def may_use(self, model: str) -> bool:
        """Whether it may ask `model`, written as claims, claims@2 or claims@production."""
        return self.models is None or model.partition("@")[0] in self.models


@dataclass(frozen=True)
class KeyOptions:
    """What a new key may do."""

    name: str
    scopes: Sequence[str] = ("chat",)
    models: Sequence[str] = ()
    """`all` alone stands for all models."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


class KeyStore:
    """The keys of one home."""

    def __init__(self, home: Path) -> None:
        """`home` need not exist yet."""
        self._database = Database(home / "serve" / "keys.sqlite", _MIGRATIONS)

    def create(self, options: KeyOptions) -> tuple[Key, str]:
        """Make a key; returns it with the secret, which is stored nowhere.

        Raises:
            SettingError: a name, scope, model or limit cannot be used.
            StorageError: the disk is full or may not be written.
        """
        _validate(options)
        models = None if tuple(options.models) == (ALL_MODELS,) else tuple(options.models)
        scopes = frozenset(scope for scope in PERMISSIONS if scope in options.scopes)
        secret = _PREFIX + secrets.token_urlsafe(_BYTES)
        key = Key(
            f"key_{secrets.token_hex(6)}",
            options.name,
            scopes,
            models,
            options.requests_per_minute,
            options.tokens_per_minute,
            datetime.now(UTC),
        )
        with self._database.writing() as connection:
            query = "SELECT 1 FROM keys WHERE name = ? AND revoked IS NULL"
            if connection.execute(query, (key.name,)).fetchone():
                raise SettingError(
                    f"There is a key named “{key.name}” already.",
                    "Choose another name, or revoke that one first: azubi keys revoke NAME",
                )
            _insert(connection, key, _digest(secret))
        return key, secret

    def find(self, secret: str) -> Key | None:
        """The key with this secret; None if there is none, or it was revoked."""
        digest = _digest(secret)
        with self._database.reading() as connection:
            if connection is None:
                return None
            query = f"SELECT {_COLUMNS}, hash FROM keys WHERE hash = ?"
            row = connection.execute(query, (digest,)).fetchone()
        # The index compares hashes, of which nobody can choose the beginning; here all of it is compared.
        if row is None or not hmac.compare_digest(row[-1], digest):
            return None
        key = _key(row[:-1])
        return None if key.revoked else key

    def all(self) -> list[Key]:
        """Every key, also those revoked; the oldest first."""
        with self._database.reading() as connection:
            if connection is None:
                return []
            return [_key(row) for row in connection.execute(f"SELECT {_COLUMNS} FROM keys ORDER BY created")]

    def revoke(self, name: str) -> Key:
        """Revoke a key, by its name or id.

        Raises:
            SettingError: no key that is in use is called so.
        """
        with self._database.writing() as connection:
            query = f"SELECT {_COLUMNS} FROM keys WHERE revoked IS NULL AND (name = ? OR id = ?)"
            row = connection.execute(query, (name, name)).fetchone()
            if row is None:
                raise SettingError(f"No key in use is named “{name}”.", "See: azubi keys list")
            now = datetime.now(UTC).isoformat()
            connection.execute("UPDATE keys SET revoked = ? WHERE id = ?", (now, row[0]))
        return _key((*row[:-1], now))

    def allow(self, id: str, model: str) -> None:
        """Let a key ask one more model, such as one that it trained."""
        with self._database.writing() as connection:
            row = connection.execute("SELECT models FROM keys WHERE id = ?", (id,)).fetchone()
            if row is not None and row[0] is not None and model not in (models := json.loads(row[0])):
                connection.execute(
                    "UPDATE keys SET models = ? WHERE id = ?", (json.dumps([*models, model]), id)
                )


def _validate(options: KeyOptions) -> None:
    if not _NAME.fullmatch(options.name):
        raise SettingError(
            f"“{options.name}” cannot be the name of a key.",
            "Use up to 64 letters, digits, dots, hyphens and underscores.",
        )
    for scope in options.scopes:
        if scope not in PERMISSIONS:
            raise SettingError(
                f"A key cannot have the scope “{scope}”.", f"Choose among {', '.join(PERMISSIONS)}."
            )
    if not options.scopes:
        raise SettingError("The key has no scope.", f"Choose among {', '.join(PERMISSIONS)}.")
    if "chat" in options.scopes and not options.models:
        raise SettingError(
            "It is not said which models the key may ask.",
            f"Name them (--models claims,triage), or allow every one: --models {ALL_MODELS}",
        )
    if ALL_MODELS in options.models and len(options.models) > 1:
        raise SettingError(f"“{ALL_MODELS}” stands beside other models.", "Name it alone, or leave it out.")
    for model in options.models:
        if "@" in model:
            raise SettingError(
                f"A key is bound to a specialist, not to one version of it: {model}.",
                "Name the specialist without @ and what follows.",
            )
    for limit in (options.requests_per_minute, options.tokens_per_minute):
        if limit is not None and limit < 1:
            raise SettingError(
                f"A limit of {limit} per minute lets nothing through.", "Set it to at least 1."
            )


def _insert(connection: sqlite3.Connection, key: Key, digest: str) -> None:
    connection.execute(
        "INSERT INTO keys (id, name, hash, scopes, models, requests, tokens, created) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            key.id,
            key.name,
            digest,
            ",".join(sorted(key.scopes)),
            None if key.models is None else json.dumps(key.models),
            key.requests_per_minute,
            key.tokens_per_minute,
            key.created.isoformat(),
        ),
    )


def _key(row: Sequence[object]) -> Key:
    id, name, scopes, models, requests, tokens, created, revoked = row
    return Key(
        str(id),
        str(name),
        frozenset(scope for scope in PERMISSIONS if scope in str(scopes).split(",")),
        None if models is None else tuple(json.loads(str(models))),
        requests if isinstance(requests, int) else None,
        tokens if isinstance(tokens, int) else None,
        datetime.fromisoformat(str(created)),
        None if revoked is None else datetime.fromisoformat(str(revoked)),
    )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
