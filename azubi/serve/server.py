"""Starting and stopping the HTTP server: granian, in this process, since the base is in memory once."""

import asyncio
import signal
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from azubi.errors import RunError, SettingError
from azubi.serve.app import create_app
from azubi.serve.backend import Backend

_CONNECTIONS = 4096
"""At most at once; granian's own default would let 128 idle ones lock all others out."""


_CLOSING_SECONDS = 5
"""For what has to end quickly."""


def serve(backend: Backend, started: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM; `started` is called when connections are accepted.

    On a signal, /readyz says 503, new work is refused, and what runs is finished within the limit.

    Raises:
        SettingError: the address is taken, or cannot be listened on; TLS files cannot be used.
        RunError: the server ended by itself.
    """

    async def until_signalled() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve_until(stop, backend, started)

    asyncio.run(until_signalled())


async def serve_until(stop: asyncio.Event, backend: Backend, started: Callable[[], None]) -> None:
    """Serve until `stop` is set; for the rest see `serve`."""
    _require_free_address(backend)
    try:
        server = _granian(backend)
    except ssl.SSLError as error:
        cert, key = backend.options.tls_cert, backend.options.tls_key
        raise SettingError(
            f"The certificate {cert} and the key {key} cannot be used together ({error.reason}).",
            "Give a chain and the key that belongs to it, both as PEM.",
        ) from error
    serving = asyncio.create_task(server.serve())
    waiting = [serving, asyncio.create_task(_accepts(backend))]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        started()
        await asyncio.wait([serving, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
    ended = serving.done()
    await shut_down(backend)
    if ended:
        serving.result()
        raise RunError("The HTTP server ended by itself.", "Start it again.")
    server.stop()
    with suppress(TimeoutError):
        await asyncio.wait_for(serving, backend.options.limits.stop_seconds + _CLOSING_SECONDS)


async def shut_down(backend: Backend) -> None:
    """Refuse new work, finish what runs, as long as that may take; then end the models' work."""
    backend.traffic.stopping = True
    drained = await backend.traffic.drained(backend.options.limits.stop_seconds)
    await asyncio.to_thread(backend.service.close, _CLOSING_SECONDS if drained else 0.0)
    await backend.traffic.drained(_CLOSING_SECONDS)  # whose answer was cut off is told so


async def _accepts(backend: Backend) -> None:
    """Wait until the address takes connections."""
    while True:
        try:
            _, writer = await asyncio.open_connection(_reachable(backend.options.host), backend.options.port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _granian(backend: Backend) -> Any:
    options, limits = backend.options, backend.options.limits
    milliseconds = round(limits.header_seconds * 1000)
    return Server(
        create_app(backend),
        address=options.host,
        port=options.port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,  # HTTP/2 has no deadline for headers here
        http1_settings=HTTP1Settings(header_read_timeout=milliseconds, max_buffer_size=64 << 10),
        websockets=False,
        backlog=1024,
        backpressure=_CONNECTIONS,
        log_enabled=False,
        ssl_cert=options.tls_cert,
        ssl_key=options.tls_key,
    )


def _require_free_address(backend: Backend) -> None:
    """granian ends its thread where it cannot listen, and says so in its own log only."""
    host, port = backend.options.host, backend.options.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SettingError(
                f"The server cannot listen on {host}:{port} ({error.strerror}).",
                "Choose another port with --port, or end the program that uses this one.",
            ) from error
