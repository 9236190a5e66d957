"""What a check found: how many, where, why it matters, what to do.

Knows nothing of how things are found or shown.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from azubi.data.example import Example

Level = Literal["error", "warning", "note"]
"""An error keeps azubi from training; a warning costs quality or trust; a note is good to know."""

SHOWN = 5
"""How many cases of a finding are kept, the first ones."""


class Case(BaseModel):
    """One of the places where something was found."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lines: tuple[int, ...]
    """Lines (rows) of the source; two for a pair."""
    text: str
    """What stands there, shortened, or what is wrong with it."""


class Finding(BaseModel):
    """One kind of fault (or fact) in a data set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    """Its stable name, such as near_duplicates."""
    level: Level
    title: str
    """One sentence with the number in it."""
    count: int
    cases: tuple[Case, ...] = ()
    """The first five."""
    why: str
    remedy: str
    routine: bool = False
    """Whether it is a fact that is given of any data, where nothing stands out."""
    details: dict[str, Any] = Field(default_factory=dict)
    """Numbers behind it, as JSON, for programs and charts."""


class Material(Protocol):
    """A data set as checks read it: any number of times, a batch at a time, never whole in memory."""

    def __len__(self) -> int:
        """Number of examples."""

    def batches(self, size: int = 10_000) -> Iterator[Sequence[Example]]:
        """All examples in the order of the source."""
