"""The manifest of a data version: all that is told of it without showing a row.

Knows nothing of where it lies.
"""

from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from azubi.data.example import SplitName
from azubi.data.finding import Finding, Level
from azubi.data.splits.splitting import Split
from azubi.settings import SplitSettings

_CONFIG = ConfigDict(extra="forbid", frozen=True)


class FindingNote(BaseModel):
    """A finding without its cases, which would quote rows."""

    model_config = _CONFIG

    kind: str
    level: Level
    count: int


class SplitNote(BaseModel):
    """One way in which the rows were parted. Which row stands where is kept apart, encrypted."""

    model_config = _CONFIG

    name: str
    """Follows from settings, seed and which splits were given."""
    settings: SplitSettings
    seed: int
    given: tuple[SplitName, ...]
    follows: str = ""
    """The earlier version whose cut-offs it keeps; empty if none."""
    counts: dict[SplitName, int]
    """Before any limit."""
    duplicates: int
    overlapping: int
    moved: int
    validation_from: str = ""
    test_from: str = ""


class Manifest(BaseModel):
    """A data version's papers."""

    model_config = _CONFIG

    format: Literal[1] = 1
    version: str
    """Hash of the content: the same rows in any order have the same one."""
    created: datetime
    source: dict[str, str]
    """SHA-256 of each data file, by its name."""
    mapping: dict[str, Any]
    """The settings by which sources became rows."""
    counts: dict[str, int]
    """Rows by the setting that named them: data, test_data, validation_data."""
    findings: tuple[FindingNote, ...] = ()
    splits: tuple[SplitNote, ...] = ()
    erased: int = 0
    """Rows that were erased since; the name stays what it was."""
    generation: int = 1
    """Counts how often the rows were written anew under a new key."""

    @property
    def rows(self) -> int:
        """How many it holds now."""
        return sum(self.counts.values())


def split_name(settings: SplitSettings, seed: int, given: tuple[SplitName, ...]) -> str:
    """What a way to part rows is called: 16 hexadecimal digits."""
    told = f"{settings.model_dump_json()} {seed} {' '.join(sorted(given))}"
    return blake2b(told.encode(), digest_size=8).hexdigest()


def split_note(
    parts: Split, settings: SplitSettings, seed: int, given: tuple[SplitName, ...], follows: str = ""
) -> SplitNote:
    """What the manifest keeps of a split."""
    return SplitNote(
        name=split_name(settings, seed, given),
        settings=settings,
        seed=seed,
        given=given,
        follows=follows,
        counts=dict(parts.whole),
        duplicates=parts.duplicates,
        overlapping=parts.overlapping,
        moved=parts.moved,
        validation_from=parts.state.validation_from,
        test_from=parts.state.test_from,
    )


def notes(findings: tuple[Finding, ...]) -> tuple[FindingNote, ...]:
    """What the manifest keeps of findings."""
    return tuple(FindingNote(kind=one.kind, level=one.level, count=one.count) for one in findings)


def newest(manifests: Mapping[str, Manifest]) -> list[Manifest]:
    """Manifests, the newest first."""
    return sorted(manifests.values(), key=lambda one: (one.created, one.version), reverse=True)
