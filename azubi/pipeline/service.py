"""Answers for many askers at a time, from one thread that has the models: what a server stands on.

Requests may come from any thread. Each gets an `AnswerStream`; what it gives is what `azubi ask` would give.
Knows nothing of HTTP, keys or protocols.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from azubi.data.example import Turn
from azubi.engine.base.hardware import available_memory
from azubi.engine.features import read_vectors
from azubi.engine.inference import answering
from azubi.errors import (
    AnswerFailed,
    AzubiError,
    MemoryShortage,
    ServiceBusy,
    SettingError,
    tells_of_memory,
)
from azubi.pipeline.inquiry import AnswerStream, Finished, Inquiry, Piece, TokenScore, whole
from azubi.pipeline.residents import ModelInfo, Resident, Residents, models, resolved

__all__ = [
    "AnswerStream",
    "Finished",
    "Inquiry",
    "ModelInfo",
    "Piece",
    "Service",
    "ServiceLoad",
    "TokenScore",
    "whole",
]
_MEMORY_SHARE = 0.5
"""Of the memory that is free at the start, what tails may take."""
MOST_ALTERNATIVES = 20
"""Tokens beside each that is written, as many as OpenAI gives."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServiceLoad:
    """How much a service has to do, and what it holds."""

    running: int
    """Answers that are being written."""
    waiting: int
    tail_bytes: int
    page_bytes: int
    """What is kept of documents that were read."""
    loaded: tuple[str, ...]
    """Specialists and bases in memory."""


@dataclass
class _Request:
    inquiry: Inquiry
    name: str
    stream: AnswerStream


