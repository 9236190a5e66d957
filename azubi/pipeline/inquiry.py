"""A request for an answer, and the answer as it comes: the records that a service takes and gives.

Knows nothing of models, nor of the protocol by which a request came.
"""

import asyncio
import logging
import threading
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from azubi.data.example import Turn
from azubi.engine.inference.answering import Answer
from azubi.errors import AnswerFailed, AzubiError, MemoryShortage, tells_of_memory

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inquiry:
    """One request for an answer."""

    model: str
    """A specialist (claims, claims@2, claims@production), or a base as it was published (smollm2-135m)."""
    turns: tuple[Turn, ...]
    """The conversation, system messages included; it ends with a message of the user."""
    reader: str = ""
    """Who asks. What was read of a document is kept for the same reader alone, so that nobody can tell by the
    time of an answer what somebody else asked."""
    most_tokens: int | None = None
    """Of the answer; None: as many as the specialist was trained to write."""
    temperature: float = 0.0
    """0 takes the likeliest token each time. Labels are always the likeliest."""
    top_p: float = 1.0
    """Tokens are drawn from the likeliest that have so much of the probability together."""
    seed: int | None = None
    """The same seed draws the same answer, whatever else is answered meanwhile."""
    stop: tuple[str, ...] = ()
    """Texts at which an answer ends; they are not part of it."""
    top_logprobs: int | None = None
    """How many other tokens (or labels) come with each; None: no probabilities are wanted."""
    schema: Mapping[str, Any] | None = None
    """A JSON schema that the answer follows; {} is any JSON object."""


@dataclass(frozen=True)
class TokenScore:
    """A token of an answer, or the label that was chosen."""

    token: str
    text_bytes: bytes
    """A token may be part of a letter."""
    log_probability: float
    alternatives: tuple[tuple[str, bytes, float], ...]
    """The likeliest tokens or labels, itself included if it is among them."""


@dataclass(frozen=True)
class Piece:
    """What was written since the last piece."""

    text: str
    scores: tuple[TokenScore, ...] = ()


@dataclass(frozen=True)
class Finished:
    """The end of an answer."""

    answer: Answer
    """The whole of it, as `azubi ask` gives it."""
    reason: Literal["stop", "length"]
    """`length`: it was cut at the most tokens that it may have."""
    prompt_tokens: int
    cached_tokens: int
    """How many of these had been read before: the instruction, or a document of the same reader."""
    completion_tokens: int
    specialist: str
    """Who was asked, as name@version; the name of a base."""


class AnswerStream:
    """The pieces of one answer as they are written, then `Finished`.

    Iterate it in one event loop. A question that cannot be asked (such as one that is longer than the base
    reads), or whose answer fails, raises an AzubiError there, before the first piece where that can be known.
    """

    def __init__(self, on_cancel: Callable[[], None]) -> None:
        """`on_cancel` is called when nobody wants the answer any more."""
        self._on_cancel = on_cancel
        self._items: deque[Piece | Finished | AzubiError] = deque()
        self._lock = threading.Lock()
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._over = False
        self.cancelled = False
        """Whether nobody wants the answer any more."""

    def __aiter__(self) -> "AnswerStream":
        """Itself."""
        return self

    async def __anext__(self) -> Piece | Finished:
        """The next piece. A consumer that is cancelled while it waits cancels the answer.

        Raises:
            AzubiError: there will be no answer, or no rest of it.
        """
        while True:
            if self._over:
                raise StopAsyncIteration
            with self._lock:
                if self._items:
                    item = self._items.popleft()
                    break
                woken = asyncio.Event()
                self._waiter = asyncio.get_running_loop(), woken
            try:
                await woken.wait()
            except asyncio.CancelledError:
                self.cancel()
                raise
        self._over = not isinstance(item, Piece)
        if isinstance(item, AzubiError):
            raise item
        return item

    def cancel(self) -> None:
        """Nobody wants the rest: it is not written, and its place is free for others."""
        if not self.cancelled:
            self.cancelled = True
            self._on_cancel()

    def fail(self, error: Exception) -> None:
        """End it with an error; one that is not of azubi's tree becomes one."""
        self.put(failure(error))

    def put(self, item: Piece | Finished | AzubiError) -> None:
        """Add what comes next; called by whoever writes the answer, in any thread."""
        with self._lock:
            self._items.append(item)
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            loop, woken = waiter
            try:
                loop.call_soon_threadsafe(woken.set)
            except RuntimeError:  # the loop was closed, so nobody waits
                self.cancelled = True


def failure(error: Exception) -> AzubiError:
    """An error of the tree for whatever a model raised."""
    if isinstance(error, AzubiError):
        return error
    # Not its text: that may quote what was asked.
    places = [frame for frame in traceback.extract_tb(error.__traceback__) if "azubi" in frame.filename]
    place = f"{places[-1].filename}:{places[-1].lineno}" if places else "a library"
    _log.error("an answer failed: %s in %s", type(error).__name__, place)
    if tells_of_memory(error):
        return MemoryShortage(
            "There is not enough memory to answer this.", "Ask something shorter, or fewer things at a time."
        )
    return AnswerFailed(
        f"The model failed while it answered: {type(error).__name__}.",
        "Ask again; if it happens again, tell whoever runs this server.",
    )


async def whole(stream: AnswerStream) -> Finished:
    """Wait for the end of an answer; raises what iterating raises."""
    async for item in stream:
        if isinstance(item, Finished):
            return item
    raise AssertionError("an answer that did not fail has an end")
