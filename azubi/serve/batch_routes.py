"""`/v1/batches`: create batches, follow and cancel them. In OpenAI's terms.

Knows requests, answers and whose a batch is; how one is kept is in `batches`, how it is answered in
`batch_runner`.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from azubi.serve.backend import Backend, BackendOf
from azubi.serve.batch_runner import ENDPOINTS
from azubi.serve.batches import Batch, Status
from azubi.serve.fine_tuning import Limit, owner_of, page_with_ends
from azubi.serve.guard import ChatKey
from azubi.serve.keys import Key
from azubi.serve.refusal import Refusal

router = APIRouter(prefix="/v1/batches", tags=["batches"])


class BatchRequest(BaseModel):
    """The body of POST /v1/batches."""

    model_config = ConfigDict(extra="forbid")

    input_file_id: str
    endpoint: str
    completion_window: Literal["24h"]
    metadata: Annotated[dict[str, str], Field(max_length=16)] | None = None


@router.post("")
def create(body: BatchRequest, backend: BackendOf, key: ChatKey) -> dict[str, Any]:
    """Create a batch. It is answered when nobody else asks."""
    if body.endpoint not in ENDPOINTS:
        problem = f"Batches are for {', '.join(ENDPOINTS)}, not for {body.endpoint!r}."
        raise Refusal(400, problem, "invalid_endpoint", "endpoint")
    file = backend.uploads.find(body.input_file_id, owner_of(key))
    if file is None:
        problem = f"There is no file {body.input_file_id!r}. Upload it first: POST /v1/files"
        raise Refusal(400, problem, "invalid_file_id", "input_file_id")
    if file.purpose != "batch":
        problem = f"The file {file.id} was uploaded with the purpose {file.purpose!r}; here it takes 'batch'."
        raise Refusal(400, problem, "invalid_file_purpose", "input_file_id")
    return document(backend.batches.create(key.id, body.endpoint, file.id, body.metadata), backend)


@router.get("")
def list_all(backend: BackendOf, key: ChatKey, after: str | None = None, limit: Limit = 20) -> dict[str, Any]:
    """The key's batches, the newest first."""
    if after is not None:
        _batch(after, backend, key)
    batches = list(backend.batches.list(owner_of(key), after))
    shown = [document(batch, backend) for batch in batches[:limit]]
    return page_with_ends(shown, more=len(batches) > limit)


@router.get("/{batch}")
def retrieve(batch: str, backend: BackendOf, key: ChatKey) -> dict[str, Any]:
    """One batch."""
    return document(_batch(batch, backend, key), backend)


@router.post("/{batch}/cancel")
def cancel(batch: str, backend: BackendOf, key: ChatKey) -> dict[str, Any]:
    """Ask no more of a batch's requests; what was answered is kept."""
    kept = _batch(batch, backend, key)
    moved = backend.batches.change(kept.id, ("validating", "in_progress", "cancelling"), status="cancelling")
    if moved is None:
        now = backend.batches.find(kept.id) or kept
        raise Refusal(
            400, f"The batch {batch} is {now.status} and cannot be cancelled.", "invalid_batch_status"
        )
    return document(moved, backend)


def _batch(id: str, backend: Backend, key: Key) -> Batch:
    batch = backend.batches.find(id, owner_of(key))
    if batch is None:
        raise Refusal(404, f"There is no batch {id!r}.", "batch_not_found", "batch_id")
    return batch


_TIMES: tuple[Status, ...] = (
    *("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled"),
)


def document(batch: Batch, backend: Backend) -> dict[str, Any]:
    """A batch as OpenAI shows it."""
    answered, failed = backend.batches.counts(batch)
    errors = [error.model_dump() for error in batch.errors]
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": {"object": "list", "data": errors} if errors else None,
        "input_file_id": batch.input_file,
        "completion_window": "24h",
        "status": batch.status,
        "output_file_id": batch.output_file,
        "error_file_id": batch.error_file,
        "created_at": batch.created,
        "expires_at": batch.expires,
        **{f"{status}_at": batch.times.get(status) for status in _TIMES},
        "request_counts": {"total": batch.total, "completed": answered, "failed": failed},
        "metadata": batch.metadata,
    }
