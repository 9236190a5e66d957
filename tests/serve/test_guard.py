"""Slow, large and vanishing clients: none takes a place for long, and what runs is finished at the end."""

import asyncio
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from granian.server.embed import Server

from azubi.errors import SettingError
from azubi.serve.backend import ServeOptions, open_backend
from azubi.serve.guard import Limits
from azubi.serve.server import serve_until
from tests.serve.fake import FakeService, free_port, running

LIMITS = Limits(
    body_bytes=10_000,
    upload_bytes=20_000,
    header_seconds=0.5,
    body_seconds=0.5,
    send_seconds=1,
    stop_seconds=10,
)
LONG = " ".join(["word"] * 400)


@pytest.fixture(scope="module")
def service():
    return FakeService(slow=0.01)


@pytest.fixture(scope="module")
def server(tmp_path_factory, service):
    with running(tmp_path_factory.mktemp("guarded"), service, limits=LIMITS) as started:
        yield started


@contextmanager
def connected(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        yield connection


def head(key, extra="", path="/v1/chat/completions"):
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {key}"]
    return "\r\n".join([*lines, "Content-Type: application/json", extra, "", ""]).encode()


def answered(connection, *parts, pause=0.0):
    """What comes back, until the server closes."""
    received = b""
    try:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        while block := connection.recv(65536):
            received += block
    except (BrokenPipeError, ConnectionResetError):
        pass
    return received


@pytest.mark.parametrize("parts", [(), (b"GET /healthz HTTP/1.1\r\nHo",)])
def test_slow_headers_are_cut_off(server, parts):
    with connected(server) as connection:
        started = time.monotonic()
        assert answered(connection, *parts) == b""
        assert time.monotonic() - started < 5


def test_headers_that_drip_are_cut_off(server):
    with connected(server) as connection:
        started = time.monotonic()
        answered(connection, b"GET /healthz HTTP/1.1\r\n", *[b"A: b\r\n"] * 100, pause=0.1)
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("drip", [[], [b" "] * 100])
def test_a_slow_body_is_cut_off(server, key, drip):
    with connected(server) as connection:
        started = time.monotonic()
        answer = answered(connection, head(key, "Content-Length: 200"), b"{", *drip, pause=0.05)
        assert time.monotonic() - started < 5
        assert not answer or (b" 408 " in answer and b"request_timeout" in answer)


def test_who_has_no_key_does_not_get_to_send_a_body(server):
    with connected(server) as connection:
        started = time.monotonic()
        answer = answered(connection, head("wrong", "Content-Length: 200"))
        assert b" 401 " in answer and time.monotonic() - started < 0.4


def test_a_body_that_is_too_large_is_refused(server, key):
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {key}"}) as client:
        answer = client.post("/v1/chat/completions", content=b" " * 10_001)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
        assert client.post("/v1/files", content=b" " * 10_001).status_code == 413  # the key is for no files
        client.headers["Authorization"] = f"Bearer {server.key('files', scopes=['files'], models=[])}"
        assert client.post("/v1/files", content=b" " * 10_001).status_code != 413
        assert client.post("/v1/files", content=b" " * 20_001).status_code == 413
        assert client.post("/v1/chat/completions", content=b" " * 10_000).status_code != 413


def test_a_body_without_a_length_is_measured_as_it_comes(server, key):
    chunk = b"1000\r\n" + b" " * 0x1000 + b"\r\n"
    with connected(server) as connection:
        connection.sendall(head(key, "Transfer-Encoding: chunked") + chunk + chunk)
        time.sleep(0.05)
        answer = answered(connection, chunk)  # and never an end
        assert b" 413 " in answer and b"body_too_large" in answer


def body(stream, text=LONG):
    return (
        f'{{"model":"claims","stream":{str(stream).lower()},"messages":[{{"role":"user","content":"{text}"}}]}}'
    ).encode()


def until(condition, seconds=5):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_frees_its_place(server, key, service, stream):
    service.cancelled.clear()
    before = len(server.backend.audit.entries())
    with connected(server) as connection:
        sent = body(stream)
        connection.sendall(head(key, f"Content-Length: {len(sent)}") + sent)
        if stream:
            assert b"200 OK" in connection.recv(4096)
        else:
            assert until(lambda: server.backend.traffic.running)
            time.sleep(0.1)
    assert until(lambda: service.cancelled) and until(lambda: server.backend.traffic.running == 0)
    assert until(lambda: len(server.backend.audit.entries()) > before)
    assert server.backend.audit.entries()[-1]["result"] == "cancelled"


def test_a_client_that_does_not_read_is_cut_off(tmp_path, capfd):
    with running(tmp_path, FakeService(), limits=replace(LIMITS, body_bytes=1 << 20)) as server:
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", server.port))
            sent = body(True, "w " * 60_000)
            connection.sendall(head(server.key(), f"Content-Length: {len(sent)}") + sent)
            assert until(lambda: server.backend.traffic.running)
            assert until(lambda: not server.backend.traffic.running, 20)
        assert server.backend.audit.entries()[-1]["result"] == "cancelled"
    assert capfd.readouterr().err == ""


def test_many_idle_connections_do_not_lock_others_out(server):
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(300)]
    assert httpx.get(f"{server.url}/healthz", timeout=3).status_code == 200
    for connection in idle:
        connection.close()


