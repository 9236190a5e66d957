"""The data versions of one home: manifests in the open, rows and splits encrypted.

    <home>/data/<version>/manifest.json                       see `azubi.data.datasets.rows`
                          rows.<generation>.bin               the rows, a line of JSON each
                          splits.<generation>.<split>.bin     the split of each question, a line each
    <home>/keys/data-<version>.<generation>.key

Rows are never changed in place. Taking some out writes the rest anew under a new key, then the manifest,
which says what counts, then deletes the old files and overwrites their key. From then on copies of the old
files are unreadable. A process that is killed on the way leaves the old state or the new one.
"""

import builtins
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from azubi.data.datasets.erased import Erased
from azubi.data.datasets.rows import Manifest, Row, SplitNote, from_json, to_json
from azubi.data.example import SPLITS, SplitName
from azubi.data.splits.splitting import SplitState
from azubi.errors import CorruptFile, RunError, UnknownData
from azubi.storage import encrypted_file, files
from azubi.storage.encrypted_file import Keys

MANIFEST = "manifest.json"
_SIGN: Mapping[SplitName, str] = {split: split[0] if split != "test" else "x" for split in SPLITS}
_SPLIT = {sign: split for split, sign in _SIGN.items()}
_RELATED = 0.5
"""Two states are of the same data if so much of the smaller one is in the other."""


