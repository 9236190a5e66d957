"""One request of a key for answers: from the models' pieces to what is noted of them.

Whatever the route: the key has to be allowed the model, a client that goes away frees its place, and an
answer counts in rates, metrics and the audit log before its end goes out.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from fastapi import Request

from azubi.errors import AzubiError
from azubi.pipeline.inquiry import AnswerStream, Finished, Inquiry, Piece, TokenScore
from azubi.serve.audit import AuditEntry
from azubi.serve.backend import Backend
from azubi.serve.keys import Key
from azubi.serve.models import permitted
from azubi.serve.refusal import Refusal, refusal_of
from azubi.serve.requests import Own

T = TypeVar("T")
Event = tuple[int, Piece | Finished]
"""The number of a choice, and what came for it."""
CLIENT_GONE = 499
STREAMED: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}
"""What else a route may answer, as the description of the API has it."""


@dataclass
class Choice:
    """One answer, as far as it is there."""

    inquiry: Inquiry
    stream: AnswerStream
    pieces: int = 0
    text: str = ""
    scores: list[TokenScore] = field(default_factory=list)
    finished: Finished | None = None

    def take(self, item: Piece | Finished) -> None:
        """Add what came."""
        if isinstance(item, Finished):
            self.finished = item
        else:
            self.pieces += 1
            self.text += item.text
            self.scores.extend(item.scores)

    @property
    def end(self) -> Finished:
        """How it ended; it has to."""
        assert self.finished is not None
        return self.finished


@dataclass
class Call:
    """A request for one or several answers."""

    backend: Backend
    key: Key
    request: Request
    id: str
    """As the client gets it: chatcmpl-…"""
    own: Own
    choices: list[Choice] = field(default_factory=list)

    def submit(self, inquiries: Sequence[Inquiry]) -> None:
        """Ask the models.

        Raises:
            Refusal: 404, the key may not ask the model.
            UnknownSpecialist, SettingError, ServiceBusy: as `Service.submit`.
        """
        inquiries = [
            replace(each, model=permitted(each.model, self.backend, self.key), reader=self.key.id)
            for each in inquiries
        ]
        try:
            for inquiry in inquiries:
                self.choices.append(Choice(inquiry, self.backend.service.submit(inquiry)))
        except AzubiError:
            self.cancel()
            raise

    def cancel(self) -> None:
        """Free the places of all answers that are not done."""
        for choice in self.choices:
            if choice.finished is None:
                choice.stream.cancel()

    async def events(self) -> AsyncGenerator[Event, None]:
        """The pieces of all choices as they come, noted when each is done; closing it frees their places.

        Raises:
            AzubiError: an answer failed.
            Refusal: 422, the question is out of scope, and that is left to the caller.
        """
        queue: asyncio.Queue[Event | Exception] = asyncio.Queue()
        pumps = [asyncio.create_task(_pump(n, each.stream, queue)) for n, each in enumerate(self.choices)]
        try:
            for _ in self.choices:
                while True:
                    event = await queue.get()
                    if isinstance(event, Exception):
                        raise event
                    number, item = event
                    self.choices[number].take(item)
                    if isinstance(item, Finished):
                        await self._note(self.choices[number])
                        self._require_answer(item)
                    yield event
                    if isinstance(item, Finished):
                        break
        except (asyncio.CancelledError, GeneratorExit):
            self.cancel()
            with suppress(asyncio.CancelledError, AzubiError):
                await asyncio.shield(asyncio.create_task(self._note_failure("cancelled")))
            raise
        except Exception as error:
            refusal = refusal_of(error) if isinstance(error, AzubiError) else error
            await self._note_failure((isinstance(refusal, Refusal) and refusal.code) or "internal_error")
            raise
        finally:
            self.cancel()
            for pump in pumps:
                pump.cancel()

    async def whole(self) -> list[Choice]:
        """Wait for all answers. Raises as `events` does, or Refusal 499 when the client goes away."""

        async def read() -> list[Choice]:
            async for _ in self.events():
                pass
            return self.choices

        return await self.unless_gone(read())

    async def unless_gone(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which is cancelled when the client goes away."""
        task, gone = asyncio.create_task(work), asyncio.create_task(_gone(self.request))
        try:
            await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Refusal(CLIENT_GONE, "The client went away.", "cancelled")
            return task.result()
        finally:
            task.cancel()
            gone.cancel()
            await asyncio.wait((task, gone))

    def _refused(self, finished: Finished) -> bool:
        return finished.answer.by == "nobody" and self.own.out_of_scope == "error"

    def _require_answer(self, finished: Finished) -> None:
        if self._refused(finished):
            raise Refusal(
                422,
                f"The question is not the job of {finished.specialist}, and its recipe leaves such questions "
                "to the caller (scope.out_of_scope: caller). The answer is empty instead, if the request has "
                '"azubi": {"out_of_scope": "empty"}.',
                "out_of_scope",
                azubi=about(finished),
            )

    async def _note(self, choice: Choice) -> None:
        end, store = choice.end, self.backend.feedback
        self.backend.rates.spend(self.key, end.prompt_tokens + end.completion_tokens)
        self.backend.metrics.answered(
            end.specialist, end.prompt_tokens, end.cached_tokens, end.completion_tokens, end.answer.in_scope
        )
        if store is not None and choice is self.choices[0] and not self._refused(end):
            turns, text = choice.inquiry.turns, end.answer.text
            await asyncio.to_thread(store.keep, self.id, self.key.id, end.specialist, turns, text)
        await self.backend.audit.add(self._entry("out_of_scope" if self._refused(end) else "ok", end))

    async def _note_failure(self, result: str) -> None:
        """Note the choices that have no end; of their tokens only the pieces that came are known."""
        for choice in self.choices:
            if choice.finished is None:
                self.backend.rates.spend(self.key, choice.pieces)
                await self.backend.audit.add(self._entry(result, None, choice.inquiry.model))

    def _entry(self, result: str, end: Finished | None, model: str = "") -> AuditEntry:
        entry = AuditEntry("answer", self.key.id, self.key.name, self.id, model, result)
        if end is None:
            return entry
        return replace(
            entry,
            model=end.specialist,
            prompt_tokens=end.prompt_tokens,
            completion_tokens=end.completion_tokens,
            scope=end.answer.scope,
            in_scope=end.answer.in_scope,
            answered_by=end.answer.by,
        )


async def _pump(number: int, stream: AnswerStream, queue: "asyncio.Queue[Event | Exception]") -> None:
    try:
        async for item in stream:
            queue.put_nowait((number, item))
    except Exception as error:
        queue.put_nowait(error)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def new_id(kind: str) -> str:
    """An id as OpenAI's: chatcmpl-…, cmpl-…, resp_…"""
    return f"{kind}{secrets.token_hex(12)}"


def about(finished: Finished) -> dict[str, Any]:
    """What azubi says beside an answer: who gave it, and whether to trust it."""
    answer = finished.answer
    said = {
        "specialist": finished.specialist,
        "answered_by": answer.by,
        "scope": answer.scope,
        "in_scope": answer.in_scope,
        "confidence": answer.confidence,
        "review": answer.review,
        "notes": list(answer.notes),
    }
    return said | ({"levels": dict(answer.levels)} if answer.levels else {})


def usage(choices: Sequence[Choice]) -> dict[str, Any]:
    """Tokens of a request, in OpenAI's form; the prompt counts once, however many choices it has."""
    prompt, cached = choices[0].end.prompt_tokens, choices[0].end.cached_tokens
    completion = sum(choice.end.completion_tokens for choice in choices)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
