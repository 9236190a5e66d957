"""Answers batches, one after the other, beside live requests and behind them.

A request of a batch goes through the very function that a live one goes through, with the key that created
the batch: so what it may ask, what is counted and what is logged is the same. Each answer is kept before it
counts, so a server that is killed goes on with the next line. Knows nothing of who is asked.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, cast

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.responses import Response
from starlette.types import Message

from azubi.data import strict_json
from azubi.errors import AzubiError, CorruptFile
from azubi.serve import chat, completions, embeddings, responses
from azubi.serve.backend import Backend
from azubi.serve.batches import Batch, LineError
from azubi.serve.keys import Key
from azubi.serve.refusal import Refusal, invalid_body, log_failure, refusal_of
from azubi.serve.requests import UNSUPPORTED, ChatRequest, CompletionRequest, EmbeddingRequest
from azubi.serve.responses import ResponseRequest
from azubi.serve.uploads import StoredFile, new_id

Answer = Callable[..., Awaitable[Response]]
ENDPOINTS: Mapping[str, tuple[type[BaseModel], Answer]] = {
    "/v1/chat/completions": (ChatRequest, chat.chat),
    "/v1/completions": (CompletionRequest, completions.complete),
    "/v1/embeddings": (EmbeddingRequest, embeddings.embed),
    "/v1/responses": (ResponseRequest, responses.respond),
}
"""What a batch may ask for: the body, and the route's function that answers it."""
_AT_ONCE = 4
"""Requests of a batch that are asked at a time."""
_LOOK_SECONDS = 0.5
_GIVE_WAY_SECONDS = 0.05
_MOST_LINES = 50_000
"""OpenAI's limit."""
_MOST_ERRORS = 20
_BUSY = (429, 503)


class BatchRunner:
    """Works through the batches of a home as long as its server leads."""

    def __init__(self, backend: Backend) -> None:
        self._backend, self._batches = backend, backend.batches

    async def run(self) -> None:
        """Work until the task is cancelled; requests that are under way then are asked again later."""
        while not self._backend.supervisor.is_leader:
            await asyncio.sleep(_LOOK_SECONDS)
        await asyncio.to_thread(self._batches.forget_ended)
        while True:
            try:
                batch = await asyncio.to_thread(self._batches.next)
                if batch is not None:
                    await self._go_on(batch)
                    continue
            except Exception as error:  # a full disk, say: batches go on when there is room
                log_failure(error, "batches")
            await asyncio.sleep(_LOOK_SECONDS)

    async def _go_on(self, batch: Batch) -> None:
        try:
            await self._work(batch)
        except CorruptFile as error:  # it cannot go on, but others can
            await self._fail(batch, [LineError(code="invalid_file", message=str(error))])

    async def _work(self, batch: Batch) -> None:
        """Do what is next for a batch."""
        file = self._backend.uploads.find(batch.input_file)
        if file is None:
            raise CorruptFile(f"The file {batch.input_file} is gone.", "Upload it again.")
        if batch.status == "validating":
            total, errors = await asyncio.to_thread(self._check, batch, file)
            if errors:
                await self._fail(batch, errors)
            else:
                self._batches.change(batch.id, ("validating",), status="in_progress", total=total)
        elif batch.status == "in_progress":
            await self._answer_all(batch, file)
        elif batch.status == "cancelling":
            self._batches.change(batch.id, ("cancelling",), status="finalizing", ends_as="cancelled")
        else:
            await asyncio.to_thread(self._write_files, batch)

    async def _fail(self, batch: Batch, errors: list[LineError]) -> None:
        self._batches.change(batch.id, (batch.status,), status="failed", errors=tuple(errors[:_MOST_ERRORS]))
        await asyncio.to_thread(self._batches.forget, batch)

    def _check(self, batch: Batch, file: StoredFile) -> tuple[int, list[LineError]]:
        """How many requests a file holds, and what is wrong with it."""
        errors: list[LineError] = []
        seen: set[str] = set()
        number = 0
        for number, line in self._lines(file):
            fault = _fault(line, batch, seen)
            if fault is not None:
                errors.append(fault.model_copy(update={"line": number}))
            if number > _MOST_LINES or len(errors) >= _MOST_ERRORS:
                break
        if number > _MOST_LINES:
            errors.append(
                LineError(code="too_many_lines", message=f"There are more than {_MOST_LINES:,} lines.")
            )
        if not seen and not errors:
            errors.append(LineError(code="empty_file", message="The file has no requests."))
        return len(seen), errors

    def _lines(self, file: StoredFile) -> Iterator[tuple[int, bytes]]:
        """The lines of a file that are not blank, with their numbers."""
        return (
            (n, line) for n, line in enumerate(self._backend.uploads.lines(file), start=1) if line.strip()
        )

    async def _answer_all(self, batch: Batch, file: StoredFile) -> None:
        """Ask what was not asked yet, a few at a time, as long as the batch is wanted."""
        done = await asyncio.to_thread(self._batches.done, batch)
        lines = self._lines(file)
        asking: set[asyncio.Task[None]] = set()
        try:
            while (entry := await asyncio.to_thread(next, lines, None)) is not None:
                if entry[0] in done:
                    continue
                if not await self._is_wanted(batch):
                    break
                asking.add(asyncio.create_task(self._answer(batch, *entry)))
                if len(asking) >= _AT_ONCE:
                    ended, asking = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
                    for task in ended:
                        task.result()
            await asyncio.gather(*asking)
        finally:
            for task in asking:
                task.cancel()
        expired = entry is not None and time.time() > batch.expires
        if entry is None or expired:
            ends = "expired" if expired else "completed"
            self._batches.change(batch.id, ("in_progress",), status="finalizing", ends_as=ends)

    async def _is_wanted(self, batch: Batch) -> bool:
        """Wait until nobody else does; then whether the batch still is to go on."""
        while self._backend.service.busy().waiting:
            await asyncio.sleep(_GIVE_WAY_SECONDS)
        now = await asyncio.to_thread(self._batches.find, batch.id)
        return now is not None and now.status == "in_progress" and time.time() <= batch.expires

    async def _answer(self, batch: Batch, number: int, line: bytes) -> None:
        """Ask a request until there is an answer or an error that stays, and keep it."""
        asked = json.loads(line)
        request = new_id("batch_req").replace("-", "_")
        status, body = await self._asked(batch, request, asked["body"])
        while status in _BUSY:
            await asyncio.sleep(_LOOK_SECONDS)
            if not await self._is_wanted(batch):
                return
            status, body = await self._asked(batch, request, asked["body"])
        response = {"status_code": status, "request_id": request, "body": body}
        answer = {"id": request, "custom_id": asked["custom_id"], "response": response, "error": None}
        text = json.dumps(answer, ensure_ascii=False)
        await asyncio.to_thread(self._batches.keep, batch, number, text, ok=status == 200)

    async def _asked(self, batch: Batch, request_id: str, body: Any) -> tuple[int, Any]:
        """Status and body of the answer to one request."""
        kind, answer = ENDPOINTS[batch.endpoint]
        try:
            key = self._key(batch)
            self._backend.rates.admit(key)
            request = Request(_scope(batch, request_id, key), receive=_never)
            response = await answer(kind.model_validate(body), request, self._backend, key)
            return response.status_code, json.loads(bytes(response.body))
        except ValidationError as error:
            refusal = invalid_body(RequestValidationError(_within_body(error)), UNSUPPORTED)
        except Refusal as error:
            refusal = error
        except AzubiError as error:
            refusal = refusal_of(error)
            if refusal.status_code == 500:
                log_failure(error, request_id)
        return refusal.status_code, refusal.body

    def _key(self, batch: Batch) -> Key:
        """The key that created the batch, as it is now.

        Raises:
            Refusal: it was revoked, or may not ask any more.
        """
        for key in self._backend.keys.all():
            if key.id == batch.owner and key.revoked is None and "chat" in key.scopes:
                return key
        raise Refusal(401, "The key that created the batch was revoked.", "invalid_api_key")

    def _write_files(self, batch: Batch) -> None:
        """Put the answers into files, and end the batch; done again from the start if it is cut off."""
        own, files = batch.id.removeprefix("batch_"), {}
        answered, failed = self._batches.counts(batch)
        for kind, ok, count in (("output", True, answered), ("error", False, failed)):
            if count:
                rows = (f"{row}\n".encode() for row in self._batches.answers(batch, ok=ok))
                name = f"{batch.id}_{kind}.jsonl"
                files[f"{kind}_file"] = self._backend.uploads.add(
                    batch.owner, name, "batch_output", rows, f"file-{own}-{kind}"
                ).id
        self._batches.change(
            batch.id, ("finalizing",), status=batch.ends_as, completed=answered, failed=failed, **files
        )
        self._batches.forget(batch)


