"""What all routes share: the home, its models, keys and logs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from azubi.serve.audit import AuditLog
from azubi.serve.batches import Batches
from azubi.serve.feedback_store import FeedbackStore
from azubi.serve.guard import Limits, Traffic, names_of_this_machine
from azubi.serve.jobs import Jobs
from azubi.serve.keys import KeyStore
from azubi.serve.metrics import Metrics
from azubi.serve.rate_limit import RateLimiter
from azubi.serve.supervisor import Supervisor
from azubi.serve.uploads import Uploads

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
    company: str = "company"
    """In the names of fine-tuned models, and as the organisation of jobs."""
    jobs_at_once: int = 1
    """Fine-tuning jobs that run at a time."""
    most_jobs: int = 20
    """Fine-tuning jobs that may wait for their turn; more are refused."""
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
    uploads: Uploads
    jobs: Jobs
    supervisor: Supervisor
    batches: Batches
    metrics: Metrics = field(default_factory=Metrics)
    rates: RateLimiter = field(default_factory=RateLimiter)
    traffic: Traffic = field(default_factory=Traffic)

    def resolve(self, model: str) -> str:
        """The specialist that a fine-tuned model is (ft:smollm2-135m:company:claims:id); else the name."""
        job = self.jobs.of_model(model) if model.startswith("ft:") else None
        return job.outcome.specialist if job is not None else model

    @property
    def hosts(self) -> frozenset[str]:
        """Names under which the server may be called."""
        return frozenset(name.lower() for name in (*self.options.hosts, *names_of_this_machine()))


def open_backend(home: Path, service: "Service", options: ServeOptions) -> Backend:
    """Put a server's parts together."""
    feedback = FeedbackStore(home) if options.store_feedback else None
    return Backend(
        home,
        service,
        options,
        keys=KeyStore(home),
        audit=AuditLog(home),
        feedback=feedback,
        uploads=Uploads(home),
        jobs=Jobs(home),
        supervisor=Supervisor(home, options.jobs_at_once),
        batches=Batches(home),
    )


async def _backend(request: Request) -> Backend:
    backend: Backend = request.app.state.backend
    return backend


BackendOf = Annotated[Backend, Depends(_backend)]
"""The type of a route's parameter that takes the server's parts."""
