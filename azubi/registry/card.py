"""`specialist.json`, a specialist's card: what is known of it, and what answering needs beside the weights.

Knows nothing of how a specialist is trained or run.
"""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from azubi.data.contract import Contract, Task
from azubi.errors import CorruptFile
from azubi.events.figures import HeadScore, Score
from azubi.storage import files

if TYPE_CHECKING:
    from azubi.engine.base.base import Base

CARD, TAIL, REPORT, RECIPE = "specialist.json", "tail.safetensors", "report.html", "recipe.yaml"
SCOPE = "scope.safetensors"
VALIDATION = "validation.json"
"""Where the weights know the validation examples: what weights that did not know them answered, by the
examples' names, each answer with its confidence."""


class Redaction(BaseModel):
    """What personal data a specialist never saw, and is therefore not to be asked with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: Literal["report", "mask", "pseudonym", "refuse"] = "report"
    patterns: dict[str, str] = {}
    """The company's own, by name."""
    names: str = ""
    """Folder of the name recogniser; empty if there was none."""
    key_file: str = ""
    """Of the pseudonyms; empty if the key was not kept."""


class Card(BaseModel):
    """What is known of a specialist."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    name: str
    version: int
    created: datetime
    base: str
    """As it was named: a catalog name, a folder, a GGUF file or a Hub name."""
    base_sha256: str
    """Over the base's published weights; checked before the tail is put on it."""
    family: str
    prefix: str = ""
    """What stands before every text that the base, an encoder, reads."""
    pooling: str = ""
    """How the base, an encoder, makes one vector of its tokens' vectors; as its files say if empty."""
    licence: str
    """Of the base; it binds the specialist too."""
    layers: int
    tail_layers: int
    prompt_layers: int | None = None
    """Of these, those that act on the prompt, too; None, from an earlier azubi: all."""
    rank: int
    parameters: int
    trained: int
    """How many of `parameters` training could change."""
    dtype: str
    """Number format in which it was measured, and in which it answers."""
    tail_sha256: str
    """Of `tail.safetensors`."""
    scope_sha256: str = ""
    """Of `scope.safetensors`, by which it tells what is not its job; empty if there is none."""
    scope_limit: float | None = None
    """A question that scores less is out of scope."""
    certain: tuple[float | None, ...] = ()
    """For each level of the labels, from the top, the probability from which on it is certain; None: never.
    Empty if labels have no levels, or it is not known."""
    thresholds: tuple[float, ...] = ()
    """Where a label head gives sets of labels: from which probability on it gives each label."""
    epsilon: float | None = None
    """What training gave away of one example at most; None if it was trained without privacy."""
    delta: float | None = None
    """Chance that this does not hold."""
    parent: str = ""
    """The specialist that it was trained on from, as name@version; empty if from the base's own tail."""
    parent_sha256: str = ""
    """Of the parent's `tail.safetensors`."""
    imported: str = ""
    """What it was made from, if azubi did not train it; its data are unknown then."""
    contract: Contract
    instruction: str
    system: str = ""
    """The system message with which every example began, and which was taken off them."""
    longest: int
    """Most tokens of an answer."""
    data: dict[str, str]
    """SHA-256 of each data file, by its name."""
    data_version: str = ""
    """The state of the data it was made from (see `azubi data show`)."""
    counts: dict[str, int]
    """Examples for train, validation and test."""
    scores: dict[str, tuple[Score, ...]]
    """Of `base` and `specialist`, on the same test examples."""
    seconds: dict[str, float]
    """How long each stage took."""
    simple_accuracy: float | None = None
    """Share of validation answers right without training (a linear head's, or the parent's); None for a
    decoder."""
    heads: tuple[HeadScore, ...] = ()
    """The linear heads that were tried, by cross-validation on training examples; for a label head."""
    versions: dict[str, str]
    recipe: dict[str, object]
    """All settings, those among them by which the columns of a source become questions."""
    hidden: Redaction = Redaction()
    bytes: int = 0
    """Size of the folder's files, the report and this one not counted."""
    folder: Path = Field(default=Path(), exclude=True)
    """Where it lies; not stored, since folders move."""

    def base_as_trained(self, base: "Base") -> "Base":
        """The base, read as it was in training, whatever its files and the catalog say by now."""
        return replace(base, prefix=self.prefix, pooling=self.pooling or base.pooling)

    @property
    def task(self) -> Task:
        """The form of its answers."""
        return self.contract.task


def read(folder: Path) -> Card:
    """Read the card of the specialist in `folder`.

    Raises:
        CorruptFile: it is not there, or not as azubi writes it.
    """
    try:
        card = Card.model_validate_json((folder / CARD).read_bytes())
    except (OSError, ValidationError) as error:
        raise CorruptFile(
            f"{folder / CARD} cannot be read: {_cause(error)}.",
            "Bring the folder back from a copy, train the specialist again, or update azubi if a newer one "
            "wrote it.",
        ) from error
    return card.model_copy(update={"folder": folder})


def write(card: Card, folder: Path) -> None:
    """Write the card into `folder`."""
    files.write_text(folder / CARD, card.model_dump_json(indent=2))


def _cause(error: OSError | ValidationError) -> str:
    if isinstance(error, OSError):
        return error.strerror or "the file system failed"
    first = error.errors()[0]
    message = first["msg"][:1].lower() + first["msg"][1:]
    place = ".".join(map(str, first["loc"]))
    return f"`{place}`: {message}" if place else message
