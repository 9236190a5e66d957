"""The general probe: short questions of which everyone knows the answer, or should refuse to give one.

Written for azubi, so that no training data can hold them. Each has two to four answers to choose from. Knows
nothing of models.
"""

from importlib import resources
from typing import Literal

from pydantic import BaseModel, ConfigDict

KINDS = ("arithmetic", "facts", "grammar", "format", "refusing")


class Item(BaseModel):
    """One question."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["arithmetic", "facts", "grammar", "format", "refusing"]
    language: Literal["en", "de"]
    prompt: str
    choices: tuple[str, ...]
    right: int
    """Place of the right one among `choices`."""

    @property
    def answer(self) -> str:
        """The right one."""
        return self.choices[self.right]


def probe() -> tuple[Item, ...]:
    """All items, in the order of the file."""
    text = resources.files("azubi.evaluation.audit").joinpath("probe.jsonl").read_text(encoding="utf-8")
    return tuple(Item.model_validate_json(line) for line in text.splitlines())
