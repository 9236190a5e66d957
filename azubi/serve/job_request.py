"""OpenAI's request for a fine-tuning job, and what azubi makes of it: the settings of a recipe.

What is azubi's own comes in `metadata` (keys such as `azubi.tail_layers`, all values texts) or as an object
`azubi` beside OpenAI's fields. Settings that name files, folders, databases or what the machine gives are not
among those that a request may set. Knows nothing of how a job runs.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from azubi.engine.base import catalog
from azubi.pipeline.names import Names
from azubi.registry.card import Card
from azubi.registry.store import Store
from azubi.serve.jobs import Order
from azubi.serve.refusal import Refusal
from azubi.settings import Recipe

SETTINGS = frozenset(
    (
        *("prompt", "answer", "decimal", "dates", "group", "time", "id", "weight", "turns", "task"),
        *("sheet", "header", "encoding", "delimiter", "repair", "limits", "derive", "accept_rules"),
        *("instruction", "split", "personal_data", "patterns", "tail_layers", "prompt_layers", "rank"),
        *("learning_rate", "epochs", "batch", "label_weights", "patience", "limit", "test_limit", "budget"),
        *("dtype", "privacy", "scope", "proof", "gate", "lang"),
    )
)
"""The settings of the recipe that a request may set. No others: a path would name a file of the server."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_LONGEST_SUFFIX = 64

Auto = Literal["auto"]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Hyperparameters(_Body):
    """What OpenAI lets one set of a training; auto leaves it to azubi."""

    n_epochs: Annotated[int, Field(ge=1, le=50)] | Auto = "auto"
    """Most passes over the training examples."""
    batch_size: Annotated[int, Field(ge=1, le=256)] | Auto = "auto"
    """Examples per step."""
    learning_rate_multiplier: Annotated[float, Field(gt=0, le=100)] | Auto = "auto"
    """Multiplies the peak learning rate that azubi would take."""


class Supervised(_Body):
    """Settings of the supervised method."""

    hyperparameters: Hyperparameters | None = None


class Method(BaseModel):
    """How the examples are learned from; azubi knows the supervised method."""

    type: str
    supervised: Supervised | None = None


class JobRequest(_Body):
    """The body of POST /v1/fine_tuning/jobs."""

    model: str
    """A base, or a specialist of one's own to go on from."""
    training_file: str
    validation_file: str | None = None
    method: Method | None = None
    hyperparameters: Hyperparameters | None = None
    """Deprecated by OpenAI: see `method`."""
    suffix: str | None = None
    """What the specialist is called."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    metadata: (
        Annotated[
            dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
            Field(max_length=16),
        ]
        | None
    ) = None
    integrations: list[Any] | None = None
    azubi: dict[str, Any] | None = None
    """azubi's own settings, as a recipe file has them; and `prove`, whether a proof follows."""


@dataclass(frozen=True)
class Start:
    """What a training begins from."""

    settings: dict[str, str]
    """`base`, or `from` with its version."""
    base: str
    """The base's name, for the name of the fine-tuned model."""
    parent: Card | None = None


def hyperparameters(request: JobRequest) -> Hyperparameters:
    """Those of the method, or the deprecated ones.

    Raises:
        Refusal: another method is asked for, or both are given and differ.
    """
    method, old = request.method, request.hyperparameters
    if method is not None and method.type != "supervised":
        raise _refusal(
            f"The method is {method.type!r}, but azubi learns from worked examples alone. "
            'Leave `method` out, or use {"type": "supervised"}.',
            "method.type",
            "unsupported_method",
        )
    new = method.supervised.hyperparameters if method is not None and method.supervised is not None else None
    if new is not None and old is not None and new != old:
        raise _refusal(
            "hyperparameters and method.supervised.hyperparameters are both given, and they differ. Leave "
            "out hyperparameters, which is deprecated.",
            "hyperparameters",
        )
    return new or old or Hyperparameters()


def order_of(request: JobRequest, start: Start, file_name: str) -> Order:
    """What the request asks for; `file_name` is that of the training file.

    Raises:
        Refusal: a setting is unknown, out of range, given twice, or not for requests.
    """
    if request.integrations:
        raise _refusal(
            "azubi sends figures to nobody: there are no integrations. Leave them out.", "integrations"
        )
    given = _own_settings(request)
    prove = given.pop("prove", False)
    if prove not in (True, False, "true", "false"):
        raise _refusal(f"azubi.prove is {prove!r}. It is true or false.", "azubi.prove")
    for name in given:
        if name not in SETTINGS:
            raise _refusal(_not_a_setting(name), f"azubi.{name}")
    if str(given.get("instruction", "")).startswith("@"):
        raise _refusal(
            "azubi.instruction begins with @, which names a file. Give the text.", "azubi.instruction"
        )
    asked = hyperparameters(request)
    for theirs, ours in (("n_epochs", "epochs"), ("batch_size", "batch")):
        if (value := getattr(asked, theirs)) != "auto":
            _refuse_twice(given, ours, theirs)
            given[ours] = value
    multiplier = asked.learning_rate_multiplier
    if multiplier != "auto":
        _refuse_twice(given, "learning_rate", "learning_rate_multiplier")
    # OpenAI takes a file only if every line of it can be used.
    given["limits"] = {"rejected": 0.0, **given.get("limits", {})}
    named = {"name": specialist_name(request, start, file_name), "seed": request.seed or 0}
    recipe = _validated({**given, **named, **start.settings})
    return Order(
        model=request.model,
        training_file=request.training_file,
        validation_file=request.validation_file,
        name=recipe.name,
        settings=recipe.model_dump(mode="json", exclude_unset=True),
        rate_multiplier=None if multiplier == "auto" else multiplier,
        prove=prove in (True, "true"),
        hyperparameters=asked.model_dump(),
        metadata=request.metadata,
    )


