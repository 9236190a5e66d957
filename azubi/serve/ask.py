"""/azubi/v1/ask: one document, several specialists, one reading; the answers side by side."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field, model_validator

from azubi.data.example import Turn
from azubi.pipeline.inquiry import Inquiry
from azubi.serve.answers import Call, about, new_id
from azubi.serve.backend import BackendOf
from azubi.serve.guard import ChatKey
from azubi.serve.requests import Body, Message, ModelName, Own, require_known_format

router = APIRouter(tags=["azubi"])


class AskRequest(Body):
    """Body of /azubi/v1/ask."""

    models: Annotated[list[ModelName], Field(min_length=1, max_length=64)]
    messages: Annotated[list[Message], Field(min_length=1)] | None = None
    document: Annotated[str, Field(min_length=1)] | None = None
    """In place of messages: the one message of the user."""
    azubi: Own = Own(out_of_scope="empty")
    """With `error`, one question out of scope fails the whole call."""

    @model_validator(mode="after")
    def one_of_both(self) -> "AskRequest":
        """Either messages or a document, and no model twice."""
        if (self.messages is None) == (self.document is None):
            raise ValueError("give either messages or document")
        if len(set(self.models)) != len(self.models):
            raise ValueError("a model is named twice")
        return self


@router.post("/azubi/v1/ask", response_model=None)
async def ask(body: AskRequest, request: Request, backend: BackendOf, key: ChatKey) -> Response:
    """Ask several models about one document."""
    call = Call(backend, key, request, new_id("ask_"), body.azubi)
    if body.messages is not None:
        turns = require_known_format(body.messages, "messages")
    else:
        turns = (Turn("user", body.document or ""),)
    call.submit([Inquiry(model, turns) for model in body.models])
    choices = await call.whole()
    answers: dict[str, Any] = {
        model: {
            "text": choice.end.answer.text,
            "finish_reason": choice.end.reason,
            "usage": {
                "prompt_tokens": choice.end.prompt_tokens,
                "cached_tokens": choice.end.cached_tokens,
                "completion_tokens": choice.end.completion_tokens,
            },
            "azubi": about(choice.end),
        }
        for model, choice in zip(body.models, choices, strict=True)
    }
    return JSONResponse({"id": call.id, "object": "azubi.answers", "answers": answers})
