"""What stands before every route: whose request it is, whether it may come in, and how much it may send.

All is decided before a byte of the body is read. Nobody gets past without a key but to `PUBLIC`. An exception
that nobody foresaw ends here, too: the server under it would print its text, which may quote a prompt.
"""

import asyncio
import ipaddress
import platform
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from azubi.serve.keys import Key, KeyStore, Permission
from azubi.serve.metrics import Metrics
from azubi.serve.rate_limit import RateLimiter
from azubi.serve.refusal import Refusal, log_failure

PUBLIC = frozenset(("/healthz", "/readyz"))
UPLOADS = frozenset(("/v1/files",))
"""Whose bodies are files."""
_NO_KEY = "Give one as `Authorization: Bearer KEY`. Whoever runs the server makes it: azubi keys create"


@dataclass(frozen=True)
class Limits:
    """How much, and how long, a client may take."""

    body_bytes: int = 8 << 20
    upload_bytes: int = 512 << 20
    header_seconds: float = 10
    """Until the headers are there, and for how long a connection may be idle."""
    body_seconds: float = 30
    """Until the body is there."""
    upload_seconds: float = 600
    send_seconds: float = 60
    """Until a part of an answer is taken by a client that reads."""
    stop_seconds: float = 30
    """How long requests that run may take when the server is stopped."""


@dataclass
class Traffic:
    """What comes and goes at this moment."""

    running: int = 0
    stopping: bool = False
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    async def drained(self, seconds: float) -> bool:
        """Wait until nothing runs; tells whether that was so in time."""
        try:
            await asyncio.wait_for(self._nothing_runs(), seconds)
        except TimeoutError:
            return False
        return True

    async def _nothing_runs(self) -> None:
        while self.running:
            self.idle.clear()
            await self.idle.wait()

    def begin(self) -> None:
        """A request came in."""
        self.running += 1

    def end(self) -> None:
        """A request is done."""
        self.running -= 1
        if not self.running:
            self.idle.set()


@dataclass
class Guard:
    """An ASGI middleware."""

    app: ASGIApp
    keys: KeyStore
    hosts: Collection[str]
    """Names under which the server may be called."""
    limits: Limits
    traffic: Traffic
    rates: RateLimiter
    metrics: Metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        request_id = f"req_{uuid.uuid4().hex}"
        scope.setdefault("state", {})["request_id"] = request_id
        sender = Sender(send, request_id, self.limits.send_seconds)
        started = time.perf_counter()
        self.traffic.begin()
        try:
            body = self._admitted(scope)
            await self.app(scope, body.limited(receive), sender)
        except Refusal as refusal:
            await sender.instead(refusal, scope, receive)
        except ClientDoesNotRead:
            pass
        except Exception as error:
            log_failure(error, request_id)
            failed = Refusal(500, "The server failed at this request; its log says why.", "internal_error")
            await sender.instead(failed, scope, receive)
        finally:
            self.traffic.end()
            self.metrics.count(scope, sender.status, time.perf_counter() - started)

    def _admitted(self, scope: Scope) -> "Body":
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        require_known_host(headers.get(b"host", ""), self.hosts)
        if scope["path"] in PUBLIC:
            return Body(0, self.limits.body_seconds)
        if self.traffic.stopping:
            raise Refusal(503, "The server is being stopped.", "server_busy", retry_after=5)
        scheme, _, secret = headers.get(b"authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise Refusal(401, f"There is no key. {_NO_KEY}", "invalid_api_key")
        key = self.keys.find(secret.strip())
        if key is None:
            raise Refusal(401, f"The key is not known here, or was revoked. {_NO_KEY}", "invalid_api_key")
        self.rates.admit(key)
        scope["state"]["key"] = key
        large = scope["path"].rstrip("/") in UPLOADS and "files" in key.scopes
        most = self.limits.upload_bytes if large else self.limits.body_bytes
        length = headers.get(b"content-length", "0")
        if length.isdigit() and int(length) > most:
            raise _too_large(most)
        return Body(most, self.limits.upload_seconds if large else self.limits.body_seconds)


@dataclass
class Body:
    """The limits of one request's body; they hold also where no length is announced."""

    most: int
    seconds: float

    def limited(self, receive: Receive) -> Receive:
        """`receive`, raising 413 or 408."""
        read, whole, deadline = 0, False, time.monotonic() + self.seconds

        async def limited() -> Message:
            nonlocal read, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    message = await receive()
            except TimeoutError:
                raise Refusal(
                    408, f"The body was not there after {self.seconds:g} seconds.", "request_timeout"
                ) from None
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                whole = not message.get("more_body", False)
                if read > self.most:
                    raise _too_large(self.most)
            return message

        return limited


class ClientDoesNotRead(Exception):
    """A part of an answer was not taken in time; nothing more can be sent."""


@dataclass
class Sender:
    """Sends an answer, with headers that hold for all."""

    send: Send
    request_id: str
    seconds: float
    status: int = 0
    """As it was sent; 0 before."""

    async def __call__(self, message: Message) -> None:
        """Send a part."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = ((b"x-request-id", self.request_id.encode()), (b"x-content-type-options", b"nosniff"))
            message = {**message, "headers": [*message.get("headers", ()), *own]}
        try:
            async with asyncio.timeout(self.seconds):
                await self.send(message)
        except TimeoutError:
            raise ClientDoesNotRead from None

    async def instead(self, refusal: Refusal, scope: Scope, receive: Receive) -> None:
        """Answer with an error; where an answer has begun, nothing can be said any more."""
        if self.status:
            return
        response = refusal.response()
        response.headers["Connection"] = "close"
        await response(scope, receive, self)


def require_known_host(host: str, known: Collection[str]) -> None:
    """Refuse a request that was sent to a name that is not the server's.

    A page in a browser can point its own name at this machine (DNS rebinding), and would be a caller from
    within. It cannot do that with an address, or with `localhost`.

    Raises:
        Refusal: 421.
    """
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
    name = name.strip("[]").rstrip(".").lower()
    try:
        ipaddress.ip_address(name)
    except ValueError:
        if name not in {"localhost", *known}:
            raise Refusal(
                421,
                "The server is not called by this name. Whoever runs it allows one with --allow-host.",
                "unknown_host",
            ) from None


def names_of_this_machine() -> tuple[str, ...]:
    """How others may call it: its own name. What else it is called has to be allowed."""
    return tuple({name.lower() for name in (platform.node(),) if name})


def requires(permission: Permission) -> Any:
    """A dependency of a route: the key of the request, which has to have this permission."""

    async def key_of(request: Request) -> Key:  # not in a thread: it waits for nothing
        key: Key = request.state.key
        if permission not in key.scopes:
            raise Refusal(
                403,
                f"The key {key.name} has no scope `{permission}`. Whoever runs the server makes one: "
                f"azubi keys create --scope {permission}",
                "missing_scope",
            )
        return key

    key_of.permission = permission  # type: ignore[attr-defined]
    return Depends(key_of)


ChatKey = Annotated[Key, requires("chat")]
"""The type of a route's parameter that takes the key, which has to have this scope."""
FilesKey = Annotated[Key, requires("files")]
TuneKey = Annotated[Key, requires("tune")]
AdminKey = Annotated[Key, requires("admin")]
MetricsKey = Annotated[Key, requires("metrics")]


def _too_large(most: int) -> Refusal:
    return Refusal(413, f"The body is longer than the {most:,} bytes that are read here.", "body_too_large")