class Service:
    """Answers questions until it is closed."""

    def __init__(
        self, home: Path, *, memory: int | None = None, most_waiting: int = 256, threads: int = 0
    ) -> None:
        """`memory` is how many bytes tails may take, None a share of what is free.

        At most `most_waiting` requests wait; `threads` 0 computes with a thread for each core.
        """
        self._home, self._most_waiting = home, most_waiting
        self._residents = Residents(home, memory or int(_MEMORY_SHARE * available_memory()), threads)
        self._changed = threading.Condition()
        self._waiting: deque[_Request] = deque()
        self._jobs: deque[Callable[[], None]] = deque()
        self._running = 0
        self._closing = self._stopped = False
        self._thread = threading.Thread(target=self._work, name="azubi engine", daemon=True)
        self._thread.start()

    def models(self) -> list[ModelInfo]:
        """What can be asked."""
        return list(models(self._home))

    def submit(self, inquiry: Inquiry) -> AnswerStream:
        """Ask. What is wrong with the question itself is raised when the stream is iterated.

        Raises:
            UnknownSpecialist: there is no model of that name.
            ServiceBusy: too many requests wait, or the service is being closed.
            SettingError: a setting of the request is out of range.
        """
        _check(inquiry)
        request = _Request(inquiry, resolved(inquiry.model, self._home), AnswerStream(self._wake))
        with self._changed:
            if self._closing:
                raise ServiceBusy("The service is being stopped.", "Ask again when it is back.")
            if len(self._waiting) >= self._most_waiting:
                raise ServiceBusy(
                    f"{len(self._waiting):,} questions wait for an answer.", "Ask again in a few seconds."
                )
            self._waiting.append(request)
            self._changed.notify()
        return request.stream

    def ask(self, models: Sequence[str], turns: tuple[Turn, ...], reader: str) -> dict[str, AnswerStream]:
        """Ask several specialists about one document; the base reads it once. Raises as `submit` does."""
        streams: dict[str, AnswerStream] = {}
        try:
            for name in models:
                streams[name] = self.submit(Inquiry(name, turns, reader))
        except AzubiError:
            for stream in streams.values():
                stream.cancel()
            raise
        return streams

    def embed(self, model: str, texts: Sequence[str]) -> tuple[list[np.ndarray], int]:
        """Vectors of length 1 of `texts` from an encoder, and how many tokens were read. Waits for them.

        Raises:
            UnknownSpecialist: there is no model of that name.
            SettingError: it is no encoder.
            ContextTooLong: a text is longer than it reads.
        """
        name = resolved(model, self._home)
        done: Future[tuple[list[np.ndarray], int]] = Future()

        def compute() -> None:
            try:
                done.set_result(read_vectors(self._residents.encoder(name), texts))
            except Exception as error:
                done.set_exception(_failure(error))

        with self._changed:
            if self._closing:
                raise ServiceBusy("The service is being stopped.", "Ask again when it is back.")
            self._jobs.append(compute)
            self._changed.notify()
        return done.result()

    def busy(self) -> ServiceLoad:
        """How much there is to do now."""
        residents = self._residents
        return ServiceLoad(self._running, len(self._waiting), residents.tail_bytes, 0, residents.loaded)

    def close(self, seconds: float) -> None:
        """Refuse what is new, finish what was asked within so many seconds, and refuse the rest."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)
        with self._changed:
            self._stopped = True
            left, self._waiting = list(self._waiting), deque()
        for request in left:
            request.stream.put(ServiceBusy("The service was stopped.", "Ask again when it is back."))

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._jobs and not self._closing:
                    self._changed.wait()
                if self._stopped or (self._closing and not self._waiting and not self._jobs):
                    return
                jobs, self._jobs = list(self._jobs), deque()
                asked, self._waiting = list(self._waiting), deque()
            for job in jobs:
                job()
            by_name: dict[str, list[_Request]] = {}
            for request in asked:
                if not request.stream.cancelled:
                    by_name.setdefault(request.name, []).append(request)
            for name, requests in by_name.items():
                self._running = len(requests)
                self._answer(name, requests)
            self._running = 0

    def _answer(self, name: str, requests: Sequence[_Request]) -> None:
        for request in requests:
            try:
                resident = self._residents.get(name)
                request.stream.put(self._finished(resident, request))
            except Exception as error:
                request.stream.put(_failure(error))

    def _finished(self, resident: Resident, request: _Request) -> Finished:
        (answer,) = answering.in_order(resident.answers, [request.inquiry.turns])
        before = len(resident.specialist.instruction_tokens)
        request.stream.put(Piece(answer.text))
        reason: Literal["stop", "length"] = "length" if answer.wrote >= resident.longest else "stop"
        return Finished(answer, reason, before + answer.read, before, answer.wrote, resident.name)


def _check(inquiry: Inquiry) -> None:
    """Raise SettingError for what is out of range."""
    if not 0 <= inquiry.temperature <= 2:
        raise SettingError(f"temperature is {inquiry.temperature}.", "Give a number from 0 to 2.")
    if not 0 < inquiry.top_p <= 1:
        raise SettingError(f"top_p is {inquiry.top_p}.", "Give a number above 0, and at most 1.")
    if not 0 <= (inquiry.top_logprobs or 0) <= MOST_ALTERNATIVES:
        raise SettingError(
            f"top_logprobs is {inquiry.top_logprobs}.", f"Give a number from 0 to {MOST_ALTERNATIVES}."
        )
    if inquiry.most_tokens is not None and inquiry.most_tokens < 1:
        raise SettingError(f"most_tokens is {inquiry.most_tokens}.", "Give at least 1.")
    if not inquiry.turns or inquiry.turns[-1].role != "user":
        raise SettingError("The last message is not one of the user.", "End with what is asked.")


def _failure(error: Exception) -> AzubiError:
    """An error of the tree for whatever a model raised."""
    if isinstance(error, AzubiError):
        return error
    _log.error("a request failed: %s", type(error).__name__)
    if tells_of_memory(error):
        return MemoryShortage(
            "There is not enough memory to answer this.", "Ask something shorter, or fewer things at a time."
        )
    return AnswerFailed(
        f"The model failed while it answered: {type(error).__name__}.",
        "Ask again; if it happens again, tell whoever runs this server.",
    )
