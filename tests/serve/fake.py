"""A service that answers by rule, and a real server in front of it."""

import asyncio
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from azubi.engine.inference.answering import Answer
from azubi.errors import AnswerFailed, ContextTooLong, ServiceBusy, UnknownSpecialist
from azubi.pipeline.inquiry import AnswerStream, Finished, Piece, TokenScore
from azubi.serve.backend import ServeOptions, open_backend
from azubi.serve.keys import KeyOptions
from azubi.serve.server import serve_until

MODELS = {"claims": "specialist", "claims@1": "specialist", "triage": "specialist", "tiny-llama": "base"}


@dataclass
class FakeService:
    """Echoes the last message, a word a piece; some words have it do otherwise."""

    slow: float = 0.0
    gate: threading.Event | None = None
    """Answers end when it is set."""
    asked: list = field(default_factory=list)
    cancelled: list = field(default_factory=list)
    waiting: int = 0
    closed: bool = False

    def models(self):
        return [SimpleNamespace(name=n, created=1, kind=k, owned_by="company") for n, k in MODELS.items()]

    def submit(self, inquiry):
        text = inquiry.turns[-1].content
        if inquiry.model.partition("@")[0] not in MODELS:
            raise UnknownSpecialist(f"There is no specialist {inquiry.model}.", "See: azubi list")
        if text == "busy":
            raise ServiceBusy("256 questions wait for an answer.", "Ask again in a few seconds.")
        self.asked.append(inquiry)
        stream = AnswerStream(lambda: self.cancelled.append(inquiry))
        threading.Thread(target=self._write, args=(inquiry, text, stream), daemon=True).start()
        return stream

    def _write(self, inquiry, text, stream):
        if text == "long":
            stream.put(ContextTooLong("The question takes 9,000 tokens.", "Shorten the question."))
            return
        if text == "broken":
            stream.put(ZeroDivisionError("the secret text"))
            return
        if text == "bug":
            stream.put(None)
            return
        if text == "half":
            stream.put(Piece("ha"))
            stream.put(AnswerFailed("The model failed.", "Ask again."))
            return
        if text == "elsewhere":
            stream.put(self._finished(inquiry, Answer("", 0.0, by="nobody", scope=0.1, in_scope=False), 0))
            return
        words = text.split(" ")
        for number, word in enumerate(words):
            if stream.cancelled:
                return
            piece = word if not number else f" {word}"
            scores = ()
            if inquiry.top_logprobs is not None:
                others = (("x", b"x", -3.0),)[: inquiry.top_logprobs]
                scores = (TokenScore(piece, piece.encode(), -0.5, others),)
            stream.put(Piece(piece, scores))
            if self.slow:
                time.sleep(self.slow)
        if self.gate is not None:
            self.gate.wait(20)
        stream.put(self._finished(inquiry, Answer(text, 0.9, scope=0.8, in_scope=True), len(words)))

    def _finished(self, inquiry, answer, words):
        name = (
            inquiry.model if "@" in inquiry.model or MODELS[inquiry.model] == "base" else f"{inquiry.model}@1"
        )
        return Finished(answer, "stop", 10, 4, words, name)

    def embed(self, model, texts):
        if model not in MODELS:
            raise UnknownSpecialist(f"There is no specialist {model}.", "See: azubi list")
        return [np.array([0.6, 0.8], dtype=np.float32) for _ in texts], 3 * len(texts)

    def busy(self):
        return SimpleNamespace(running=0, waiting=self.waiting, tail_bytes=1, page_bytes=2, loaded=())

    def close(self, seconds):
        self.closed = True


@dataclass
class Running:
    """A server that runs, and what its tests need of it."""

    backend: object
    port: int
    stop: object = None
    thread: threading.Thread = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def key(self, name="all", scopes=("chat",), models=("all",), **limits):
        return self.backend.keys.create(KeyOptions(name, scopes, models, **limits))[1]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(home, service, **options):
    """A server on a port of its own, until the block ends."""
    port, ready = free_port(), threading.Event()
    backend = open_backend(home, service, ServeOptions(port=port, **options))
    server = Running(backend, port)

    async def run():
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        server.stop = lambda: loop.is_closed() or loop.call_soon_threadsafe(stop.set)
        await serve_until(stop, backend, ready.set)

    server.thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    server.thread.start()
    assert ready.wait(20)
    try:
        yield server
    finally:
        server.stop()
        server.thread.join(20)
        assert not server.thread.is_alive()
