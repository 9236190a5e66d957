"""The specialists of one home, by name and version.

    <home>/specialists/<name>/<version>/

Versions count from 1 and are never used twice. Knows folders and cards; not what is in the weights.
"""

import builtins
import re
from collections.abc import Iterator
from pathlib import Path

from azubi.errors import UnknownSpecialist
from azubi.registry import card as cards
from azubi.registry.card import Card
from azubi.storage import files

__all__ = ["Card", "Store"]


class Store:
    """Finds specialists, and places for new ones."""

    def __init__(self, home: Path) -> None:
        """`home` need not exist yet."""
        self._root = home / "specialists"

    def list(self) -> list[Card]:
        """The newest version of every specialist, by name."""
        return [self.get(name) for name in self._names()]

    def all(self) -> Iterator[Card]:
        """Every version of every specialist, the oldest first."""
        for name in self._names():
            for version in self._versions(name):
                yield cards.read(self._root / name / str(version))

    def get(self, name: str) -> Card:
        """The specialist `name` (its newest version) or `name@version`.

        Raises:
            UnknownSpecialist: there is none; names those that there are.
        """
        plain, _, wanted = name.partition("@")
        versions = self._versions(plain)
        if not versions:
            raise UnknownSpecialist(f"There is no specialist {plain!r} in {self._root}.", self._others())
        if wanted and (not wanted.isdecimal() or int(wanted) not in versions):
            known = ", ".join(map(str, versions))
            raise UnknownSpecialist(f"The specialist {plain} has no version {wanted!r}.", f"It has: {known}.")
        return cards.read(self._root / plain / str(int(wanted) if wanted else versions[-1]))

    def reserve(self, name: str) -> tuple[int, Path]:
        """The next version number and its folder, which does not exist yet."""
        with files.locked(self._root):
            counter = self._root / name / ".last"
            with files.explained(counter):
                counter.parent.mkdir(parents=True, exist_ok=True)
                for unfinished in counter.parent.glob("..last.*"):  # left by a killed process
                    unfinished.unlink(missing_ok=True)
                last = int(counter.read_text() or 0) if counter.is_file() else 0
                version = max([last, *self._versions(name)]) + 1
                files.write_text(counter, str(version))
        return version, self.place(name, version)

    def place(self, name: str, version: int) -> Path:
        """The folder of a version that was reserved, whether it is there already or not."""
        return self._root / name / str(version)

    def _versions(self, name: str) -> builtins.list[int]:
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
            return []
        paths = (self._root / name).glob("*/" + cards.CARD)
        return sorted(int(path.parent.name) for path in paths if path.parent.name.isdecimal())

    def _names(self) -> builtins.list[str]:
        return sorted(folder.name for folder in self._root.glob("*") if self._versions(folder.name))

    def _others(self) -> str:
        names = self._names()
        if not names:
            return "Make one: azubi tune FILE --name NAME"
        return f"There are: {', '.join(names)}."
