"""`/v1/fine_tuning/jobs`: create jobs, follow them, steer them. In OpenAI's terms; `azubi` has our own.

Knows requests, answers and whose a job is. What a request means is in `job_request`, how jobs are kept in
`jobs`, how they run in `supervisor` and `worker`.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from azubi.serve import job_request
from azubi.serve.backend import Backend, BackendOf
from azubi.serve.guard import TuneKey
from azubi.serve.job_request import JobRequest, Start
from azubi.serve.jobs import ACTIVE, Job, JobEvent, QueueFull, Status, message
from azubi.serve.keys import Key
from azubi.serve.refusal import Refusal
from azubi.serve.uploads import StoredFile

router = APIRouter(prefix="/v1/fine_tuning/jobs", tags=["fine-tuning"])
_RETRY_SECONDS = 60.0
_EVENT, _CHECKPOINT = "ftevent-", "ftckpt-"
_SAID: Mapping[Status, str] = {
    "cancelled": "The job was cancelled.",
    "paused": "The job was paused.",
    "queued": "The job was resumed.",
}

Limit = Annotated[int, Query(ge=1, le=100)]


def owner_of(key: Key) -> str | None:
    """Whose files, jobs and batches a key sees: its own, or everybody's (None)."""
    return None if "admin" in key.scopes else key.id


@router.post("")
def create(body: JobRequest, backend: BackendOf, key: TuneKey) -> dict[str, Any]:
    """Create a job. Its files are checked at once, then it waits for its turn."""
    start = _start(body.model, backend, key)
    file = _training_file(body.training_file, "training_file", backend, key)
    if body.validation_file is not None:
        _training_file(body.validation_file, "validation_file", backend, key)
    order = job_request.order_of(body, start, file.name)
    if not key.may_use(order.name):
        raise Refusal(
            403,
            f"The specialist would be called {order.name}, but this key is for {', '.join(key.models or ())} "
            "alone. Name it by `suffix`.",
            "model_not_allowed",
            "suffix",
        )
    most = backend.options.most_jobs
    model = f"ft:{start.base}:{backend.options.company}:{order.name}"
    try:
        job = backend.jobs.create(key.id, order, model, most)
    except QueueFull:
        raise Refusal(
            429,
            f"{most} jobs wait for their turn, and no more may. Come again when one of them has begun, or "
            "cancel one: see GET /v1/fine_tuning/jobs",
            "queue_full",
            retry_after=_RETRY_SECONDS,
        ) from None
    backend.supervisor.look()
    return document(job, backend)


def _start(model: str, backend: Backend, key: Key) -> Start:
    start = job_request.start_of(backend.resolve(model), backend.home)
    if start.parent is not None and not key.may_use(start.parent.name):
        raise Refusal(
            404,
            f"The model {model!r} does not exist here, or is not for this key.",
            "model_not_found",
            "model",
        )
    return start


def _training_file(id: str, field: str, backend: Backend, key: Key) -> StoredFile:
    file = backend.uploads.find(id, owner_of(key))
    if file is None:
        raise Refusal(
            400, f"There is no file {id!r}. Upload it first: POST /v1/files", "invalid_file_id", field
        )
    if file.purpose != "fine-tune":
        raise Refusal(
            400,
            f"The file {id} was uploaded with the purpose {file.purpose!r}; here it takes 'fine-tune'.",
            "invalid_file_purpose",
            field,
        )
    return file


@router.get("")
def list_all(
    request: Request,
    backend: BackendOf,
    key: TuneKey,
    after: str | None = None,
    limit: Limit = 20,
) -> dict[str, Any]:
    """The key's jobs, the newest first. `metadata[k]=v` keeps those with that value."""
    wanted = {
        name[len("metadata[") : -1]: value
        for name, value in request.query_params.items()
        if name.startswith("metadata[") and name.endswith("]")
    }
    none_at_all = request.query_params.get("metadata") == "null"
    if after is not None:
        _job(after, backend, key)
    jobs = [
        job
        for job in backend.jobs.list(owner_of(key), after)
        if wanted.items() <= (job.order.metadata or {}).items() and not (none_at_all and job.order.metadata)
    ]
    return page([document(job, backend) for job in jobs[:limit]], more=len(jobs) > limit)


@router.get("/{job}")
def retrieve(job: str, backend: BackendOf, key: TuneKey) -> dict[str, Any]:
    """One job."""
    return document(_job(job, backend, key), backend)


@router.post("/{job}/cancel")
def cancel(job: str, backend: BackendOf, key: TuneKey) -> dict[str, Any]:
    """End a job. What it was at is stopped, and thrown away."""
    return _move(job, sorted(ACTIVE), "cancelled", backend, key)


