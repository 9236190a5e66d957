"""The specialists of one home, by name and version.

    <home>/specialists/<name>/<version>/
    <home>/specialists/registry.sqlite        which of them count: see `azubi.registry.log`

A version exists when the log says so. Its folder is there before the log's entry, and goes after it: whoever
is killed in between leaves a folder that nobody uses. Versions count from 1, are never changed and never used
twice. Knows folders, cards and the log; not what is in the weights.
"""

import builtins
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from azubi.errors import CorruptFile, SettingError, UnknownSpecialist
from azubi.registry import card as cards
from azubi.registry import signature
from azubi.registry.card import Card
from azubi.registry.log import Entry, Log, Specialist
from azubi.storage import files

__all__ = ["Card", "Store"]

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
REMOVABLE = (cards.REPORT,)
"""Quotes examples, and nothing reads it: whoever has to erase a person from it may remove it."""


class Store:
    """Finds specialists, and places for new ones."""

    def __init__(self, home: Path) -> None:
        """`home` need not exist yet."""
        self._home, self._root = home, home / "specialists"
        self.log = Log(home)

    def list(self) -> builtins.list[Card]:
        """The newest version of every specialist, by name."""
        newest = {card.name: card for card in self.all()}
        return [newest[name] for name in sorted(newest)]

    def all(self) -> Iterator[Card]:
        """Every version of every specialist whose folder is here, the oldest first."""
        for name, specialist in sorted(self.log.specialists().items()):
            for version in sorted(specialist.versions):
                if self.place(name, version).is_dir():
                    yield cards.read(self.place(name, version))

    def get(self, name: str) -> Card:
        """The specialist `name` (its newest version), `name@version`, `name@production` or `name@candidate`.

        Raises:
            UnknownSpecialist: there is none; names those that there are.
            CorruptFile: the log is damaged, or the version's folder is.
        """
        return self._read(*self.resolve(name, self.log.specialists()))

    def resolve(self, name: str, specialists: dict[str, Specialist]) -> tuple[str, int]:
        """The name and version that `name` stands for among `specialists` (see `Log`); raises as `get`."""
        plain, _, wanted = name.partition("@")
        specialist = specialists.get(plain, Specialist())
        if not specialist.versions:
            raise UnknownSpecialist(
                f"There is no specialist {plain!r} in {self._root}.", _others(specialists)
            )
        version = _resolved(specialist, wanted) if wanted or "@" in name else max(specialist.versions)
        if version is None:
            raise UnknownSpecialist(
                f"The specialist {plain} has no version {wanted!r}.",
                f"It has: {', '.join(map(str, (*sorted(specialist.versions), *specialist.aliases)))}.",
            )
        return plain, version

    def aliases(self, name: str) -> dict[str, int]:
        """Which versions of a specialist are called production and candidate."""
        return self.log.specialists().get(name, Specialist()).aliases

    def with_erased_rows(self) -> set[str]:
        """Versions (name@version) that learned from rows which were erased since, or went on from such."""
        from azubi.data.datasets.erased import Erased  # few commands need it, and it takes long to import

        erasures = Erased(self._home).erasures
        learners = (learner for erasure in erasures for learner in erasure.learners)
        return {learner.name for learner in learners if learner.split != "test"}

    def reserve(self, name: str) -> tuple[int, Path]:
        """The next version number and its folder, which does not exist yet."""
        with files.locked(self._root):
            counter = self._root / name / ".last"
            with files.explained(counter):
                counter.parent.mkdir(parents=True, exist_ok=True)
                for unfinished in counter.parent.glob("..last.*"):  # left by a killed process
                    unfinished.unlink(missing_ok=True)
                last = int(counter.read_text() or 0) if counter.is_file() else 0
                logged = [entry.version for entry in self.log.entries() if entry.name == name]
                version = max([last, *logged, *self._folders(name)]) + 1
                files.write_text(counter, str(version))
        return version, self.place(name, version)

    def place(self, name: str, version: int) -> Path:
        """The folder of a version that was reserved, whether it is there already or not."""
        return self._root / name / str(version)

    def register(self, card: Card, why: str = "") -> Entry:
        """Make a version that lies in its folder part of the registry; a second call does nothing.

        Raises:
            CorruptFile: it was registered before, with other files.
            StorageError: the log cannot be written.
        """
        folder = self.place(card.name, card.version)
        digests = signature.hashes_of(folder)
        signed = signature.SIGNATURE in digests
        key = signature.fingerprint(folder / signature.PUBLIC_KEY) if signed else ""
        with self.log.adding() as addition:
            known = addition.specialist(card.name).versions.get(card.version)
            if known is not None:
                signature.compare(folder, digests, known.details["files"])
                return known
            return addition.add("register", card.name, card.version, why, files=digests, key=key)

    def verify(self, card: Card) -> Entry:
        """Refuse a version whose files are not those that were registered, or whose signature does not hold.

        All files are read every time: sizes and times of last change can be set by whoever changes a file.

        Raises:
            CorruptFile: names the file.
        """
        entry = self.log.specialists().get(card.name, Specialist()).versions.get(card.version)
        if entry is None:
            raise CorruptFile(f"{card.folder} is not registered.", "See: azubi list")
        folder, key = self.place(card.name, card.version), str(entry.details.get("key", ""))
        digests, registered = signature.hashes_of(folder), entry.details["files"]
        # Signing was cut off before the log had it.
        extra = () if key else (signature.SIGNATURE, signature.PUBLIC_KEY)
        signature.compare(folder, digests, registered, REMOVABLE, extra)
        if key:
            signed = signature.read(folder, signature.trusted_keys(self._home))
            signature.compare(folder, digests, signed.files, REMOVABLE, extra=(signature.SIGNATURE,))
        return entry

    def sign(self, card: Card) -> Entry:
        """Sign a version that was registered before there was a key.

        Raises:
            CorruptFile: its files are not those that were registered, or the key cannot be used.
        """
        entry = self.verify(card)
        folder = self.place(card.name, card.version)
        for name in (signature.SIGNATURE, signature.PUBLIC_KEY):  # of a process that was killed here
            (folder / name).unlink(missing_ok=True)
        key = signature.sign(folder, self._home)
        digests = {**entry.details["files"], **signature.hashes_of(folder)}
        with self.log.adding() as addition:
            return addition.add("sign", card.name, card.version, files=digests, key=key)

    def delete(self, card: Card, why: str = "") -> None:
        """Take a version out of the registry, and remove its folder; the log keeps that it was there.

        Raises:
            SettingError: it is in production, or another version went on from it.
        """
        name = f"{card.name}@{card.version}"
        with self.log.adding() as addition:
            if addition.specialist(card.name).production == card.version:
                raise SettingError(
                    f"{name} is in production.", "Promote another version, or roll back, first."
                )
            addition.add("delete", card.name, card.version, why)
        shutil.rmtree(self.place(card.name, card.version), ignore_errors=True)

    def _read(self, name: str, version: int) -> Card:
        folder = self.place(name, version)
        if not folder.is_dir():
            raise CorruptFile(
                f"{name}@{version} is registered, but its folder {folder} is gone.",
                f"Bring it back from a copy, or give it up: azubi purge {name}@{version}",
            )
        return cards.read(folder)

    def _folders(self, name: str) -> builtins.list[int]:
        """Versions that have a folder, registered or not."""
        return [int(path.name) for path in (self._root / name).glob("*") if path.name.isdecimal()]


def _resolved(specialist: Specialist, wanted: str) -> int | None:
    """The version that is called so; None if there is none."""
    if wanted in specialist.aliases:
        return specialist.aliases[wanted]
    return int(wanted) if wanted.isdecimal() and int(wanted) in specialist.versions else None


def _others(specialists: dict[str, Specialist]) -> str:
    names = sorted(name for name, specialist in specialists.items() if specialist.versions)
    if not names:
        return "Make one: azubi tune FILE --name NAME"
    return f"There are: {', '.join(names)}."
