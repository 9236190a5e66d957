"""/azubi/v1/feedback: what an answer should have been, for a person to review.

Off unless the server was started with --store-feedback. Corrections are listed as examples in the form that
`azubi tune` reads; they become data when a person has read them and puts them there.
"""

import json
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from azubi.serve.backend import Backend, BackendOf
from azubi.serve.feedback_store import Correction, FeedbackStore
from azubi.serve.guard import AdminKey, ChatKey
from azubi.serve.refusal import Refusal
from azubi.serve.requests import Body

router = APIRouter(tags=["azubi"])


class JsonLines(Response):
    """A JSON document a line."""

    media_type = "application/jsonl"


class FeedbackRequest(Body):
    """Body of /azubi/v1/feedback."""

    response_id: Annotated[str, Field(min_length=1, max_length=64)]
    """The id of an answer that this key got: chatcmpl-…, cmpl-…, resp_…"""
    correction: str
    """What the answer should have been, whole."""
    comment: Annotated[str, Field(max_length=4000)] = ""


@router.post("/azubi/v1/feedback", response_model=None)
def correct(body: FeedbackRequest, request: Request, backend: BackendOf, key: ChatKey) -> Response:
    """Correct an answer."""
    if not _store(backend).correct(body.response_id, key.id, body.correction, body.comment):
        raise Refusal(
            404,
            f"This key got no answer {body.response_id}, or it is no longer kept.",
            "not_found",
            "response_id",
        )
    return JSONResponse({"object": "azubi.feedback", "response_id": body.response_id, "status": "to review"})


@router.get("/azubi/v1/feedback", response_class=JsonLines)
def corrections(backend: BackendOf, key: AdminKey) -> Response:
    """All corrections, a line of JSON each, as examples of chats."""
    lines = [json.dumps(example(each), ensure_ascii=False) for each in _store(backend).corrections()]
    return JsonLines("".join(f"{line}\n" for line in lines))


@router.delete("/azubi/v1/feedback/{response_id}", response_model=None)
def remove(response_id: str, backend: BackendOf, key: AdminKey) -> Response:
    """Throw away what is kept of an answer."""
    deleted = _store(backend).remove(response_id)
    if not deleted:
        raise Refusal(404, f"Nothing is kept of the answer {response_id}.", "not_found")
    return JSONResponse({"object": "azubi.feedback", "response_id": response_id, "deleted": True})


def _store(backend: Backend) -> FeedbackStore:
    if backend.feedback is None:
        raise Refusal(
            403,
            "Feedback is off, and no question or answer is kept. Whoever runs the server switches it on: "
            "azubi serve --store-feedback",
            "feedback_off",
        )
    return backend.feedback


def example(correction: Correction) -> dict[str, object]:
    """A correction as an example of a chat, with what a reviewer wants to know beside it."""
    turns = [{"role": turn.role, "content": turn.content} for turn in correction.turns]
    answer = {"role": "assistant", "content": correction.correction}
    return {
        "messages": [*turns, answer],
        "id": correction.id,
        "model": correction.model,
        "answered": correction.answer,
        "comment": correction.comment,
        "corrected": correction.corrected,
    }
