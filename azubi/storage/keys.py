"""The keys that activations and stored rows are encrypted with: one per data version, for its owner only.

    <home>/keys/activations-<version>.key     32 random bytes, mode 0600
    <home>/keys/data-<version>.key

What was written under a key can be read with it alone, so throwing the file away erases all of it, copies
and backups of what was encrypted included. Knows nothing of what is encrypted.
"""

import os
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from azubi.storage import files

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
