"""Answers as server-sent events, while they are written.

What fails before the first piece is an ordinary error with a status of its own; after it, an event says so.
However a stream ends, the places of its answers are freed.
"""

import json
from collections.abc import AsyncGenerator
from typing import Any, Protocol

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from azubi.errors import AzubiError
from azubi.serve.answers import Call, Event
from azubi.serve.refusal import Refusal, log_failure, refusal_of


class StreamShape(Protocol):
    """What a route sends for what comes."""

    named: bool
    """Whether each event has its type as a name, and none marks the end."""

    def of(self, event: Event) -> list[dict[str, Any]]:
        """For a piece, or the end of a choice."""

    def last(self) -> list[dict[str, Any]]:
        """After all choices."""

    def failure(self, refusal: Refusal) -> dict[str, Any]:
        """For an error in the middle."""


class EventStream(StreamingResponse):
    """A response that closes what it reads from, also when its client goes away."""

    def __init__(self, lines: AsyncGenerator[str, None]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(lines, media_type="text/event-stream", headers=headers)
        self._lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._lines.aclose()


async def streamed(call: Call, shape: StreamShape) -> EventStream:
    """The answers of `call`. Raises as `Call.whole`, before the first piece."""
    events = call.events()

    async def begin() -> Event:
        return await anext(events)

    first = await call.unless_gone(begin())

    async def documents() -> AsyncGenerator[dict[str, Any], None]:
        try:
            for document in shape.of(first):
                yield document
            async for event in events:
                for document in shape.of(event):
                    yield document
            for document in shape.last():
                yield document
        except AzubiError as error:
            log_failure(error, call.request.state.request_id)
            yield shape.failure(refusal_of(error))
        except Refusal as refusal:
            yield shape.failure(refusal)
        finally:
            await events.aclose()

    return EventStream(_lines(documents(), shape.named))


async def _lines(documents: AsyncGenerator[dict[str, Any], None], named: bool) -> AsyncGenerator[str, None]:
    try:
        async for document in documents:
            name = f"event: {document['type']}\n" if named else ""
            yield f"{name}data: {json.dumps(document, ensure_ascii=False)}\n\n"
        if not named:
            yield "data: [DONE]\n\n"
    finally:
        await documents.aclose()