def _fault(line: bytes, batch: Batch, seen: set[str]) -> LineError | None:
    """What is wrong with a line; its custom_id is added to those that were seen."""
    try:
        row = strict_json.parse(line.decode())
    except (UnicodeDecodeError, strict_json.NotJson) as error:
        return LineError(code="invalid_json_line", message=f"The line is not JSON: {error}.")
    if not isinstance(row, dict):
        return LineError(code="invalid_json_line", message="The line is JSON, but not an object.")
    custom, method, url = row.get("custom_id"), row.get("method"), row.get("url")
    if not isinstance(custom, str) or not custom:
        return LineError(
            code="missing_required_parameter", message="custom_id is no text.", param="custom_id"
        )
    if custom in seen:
        return LineError(
            code="duplicate_custom_id",
            message=f"custom_id {custom!r} stands in an earlier line.",
            param="custom_id",
        )
    seen.add(custom)
    if method != "POST":
        return LineError(
            code="invalid_method", message=f"method is {method!r}; it has to be POST.", param="method"
        )
    if url != batch.endpoint:
        problem = f"url is {url!r}; the batch is for {batch.endpoint}."
        return LineError(code="invalid_url", message=problem, param="url")
    if not isinstance(row.get("body"), dict):
        return LineError(code="missing_required_parameter", message="body is no object.", param="body")
    if row["body"].get("stream"):
        return LineError(
            code="unsupported_parameter", message="Answers of a batch are not streamed.", param="body.stream"
        )
    return None


def _within_body(error: ValidationError) -> list[Any]:
    """A model's errors as those of a request's body."""
    return [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors()]


def _scope(batch: Batch, request_id: str, key: Key) -> dict[str, Any]:
    state = {"request_id": request_id, "key": key}
    return {"type": "http", "method": "POST", "path": batch.endpoint, "headers": [], "state": state}


async def _never() -> Message:
    """The client of a batch never goes away."""
    await asyncio.Event().wait()
    return cast(Message, {})