class Versions:
    """Finds data versions, keeps new ones, takes rows out."""

    def __init__(self, home: Path) -> None:
        """`home` need not exist yet."""
        self.folder = home / "data"
        self._home = home
        self._keys = Keys(home, "data")

    def list(self) -> builtins.list[Manifest]:
        """All versions, the newest first."""
        manifests = [_read(path.parent) for path in self.folder.glob(f"*/{MANIFEST}")]
        return sorted(manifests, key=lambda manifest: (manifest.created, manifest.version), reverse=True)

    def get(self, name: str) -> Manifest:
        """The version whose name begins with `name`.

        Raises:
            UnknownData: there is none, or more than one.
        """
        matches = [manifest for manifest in self.list() if name and manifest.version.startswith(name)]
        if not matches:
            raise UnknownData(f"There is no data version {name!r} in {self.folder}.", "See: azubi data list")
        if len(matches) > 1:
            named = ", ".join(manifest.version for manifest in matches[:5])
            raise UnknownData(
                f"{name!r} begins the names of {len(matches)} data versions: {named}.",
                "Write more of the name.",
            )
        return matches[0]

    def rows(self, manifest: Manifest) -> Iterator[Row]:
        """The rows that a version holds now.

        Raises:
            CorruptFile: they or their key are damaged or gone.
        """
        return map(from_json, self._lines(manifest, _rows_name(manifest)))

    def splits(self, manifest: Manifest, split: str) -> dict[str, SplitName]:
        """For one of a version's splits, which split each question is in, by the question's name."""
        lines = self._lines(manifest, _splits_name(manifest, split))
        return {line[1:]: _SPLIT[line[0]] for line in lines}

    def earlier(self, version: str, split: str, questions: set[str]) -> tuple[SplitState, str]:
        """What splits of the same kind decided about these questions; and the version whose cut-offs hold.

        A version's own split counts before all others: the same data are split the same way for ever. Else
        the oldest decision holds. The cut-offs are those of the newest version that these data follow: it
        shares half of its questions, or of these.
        """
        if (own := self._find(version)) is not None and (note := own.split(split)) is not None:
            return SplitState(self.splits(own, split), note.validation_from, note.test_from), note.follows
        splits: dict[str, SplitName] = {}
        validation_from = test_from = follows = ""
        for manifest in reversed(self.list()):
            if (note := manifest.split(split)) is None:
                continue
            decided = self.splits(manifest, split)
            common = {name: there for name, there in decided.items() if name in questions}
            splits = common | splits
            if common and len(common) >= _RELATED * min(len(decided), len(questions)):
                validation_from, test_from = note.validation_from, note.test_from
                follows = manifest.version
        return SplitState(splits, validation_from, test_from), follows

    def keep(
        self, manifest: Manifest, rows: Sequence[Row], split: SplitNote, splits: Mapping[str, SplitName]
    ) -> bool:
        """Keep a version, or add a split to one that is kept; returns whether anything was new.

        Raises:
            StorageError: the disk is full or may not be written.
            RunError: some of the rows were erased since they were read.
        """
        with files.locked(self.folder):
            if len(Erased(self._home).without(rows)) < len(rows):
                raise RunError("Rows of these data were erased while they were at work.", "Run it again.")
            kept = self._find(manifest.version)
            if kept is None:
                self._clean(manifest)
                self._keys.make(_key_name(manifest))
                self._write(manifest, _rows_name(manifest), map(to_json, rows))
            elif kept.split(split.name) is not None:
                return False
            self._write_splits(kept or manifest, split.name, splits)
            self._put(kept or manifest, splits=(*(kept or manifest).splits, split))
            return True

    def take_out(self, version: str, is_gone: Callable[[Row], bool]) -> int:
        """Take rows out of a version for good; returns how many. Clears away what a killed process left.

        Raises:
            StorageError: the disk is full or may not be written.
            CorruptFile: the version cannot be read.
        """
        with files.locked(self.folder):
            manifest = _read(self.folder / version)
            before = list(self.rows(manifest))
            after = [row for row in before if not is_gone(row)]
            if len(after) < len(before):
                manifest = self._rewrite(manifest, before, after)
            self._clean(manifest)
            return len(before) - len(after)

    def _rewrite(self, old: Manifest, before: Sequence[Row], after: Sequence[Row]) -> Manifest:
        new = old.model_copy(update={"generation": old.generation + 1})
        self._clean(old)
        self._keys.make(_key_name(new))
        self._write(new, _rows_name(new), map(to_json, after))
        lost = {name for row in before for name in row.questions}
        lost -= {name for row in after for name in row.questions}
        for note in old.splits:
            splits = self.splits(old, note.name)
            self._write_splits(new, note.name, {name: splits[name] for name in splits if name not in lost})
        counts = {part: sum(row.part == part for row in after) for part in old.counts}
        return self._put(new, counts=counts, erased=old.erased + len(before) - len(after))

    def _clean(self, manifest: Manifest) -> None:
        """Remove files and keys of generations that do not count."""
        folder, generation = self.folder / manifest.version, f".{manifest.generation}."
        for path in folder.glob("*.bin"):
            if generation not in path.name:
                path.unlink()
        for path in folder.glob(".*.bin.*"):  # a scratch file of a killed process
            path.unlink(missing_ok=True)
        for name in self._keys.versions():
            if name.startswith(f"{manifest.version}.") and name != _key_name(manifest):
                self._keys.throw_away(name)

    def _find(self, version: str) -> Manifest | None:
        folder = self.folder / version
        return _read(folder) if (folder / MANIFEST).is_file() else None

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
        label = f"{manifest.version} {name}"
        encrypted_file.write(self.folder / manifest.version / name, label, cipher, lines)

    def _write_splits(self, manifest: Manifest, split: str, splits: Mapping[str, SplitName]) -> None:
        lines = (_SIGN[there] + name for name, there in splits.items())
        self._write(manifest, _splits_name(manifest, split), lines)

    def _put(self, manifest: Manifest, **changes: object) -> Manifest:
        changed = manifest.model_copy(update=changes)
        files.write_text(self.folder / changed.version / MANIFEST, changed.model_dump_json(indent=1))
        return changed


def now() -> datetime:
    """The time, not rounded: two runs in one second still come one after the other."""
    return datetime.now(UTC)


def _read(folder: Path) -> Manifest:
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError) as error:
        raise CorruptFile(
            f"{folder / MANIFEST} cannot be read.",
            "Bring it back from a copy, or update azubi if a newer one wrote it.",
        ) from error


def _key_name(manifest: Manifest) -> str:
    return f"{manifest.version}.{manifest.generation}"


def _rows_name(manifest: Manifest) -> str:
    return f"rows.{manifest.generation}.bin"


def _splits_name(manifest: Manifest, split: str) -> str:
    return f"splits.{manifest.generation}.{split}.bin"
