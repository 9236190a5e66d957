"""An SQLite file whose tables grow by numbered migrations, and whose changes happen whole or not at all.

Migrations are only ever appended: `PRAGMA user_version` counts those that a file has had. Knows nothing of
what the tables mean.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

from azubi.errors import CorruptFile, StorageError
from azubi.storage import files

_WAIT_SECONDS = 60
"""How long one process waits for another that writes."""


class Database:
    """A file and its migrations; it is made by the first write."""

    def __init__(self, path: Path, migrations: Sequence[Sequence[str]]) -> None:
        """`migrations` are lists of statements; those that the file has not had are run by the next write."""
        self.path = path
        self._migrations = migrations

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection | None]:
        """A connection that cannot write; None if there is no file yet.

        Raises:
            CorruptFile: it is no SQLite file, or is damaged.
            StorageError: a newer azubi wrote it.
        """
        if not self.path.is_file():
            yield None
            return
        with self._explained(), closing(self._read_only()) as connection:
            if self._version(connection) > 0:
                yield connection
            else:
                yield None  # another process makes it this very moment

    def select(self, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """The rows that a query gives; none if there is no file yet. Raises as `reading` does."""
        with self.reading() as connection:
            return [] if connection is None else connection.execute(query, values).fetchall()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all that is done in the block is kept when it ends well, else nothing.

        A second process waits until the first is done.

        Raises:
            CorruptFile, StorageError: as `reading`, or the disk is full or may not be written.
        """
        with self._explained(), closing(self.connect()) as connection, self.transaction(connection):
            yield connection

    def connect(self, *, synchronous: Literal["FULL", "NORMAL"] = "FULL") -> sqlite3.Connection:
        """A connection for many transactions, for one thread at a time; whoever asks for it closes it.

        With NORMAL a transaction waits for no disk: it outlasts its process, but a power cut may take the
        newest ones. Raises as `writing` does.
        """
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(
                self.path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute(f"PRAGMA synchronous={synchronous}")
            except BaseException:
                connection.close()
                raise
            return connection

    @contextmanager
    def transaction(self, connection: sqlite3.Connection) -> Iterator[None]:
        """What is done in the block is kept when it ends well, else nothing; raises as `writing` does."""
        with self._explained():
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._migrate(connection)
                yield
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _read_only(self) -> sqlite3.Connection:
        wal = self.path.with_name(f"{self.path.name}-wal")
        uri = f"{self.path.absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, timeout=_WAIT_SECONDS, isolation_level=None)
        try:
            connection.execute("PRAGMA user_version")
        except sqlite3.OperationalError:
            connection.close()
            # Where nothing can be written, SQLite cannot make the file by which readers of a WAL agree.
            if wal.is_file() and wal.stat().st_size:
                raise
            connection = sqlite3.connect(f"{uri}&immutable=1", uri=True, isolation_level=None)
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        done = self._version(connection)
        for number, statements in enumerate(self._migrations[done:], start=done + 1):
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={number}")

    def _version(self, connection: sqlite3.Connection) -> int:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > len(self._migrations):
            raise StorageError(
                f"{self.path} was written by a newer azubi (its tables have number {version}, this one knows "
                f"{len(self._migrations)}).",
                "Update azubi.",
            )
        return version

    @contextmanager
    def _explained(self) -> Iterator[None]:
        with files.explained(self.path):
            try:
                yield
            except sqlite3.DatabaseError as error:
                # The lowest byte is the kind of error; a full or closed disk is explained by `files`.
                code = getattr(error, "sqlite_errorcode", 0) & 0xFF
                if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                    raise CorruptFile(
                        f"{self.path} is damaged: {error}.", "Bring it back from a copy."
                    ) from error
                if code == sqlite3.SQLITE_BUSY:
                    raise StorageError(
                        f"Another process has been writing {self.path} for {_WAIT_SECONDS} seconds.",
                        "Wait until it is done, or stop it.",
                    ) from error
                raise
