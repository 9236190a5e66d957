"""The key of the pseudonyms, and the map of values and pseudonyms that is encrypted with it: the way back.

    KEYFILE                                 32 random bytes, mode 0600, wherever the company wants it
    <home>/pseudonyms/<fingerprint>.map      blocks of: length | nonce | AES-256-GCM(JSON of pairs)

The map lies apart from the key, and says which key it belongs to only by a fingerprint. It is added to by
every run with that key. A block that was cut short or flipped is an error, never a wrong value. Without the
key file there is neither map nor way back. Knows nothing of how pseudonyms are made.
"""

import hmac
import json
import secrets
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from azubi.data.pii.pseudonyms import KEY, Pair
from azubi.errors import CorruptFile, SettingError
from azubi.storage import files

_NONCE = 12
_LENGTH = struct.Struct(">I")
_BLOCK = 20_000
"""Pairs that are encrypted together."""


class KeyFile:
    """A key in a file of the company's."""

    def __init__(self, path: Path) -> None:
        """Name the file; nothing is read or made yet."""
        self.path = path

    def read(self) -> bytes:
        """The key.

        Raises:
            SettingError: there is none, or the file is no key.
        """
        try:
            secret = self.path.read_bytes()
        except OSError as error:
            raise SettingError(
                f"The key file {self.path} cannot be read: {error.strerror}.",
                "Name the file with `personal_key`, or bring it back from where it is kept.",
            ) from error
        if len(secret) != KEY:
            raise SettingError(
                f"{self.path} is no key file: it has {len(secret):,} bytes instead of {KEY}.",
                "Name another file; azubi makes the key if there is none yet.",
            )
        return secret

    def read_or_create(self) -> bytes:
        """The key; made if there is no such file, readable by its owner only.

        Raises:
            SettingError: the file is no key.
            StorageError: it cannot be written.
        """
        with files.locked(self.path.parent):
            if not self.path.exists():
                files.write_bytes(self.path, AESGCM.generate_key(8 * KEY))
                self.path.chmod(0o600)
        return self.read()


class PseudonymMap:
    """The pairs that were ever made with a key, below a home."""

    def __init__(self, home: Path, key: bytes) -> None:
        """Take the key; nothing is read or made yet."""
        self._cipher = AESGCM(hmac.digest(key, b"map", "sha256"))
        self._label = hmac.digest(key, b"fingerprint", "sha256")[:8]
        self.path = home / "pseudonyms" / f"{self._label.hex()}.map"

    def add(self, pairs: Iterable[Pair]) -> None:
        """Add what is not in it yet.

        Raises:
            CorruptFile: what is there cannot be read.
            StorageError: the disk is full or read-only.
        """
        with files.locked(self.path.parent):
            known = set(self.pairs()) if self.path.exists() else set()
            new = [pair for pair in dict.fromkeys(pairs) if pair not in known]
            if not new:
                return
            # What a killed process left half written must not part the blocks: the file is written whole.
            with files.new_file(self.path) as scratch:
                blocks = [new[at : at + _BLOCK] for at in range(0, len(new), _BLOCK)]
                before = self.path.read_bytes() if self.path.exists() else b""
                scratch.write_bytes(before + b"".join(map(self._sealed, blocks)))
                scratch.chmod(0o600)

    def forget(self, gone: Callable[[Pair], bool]) -> int:
        """Take pairs out for good; returns how many.

        Raises:
            CorruptFile: what is there cannot be read.
            StorageError: the disk is full or read-only.
        """
        with files.locked(self.path.parent):
            known = list(self.pairs()) if self.path.exists() else []
            kept = [pair for pair in known if not gone(pair)]
            if len(kept) < len(known):
                with files.new_file(self.path) as scratch:
                    blocks = (kept[at : at + _BLOCK] for at in range(0, len(kept), _BLOCK))
                    scratch.write_bytes(b"".join(map(self._sealed, blocks)))
                    scratch.chmod(0o600)
            return len(known) - len(kept)

    def pairs(self) -> Iterator[Pair]:
        """All pairs.

        Raises:
            SettingError: there is no map for this key.
            CorruptFile: the map was damaged.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            raise SettingError(
                f"There is no map of pseudonyms for this key: {self.path} does not exist.",
                "Name the key file that the run had, or the home (--home) in which it ran.",
            ) from None
        at = 0
        while at < len(content):
            yield from self._opened(content, at)
            at += _LENGTH.size + self._size(content, at)

    def _sealed(self, pairs: Iterable[Pair]) -> bytes:
        nonce = secrets.token_bytes(_NONCE)
        plain = json.dumps([(pair.kind, pair.value, pair.pseudonym) for pair in pairs]).encode()
        sealed = nonce + self._cipher.encrypt(nonce, plain, self._label)
        return _LENGTH.pack(len(sealed)) + sealed

    def _opened(self, content: bytes, at: int) -> list[Pair]:
        size = self._size(content, at)
        start = at + _LENGTH.size
        nonce, sealed = content[start : start + _NONCE], content[start + _NONCE : start + size]
        try:
            if len(nonce) + len(sealed) != size:
                raise InvalidTag
            return [Pair(*fields) for fields in json.loads(self._cipher.decrypt(nonce, sealed, self._label))]
        except (InvalidTag, ValueError):
            raise self._damaged(at) from None

    def _size(self, content: bytes, at: int) -> int:
        if len(content) < at + _LENGTH.size:
            raise self._damaged(at)
        size: int = _LENGTH.unpack_from(content, at)[0]
        return size

    def _damaged(self, at: int) -> CorruptFile:
        return CorruptFile(
            f"The map of pseudonyms {self.path} was damaged: its block at byte {at:,} was changed.",
            "Bring it back from a copy. Running again on the original data makes it anew.",
        )
