"""The manifest of a data version: what may be said of it without showing a row."""

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
    """One way in which the rows were split. Which row is in which split is stored apart, encrypted."""

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
    """A data version: where it came from, what is in it, how it was split."""

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

    def split(self, name: str) -> SplitNote | None:
        """The split of that name."""
        return next((note for note in self.splits if note.name == name), None)


def split_name(settings: SplitSettings, seed: int, given: tuple[SplitName, ...]) -> str:
    """The name of a way to split rows: 16 hexadecimal digits."""
    text = f"{settings.model_dump_json()} {seed} {' '.join(sorted(given))}"
    return blake2b(text.encode(), digest_size=8).hexdigest()


def split_note(
    split: Split, settings: SplitSettings, seed: int, given: tuple[SplitName, ...], follows: str = ""
) -> SplitNote:
    """What the manifest keeps of a split."""
    return SplitNote(
        name=split_name(settings, seed, given),
        settings=settings,
        seed=seed,
        given=given,
        follows=follows,
        counts=dict(split.whole),
        duplicates=split.duplicates,
        overlapping=split.overlapping,
        moved=split.moved,
        validation_from=split.state.validation_from,
        test_from=split.state.test_from,
    )


def notes(findings: tuple[Finding, ...]) -> tuple[FindingNote, ...]:
    """What the manifest keeps of findings."""
    return tuple(
        FindingNote(kind=finding.kind, level=finding.level, count=finding.count) for finding in findings
    )
