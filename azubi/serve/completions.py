"""/v1/completions, OpenAI's older form: the prompt is the user's message, as `azubi ask` takes it.

A model writes behind the message, in its chat template; it does not go on with the prompt's own sentence.
"""

import time
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from azubi.data.example import Turn
from azubi.pipeline.inquiry import Finished, Inquiry, TokenScore
from azubi.serve.answers import STREAMED, Call, Event, about, new_id, usage
from azubi.serve.backend import BackendOf
from azubi.serve.chat import finite, several, stops
from azubi.serve.guard import ChatKey
from azubi.serve.refusal import Refusal
from azubi.serve.requests import CompletionRequest
from azubi.serve.streaming import streamed

router = APIRouter(tags=["answers"])


@router.post("/v1/completions", response_model=None, responses=STREAMED)
async def complete(body: CompletionRequest, request: Request, backend: BackendOf, key: ChatKey) -> Response:
    """Answer one prompt, or several."""
    call = Call(backend, key, request, new_id("cmpl-"), body.azubi)
    prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    call.submit([each for prompt in prompts for each in several(_inquiry(prompt, body), body.n or 1)])
    created = int(time.time())
    if body.stream:
        return await streamed(call, CompletionChunks(call, created, body))
    choices = await call.whole()
    counted = usage(choices)
    counted["prompt_tokens"] = sum(each.end.prompt_tokens for each in choices[:: body.n or 1])
    counted["total_tokens"] = counted["prompt_tokens"] + counted["completion_tokens"]
    return JSONResponse(
        _document(call, created, choices[0].end.specialist)
        | {
            "choices": [
                _choice(n, each.end.answer.text, each.scores, body)
                | {"finish_reason": each.end.reason, "azubi": about(each.end)}
                for n, each in enumerate(choices)
            ],
            "usage": counted,
            "azubi": about(choices[0].end),
        }
    )


def _inquiry(prompt: str, body: CompletionRequest) -> Inquiry:
    return Inquiry(
        body.model,
        (Turn("user", prompt),),
        most_tokens=body.max_tokens,
        temperature=body.temperature or 0.0,
        top_p=1.0 if body.top_p is None else body.top_p,
        seed=body.seed,
        stop=stops(body.stop),
        top_logprobs=body.logprobs,
    )


def _document(call: Call, created: int, model: str) -> dict[str, Any]:
    return {"id": call.id, "object": "text_completion", "created": created, "model": model}


def _choice(number: int, text: str, scores: Sequence[TokenScore], body: CompletionRequest) -> dict[str, Any]:
    logprobs = _logprobs(scores) if body.logprobs is not None else None
    return {"index": number, "text": text, "logprobs": logprobs, "finish_reason": None}


def _logprobs(scores: Sequence[TokenScore]) -> dict[str, Any]:
    offsets, place = [], 0
    for each in scores:
        offsets.append(place)
        place += len(each.token)
    return {
        "tokens": [each.token for each in scores],
        "token_logprobs": [finite(each.log_probability) for each in scores],
        "top_logprobs": [{token: finite(score) for token, _, score in each.alternatives} for each in scores],
        "text_offset": offsets,
    }


class CompletionChunks:
    """The parts of a streamed answer, in OpenAI's older form."""

    named = False

    def __init__(self, call: Call, created: int, body: CompletionRequest) -> None:
        self._call, self._created, self._body = call, created, body

    def of(self, event: Event) -> list[dict[str, Any]]:
        """What is sent for an event."""
        number, item = event
        if isinstance(item, Finished):
            choice = _choice(number, "", (), self._body) | {"finish_reason": item.reason}
            return [self._chunk([choice]) | {"azubi": about(item)}]
        return [self._chunk([_choice(number, item.text, item.scores, self._body)])]

    def last(self) -> list[dict[str, Any]]:
        """What is sent after all choices."""
        options = self._body.stream_options
        if options is None or not options.include_usage:
            return []
        return [self._chunk([]) | {"usage": usage(self._call.choices)}]

    def failure(self, refusal: Refusal) -> dict[str, Any]:
        """What is sent for an error in the middle."""
        return refusal.body

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return _document(self._call, self._created, self._call.choices[0].inquiry.model) | {
            "choices": choices
        }
