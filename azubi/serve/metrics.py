"""What Prometheus reads: counts and times by route, tokens by model; nothing of questions and answers."""

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        """They are in a registry of their own, so that two servers in one process do not mix."""
        self._registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter(
            "azubi_requests", "Requests that were answered.", labels, registry=self._registry
        )
        self._seconds = Histogram(
            "azubi_request_seconds",
            "Time until an answer was sent whole.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._tokens = Counter(
            "azubi_tokens", "Tokens that were read and written.", ("model", "kind"), registry=self._registry
        )
        self._out_of_scope = Counter(
            "azubi_out_of_scope",
            "Questions that were not the specialist's job.",
            ("model",),
            registry=self._registry,
        )
        self._load = Gauge(
            "azubi_load", "What the models are at, by kind.", ("kind",), registry=self._registry
        )

    def count(self, scope: Mapping[str, Any], status: int, seconds: float) -> None:
        """Count a request; its route is the template (/v1/models/{model}), never the path that was called."""
        route = getattr(scope.get("route"), "path", "none")
        method = (
            scope["method"] if scope["method"] in ("GET", "POST", "DELETE", "OPTIONS", "HEAD") else "other"
        )
        self._requests.labels(method, route, str(status or 499)).inc()
        self._seconds.labels(route).observe(seconds)

    def answered(self, model: str, prompt: int, cached: int, completion: int, in_scope: bool | None) -> None:
        """Count an answer's tokens; `cached` are those of the prompt that had been read before."""
        for kind, tokens in (("prompt", prompt), ("cached", cached), ("completion", completion)):
            self._tokens.labels(model, kind).inc(tokens)
        if in_scope is False:
            self._out_of_scope.labels(model).inc()

    def text(self, load: Mapping[str, float]) -> bytes:
        """All of it in Prometheus' text format; `load` is what the models are at now."""
        for kind, value in load.items():
            self._load.labels(kind).set(value)
        return generate_latest(self._registry)
