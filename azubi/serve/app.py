"""The application: every route, behind the guard.

A route declares which permission a key needs (`guard.requires`); a test walks all routes and finds one that
does not. New routes are a router in a file of their own, listed in `ROUTERS`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware import Middleware
from fastapi.middleware.cors import CORSMiddleware

import azubi
from azubi.serve import (
    ask,
    batch_routes,
    chat,
    completions,
    embeddings,
    feedback,
    files,
    fine_tuning,
    health,
    models,
    responses,
)
from azubi.serve.backend import Backend
from azubi.serve.batch_runner import BatchRunner
from azubi.serve.guard import Guard
from azubi.serve.refusal import DOCUMENTED, explain_failures
from azubi.serve.requests import UNSUPPORTED

ROUTERS = (
    health.router,
    models.router,
    chat.router,
    completions.router,
    responses.router,
    embeddings.router,
    ask.router,
    feedback.router,
    files.router,
    fine_tuning.router,
    batch_routes.router,
)


def create_app(backend: Backend) -> FastAPI:
    """The application in front of `backend`."""
    app = FastAPI(
        title="azubi",
        version=azubi.__version__,
        summary="OpenAI's API in front of specialists on your own machine.",
        docs_url=None,  # its pages load scripts from a CDN
        redoc_url=None,
        lifespan=_lifespan,
        middleware=_middleware(backend),
        redirect_slashes=False,
        responses=DOCUMENTED,
    )
    app.state.backend = backend
    for router in ROUTERS:
        app.include_router(router)
    explain_failures(app, UNSUPPORTED)
    return app


def _middleware(backend: Backend) -> list[Middleware]:
    guard = Middleware(
        Guard,
        keys=backend.keys,
        hosts=backend.hosts,
        limits=backend.options.limits,
        traffic=backend.traffic,
        rates=backend.rates,
        metrics=backend.metrics,
    )
    if not backend.options.origins:
        return [guard]
    cors = Middleware(
        CORSMiddleware,
        allow_origins=backend.options.origins,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],
        expose_headers=["X-Request-Id", "Retry-After"],
    )
    return [cors, guard]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """What runs beside the routes, from start to end."""
    backend: Backend = app.state.backend
    backend.supervisor.start()
    batches = asyncio.create_task(BatchRunner(backend).run())
    yield
    batches.cancel()
    await asyncio.wait([batches])
    await asyncio.to_thread(backend.supervisor.close, backend.options.limits.stop_seconds)
    await backend.audit.close()