def test_pages_of_a_browser_are_allowed_by_their_origin_alone(tmp_path, server, key):
    asked = {"Origin": "https://intranet.example", "Authorization": f"Bearer {key}"}
    assert "access-control-allow-origin" not in httpx.get(f"{server.url}/v1/models", headers=asked).headers
    with running(tmp_path, FakeService(), origins=("https://intranet.example",)) as open_to_pages:
        url, asked = f"{open_to_pages.url}/v1/models", {"Authorization": f"Bearer {open_to_pages.key()}"}
        for origin, allowed in {"https://intranet.example": True, "https://evil.example": False}.items():
            answer = httpx.get(url, headers=asked | {"Origin": origin})
            assert ("access-control-allow-origin" in answer.headers) == allowed
            wants = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            assert httpx.options(url, headers=wants).status_code == (200 if allowed else 400)
        assert httpx.get(url, headers={"Origin": "https://intranet.example"}).status_code == 401


def certificate(folder):
    """A certificate of its own for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(hours=1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(*plain))
    return folder / "cert.pem", folder / "key.pem"


def test_tls(tmp_path):
    cert, key = certificate(tmp_path)
    with running(tmp_path / "home", FakeService(), tls_cert=cert, tls_key=key) as server:
        trusted = ssl.create_default_context(cafile=cert)
        answer = httpx.get(f"https://localhost:{server.port}/healthz", verify=trusted)
        assert answer.json() == {"status": "ok"}
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://localhost:{server.port}/healthz")


def test_a_key_that_is_not_the_certificates_is_refused(tmp_path):
    cert, _ = certificate(tmp_path)
    (tmp_path / "other").mkdir()
    _, other = certificate(tmp_path / "other")
    options = ServeOptions(port=free_port(), tls_cert=cert, tls_key=other)
    backend = open_backend(tmp_path / "home", FakeService(), options)
    with pytest.raises(SettingError, match="cannot be used together"):
        asyncio.run(serve_until(asyncio.Event(), backend, lambda: None))


def test_a_server_that_ends_by_itself_is_no_success(tmp_path, monkeypatch):
    async def broken(self):
        raise OSError("no more handles")

    monkeypatch.setattr(Server, "serve", broken)
    backend = open_backend(tmp_path, FakeService(), ServeOptions(port=free_port()))
    with pytest.raises(OSError, match="no more handles"):
        asyncio.run(asyncio.wait_for(serve_until(asyncio.Event(), backend, lambda: None), 20))


def test_what_runs_is_finished_before_the_server_stops(tmp_path):
    service = FakeService(gate=threading.Event())
    with running(tmp_path, service, limits=LIMITS) as server:
        asked = {"Authorization": f"Bearer {server.key()}", "Content-Type": "application/json"}
        ended = []

        def ask():
            url = f"{server.url}/v1/chat/completions"
            ended.append(httpx.post(url, content=body(False), headers=asked, timeout=20))

        asking = threading.Thread(target=ask)
        asking.start()
        assert until(lambda: server.backend.traffic.running)
        server.stop()
        assert until(lambda: server.backend.traffic.stopping)
        assert httpx.get(f"{server.url}/readyz").json() == {"status": "stopping"}
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        refused = httpx.get(f"{server.url}/v1/models", headers=asked)
        assert refused.status_code == 503 and "retry-after" in refused.headers
        service.gate.set()
        asking.join()
    assert ended[0].status_code == 200 and service.closed
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/healthz")
