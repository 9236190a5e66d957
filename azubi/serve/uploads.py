"""The files of the API: what was uploaded, and what jobs and batches left for download.

    <home>/serve/files.sqlite              which there are, and whose
    <home>/serve/files/<id>.bin            the content, encrypted
    <home>/keys/uploads-<id>.key           one key per file; deleting the file throws it away

A file is known by its id alone. The name that it was uploaded with is a label: it is never a path. Knows
nothing of HTTP, nor of what the files say.
"""

import re
import secrets
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Literal

from pydantic import BaseModel, ConfigDict

from azubi.errors import CorruptFile
from azubi.storage import encrypted_file, files
from azubi.storage.database import Database
from azubi.storage.encrypted_file import Keys

Purpose = Literal["fine-tune", "batch", "batch_output", "fine-tune-results"]

_MIGRATIONS = (
    (
        "CREATE TABLE files (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, "
        "purpose TEXT NOT NULL, record TEXT NOT NULL)",
    ),
)
_BLOCK = 1 << 20
_LINE_BREAK = "\u0100"
"""Stands for a line break in an encrypted line: no byte becomes this letter."""
_LONGEST_NAME = 80


class StoredFile(BaseModel):
    """What is known of a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    owner: str
    """The id of the key that it belongs to."""
    name: str
    """As it was uploaded; for people."""
    purpose: Purpose
    bytes: int
    created: int
    """Seconds since the epoch."""

    @property
    def safe_name(self) -> str:
        """The name as that of a file in some folder: without folders, signs and length that could harm."""
        last = re.split(r"[/\\]", self.name)[-1]
        plain = re.sub(r"[^\w.-]+", "-", last).lstrip(".-")[-_LONGEST_NAME:].lstrip(".-")
        return plain or "file"


class Page(BaseModel):
    """A part of a list of files."""

    files: tuple[StoredFile, ...]
    more: bool
    """Whether others follow."""


class Uploads:
    """The files of one home."""

    def __init__(self, home: Path) -> None:
        """`home` need not exist yet."""
        self._folder = home / "serve" / "files"
        self._database = Database(home / "serve" / "files.sqlite", _MIGRATIONS)
        self._keys = Keys(home, "uploads")

    def add(
        self, owner: str, name: str, purpose: Purpose, blocks: Iterable[bytes], id: str = ""
    ) -> StoredFile:
        """Keep a file, whole or not at all. One of the same `id` is replaced.

        Raises:
            StorageError: the disk is full or may not be written.
        """
        id = id or new_id("file")
        size = 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for block in blocks:
                size += len(block)
                if block:
                    yield block

        self._keys.make(id)
        cipher = self._keys.find(id)
        assert cipher is not None
        encrypted_file.write(self._path(id), id, cipher, map(_as_line, counted()))
        stored = StoredFile(
            id=id, owner=owner, name=name, purpose=purpose, bytes=size, created=int(time.time())
        )
        with self._database.writing() as database:
            database.execute(
                "INSERT OR REPLACE INTO files (id, owner, purpose, record) VALUES (?, ?, ?, ?)",
                (id, owner, purpose, stored.model_dump_json()),
            )
        return stored

    def find(self, id: str, owner: str | None = None) -> StoredFile | None:
        """The file of that id; None if there is none, or it belongs to another than `owner` (None: any)."""
        query = "SELECT record FROM files WHERE id = ? AND (? IS NULL OR owner = ?)"
        rows = self._database.select(query, (id, owner, owner))
        return StoredFile.model_validate_json(rows[0][0]) if rows else None

    def list(
        self,
        owner: str | None = None,
        purpose: str | None = None,
        after: str | None = None,
        limit: int = 10_000,
        *,
        oldest_first: bool = False,
    ) -> Page:
        """The files of an owner (None: of all), the newest first; those behind the file `after`."""
        sign, order = (">", "ASC") if oldest_first else ("<", "DESC")
        rows = self._database.select(
            "SELECT record FROM files WHERE (:owner IS NULL OR owner = :owner) "
            "AND (:purpose IS NULL OR purpose = :purpose) "
            f"AND (:after IS NULL OR number {sign} (SELECT number FROM files WHERE id = :after)) "
            f"ORDER BY number {order} LIMIT :limit",
            {"owner": owner, "purpose": purpose, "after": after, "limit": limit + 1},
        )
        stored = tuple(StoredFile.model_validate_json(row[0]) for row in rows)
        return Page(files=stored[:limit], more=len(stored) > limit)

    def content(self, file: StoredFile) -> Iterator[bytes]:
        """What is in a file, block by block.

        Raises:
            CorruptFile: it or its key is damaged or gone.
        """
        cipher = self._keys.find(file.id)
        if cipher is None or not self._path(file.id).is_file():
            raise CorruptFile(f"The content of the file {file.id} is gone.", "Upload it again.")
        return map(_as_bytes, encrypted_file.read(self._path(file.id), file.id, cipher))

    def lines(self, file: StoredFile) -> Iterator[bytes]:
        """The lines of a file, without their ends; raises as `content` does."""
        rest = b""
        for block in self.content(file):
            *whole, rest = (rest + block).split(b"\n")
            yield from (line.removesuffix(b"\r") for line in whole)
        if rest:
            yield rest

    def write_to(self, file: StoredFile, folder: Path) -> Path:
        """Decrypt a file into `folder`, under a name that is safe; raises as `content` does."""
        path = folder / file.safe_name
        with files.new_file(path) as scratch, scratch.open("wb") as written:
            scratch.chmod(0o600)
            for block in self.content(file):
                written.write(block)
        return path

    def delete(self, file: StoredFile) -> None:
        """Remove a file; its key goes first, so that copies of it cannot be read either."""
        self._keys.throw_away(file.id)
        with files.explained(self._path(file.id)):
            self._path(file.id).unlink(missing_ok=True)
        with self._database.writing() as database:
            database.execute("DELETE FROM files WHERE id = ?", (file.id,))

    def _path(self, id: str) -> Path:
        return self._folder / f"{id}.bin"


def new_id(kind: str) -> str:
    """An id that cannot be guessed: file-9f86d081884c7d659a2feaa0."""
    return f"{kind}-{secrets.token_hex(12)}"


def blocks_of(stream: IO[bytes]) -> Iterator[bytes]:
    """The bytes of an open file, block by block."""
    while block := stream.read(_BLOCK):
        yield block


def _as_line(block: bytes) -> str:
    """Any bytes as one line of text, a letter each, as `encrypted_file` takes it."""
    return block.decode("latin-1").replace("\n", _LINE_BREAK)


def _as_bytes(line: str) -> bytes:
    return line.replace(_LINE_BREAK, "\n").encode("latin-1")
