"""/v1/responses, text in and text out: OpenAI's newer form of the same. Nothing is stored between calls."""

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field, JsonValue, field_validator

from azubi.data.example import Turn
from azubi.pipeline.inquiry import Finished, Inquiry
from azubi.serve.answers import STREAMED, Call, Choice, Event, about, new_id
from azubi.serve.backend import BackendOf
from azubi.serve.guard import ChatKey
from azubi.serve.refusal import Refusal
from azubi.serve.requests import (
    Body,
    Common,
    JsonObject,
    Message,
    MostTokens,
    Nothing,
    TextFormat,
    nothing_but,
    require_known_format,
)
from azubi.serve.streaming import streamed

router = APIRouter(tags=["answers"])


class InputMessage(Message):
    """A message of the input; ids and states of earlier answers are accepted."""

    type: Literal["message"] = "message"
    id: str | None = None
    status: Literal["completed", "incomplete", "in_progress"] | None = None


class SchemaFormat(Body):
    """A JSON object that follows a schema."""

    type: Literal["json_schema"]
    name: str
    description: str | None = None
    schema_: Annotated[dict[str, JsonValue], Field(alias="schema")]
    strict: bool | None = None


class TextOptions(Body):
    """What the text is like."""

    format: Annotated[TextFormat | JsonObject | SchemaFormat, Field(discriminator="type")] = TextFormat(
        type="text"
    )
    verbosity: None = None


class ResponseRequest(Common):
    """Body of /v1/responses."""

    _refused_here = field_validator("prompt", mode="wrap")(nothing_but)
    input: str | Annotated[list[InputMessage], Field(min_length=1)]
    instructions: str | None = None
    """A system message in front."""
    max_output_tokens: MostTokens = None
    text: TextOptions = TextOptions()
    tools: Nothing = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = None
    include: Nothing = None
    background: Literal[False] | None = None
    truncation: Literal["disabled"] | None = None
    previous_response_id: None = None
    conversation: None = None
    prompt: None = None
    reasoning: None = None
    top_logprobs: Annotated[int, Field(ge=0, le=0)] | None = None


@router.post("/v1/responses", response_model=None, responses=STREAMED)
async def respond(body: ResponseRequest, request: Request, backend: BackendOf, key: ChatKey) -> Response:
    """Answer a text or a conversation."""
    call = Call(backend, key, request, new_id("resp_"), body.azubi)
    call.submit([_inquiry(body)])
    shape = ResponseShape(call, body, int(time.time()))
    if body.stream:
        return await streamed(call, shape)
    choices = await call.whole()
    return JSONResponse(shape.whole(choices[0]))


def _inquiry(body: ResponseRequest) -> Inquiry:
    if isinstance(body.input, str):
        turns: tuple[Turn, ...] = (Turn("user", body.input),)
    else:
        turns = require_known_format(body.input, "input")
    if body.instructions:
        turns = (Turn("system", body.instructions), *turns)
    wanted, schema = body.text.format, None
    if isinstance(wanted, JsonObject):
        schema = {}
    elif isinstance(wanted, SchemaFormat):
        schema = dict(wanted.schema_)
    return Inquiry(
        body.model,
        turns,
        most_tokens=body.max_output_tokens,
        temperature=body.temperature or 0.0,
        top_p=1.0 if body.top_p is None else body.top_p,
        schema=schema,
    )


class ResponseShape:
    """A response and the events of its stream, in OpenAI's form."""

    named = True

    def __init__(self, call: Call, body: ResponseRequest, created: int) -> None:
        self._call, self._body, self._created = call, body, created
        self._item_id = new_id("msg_")
        self._number = 0

    def whole(self, choice: Choice) -> dict[str, Any]:
        """The response when it is there."""
        end = choice.end
        status = "completed" if end.reason == "stop" else "incomplete"
        spent = {
            "input_tokens": end.prompt_tokens,
            "input_tokens_details": {"cached_tokens": end.cached_tokens},
            "output_tokens": end.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": end.prompt_tokens + end.completion_tokens,
        }
        cut = None if status == "completed" else {"reason": "max_output_tokens"}
        output = [self._item(end.answer.text, status)]
        about_it = {"model": end.specialist, "azubi": about(end), "incomplete_details": cut}
        return self._response(status) | about_it | {"output": output, "usage": spent}

    def of(self, event: Event) -> list[dict[str, Any]]:
        """The events for a piece, or for the end."""
        opening, (_, item) = [] if self._number else self._opening(), event
        if not isinstance(item, Finished):
            delta = {"delta": item.text, "logprobs": []}
            return [*opening, self._event("response.output_text.delta", **self._place(), **delta)]
        text, response = item.answer.text, self.whole(self._call.choices[0])
        return [
            *opening,
            self._event("response.output_text.done", **self._place(), text=text, logprobs=[]),
            self._event("response.content_part.done", **self._place(), part=_part(text)),
            self._event("response.output_item.done", output_index=0, item=response["output"][0]),
            self._event(f"response.{response['status']}", response=response),
        ]

    def last(self) -> list[dict[str, Any]]:
        """Nothing comes after the response."""
        return []

    def failure(self, refusal: Refusal) -> dict[str, Any]:
        """The event for an error in the middle."""
        error = refusal.body["error"]
        about_it = {name: error[name] for name in ("message", "code", "param")}
        return self._event("error", **about_it, error=error)

    def _opening(self) -> list[dict[str, Any]]:
        item = self._item("", "in_progress") | {"content": []}
        return [
            self._event("response.created", response=self._response("in_progress")),
            self._event("response.in_progress", response=self._response("in_progress")),
            self._event("response.output_item.added", output_index=0, item=item),
            self._event("response.content_part.added", **self._place(), part=_part("")),
        ]

    def _event(self, kind: str, **fields: Any) -> dict[str, Any]:
        self._number += 1
        return {"type": kind, "sequence_number": self._number - 1, **fields}

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._item_id, "output_index": 0, "content_index": 0}

    def _item(self, text: str, status: str) -> dict[str, Any]:
        return {
            "id": self._item_id,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": [_part(text)],
        }

    def _response(self, status: str) -> dict[str, Any]:
        body = self._body
        return {
            "id": self._call.id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "model": body.model,
            "output": [],
            "error": None,
            "incomplete_details": None,
            "instructions": body.instructions,
            "metadata": body.metadata or {},
            "max_output_tokens": body.max_output_tokens,
            "parallel_tool_calls": False,
            "tool_choice": "none",
            "tools": [],
            "temperature": body.temperature or 0.0,
            "top_p": 1.0 if body.top_p is None else body.top_p,
            "text": {"format": body.text.format.model_dump(by_alias=True)},
            "truncation": "disabled",
            "previous_response_id": None,
            "store": False,
            "usage": None,
        }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
