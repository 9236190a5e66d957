"""The data versions of one home: manifests in the open, rows and splits encrypted.

    <home>/data/<version>/manifest.json            see `azubi.data.datasets.manifest`
                          rows.<generation>.bin    the rows, a line of JSON each
                          splits.<generation>.<split>.bin   where each question stands, a line each
    <home>/keys/data-<version>.<generation>.key

Rows are never changed in place. Taking some out writes the rest anew under a new key, then the manifest,
which says what counts, then throws the old files and key away: copies of the old files are unreadable from
then on, and whoever is killed on the way leaves the old state or the new one. Knows nothing of activations.
"""

import builtins
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from azubi.data.datasets.erased import Erased
from azubi.data.datasets.manifest import Manifest, SplitNote, newest
from azubi.data.datasets.rows import Row, from_json, to_json
from azubi.data.example import SPLITS, SplitName
from azubi.data.splits.split_assignment import SplitState
from azubi.errors import CorruptFile, RunError, UnknownData
from azubi.storage import encrypted_file, files
from azubi.storage.keys import Keys

MANIFEST = "manifest.json"
_SIGN: Mapping[SplitName, str] = {split: split[0] if split != "test" else "x" for split in SPLITS}
_SPLIT = {sign: split for split, sign in _SIGN.items()}
_RELATED = 0.5
"""Two states of the data are of the same data if so much of the smaller one is in the other."""


