"""Files of lines that only the holder of a key can read, and that cannot be cut short or mixed unnoticed.

A file is a row of blocks: its length in four bytes, a nonce, AES-256-GCM of packed lines. Each block
authenticates which file it belongs to, its number, and whether it is the last.
Knows nothing of what the lines say.
"""

import os
import secrets
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from azubi.errors import CorruptFile
from azubi.storage import files

_NONCE = 12
_BLOCK = 1 << 20
"""Characters that go into a block, about."""


def write(path: Path, label: str, cipher: AESGCM, lines: Iterable[str]) -> None:
    """Write lines (none of them holds a line break) whole or not at all; `label` says what the file is.

    Raises:
        StorageError: the disk is full or may not be written.
    """
    with files.new_file(path) as scratch, scratch.open("wb") as file:
        scratch.chmod(0o600)
        number, waiting = 0, None
        for block in _blocks(lines):
            if waiting is not None:
                file.write(_sealed(waiting, label, cipher, number, last=False))
                number += 1
            waiting = block
        file.write(_sealed(waiting or "", label, cipher, number, last=True))


def read(path: Path, label: str, cipher: AESGCM) -> Iterator[str]:
    """The lines of a file.

    Raises:
        CorruptFile: it was changed or cut short, or was written under another key or label.
    """
    with path.open("rb") as file:
        number, last = 0, False
        while not last:
            size = int.from_bytes(file.read(4))
            sealed = file.read(size)
            last = not file.peek(1)
            try:
                if len(sealed) != size:
                    raise InvalidTag
                packed = cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], _associated(label, number, last))
            except (InvalidTag, ValueError) as error:
                raise CorruptFile(
                    f"{path} does not hold what was written: block {number + 1:,} is damaged or cut short.",
                    "Bring it and its key back from a copy, or read the data anew.",
                ) from error
            text = zlib.decompress(packed).decode()
            yield from text.split("\n") if text else ()
            number += 1


def _blocks(lines: Iterable[str]) -> Iterator[str]:
    block: list[str] = []
    size = 0
    for line in lines:
        block.append(line)
        size += len(line)
        if size >= _BLOCK:
            yield "\n".join(block)
            block, size = [], 0
    if block:
        yield "\n".join(block)


def _sealed(text: str, label: str, cipher: AESGCM, number: int, *, last: bool) -> bytes:
    nonce = secrets.token_bytes(_NONCE)
    sealed = nonce + cipher.encrypt(nonce, zlib.compress(text.encode(), 1), _associated(label, number, last))
    return len(sealed).to_bytes(4) + sealed


def _associated(label: str, number: int, last: bool) -> bytes:
    return f"{label} {number} {'last' if last else 'more'}".encode()


_LENGTH = 32


class Keys:
    """The keys below one home, for one kind of thing."""

    def __init__(self, home: Path, kind: str = "activations") -> None:
        """Look below `home`; nothing is made yet."""
        self._folder = home / "keys"
        self._kind = kind
        self._known: dict[str, AESGCM] = {}

    def path(self, version: str) -> Path:
        """Where the key of a data version lies."""
        return self._folder / f"{self._kind}-{version}.key"

    def versions(self) -> list[str]:
        """All that have a key, in order."""
        paths = self._folder.glob(f"{self._kind}-*.key")
        return sorted(path.name.removeprefix(f"{self._kind}-").removesuffix(".key") for path in paths)

    def find(self, version: str) -> AESGCM | None:
        """The cipher of a data version, or None if its key was thrown away."""
        if version not in self._known:
            try:
                secret = self.path(version).read_bytes()
            except OSError:
                return None
            if len(secret) != _LENGTH:
                return None
            self._known[version] = AESGCM(secret)
        return self._known[version]

    def make(self, version: str) -> bool:
        """Make sure that a data version has a key; tells whether a new one was made.

        Raises:
            StorageError: the folder cannot be written.
        """
        # Its folder is locked so that two first runs at once agree on one key.
        with files.locked(self._folder):
            if self.find(version) is not None:
                return False
            files.write_bytes(self.path(version), AESGCM.generate_key(8 * _LENGTH))
            self.path(version).chmod(0o600)
            return True

    def throw_away(self, version: str) -> bool:
        """Overwrite and delete a key; tells whether there was one.

        Whether the old bytes survive below the file system (on a flash disk, in a snapshot) is beyond
        a program's reach: there only an encrypted disk helps.
        """
        self._known.pop(version, None)
        path = self.path(version)
        if not path.is_file():
            return False
        with files.explained(path):
            with suppress(OSError), path.open("r+b") as file:
                file.write(bytes(path.stat().st_size))
                file.flush()
                os.fsync(file.fileno())
            path.unlink(missing_ok=True)  # another process may have been quicker
        return True
