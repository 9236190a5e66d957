"""`/v1/files`: upload, list, fetch and delete files. In OpenAI's terms.

Knows requests, answers and whose a file is; how files are kept is in `uploads`.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Query, UploadFile
from fastapi.responses import StreamingResponse

from azubi.serve.backend import Backend, BackendOf
from azubi.serve.fine_tuning import owner_of, page_with_ends
from azubi.serve.guard import FilesKey
from azubi.serve.keys import Key
from azubi.serve.refusal import Refusal
from azubi.serve.uploads import Purpose, StoredFile, blocks_of

router = APIRouter(prefix="/v1/files", tags=["files"])
_UPLOADED: tuple[Purpose, ...] = ("fine-tune", "batch")
_LONGEST_NAME = 255


@router.post("")
def upload(
    backend: BackendOf,
    file: Annotated[UploadFile, File()],
    purpose: Annotated[str, Form()],
    key: FilesKey,
    expires: Annotated[str | None, Form(alias="expires_after[anchor]")] = None,
) -> dict[str, Any]:
    """Upload examples (fine-tune) or requests (batch). The file is kept encrypted until it is deleted."""
    wanted = next((known for known in _UPLOADED if known == purpose), None)
    if wanted is None:
        raise Refusal(
            400,
            f"The purpose {purpose!r} is not known here. There are: {', '.join(_UPLOADED)}.",
            "invalid_purpose",
            "purpose",
        )
    if expires is not None:
        raise Refusal(
            400,
            "Files are kept until they are deleted: leave out `expires_after`.",
            "unsupported_parameter",
            "expires_after",
        )
    if not file.size:
        raise Refusal(400, "The file is empty.", "empty_file", "file")
    name = (file.filename or "file")[:_LONGEST_NAME]
    return document(backend.uploads.add(key.id, name, wanted, blocks_of(file.file)))


@router.get("")
def list_all(
    backend: BackendOf,
    key: FilesKey,
    purpose: str | None = None,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
) -> dict[str, Any]:
    """The key's files."""
    if after is not None:
        _file(after, backend, key)
    kept = backend.uploads.list(owner_of(key), purpose, after, limit, oldest_first=order == "asc")
    shown = [document(file) for file in kept.files]
    return page_with_ends(shown, more=kept.more)


@router.get("/{file}")
def retrieve(file: str, backend: BackendOf, key: FilesKey) -> dict[str, Any]:
    """What is known of a file."""
    return document(_file(file, backend, key))


@router.get("/{file}/content", response_class=StreamingResponse)
def content(file: str, backend: BackendOf, key: FilesKey) -> StreamingResponse:
    """What is in a file."""
    stored = _file(file, backend, key)
    blocks: Iterator[bytes] = backend.uploads.content(stored)
    # Never shown by a browser: a report is HTML, and an upload may be anything.
    name = stored.safe_name.encode("ascii", "replace").decode()
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Length": str(stored.bytes),
    }
    return StreamingResponse(blocks, media_type="application/octet-stream", headers=headers)


@router.delete("/{file}")
def delete(file: str, backend: BackendOf, key: FilesKey) -> dict[str, Any]:
    """Delete a file. Its key is thrown away first, so copies of it on the disk cannot be read."""
    stored = _file(file, backend, key)
    for work in (backend.jobs.uses(stored.id), backend.batches.uses(stored.id)):
        if work is not None:
            raise Refusal(409, f"The file {file} is read by {work.id}. Cancel that first.", "file_in_use")
    backend.uploads.delete(stored)
    return {"id": stored.id, "object": "file", "deleted": True}


def _file(id: str, backend: Backend, key: Key) -> StoredFile:
    stored = backend.uploads.find(id, owner_of(key))
    if stored is None:
        raise Refusal(404, f"There is no file {id!r}.", "file_not_found", "id")
    return stored


def document(file: StoredFile) -> dict[str, Any]:
    """A file as OpenAI shows it."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": file.created,
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed",
        "expires_at": None,
        "status_details": None,
    }
