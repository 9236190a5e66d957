"""`lineage.json`: all that a version was made from and by, as it was when it was made.

It lies in the version's folder and is signed with it. What came later (proofs, promotions) is in the log and
the proofs; `azubi papers` puts both together. Knows nothing of how a specialist is trained.
"""

import hashlib
import platform
import re
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

import azubi
from azubi.engine.base import catalog, hardware
from azubi.engine.base.base import Base
from azubi.engine.base.licence import licence_text
from azubi.errors import CorruptFile
from azubi.events.figures import Score
from azubi.registry import licence
from azubi.registry.card import Card
from azubi.storage import files

LINEAGE, BASE_LICENCE = "lineage.json", "LICENSE-base.txt"
PROPRIETARY, UNKNOWN = "proprietary", "unknown"
_TEXTS = Path(__file__).parent / "texts"
_CONFIG = ConfigDict(extra="forbid", frozen=True)


class BaseOrigin(BaseModel):
    """The open model."""

    model_config = _CONFIG

    name: str
    revision: str
    """On the Hub, or the package with its version; empty where it came from a folder or file."""
    sha256: str
    family: str
    parameters: int
    layers: int
    licence: str
    """As its makers name it."""
    licence_id: str
    """SPDX, or LicenseRef-…"""
    licence_text: bool
    """Whether its text lies beside this file."""
    pretraining: float | None
    """Floating-point operations of its training; None where not known."""


class DataOrigin(BaseModel):
    """The examples."""

    model_config = _CONFIG

    version: str
    sources: dict[str, str]
    """SHA-256 of each, by its name."""
    rows: int
    counts: dict[str, int]
    """Examples for train, validation and test."""
    licence: str = PROPRIETARY
    first: str = ""
    last: str = ""
    """Time span; empty where the rows have no times."""
    personal_data: str
    """What was done about personal data before anything was learned."""


class Software(BaseModel):
    """What computed."""

    model_config = _CONFIG

    azubi: str
    source_sha256: str
    """Over azubi's own source files."""
    python: str
    libraries: dict[str, str]


class MachineOrigin(BaseModel):
    """Where it was computed."""

    model_config = _CONFIG

    processor: str
    system: str
    memory: int
    """Bytes."""
    threads: int
    dtype: str


class PlanLine(BaseModel):
    """A figure of the plan, and what came of it."""

    model_config = _CONFIG

    name: str
    unit: str
    planned: float | None
    took: float


class Lineage(BaseModel):
    """Where a version comes from."""

    model_config = _CONFIG

    format: int = 1
    specialist: str
    """As name@version."""
    base: BaseOrigin
    parent: str = ""
    parent_sha256: str = ""
    data: DataOrigin
    recipe: dict[str, Any]
    seed: int
    software: Software
    machine: MachineOrigin
    plan: tuple[PlanLine, ...] = ()
    operations: float = 0.0
    """Floating-point operations that its training took, those of the frozen layers included."""
    scores: dict[str, tuple[Score, ...]]


def read(folder: Path) -> Lineage:
    """The lineage of the version in `folder`.

    Raises:
        CorruptFile: it is not there, or not as azubi writes it.
    """
    path = folder / LINEAGE
    try:
        return Lineage.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise CorruptFile(f"{path} cannot be read.", "Bring the folder back from a copy.") from error


def of(card: Card) -> Lineage:
    """A version's lineage; of one that came without, such as an adapter made elsewhere, what its card knows.

    Raises:
        CorruptFile: it is there, and is not as azubi writes it.
    """
    if (card.folder / LINEAGE).is_file():
        return read(card.folder)
    return Lineage(
        specialist=f"{card.name}@{card.version}",
        base=BaseOrigin(
            name=card.base,
            revision="",
            sha256=card.base_sha256,
            family=card.family,
            parameters=card.parameters,
            layers=card.layers,
            licence=card.licence,
            licence_id=licence.find(card.licence).id,
            licence_text=False,
            pretraining=None,
        ),
        parent=card.parent,
        parent_sha256=card.parent_sha256,
        data=DataOrigin(
            version=card.data_version or UNKNOWN,
            sources=card.data,
            rows=sum(card.counts.values()),
            counts=card.counts,
            licence=PROPRIETARY if card.data_version else UNKNOWN,
            personal_data=card.hidden.policy if card.data_version else UNKNOWN,
        ),
        recipe=card.recipe,
        seed=0,
        software=Software(
            azubi=card.versions.get("azubi", UNKNOWN),
            source_sha256="",
            python=card.versions.get("python", UNKNOWN),
            libraries={
                name: card.versions[name] for name in ("torch", "transformers") if name in card.versions
            },
        ),
        machine=MachineOrigin(processor=UNKNOWN, system=UNKNOWN, memory=0, threads=0, dtype=card.dtype),
        scores=card.scores,
    )


def base_origin(base: Base, parameters: int) -> BaseOrigin:
    """What is known of a base."""
    entry = catalog.find(base.name)
    in_hub = base.folder.name if base.folder.parent.name == "snapshots" else ""
    return BaseOrigin(
        name=base.name,
        revision=entry.package if entry is not None else in_hub,
        sha256=base.sha256,
        family=base.family,
        parameters=parameters,
        layers=base.layers,
        licence=base.licence,
        licence_id=licence.find(base.licence).id,
        licence_text=bool(text_of(base)),
        pretraining=base.pretraining,
    )


def text_of(base: Base) -> str:
    """The text of a base's licence: from its folder, or ours where it is the same for all; empty if
    neither."""
    own = _TEXTS / f"{licence.find(base.licence).id}.txt"
    return licence_text(base.folder) or (own.read_text(encoding="utf-8") if own.is_file() else "")


def machine_origin(threads: int, dtype: str) -> MachineOrigin:
    """This machine."""
    return MachineOrigin(
        processor=hardware.processor(),
        system=platform.platform(),
        memory=psutil.virtual_memory().total,
        threads=threads,
        dtype=dtype,
    )


@cache
def software() -> Software:
    """What computes here: azubi, and what it needs, as far as it is installed."""
    root = Path(azubi.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()} {files.sha256(path)}\n".encode())
    return Software(
        azubi=azubi.__version__,
        source_sha256=digest.hexdigest(),
        python=platform.python_version(),
        libraries=dict(sorted(_libraries())),
    )


def _libraries() -> Iterator[tuple[str, str]]:
    """Installed distributions that azubi needs, and those that these need; extras are left out."""
    waiting, seen = ["azubi"], {"azubi"}
    while waiting:
        try:
            distribution = metadata.distribution(waiting.pop())
        except metadata.PackageNotFoundError:
            continue
        name = _canonical(distribution.name)
        if name != "azubi":
            yield name, distribution.version
        for requirement in distribution.requires or ():
            needed = _canonical(re.split(r"[^\w.-]", requirement)[0])
            if "extra ==" not in requirement and needed not in seen:
                seen.add(needed)
                waiting.append(needed)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
