"""Whether the server lives, whether it takes work, and what it counts."""

from typing import Any

from fastapi import APIRouter, Response

from azubi.serve.backend import BackendOf
from azubi.serve.guard import MetricsKey

router = APIRouter()


class PrometheusText(Response):
    """Prometheus' text format."""

    media_type = "text/plain; version=0.0.4"


@router.get("/healthz", tags=["health"])
async def healthz() -> dict[str, str]:
    """The process lives."""
    return {"status": "ok"}


@router.get("/readyz", tags=["health"])
async def readyz(backend: BackendOf, response: Response) -> dict[str, str]:
    """The server takes work: it is not being stopped, and its queue has room."""
    full = backend.service.busy().waiting >= backend.options.most_waiting
    status = "stopping" if backend.traffic.stopping else "full" if full else "ready"
    if status != "ready":
        response.status_code = 503
    return {"status": status}


@router.get("/metrics", tags=["health"], response_class=PrometheusText)
async def metrics(backend: BackendOf, key: MetricsKey) -> Any:
    """Counts and times for Prometheus, in its text format."""
    load = backend.service.busy()
    figures = {name: float(value) for name, value in vars(load).items() if isinstance(value, int | float)}
    return PrometheusText(backend.metrics.text(figures))
