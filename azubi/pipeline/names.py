"""What a service can be asked for: specialists, their versions and aliases, and bases as they were published.

The registry's log is read again when its files have changed, so that a promotion counts from the next request
on, and a request costs no more than a look at two files. Knows nothing of models.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from azubi.engine.base import catalog
from azubi.errors import CorruptFile, UnknownSpecialist
from azubi.registry import card as cards
from azubi.registry.log import Specialist
from azubi.registry.store import Store

_SETTLED = 0.1
"""Seconds after a change from which on a file's time tells every further one."""
_Stamp = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ModelInfo:
    """What can be asked."""

    name: str
    created: int
    """Seconds since 1970; 0 for a base."""
    kind: Literal["specialist", "alias", "base"]
    owned_by: str


class Names:
    """The names of one home."""

    def __init__(self, home: Path) -> None:
        """`home` need not exist yet."""
        self._home, self._store = home, Store(home)
        self._known: tuple[_Stamp, dict[str, Specialist], dict[str, str]] | None = None

    def resolved(self, name: str) -> str:
        """What a name stands for now: name@version of a specialist, or a base.

        Raises:
            UnknownSpecialist: nothing of that name is here.
            CorruptFile: the registry is damaged.
        """
        specialists, bases = self._read()
        try:
            return "@".join(map(str, self._store.resolve(name, specialists)))
        except UnknownSpecialist:
            if name in bases:
                return name
            raise

    def bases(self) -> dict[str, str]:
        """Bases that can be asked as they were published: their names, and what `open_base` opens."""
        return self._read()[1]

    def all(self) -> Iterator[ModelInfo]:
        """Each specialist and its versions, their aliases, and the bases."""
        specialists, bases = self._read()
        for name, specialist in sorted(specialists.items()):
            created = {version: int(entry.when.timestamp()) for version, entry in specialist.versions.items()}
            if not created:
                continue
            yield ModelInfo(name, created[max(created)], "specialist", "company")
            for version, when in sorted(created.items()):
                yield ModelInfo(f"{name}@{version}", when, "specialist", "company")
            for alias, version in specialist.aliases.items():
                yield ModelInfo(f"{name}@{alias}", created[version], "alias", "company")
        for name in bases:
            yield ModelInfo(name, 0, "base", "base")

    def _read(self) -> tuple[dict[str, Specialist], dict[str, str]]:
        stamp = self._stamp()
        if self._known is None or self._known[0] != stamp:
            specialists = self._store.log.specialists()
            fresh = time.time() - max((changed for changed, _ in stamp), default=0) / 1e9 < _SETTLED
            bases = self._bases(specialists)
            if fresh:  # it may change once more within the same tick
                return specialists, bases
            self._known = stamp, specialists, bases
        return self._known[1:]

    def _stamp(self) -> _Stamp:
        """When the log's files and the folder of bases were changed, and their sizes."""
        path = self._store.log.path
        times = []
        for file in (path, path.with_name(f"{path.name}-wal"), self._home / "bases"):
            try:
                status = file.stat()
            except FileNotFoundError:
                continue
            times.append((status.st_mtime_ns, status.st_size))
        return tuple(times)

    def _bases(self, specialists: dict[str, Specialist]) -> dict[str, str]:
        here = {entry.name: entry.name for entry in catalog.known() if entry.path(self._home) is not None}
        own = set[str]()
        for name, specialist in specialists.items():
            for version in specialist.versions:
                with suppress(CorruptFile):  # whoever asks for it is told
                    own.add(cards.read(self._store.place(name, version)).base)
        used = {Path(base).name: base for base in sorted(own) if catalog.find(base) is None}
        return used | self._folders() | here

    def _folders(self) -> dict[str, str]:
        """Bases that someone put, or linked, into the home, and that are no copies of packed ones."""
        folders = sorted(path.parent for path in (self._home / "bases").glob("*/config.json"))
        return {
            each.name: str(each.absolute()) for each in folders if not (each / catalog.UNPACKED).is_file()
        }
