"""Versions as plain files for another machine: written by `push`, checked and taken over by `pull`.

    BUNDLE/<name>/<version>.json     the version's files with size and SHA-256; written last
    BUNDLE/<name>/<version>/         its folder, as it lies in the home

What comes from outside is not trusted. Only files that the list names are copied, by plain names, in the
sizes that it says; no link is followed, and nothing is read before the copy has the right hash. Weights are
safetensors: a file of any other kind than azubi writes is refused, so nothing is ever unpickled. Who made it
is shown by a signature alone; one by a key that is not trusted here is refused.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from azubi.errors import CorruptFile, SettingError, UnknownSpecialist
from azubi.registry import card as cards
from azubi.registry import signature
from azubi.registry.card import Card
from azubi.registry.store import NAME, REMOVABLE, Store
from azubi.storage import files

_KINDS = (".safetensors", ".json", ".html", ".yaml", ".txt", ".md", ".sig", ".pub")
"""Endings of files that lie in a version's folder."""
_BLOCK = 1 << 20
_LARGEST_LIST = 1 << 20
_MOST_FILES = 64


class BundledFile(BaseModel):
    """A file of a bundled version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class BundledVersion(BaseModel):
    """The list of a version's files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    name: str = Field(pattern=rf"^{NAME.pattern}$", max_length=64)
    version: int = Field(ge=1)
    files: dict[str, BundledFile] = Field(max_length=_MOST_FILES)


def push(home: Path, bundle: Path, names: Collection[str] = ()) -> list[str]:
    """Put versions, all if none is named, into a bundle; returns those that were not there yet.

    Raises:
        UnknownSpecialist: there is none of a name.
        CorruptFile: the files of a version are not those that were registered.
        SettingError: the bundle has another version of that name and number.
        StorageError: the bundle cannot be written.
    """
    store = Store(home)
    chosen = [store.get(name) for name in names] if names else list(store.all())
    pushed = []
    for card in chosen:
        store.verify(card)
        if _push(store.place(card.name, card.version), card, bundle):
            pushed.append(f"{card.name}@{card.version}")
    return pushed


def _push(folder: Path, card: Card, bundle: Path) -> bool:
    digests = signature.hashes_of(folder)
    version = BundledVersion(
        name=card.name,
        version=card.version,
        files={
            name: BundledFile(bytes=(folder / name).stat().st_size, sha256=digest)
            for name, digest in digests.items()
        },
    )
    place, listed = _place(bundle, version), _list(bundle, card.name, card.version)
    with files.locked(bundle):
        if listed.is_file():
            if _read(listed) == version:
                return False
            raise SettingError(
                f"{listed} is another {card.name}@{card.version} than the one here.", "Choose another folder."
            )
        shutil.rmtree(place, ignore_errors=True)  # of a process that was killed
        with files.new_folder(place) as scratch:
            for name, file in version.files.items():
                _copy(folder / name, scratch / name, file)
        files.write_text(listed, version.model_dump_json(indent=1))
    return True


def pull(home: Path, bundle: Path, names: Collection[str] = (), key: Path | None = None) -> list[str]:
    """Take versions, all if none is named, out of a bundle; returns those that are new here.

    `key` is a public key to trust from now on.

    Raises:
        UnknownSpecialist: the bundle has none of a name (name@version).
        CorruptFile: a file is missing, changed, too much, or a signature is not by a trusted key.
        SettingError: there is another version of that name and number here.
        StorageError: the home cannot be written.
    """
    versions = [_read(path) for path in sorted(bundle.glob("*/*.json"))]
    there = {f"{version.name}@{version.version}": version for version in versions}
    if unknown := [name for name in names if name not in there]:
        raise UnknownSpecialist(
            f"{bundle} has no {unknown[0]}.", f"It has: {', '.join(there) or 'no version at all'}."
        )
    if key is not None:
        trusted = home / "keys" / f"{signature.fingerprint(key)[:16]}.pub"
        files.write_bytes(trusted, key.read_bytes())
    return [
        name
        for name, version in there.items()
        if (not names or name in names) and _pull(home, bundle, version)
    ]