class Versions:
    """Finds data versions, keeps new ones, takes rows out."""

    def __init__(self, home: Path) -> None:
        """`home` need not exist yet."""
        self.folder = home / "data"
        self._home = home
        self._keys = Keys(home, "data")

    def list(self) -> builtins.list[Manifest]:
        """All versions, the newest first."""
        found = (_read(folder) for folder in self.folder.glob("*") if (folder / MANIFEST).is_file())
        return newest({one.version: one for one in found})

    def get(self, name: str) -> Manifest:
        """The version whose name begins with `name`.

        Raises:
            UnknownData: there is none, or more than one.
        """
        fitting = [one for one in self.list() if name and one.version.startswith(name)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            named = ", ".join(one.version for one in fitting[:5])
            raise UnknownData(f"{name!r} begins the names of {len(fitting)} data versions: {named}.", _MORE)
        raise UnknownData(f"There is no data version {name!r} in {self.folder}.", "See: azubi data list")

    def has(self, version: str) -> bool:
        """Whether there is a version of exactly that name."""
        return (self.folder / version / MANIFEST).is_file()

    def rows(self, manifest: Manifest) -> Iterator[Row]:
        """The rows that a version holds now.

        Raises:
            CorruptFile: they or their key are damaged or gone.
        """
        return map(from_json, self._lines(manifest, _rows_name(manifest)))

    def splits(self, manifest: Manifest, split: str) -> dict[str, SplitName]:
        """Where each question stands in one of a version's splits, by its name."""
        lines = self._lines(manifest, _splits_name(manifest, split))
        return {line[1:]: _SPLIT[line[0]] for line in lines}

    def earlier(self, version: str, split: str, questions: set[str]) -> tuple[SplitState, str]:
        """What splits of the same kind settled of these questions; and the version whose cut-offs hold.

        A version's own split counts before all others: the same data are split the same way for ever. Else,
        what was settled first holds; the cut-offs are those of the newest version that these data follow,
        which is one that shares half of its questions, or of these.
        """
        if self.has(version):
            own = _read(self.folder / version)
            if (note := _split_of(own, split)) is not None:
                return SplitState(self.splits(own, split), note.validation_from, note.test_from), note.follows
        splits: dict[str, SplitName] = {}
        validation_from = test_from = follows = ""
        for one in reversed(self.list()):
            if (note := _split_of(one, split)) is None:
                continue
            there = self.splits(one, split)
            common = {name: split for name, split in there.items() if name in questions}
            splits = common | splits
            if common and len(common) >= _RELATED * min(len(there), len(questions)):
                validation_from, test_from, follows = note.validation_from, note.test_from, one.version
        return SplitState(splits, validation_from, test_from), follows

    def keep(
        self, manifest: Manifest, rows: Sequence[Row], split: SplitNote, splits: Mapping[str, SplitName]
    ) -> bool:
        """Keep a version, or add a split to one that is there; tells whether anything was new.

        Raises:
            StorageError: the disk is full or may not be written.
            RunError: some of the rows were erased since they were read.
        """
        with files.locked(self.folder):
            erased = Erased(self._home)
            if len(erased.without(rows)) < len(rows):
                raise RunError("Rows of these data were erased while they were at work.", "Run it again.")
            known = _read(self.folder / manifest.version) if self.has(manifest.version) else None
            if known is not None and _split_of(known, split.name) is not None:
                return False
            place = known or manifest
            if known is None:
                self._clean(place)
                self._keys.make(_key_name(place))
                self._write(place, _rows_name(place), map(to_json, rows))
            self._write(place, _splits_name(place, split.name), _told(splits))
            self._put(place.model_copy(update={"splits": (*place.splits, split)}))
            return True

    def take_out(self, version: str, gone: Callable[[Row], bool]) -> int:
        """Take rows out of a version for good; returns how many. What a killed process left is cleared away.

        Raises:
            StorageError: the disk is full or may not be written.
            CorruptFile: the version cannot be read.
        """
        with files.locked(self.folder):
            manifest = _read(self.folder / version)
            before = list(self.rows(manifest))
            after = [row for row in before if not gone(row)]
            if len(after) < len(before):
                manifest = self._rewritten(manifest, before, after)
            self._clean(manifest)
            return len(before) - len(after)

    def _rewritten(self, old: Manifest, before: Sequence[Row], after: Sequence[Row]) -> Manifest:
        counts = dict.fromkeys(old.counts, 0)
        for row in after:
            counts[row.part] += 1
        erased = old.erased + len(before) - len(after)
        update: dict[str, Any] = {"counts": counts, "erased": erased, "generation": old.generation + 1}
        new = old.model_copy(update=update)
        self._clean(old)
        self._keys.make(_key_name(new))
        self._write(new, _rows_name(new), map(to_json, after))
        lost = {name for row in before for name in row.questions}
        lost -= {name for row in after for name in row.questions}
        for split in old.splits:
            splits = self.splits(old, split.name)
            kept = {name: split for name, split in splits.items() if name not in lost}
            self._write(new, _splits_name(new, split.name), _told(kept))
        self._put(new)
        return new

    def _clean(self, manifest: Manifest) -> None:
        """Remove files and keys of generations that do not count."""
        folder, own = self.folder / manifest.version, f".{manifest.generation}."
        for path in folder.glob("*.bin"):
            if own not in path.name:
                _overwrite(path)
        for path in folder.glob(".*.bin.*"):  # a scratch file of a killed process
            path.unlink(missing_ok=True)
        for name in self._keys.versions():
            if name.startswith(f"{manifest.version}.") and name != _key_name(manifest):
                self._keys.throw_away(name)

    def _lines(self, manifest: Manifest, name: str) -> Iterator[str]:
        path = self.folder / manifest.version / name
        cipher = self._keys.find(_key_name(manifest))
        if cipher is None or not path.is_file():
            lost = path if cipher is not None else self._keys.path(_key_name(manifest))
            raise CorruptFile(
                f"The rows of the data version {manifest.version} cannot be read: {lost} is gone.",
                "Bring it back from a copy, or remove the version's folder.",
            )
        return encrypted_file.read(path, f"{manifest.version} {name}", cipher)

    def _write(self, manifest: Manifest, name: str, lines: Iterable[str]) -> None:
        cipher = self._keys.find(_key_name(manifest))
        assert cipher is not None
        encrypted_file.write(
            self.folder / manifest.version / name, f"{manifest.version} {name}", cipher, lines
        )

    def _put(self, manifest: Manifest) -> None:
        files.write_text(self.folder / manifest.version / MANIFEST, manifest.model_dump_json(indent=1))


_MORE = "Write more of the name."


def now() -> datetime:
    """When something is made. Not rounded: two runs in one second still come one after the other."""
    return datetime.now(UTC)


def _read(folder: Path) -> Manifest:
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError) as error:
        raise CorruptFile(
            f"{folder / MANIFEST} cannot be read.",
            "Bring it back from a copy, or update azubi if a newer one wrote it.",
        ) from error


def _split_of(manifest: Manifest, name: str) -> SplitNote | None:
    return next((one for one in manifest.splits if one.name == name), None)


def _told(splits: Mapping[str, SplitName]) -> Iterator[str]:
    return (_SIGN[split] + name for name, split in splits.items())


def _key_name(manifest: Manifest) -> str:
    return f"{manifest.version}.{manifest.generation}"


def _rows_name(manifest: Manifest) -> str:
    return f"rows.{manifest.generation}.bin"


def _splits_name(manifest: Manifest, split: str) -> str:
    return f"splits.{manifest.generation}.{split}.bin"


def _overwrite(path: Path) -> None:
    with suppress(OSError):
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.write(bytes(size))
    path.unlink(missing_ok=True)
