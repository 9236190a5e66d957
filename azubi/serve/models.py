"""Which models there are, as far as a key may ask them."""

from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel

from azubi.serve.backend import Backend, BackendOf
from azubi.serve.guard import ChatKey
from azubi.serve.jobs import Job
from azubi.serve.keys import Key
from azubi.serve.refusal import UNKNOWN_MODEL, Refusal

if TYPE_CHECKING:
    from azubi.pipeline.service import ModelInfo

router = APIRouter(tags=["models"])


class Model(BaseModel):
    """OpenAI's form of a model, and what kind it is."""

    id: str
    object: Literal["model"] = "model"
    created: int
    """Unix time."""
    owned_by: str
    azubi: dict[str, Any]
    """kind: specialist, alias (claims@production), base (an open model as published) or
    fine-tuned (a specialist by the name that its job gave it)."""


class ModelList(BaseModel):
    """OpenAI's form of a list."""

    object: Literal["list"] = "list"
    data: list[Model]


@router.get("/v1/models")
def models(backend: BackendOf, key: ChatKey) -> ModelList:
    """The models that the key may ask."""
    here = {info.name: _model(info) for info in backend.service.models() if key.may_use(info.name)}
    tuned = [_tuned(job) for job in backend.jobs.with_status("succeeded") if job.outcome.specialist in here]
    return ModelList(data=[*here.values(), *tuned])


@router.get("/v1/models/{model:path}")
def model(model: str, backend: BackendOf, key: ChatKey) -> Model:
    """One model."""
    name = permitted(model, backend, key)
    for info in backend.service.models():
        if info.name == name:
            return _model(info).model_copy(update={"id": model})
    raise unknown()


def permitted(model: str, backend: Backend, key: Key) -> str:
    """The name by which the service knows a model, if the key may ask it.

    Raises:
        Refusal: 404; whether it is not there or not allowed is not said.
    """
    name = backend.resolve(model)
    if not key.may_use(name):
        raise unknown()
    return name


def unknown() -> Refusal:
    """There is no such model for this key."""
    return Refusal(404, UNKNOWN_MODEL, "model_not_found", "model")


def _tuned(job: Job) -> Model:
    own = {"kind": "fine-tuned", "specialist": job.outcome.specialist}
    return Model(id=job.fine_tuned_model, created=job.finished or job.created, owned_by="company", azubi=own)


def _model(info: "ModelInfo") -> Model:
    return Model(id=info.name, created=info.created, owned_by=info.owned_by, azubi={"kind": info.kind})