def _pull(home: Path, bundle: Path, version: BundledVersion) -> bool:
    store, source = Store(home), _place(bundle, version)
    folder, name = store.place(version.name, version.version), f"{version.name}@{version.version}"
    known = store.log.specialists().get(version.name)
    if known is not None and (entry := known.versions.get(version.version)) is not None:
        digests = {name: file.sha256 for name, file in version.files.items() if name not in REMOVABLE}
        if digests.items() <= entry.details["files"].items():
            return False
        raise SettingError(f"{name} is here already, and is another one.", "See: azubi show " + name)
    _check_names(source, version)
    if folder.is_dir():  # not registered: of a pull that was killed here, or of a run that ends this moment
        listed = {file: entry.sha256 for file, entry in version.files.items()}
        signature.compare(folder, signature.hashes_of(folder), listed)
        store.register(cards.read(folder), f"pulled from {bundle}")
        return True
    with files.new_folder(folder) as scratch:
        for file, expected in version.files.items():
            _copy(source / file, scratch / file, expected)
        card = cards.read(scratch)
        tail = version.files.get(cards.TAIL)
        if (card.name, card.version) != (version.name, version.version) or (
            card.tail_sha256 and (tail is None or tail.sha256 != card.tail_sha256)
        ):
            raise CorruptFile(
                f"{source / cards.CARD} is not the card of {name}.", "Ask for the bundle again."
            )
        if signature.SIGNATURE in version.files:
            _check_signature(scratch, source, home)
    store.register(card, f"pulled from {bundle}")
    return True


def _check_signature(copied: Path, source: Path, home: Path) -> None:
    try:
        signature.verify(copied, signature.trusted_keys(home), REMOVABLE)
    except CorruptFile as error:
        raise CorruptFile(
            error.problem.replace(str(copied), str(source)),
            "Give the public key of whoever signed it: azubi pull … --key FILE",
        ) from error


def _check_names(source: Path, version: BundledVersion) -> None:
    """Refuse names that lead elsewhere, kinds of files that do not belong here, and files that are not
    listed."""
    for name in version.files:
        if name != Path(name).name or name.startswith(".") or not name.endswith(_KINDS):
            raise CorruptFile(
                f"{source} lists a file “{name}”, which does not belong to a specialist.",
                "Do not use this bundle.",
            )
    there = set(os.listdir(source)) if source.is_dir() and not source.is_symlink() else set()
    for name in sorted(there.symmetric_difference(version.files)):
        what = "is not on its list" if name in there else "is missing"
        raise CorruptFile(f"{source / name} {what}.", "Ask for the bundle again.")


def _copy(source: Path, target: Path, expected: BundledFile) -> None:
    """Copy a plain file, and refuse it unless what was copied is what was expected.

    Raises:
        CorruptFile: it is a link or a device, has another size or another content.
    """
    digest, size = hashlib.sha256(), 0
    try:
        handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise CorruptFile(f"{source} cannot be read: {error.strerror}.", "Ask for it again.") from error
    with os.fdopen(handle, "rb") as opened, target.open("wb") as copy:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise CorruptFile(f"{source} is no file.", "Ask for it again.")
        while block := opened.read(_BLOCK):
            size += len(block)
            if size > expected.bytes:
                break
            digest.update(block)
            copy.write(block)
        copy.flush()
        os.fsync(copy.fileno())
    if size != expected.bytes or digest.hexdigest() != expected.sha256:
        raise CorruptFile(
            f"{source} is not what its list says: size or SHA-256 differs.", "Ask for it again."
        )


def _read(path: Path) -> BundledVersion:
    try:
        if path.is_symlink() or path.stat().st_size > _LARGEST_LIST:
            raise CorruptFile(f"{path} is a link or too large.", "Do not use this bundle.")
        version = BundledVersion.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise CorruptFile(f"{path} is not the list of a version.", "Ask for the bundle again.") from error
    if (path.parent.name, path.stem) != (version.name, str(version.version)):
        raise CorruptFile(f"{path} lists {version.name}@{version.version}.", "Ask for the bundle again.")
    return version


def _place(bundle: Path, version: BundledVersion) -> Path:
    return bundle / version.name / str(version.version)


def _list(bundle: Path, name: str, version: int) -> Path:
    return bundle / name / f"{version}.json"