@router.post("/{job}/pause")
def pause(job: str, backend: BackendOf, key: TuneKey) -> dict[str, Any]:
    """Stop a job where it can go on."""
    return _move(job, ("queued", "running"), "paused", backend, key)


@router.post("/{job}/resume")
def resume(job: str, backend: BackendOf, key: TuneKey) -> dict[str, Any]:
    """Let a paused job go on."""
    return _move(job, ("paused",), "queued", backend, key)


@router.get("/{job}/events")
def events(
    job: str, backend: BackendOf, key: TuneKey, after: str | None = None, limit: Limit = 20
) -> dict[str, Any]:
    """What happened in a job, the newest first."""
    kept = _job(job, backend, key)
    happened = backend.jobs.events(kept.id, "event", _number(after, _EVENT), limit + 1)
    return page([_event(event) for event in happened[:limit]], more=len(happened) > limit)


@router.get("/{job}/checkpoints")
def checkpoints(
    job: str, backend: BackendOf, key: TuneKey, after: str | None = None, limit: Limit = 10
) -> dict[str, Any]:
    """The epochs of a job, the newest first. The best one's weights are what is kept."""
    kept = _job(job, backend, key)
    made = backend.jobs.events(kept.id, "checkpoint", _number(after, _CHECKPOINT), limit + 1)
    shown = [_checkpoint(event, kept) for event in made[:limit]]
    return page_with_ends(shown, more=len(made) > limit)


def page(documents: Sequence[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    """OpenAI's form of a part of a list."""
    return {"object": "list", "data": list(documents), "has_more": more}


def page_with_ends(documents: Sequence[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    """The same with the ids of its first and last document, as files, batches and checkpoints have it."""
    ids = [document["id"] for document in documents]
    return page(documents, more=more) | {
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
    }


def _job(id: str, backend: Backend, key: Key) -> Job:
    job = backend.jobs.find(id, owner_of(key))
    if job is None:
        raise Refusal(
            404, f"There is no fine-tuning job {id!r}.", "fine_tune_not_found", "fine_tuning_job_id"
        )
    return job


def _move(id: str, only_from: Sequence[Status], to: Status, backend: Backend, key: Key) -> dict[str, Any]:
    job = _job(id, backend, key)
    moved = backend.jobs.change(job.id, only_from, message(_SAID[to]), status=to)
    if moved is None:
        now = backend.jobs.find(job.id) or job
        raise Refusal(
            400,
            f"The job {id} is {now.status}; only a job that is {' or '.join(only_from)} can become {to}.",
            "invalid_job_status",
        )
    backend.supervisor.look()
    return document(moved, backend)


def _number(after: str | None, prefix: str) -> int | None:
    if after is None:
        return None
    number = after.removeprefix(prefix)
    if not number.isdecimal() or len(number) > 18:
        raise Refusal(
            400, f"There is nothing with the id {after!r} to go on after.", "invalid_value", "after"
        )
    return int(number)


def document(job: Job, backend: Backend) -> dict[str, Any]:
    """A job as OpenAI shows it."""
    order, outcome = job.order, job.outcome
    done = job.status == "succeeded"
    return {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": job.created,
        "finished_at": job.finished,
        "model": order.model,
        "fine_tuned_model": job.fine_tuned_model if done else None,
        "organization_id": backend.options.company,
        "status": job.status,
        "training_file": order.training_file,
        "validation_file": order.validation_file,
        "result_files": list(outcome.result_files),
        "trained_tokens": outcome.trained_tokens,
        "estimated_finish": outcome.estimated_finish if job.status == "running" else None,
        "hyperparameters": order.hyperparameters,
        "method": {"type": "supervised", "supervised": {"hyperparameters": order.hyperparameters}},
        "seed": order.settings["seed"],
        "integrations": [],
        "metadata": order.metadata,
        "error": job.error.model_dump() if job.error is not None else None,
        "azubi": {
            "specialist": outcome.specialist or order.name,
            "run": outcome.run or None,
            **outcome.model_dump(
                include={"score", "base_score", "verdict", "plan", "chosen", "report", "proof"}
            ),
        },
    }


def _event(event: JobEvent) -> dict[str, Any]:
    return {
        "id": f"{_EVENT}{event.number}",
        "object": "fine_tuning.job.event",
        "created_at": event.created,
        "level": event.level,
        "message": event.message,
        "type": event.type,
        "data": event.data or {},
    }


def _checkpoint(event: JobEvent, job: Job) -> dict[str, Any]:
    figures = dict(event.data or {})
    own = figures.pop("azubi", {})
    return {
        "id": f"{_CHECKPOINT}{event.number}",
        "object": "fine_tuning.job.checkpoint",
        "created_at": event.created,
        "fine_tuned_model_checkpoint": event.message,
        "fine_tuning_job_id": job.id,
        "step_number": figures.get("step", 0),
        "metrics": figures,
        "azubi": own,
    }
