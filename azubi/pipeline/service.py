"""Answers for many askers at a time, from one thread that has the models: what a server stands on.

Requests may come from any thread. Each gets an `AnswerStream`; what it gives is what `azubi ask` would give,
but for records, which always follow their schema. Knows nothing of HTTP, keys or protocols.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from azubi.data.example import Turn
from azubi.engine.base.hardware import available_memory
from azubi.engine.features import Vector, read_vectors
from azubi.engine.inference.answering import Answer, WrittenAnswers
from azubi.engine.inference.generation import read_once
from azubi.engine.inference.sampling import PartialAnswer
from azubi.engine.inference.scheduler import Scheduler, WritingTask
from azubi.errors import AzubiError, ServiceBusy, SettingError
from azubi.pipeline.inquiry import AnswerStream, Finished, Inquiry, Piece, TokenScore, failure, whole
from azubi.pipeline.names import ModelInfo, Names
from azubi.pipeline.reply import Reply, chosen
from azubi.pipeline.residents import Resident, Residents

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
T = TypeVar("T")
_MEMORY_SHARE = 0.5
"""Of the memory that is free at the start, what tails may take."""
_LABEL_TOKENS = 2_048
"""Tokens of questions that are labelled before other answers go on."""
_EMBEDDED = 32
"""Texts whose vectors are computed before answers go on."""
MOST_ALTERNATIVES = 20
"""Tokens beside each that is written, as many as OpenAI gives."""


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


@dataclass(frozen=True)
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
        self._names, self._most_waiting = Names(home), most_waiting
        self._residents = Residents(
            home, self._names, memory or int(_MEMORY_SHARE * available_memory()), threads
        )
        self._scheduler = Scheduler()
        self._changed = threading.Condition()
        self._inbox: deque[list[_Request]] = deque()
        """Questions that nobody has looked at; those of one list are about one document."""
        self._jobs: deque[Callable[[], None]] = deque()
        self._choosing: dict[str, deque[Reply]] = {}
        """Questions whose answers are labels, by resident."""
        self._writing: dict[PartialAnswer, AnswerStream] = {}
        self._held = 0
        """How many questions wait behind the inbox."""
        self._closing = self._stopped = False
        self._thread = threading.Thread(target=self._work, name="azubi engine", daemon=True)
        self._thread.start()

    def models(self) -> list[ModelInfo]:
        """What can be asked."""
        return list(self._names.all())

    def submit(self, inquiry: Inquiry) -> AnswerStream:
        """Ask. What is wrong with the question itself is raised when the stream is iterated.

        Raises:
            UnknownSpecialist: there is no model of that name.
            ServiceBusy: too many requests wait, or the service is being closed.
            SettingError: a setting of the request is out of range.
        """
        (stream,) = self._submit([inquiry])
        return stream

    def _submit(self, inquiries: Sequence[Inquiry]) -> list[AnswerStream]:
        for inquiry in inquiries:
            _check(inquiry)
        requests = [
            _Request(inquiry, self._names.resolved(inquiry.model), AnswerStream(self._wake))
            for inquiry in inquiries
        ]
        with self._changed:
            if self._closing:
                raise ServiceBusy("The service is being stopped.", "Ask again when it is back.")
            waiting = sum(map(len, self._inbox)) + self._held
            if waiting >= self._most_waiting:
                raise ServiceBusy(f"{waiting:,} questions wait for an answer.", "Ask again in a few seconds.")
            self._inbox.append(requests)
            self._changed.notify()
        return [request.stream for request in requests]

    def ask(self, models: Sequence[str], turns: tuple[Turn, ...], reader: str) -> dict[str, AnswerStream]:
        """Ask several specialists about one document; the base reads it once. Raises as `submit` does."""
        return dict(zip(models, self._submit([Inquiry(name, turns, reader) for name in models]), strict=True))

    def embed(self, model: str, texts: Sequence[str]) -> tuple[list[Vector], int]:
        """Vectors of length 1 of `texts` from an encoder, and how many tokens were read. Waits for them.

        Raises:
            UnknownSpecialist: there is no model of that name.
            SettingError: it is no encoder.
            ContextTooLong: a text is longer than it reads.
        """
        name = self._names.resolved(model)
        parts = [texts[start : start + _EMBEDDED] for start in range(0, len(texts), _EMBEDDED)]

        def vectors_of(part: Sequence[str]) -> tuple[list[Vector], int]:
            return read_vectors(self._residents.encoder(name), part)

        futures = [self._job(partial(vectors_of, part)) for part in parts]
        done = [future.result() for future in futures]
        return [vector for vectors, _ in done for vector in vectors], sum(tokens for _, tokens in done)

    def busy(self) -> ServiceLoad:
        """How much there is to do now."""
        residents, waiting = self._residents, sum(map(len, list(self._inbox))) + self._held
        return ServiceLoad(
            self._scheduler.running, waiting, residents.tail_bytes, residents.page_bytes, residents.loaded
        )

    def close(self, seconds: float) -> None:
        """Refuse what is new, finish what was asked within so many seconds, and refuse the rest."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)
        self._stopped = True

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def _job(self, compute: Callable[[], T]) -> "Future[T]":
        """Have something computed in the thread that has the models."""
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(compute())
            except Exception as error:
                done.set_exception(failure(error))

        with self._changed:
            if self._closing:
                raise ServiceBusy("The service is being stopped.", "Ask again when it is back.")
            self._jobs.append(run)
            self._changed.notify()
        return done

    # What follows runs in the thread that has the models.

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._inbox and not self._jobs and not self._unfinished:
                    if self._closing:
                        return
                    self._changed.wait()
                asked, self._inbox = self._inbox, deque()
                self._held += sum(map(len, asked))
                jobs, self._jobs = self._jobs, deque()
            if self._stopped:
                for job in jobs:  # short, and somebody waits for each
                    job()
                stopped = ServiceBusy("The service was stopped.", "Ask again when it is back.")
                self._fail_all(asked, stopped)
                return
            try:
                self._turn(asked, jobs)
            except Exception as error:  # a bug of the service itself: nobody is to wait for ever
                self._fail_all(asked, failure(error))
                self._scheduler, self._choosing, self._writing = Scheduler(), {}, {}

    def _turn(self, asked: Iterable[list[_Request]], jobs: Iterable[Callable[[], None]]) -> None:
        for job in jobs:
            job()
        for requests in asked:
            replies = [reply for request in requests if (reply := self._take(request)) is not None]
            if len(replies) > 1:
                _read_once(replies)
        for row, stream in self._writing.items():
            row.dropped = row.dropped or stream.cancelled
        for name in list(self._choosing):
            self._choose(name)
        self._scheduler.step()
        self._writing = {row: stream for row, stream in self._writing.items() if not row.over}
        self._held = self._scheduler.waiting + sum(map(len, self._choosing.values()))

    @property
    def _unfinished(self) -> bool:
        return bool(self._choosing or self._scheduler.waiting or self._scheduler.running)

    def _take(self, request: _Request) -> Reply | None:
        """Prepare a question, and put it where it waits for its turn."""
        if request.stream.cancelled:
            return None
        try:
            resident = self._residents.get(request.name, self._choosing)
            reply = Reply(request.inquiry, resident, request.stream, self._ask_base)
            if reply.writes:
                self._write(resident, reply.task(), reply)
            else:
                self._choosing.setdefault(request.name, deque()).append(reply)
        except Exception as error:
            request.stream.fail(error)
            return None
        return reply

    def _write(self, resident: Resident, task: WritingTask | None, reply: Reply) -> None:
        assert isinstance(resident.answers, WrittenAnswers)
        if task is not None:
            self._writing[task.row] = reply.stream
            self._scheduler.add(resident.answers.generator, task)

    def _ask_base(self, reply: Reply, outside: Answer) -> None:
        base = self._residents.base_below(reply.resident)
        self._write(base, reply.base_task(base, outside), reply)

    def _choose(self, name: str) -> None:
        """Choose labels for what waits, as many as are read in one go."""
        waiting, replies = self._choosing[name], list[Reply]()
        while waiting and sum(len(reply.prompt) for reply in replies) < _LABEL_TOKENS:
            reply = waiting.popleft()
            if not reply.stream.cancelled:
                replies.append(reply)
        if not waiting:
            del self._choosing[name]
        try:
            answers = list(chosen(replies))
        except Exception as error:
            self._choose_apart(replies, error)
            return
        for reply, answer in zip(replies, answers, strict=True):
            try:
                reply.chosen(answer)
            except Exception as error:
                reply.stream.fail(error)

    def _choose_apart(self, replies: Sequence[Reply], error: Exception) -> None:
        """What fails by itself, fails."""
        if len(replies) == 1:
            replies[0].stream.fail(error)
            return
        for reply in replies:
            try:
                (answer,) = chosen([reply])
                reply.chosen(answer)
            except Exception as own:
                reply.stream.fail(own)

    def _fail_all(self, asked: Iterable[list[_Request]], error: AzubiError) -> None:
        replies = (reply.stream for many in self._choosing.values() for reply in many)
        new = (request.stream for requests in asked for request in requests)
        for stream in (*new, *replies, *self._writing.values()):
            stream.put(error)


def _read_once(replies: Sequence[Reply]) -> None:
    """Have each base read what its specialists are asked about once."""
    generators = [(reply.resident.answers, reply.prompt) for reply in replies]
    asked = [
        (answers.generator, prompt) for answers, prompt in generators if isinstance(answers, WrittenAnswers)
    ]
    with suppress(Exception):  # what cannot be read fails where it is answered
        read_once(asked, replies[0].inquiry.reader)


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
