"""/v1/chat/completions: a conversation in, an answer out, whole or as it is written."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from azubi.pipeline.inquiry import Finished, Inquiry, Piece, TokenScore
from azubi.serve.answers import STREAMED, Call, Choice, Event, about, new_id, usage
from azubi.serve.backend import BackendOf
from azubi.serve.guard import ChatKey
from azubi.serve.refusal import Refusal
from azubi.serve.requests import ChatRequest, JsonObject, JsonSchemaFormat, require_known_format
from azubi.serve.streaming import streamed

router = APIRouter(tags=["answers"])
_LEAST = -9999.0
"""What OpenAI writes for a token that cannot be: JSON has no infinity."""


@router.post("/v1/chat/completions", response_model=None, responses=STREAMED)
async def chat(body: ChatRequest, request: Request, backend: BackendOf, key: ChatKey) -> Response:
    """Answer a conversation."""
    call = Call(backend, key, request, new_id("chatcmpl-"), body.azubi)
    call.submit(several(_inquiry(body), body.n or 1))
    created = int(time.time())
    if body.stream:
        return await streamed(call, ChatChunks(call, created, body))
    choices = await call.whole()
    return JSONResponse(
        {
            "id": call.id,
            "object": "chat.completion",
            "created": created,
            "model": choices[0].end.specialist,
            "choices": [_choice(number, each, body) for number, each in enumerate(choices)],
            "usage": usage(choices),
            "azubi": about(choices[0].end),
        }
    )


def _inquiry(body: ChatRequest) -> Inquiry:
    if body.top_logprobs is not None and not body.logprobs:
        raise Refusal(400, "`top_logprobs` needs `logprobs: true`.", "invalid_value", "top_logprobs")
    return Inquiry(
        body.model,
        require_known_format(body.messages, "messages"),
        most_tokens=body.max_completion_tokens or body.max_tokens,
        temperature=body.temperature or 0.0,
        top_p=1.0 if body.top_p is None else body.top_p,
        seed=body.seed,
        stop=stops(body.stop),
        top_logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        schema=_schema(body),
    )


def _schema(body: ChatRequest) -> dict[str, Any] | None:
    match body.response_format:
        case JsonObject():
            return {}
        case JsonSchemaFormat(json_schema=wanted):
            return dict(wanted.schema_)
    return None


def several(inquiry: Inquiry, number: int) -> list[Inquiry]:
    """The same question so many times; each draws with a seed of its own."""
    if inquiry.seed is None:
        return [inquiry] * number
    return [replace(inquiry, seed=inquiry.seed + place) for place in range(number)]


def stops(given: str | list[str] | None) -> tuple[str, ...]:
    """Texts at which an answer ends."""
    return (given,) if isinstance(given, str) else tuple(given or ())


def _choice(number: int, choice: Choice, body: ChatRequest) -> dict[str, Any]:
    return {
        "index": number,
        "message": {"role": "assistant", "content": choice.end.answer.text, "refusal": None},
        "logprobs": _logprobs(choice.scores) if body.logprobs else None,
        "finish_reason": choice.end.reason,
        "azubi": about(choice.end),
    }


def _logprobs(scores: Sequence[TokenScore]) -> dict[str, Any]:
    content = [
        scored(each.token, each.text_bytes, each.log_probability)
        | {"top_logprobs": [scored(*other) for other in each.alternatives]}
        for each in scores
    ]
    return {"content": content, "refusal": None}


def scored(token: str, text: bytes, log_probability: float) -> dict[str, Any]:
    """A token with its probability, in OpenAI's form."""
    return {"token": token, "logprob": finite(log_probability), "bytes": list(text)}


def finite(log_probability: float) -> float:
    """A log-probability that JSON can write."""
    return log_probability if math.isfinite(log_probability) else _LEAST


class ChatChunks:
    """The parts of a streamed answer, in OpenAI's form."""

    named = False

    def __init__(self, call: Call, created: int, body: ChatRequest) -> None:
        self._call, self._created, self._body = call, created, body
        self._usage = body.stream_options is not None and body.stream_options.include_usage
        self._begun: set[int] = set()

    def of(self, event: Event) -> list[dict[str, Any]]:
        """What is sent for an event."""
        number, item = event
        if isinstance(item, Finished):
            ending = {"index": number, "delta": {}, "logprobs": None, "finish_reason": item.reason}
            return [*self._opening(number), self._chunk([ending]) | {"azubi": about(item)}]
        return [*self._opening(number), self._chunk([self._piece(number, item)])]

    def last(self) -> list[dict[str, Any]]:
        """What is sent after all choices."""
        if not self._usage:
            return []
        return [self._chunk([]) | {"usage": usage(self._call.choices)}]

    def failure(self, refusal: Refusal) -> dict[str, Any]:
        """What is sent for an error in the middle."""
        return refusal.body

    def _opening(self, number: int) -> list[dict[str, Any]]:
        if number in self._begun:
            return []
        self._begun.add(number)
        delta = {"role": "assistant", "content": "", "refusal": None}
        return [self._chunk([{"index": number, "delta": delta, "logprobs": None, "finish_reason": None}])]

    def _piece(self, number: int, piece: Piece) -> dict[str, Any]:
        logprobs = _logprobs(piece.scores) if self._body.logprobs else None
        return {
            "index": number,
            "delta": {"content": piece.text},
            "logprobs": logprobs,
            "finish_reason": None,
        }

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        chunk = {
            "id": self._call.id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._call.choices[0].inquiry.model,
            "choices": choices,
        }
        return chunk | ({"usage": None} if self._usage else {})
