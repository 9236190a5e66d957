"""One worked example: what was asked, and the answer the company gave.

Knows nothing of files, tokens or models.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, get_args

Role = Literal["system", "user", "assistant"]

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)

Part = Literal["data", "test_data", "validation_data"]
"""The setting that named where examples came from."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation."""

    role: Role
    content: str
    learned: bool = False
    """Whether training learns it beside the answer; for turns of the assistant."""


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation up to the answer, and the answer.

    `turns` ends with the user's last message; earlier assistant turns are context.
    `line` is the 1-based line (or row) of the source, for messages to the person who brought it.
    """

    turns: tuple[Turn, ...]
    answer: str
    line: int = 0
    key: str = ""
    """The company's own name for the row (a claim number), if it brought one."""
    group: str = ""
    """Rows of one group (a policyholder, say) stay in one split; empty if there are none."""
    time: str = ""
    """When it happened, as ISO 8601, so that text order is order in time; empty if not given."""
    weight: float = 1.0
    """How much it counts in training."""

    @property
    def prompt(self) -> str:
        """What was asked, as one text: the user's message, or the whole conversation if longer."""
        if len(self.turns) == 1:
            return self.turns[0].content
        return "\n".join(f"{turn.role}: {turn.content}" for turn in self.turns)

    @property
    def id(self) -> str:
        """Follows from the content: equal content, equal id, on every machine."""
        parts = [f"{turn.role}\0{turn.content}" for turn in self.turns] + [self.answer]
        return sha256("\1".join(parts).encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """What it is called: the company's own key, else the hash of its content."""
        return self.key or self.id
