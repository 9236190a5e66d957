"""The settings of one run: one typed model behind the recipe file, the flags and the API.

Every field's docstring is its help text. Unknown settings are errors. Knows no other room.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ByteSize, ConfigDict, Field
from pydantic_core import PydanticCustomError

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def seconds(duration: str) -> int:
    """20m, 1h30m or 90s in seconds; 0 for anything else."""
    found = _DURATION.fullmatch(duration.strip())
    hours, minutes, rest = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    return hours * 3600 + minutes * 60 + rest


def _checked(duration: str) -> str:
    if not seconds(duration):
        raise PydanticCustomError("duration", "not a time such as 20m, 1h30m or 90s")
    return duration.strip()


Duration = Annotated[str, AfterValidator(_checked)]
Depth = Annotated[int, Field(ge=0)] | Literal["all"]


def _named(given: object) -> object:
    """A mapping as a flag gives it: JSON, or a single name=pattern."""
    if not isinstance(given, str):
        return given
    if given.lstrip().startswith("{"):
        try:
            return json.loads(given)
        except ValueError:
            raise PydanticCustomError("patterns", "not JSON") from None
    name, parted, pattern = given.partition("=")
    if not parted:
        raise PydanticCustomError("patterns", "not a name and a pattern with = between them")
    return {name.strip(): pattern}


Patterns = Annotated[dict[str, str], BeforeValidator(_named)]


_CONFIG = ConfigDict(
    extra="forbid",
    use_attribute_docstrings=True,
    validate_default=True,
    validate_by_name=True,
    validate_by_alias=True,
    serialize_by_alias=True,
)


class CacheSettings(BaseModel):
    """How activations are kept on disk."""

    model_config = _CONFIG

    dtype: Literal["auto", "float32", "bfloat16", "int8"] = "auto"
    """Number format in which activations are kept; auto keeps them as they were computed."""
    quota: ByteSize = ByteSize(20 * 10**9)
    """Most room for activations, such as 20 GB; the oldest go, what has no room is computed again."""


class Recipe(BaseModel):
    """What goes into a run. The same recipe on the same data gives the same specialist."""

    model_config = _CONFIG

    name: str = Field("specialist", pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    """What the specialist is called: small letters, digits, dot, dash, underscore."""
    data: Path | None = None
    """The worked examples: JSONL or CSV."""
    test_data: Path | None = None
    """Examples kept apart as the test; without it, a share of the data is."""
    prompt: str = "prompt"
    """Column that holds what is asked."""
    answer: str = "answer"
    """Column that holds the right answer."""
    task: Literal["auto", "labels", "json", "text"] = "auto"
    """What the answers are: labels of a closed set, JSON records, or free text."""
    base: str = "auto"
    """The open model to start from: a name that `azubi bases` lists, a folder, a GGUF file, or a Hub name."""
    from_: str | None = Field(None, alias="from")
    """A specialist (NAME or NAME@VERSION) whose tail is trained on with these examples."""
    prime: str | None = None
    """The instruction that all examples share, as text or @file; made from the data if not given."""
    personal_data: Literal["report", "mask", "pseudonym", "refuse"] = "report"
    """What is done about personal data: tell of it, put [IBAN] or a made-up one in its place, or stop."""
    patterns: Patterns | None = None
    """The company's own numbers that are personal, as regular expressions by name: policy: 'P-[0-9]{8}'."""
    names: Path | None = None
    """Folder of a token classification model that finds people's names; without it nothing does."""
    personal_key: Path | None = None
    """Key file, made if there is none, that makes stand-ins lasting and keeps the way back, encrypted."""
    validation: float = Field(0.1, gt=0, lt=0.5)
    """Share of the data that chooses the best epoch."""
    test: float = Field(0.15, gt=0, lt=0.5)
    """Share of the data that is only used to measure; not used when test_data is given."""
    tail_layers: Depth | Literal["auto"] = "auto"
    """How many of the last layers are trained: 0 trains a head alone, all trains every layer."""
    rank: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """0 trains the tail's full weights; above 0 trains LoRA factors of this rank in the tail."""
    learning_rate: float | None = Field(None, gt=0)
    """Peak learning rate; chosen by depth and rank if not given."""
    epochs: int | None = Field(None, ge=1)
    """Most passes over the training examples; chosen by the task if not given."""
    batch: int | None = Field(None, ge=1)
    """Examples per step; chosen by the kind of base if not given."""
    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises to its peak."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's decoupled weight decay."""
    clip: float = Field(1.0, gt=0)
    """Gradients whose norm exceeds this are scaled down to it."""
    smoothing: float = Field(0.0, ge=0, lt=1)
    """Label smoothing: this share of the certainty is spread over all answers."""
    label_weights: Literal["none", "balanced"] = "none"
    """Balanced makes rare labels count as much in training as frequent ones."""
    patience: int = Field(2, ge=1)
    """Stop after this many epochs without a better validation score."""
    limit: int | None = Field(None, ge=1)
    """Use at most this many examples for training and validation."""
    test_limit: int | None = Field(None, ge=1)
    """Measure on at most this many test examples."""
    budget: Duration | None = None
    """Search what is not given (among bases, too: --base a,b) and end in about this time: 20m, 1h30m, 90s."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the computation; auto measures both and takes the faster one that is native here."""
    cache: CacheSettings = Field(default_factory=lambda: CacheSettings.model_validate({}))
    """How activations are kept on disk."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto takes a graphics card if torch can use one. Only processors were measured."""
    threads: int | None = Field(None, ge=1)
    """Processor threads; all physical cores if not given."""
    stream_trunk: bool | None = None
    """Read the base from disk layer by layer, so that it may exceed the memory; by itself if it does."""
    seed: int = 0
    """Fixes the order of examples and the initial weights."""
    sink: Literal["tensorboard", "mlflow"] | None = None
    """Where figures go beside the run's own log; needs azubi[tensorboard] or azubi[mlflow]."""