def specialist_name(request: JobRequest, start: Start, file_name: str) -> str:
    """What the specialist is called: by the suffix, as the one that it goes on from, or by the file.

    Raises:
        Refusal: the suffix is too long, or no letter or digit of it can be used.
    """
    suffix = request.suffix
    if suffix is None and start.parent is not None:
        return start.parent.name
    if suffix is not None and len(suffix) > _LONGEST_SUFFIX:
        raise _refusal(
            f"The suffix has {len(suffix)} characters; it may have {_LONGEST_SUFFIX} at most.",
            "suffix",
            "string_above_max_length",
        )
    name = slug(suffix if suffix is not None else Path(file_name).stem)
    if not name and suffix is not None:
        raise _refusal(
            f"No specialist can be called {suffix!r}: its name is made of the letters a to z and digits.",
            "suffix",
        )
    return name or "specialist"


def slug(text: str) -> str:
    """A text as a specialist may be called: small letters, digits, dot, dash, underscore; maybe empty."""
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("._-")[:64]


def start_of(model: str, home: Path) -> Start:
    """What the model of a request is: a base that lies here, or a specialist, pinned to its version.

    Raises:
        Refusal: it is neither.
        UnknownSpecialist, CorruptFile: a specialist of that name cannot be read.
    """
    bases = Names(home).bases()
    if model in bases:
        return Start({"base": bases[model]}, model)
    if catalog.find(model) is not None:
        raise _refusal(
            f"The base {model} is not on this server yet. Whoever runs it fetches it with: azubi bases get "
            f"{model}",
            "model",
            "model_not_found",
        )
    name = model.partition("@")[0]
    store = Store(home)
    if not _NAME.fullmatch(name) or not store.log.specialists().get(name):
        raise _refusal(
            f"The model {model!r} does not exist here. Fine-tuning begins from a base that lies on this "
            f"server ({', '.join(bases) or 'none'}) or from a specialist of yours.",
            "model",
            "model_not_found",
        )
    card = store.get(model)
    return Start({"from": f"{card.name}@{card.version}"}, Path(card.base).name, card)


def _refusal(problem: str, field: str, code: str = "invalid_value") -> Refusal:
    return Refusal(400, problem, code, field)


def _own_settings(request: JobRequest) -> dict[str, Any]:
    """azubi's settings from both places.

    Raises:
        Refusal: one is in both.
    """
    given = dict(request.azubi or {})
    for key, value in (request.metadata or {}).items():
        if not key.startswith("azubi."):
            continue
        place, names = given, key.split(".")[1:]
        for name in names[:-1]:
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise _refusal(f"{key} and azubi.{names[0]} are both given. Leave one of them out.", key)
        if names[-1] in place:
            raise _refusal(f"{key} is given twice. Leave one of them out.", key)
        place[names[-1]] = value
    return given


def _refuse_twice(given: Mapping[str, Any], ours: str, theirs: str) -> None:
    if ours in given:
        raise _refusal(f"azubi.{ours} and {theirs} are both given. Leave one of them out.", f"azubi.{ours}")


def _not_a_setting(name: str) -> str:
    fields = {field.alias or key for key, field in Recipe.model_fields.items()}
    if name in fields:
        return f"azubi.{name} is not for requests: it is settled by the job, or by whoever runs the server."
    return f"azubi has no setting {name!r}. There are: {', '.join(sorted(SETTINGS | {'prove'}))}."


def _validated(settings: Mapping[str, Any]) -> Recipe:
    try:
        return Recipe.model_validate(settings)
    except ValidationError as error:
        names = [_setting(fault["loc"]) for fault in error.errors()]
        # A setting that may be of several kinds has a fault of each.
        faults = [fault for fault, name in zip(error.errors(), names, strict=True) if name == names[0]]
        why = "; ".join(f"{fault['msg'][:1].lower()}{fault['msg'][1:]}" for fault in faults)
        raise _refusal(f"{names[0]} is {str(faults[0]['input'])[:80]!r}: {why}.", names[0]) from None


def _setting(place: tuple[int | str, ...]) -> str:
    """What a request calls a setting; kinds of values, which pydantic names beside it, are left out."""
    return ".".join(["azubi", *(part for part in place if isinstance(part, str) and part.isidentifier())])
