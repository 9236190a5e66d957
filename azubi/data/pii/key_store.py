"""The key of the pseudonyms, and the map of values and pseudonyms that is encrypted with it: the way back.

    KEYFILE                                 32 random bytes, mode 0600, wherever the company wants it
    <home>/pseudonyms/<fingerprint>.map     the pairs, encrypted (see `storage.encrypted_file`)

The map says which key it belongs to only by a fingerprint. Every run with that key adds to it. Without a
key file there is neither map nor way back.
"""

import hmac
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from azubi.data.pii.pseudonyms import KEY_BYTES, Pair
from azubi.errors import SettingError
from azubi.storage import encrypted_file, files


class KeyFile:
    """A key in a file of the company's."""

    def __init__(self, path: Path) -> None:
        """Name the file, which need not exist."""
        self.path = path

    def read(self) -> bytes:
        """The key.

        Raises:
            SettingError: there is none, or the file is no key.
        """
        try:
            key = self.path.read_bytes()
        except OSError as error:
            raise SettingError(
                f"The key file {self.path} cannot be read: {error.strerror}.",
                "Name the file with `personal_key`, or bring it back from where it is kept.",
            ) from error
        if len(key) != KEY_BYTES:
            raise SettingError(
                f"{self.path} is no key file: it has {len(key):,} bytes instead of {KEY_BYTES}.",
                "Name another file; azubi makes the key if there is none yet.",
            )
        return key

    def read_or_create(self) -> bytes:
        """The key; if there is no such file, a new one, readable by its owner only.

        Raises:
            SettingError: the file is no key.
            StorageError: it cannot be written.
        """
        with files.locked(self.path.parent):
            if not self.path.exists():
                files.write_bytes(self.path, AESGCM.generate_key(8 * KEY_BYTES))
                self.path.chmod(0o600)
        return self.read()


class PseudonymMap:
    """The pairs that were ever made with a key, below a home.

    Its methods raise CorruptFile if the map was damaged, and StorageError if it cannot be written.
    """

    def __init__(self, home: Path, key: bytes) -> None:
        """Take the key; the map need not exist."""
        self._cipher = AESGCM(hmac.digest(key, b"map", "sha256"))
        self._label = hmac.digest(key, b"fingerprint", "sha256")[:8].hex()
        self.path = home / "pseudonyms" / f"{self._label}.map"

    def pairs(self) -> list[Pair]:
        """All pairs.

        Raises:
            SettingError: there is no map for this key.
        """
        if not self.path.exists():
            raise SettingError(
                f"There is no map of pseudonyms for this key: {self.path} does not exist.",
                "Name the key file that the run had, or the home (--home) in which it ran.",
            )
        return self.known()

    def known(self) -> list[Pair]:
        """All pairs; none if there is no map."""
        if not self.path.exists():
            return []
        return [Pair(*json.loads(line)) for line in encrypted_file.read(self.path, self._label, self._cipher)]

    def extend(self, assign: Callable[[Sequence[Pair]], Iterable[Pair]]) -> None:
        """Add the pairs that `assign` makes, given those that are known. Two runs at once take turns."""
        with files.locked(self.path.parent):
            known = self.known()
            if new := list(assign(known)):
                self._write([*known, *new])

    def forget(self, is_gone: Callable[[Pair], bool]) -> int:
        """Take pairs out for good; returns how many."""
        with files.locked(self.path.parent):
            known = self.known()
            kept = [pair for pair in known if not is_gone(pair)]
            if len(kept) < len(known):
                self._write(kept)
            return len(known) - len(kept)

    def _write(self, pairs: Iterable[Pair]) -> None:
        lines = (json.dumps([pair.kind, pair.value, pair.pseudonym]) for pair in pairs)
        encrypted_file.write(self.path, self._label, self._cipher, lines)
