"""What all routes share: the home, its models, keys and logs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from azubi.serve.audit import AuditLog
from azubi.serve.feedback_store import FeedbackStore
from azubi.serve.guard import Limits, Traffic, names_of_this_machine
from azubi.serve.keys import KeyStore
from azubi.serve.metrics import Metrics
from azubi.serve.rate_limit import RateLimiter

if TYPE_CHECKING:
    from azubi.pipeline.service import Service


@dataclass(frozen=True)
class ServeOptions:
    """How a server was started."""

    host: str = "127.0.0.1"
    port: int = 8000
    tls_cert: Path | None = None
    tls_key: Path | None = None
    hosts: tuple[str, ...] = ()
    """Names, beside localhost, addresses and this machine's own, under which it may be called."""
    origins: tuple[str, ...] = ()
    """Whose pages in a browser may call it; none by default."""
    store_feedback: bool = False
    most_waiting: int = 256
    """Questions that may wait for an answer; more are refused."""
    limits: Limits = field(default_factory=Limits)


@dataclass
class Backend:
    """A running server's parts; a route gets it by naming its type."""

    home: Path
    service: "Service"
    options: ServeOptions
    keys: KeyStore
    audit: AuditLog
    feedback: FeedbackStore | None
    metrics: Metrics = field(default_factory=Metrics)
    rates: RateLimiter = field(default_factory=RateLimiter)
    traffic: Traffic = field(default_factory=Traffic)
    resolve: Callable[[str], str] = str
    """The model that a name of another form means (ft:smollm2-135m:company:suffix:id); else the name."""

    @property
    def hosts(self) -> frozenset[str]:
        """Names under which the server may be called."""
        return frozenset(name.lower() for name in (*self.options.hosts, *names_of_this_machine()))


def open_backend(home: Path, service: "Service", options: ServeOptions) -> Backend:
    """Put a server's parts together."""
    feedback = FeedbackStore(home) if options.store_feedback else None
    return Backend(home, service, options, KeyStore(home), AuditLog(home), feedback)


async def _backend(request: Request) -> Backend:
    backend: Backend = request.app.state.backend
    return backend


BackendOf = Annotated[Backend, Depends(_backend)]
"""The type of a route's parameter that takes the server's parts."""
