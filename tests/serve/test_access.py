"""Nobody gets past the guard without the right key, on any route."""

import re
import time

import httpx
import pytest
from fastapi.routing import APIRoute

from azubi.errors import SettingError
from azubi.serve.app import create_app
from azubi.serve.guard import PUBLIC, require_known_host
from azubi.serve.keys import KeyOptions, KeyStore
from azubi.serve.refusal import Refusal


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def flat(routes):
    """Those of included routers, too, however they were included."""
    for route in routes:
        if hasattr(route, "original_router"):
            yield from flat(route.original_router.routes)
        else:
            yield route


def routes(server):
    """Every (method, path) of the application, its parameters filled, with the route."""
    for route in flat(create_app(server.backend).routes):
        for method in sorted(route.methods):
            yield method, re.sub(r"\{[^}]*\}", "x", route.path), route


def error(response):
    body = response.json()["error"]
    assert set(body) == {"message", "type", "param", "code"}
    return response.status_code, body["code"]


def test_every_route_denies_without_a_key_that_is_known(server, key):
    revoked = server.key("gone")
    server.backend.keys.revoke("gone")
    wrong = [{}, bearer("azubi-nonsense"), bearer(revoked), bearer(key[:-1]), {"Authorization": key}]
    wrong += [{"Authorization": f"Basic {key}"}, {"Authorization": "Bearer"}, {"api-key": key}]
    paths = [(method, path) for method, path, _ in routes(server) if path not in PUBLIC]
    assert len(paths) > 10 and ("GET", "/openapi.json") in paths
    with httpx.Client(base_url=server.url) as client:
        for method, path in [*paths, ("GET", "/nowhere"), ("GET", "/docs"), ("OPTIONS", "/v1/models")]:
            for headers in wrong:
                answer = client.request(method, path, headers=headers)
                assert answer.status_code == 401, (method, path, headers)
                assert method == "HEAD" or error(answer) == (401, "invalid_api_key")


def test_every_route_asks_for_a_scope(server):
    """A key without any of the scopes is refused everywhere but at the description of the API."""
    for method, path, route in routes(server):
        if path in PUBLIC or path == "/openapi.json":
            continue
        assert isinstance(route, APIRoute), path
        scopes = [getattr(each.call, "permission", None) for each in route.dependant.dependencies]
        assert [each for each in scopes if each], f"{method} {path} asks for no scope"


def test_a_key_without_the_scope_is_refused(server):
    metrics = server.key("counts", scopes=["metrics"], models=[])
    chats = server.key("chats")
    with httpx.Client(base_url=server.url) as client:
        assert error(client.get("/v1/models", headers=bearer(metrics))) == (403, "missing_scope")
        assert error(client.get("/metrics", headers=bearer(chats))) == (403, "missing_scope")
        assert client.get("/metrics", headers=bearer(metrics)).status_code == 200
        assert client.get("/v1/models", headers=bearer(chats)).status_code == 200
        assert client.get("/openapi.json", headers=bearer(metrics)).json()["info"]["title"] == "azubi"


def test_healthz_and_readyz_are_open(server, service):
    assert httpx.get(f"{server.url}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{server.url}/readyz").json() == {"status": "ready"}
    service.waiting = 256
    assert httpx.get(f"{server.url}/readyz").status_code == 503
    service.waiting = 0


def test_a_key_asks_its_own_models_alone(server):
    key = server.key("claims-app", models=["claims"])
    with httpx.Client(base_url=server.url, headers=bearer(key)) as client:
        assert [each["id"] for each in client.get("/v1/models").json()["data"]] == ["claims", "claims@1"]
        assert client.get("/v1/models/claims@1").json()["azubi"] == {"kind": "specialist"}
        ask = {"messages": [{"role": "user", "content": "hello"}]}
        assert client.post("/v1/chat/completions", json=ask | {"model": "claims@1"}).status_code == 200
        hidden = client.post("/v1/chat/completions", json=ask | {"model": "triage"})
        missing = client.post("/v1/chat/completions", json=ask | {"model": "nothing"})
        assert error(hidden) == error(missing) == (404, "model_not_found")
        assert hidden.text == missing.text
        for path, body in {
            "/v1/models/triage": None,
            "/v1/completions": {"model": "triage", "prompt": "a"},
            "/v1/responses": {"model": "triage", "input": "a"},
            "/v1/embeddings": {"model": "tiny-llama", "input": "a"},
            "/azubi/v1/ask": {"models": ["claims", "triage"], "document": "a"},
        }.items():
            answer = client.get(path) if body is None else client.post(path, json=body)
            assert error(answer) == (404, "model_not_found"), path


def test_a_revoked_key_stops_at_once(server):
    key = server.key("short-lived")
    with httpx.Client(base_url=server.url, headers=bearer(key)) as client:
        assert client.get("/v1/models").status_code == 200
        KeyStore(server.backend.home).revoke("short-lived")
        assert client.get("/v1/models").status_code == 401


def test_limits_of_a_key(server):
    key = server.key("slow", requests_per_minute=2)
    with httpx.Client(base_url=server.url, headers=bearer(key)) as client:
        assert [client.get("/v1/models").status_code for _ in range(2)] == [200, 200]
        refused = client.get("/v1/models")
        assert error(refused) == (429, "rate_limit_exceeded")
        assert 1 <= int(refused.headers["Retry-After"]) <= 31
    key = server.key("few-words", tokens_per_minute=12)
    ask = {"model": "claims", "messages": [{"role": "user", "content": "hello"}]}
    with httpx.Client(base_url=server.url, headers=bearer(key)) as client:
        assert client.post("/v1/chat/completions", json=ask).status_code == 200  # 11 tokens
        assert client.post("/v1/chat/completions", json=ask).status_code == 200  # one was left
        refused = client.post("/v1/chat/completions", json=ask)
        assert error(refused) == (429, "rate_limit_exceeded")
        assert 45 <= int(refused.headers["Retry-After"]) <= 61


@pytest.mark.parametrize("host", ["localhost", "LocalHost:8000", "127.0.0.1:80", "[::1]:8000", "ki.example"])
def test_the_server_is_called_by_its_names(host):
    require_known_host(host, {"ki.example"})


@pytest.mark.parametrize("host", ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80"])
def test_another_name_is_refused(host):
    with pytest.raises(Refusal):
        require_known_host(host, {"ki.example"})


def test_the_host_is_checked_on_open_routes_too(server):
    assert httpx.get(f"{server.url}/healthz", headers={"Host": "evil.example"}).status_code == 421


def test_only_the_hash_of_a_key_is_stored(home):
    store = KeyStore(home)
    key, secret = store.create(KeyOptions("app", ("chat", "tune"), ("claims",), 10, 1000))
    assert store.find(secret) == key and store.find(secret + "x") is None
    assert secret.startswith("azubi-") and len(secret) == 49
    assert secret.encode() not in b"".join(path.read_bytes() for path in (home / "serve").iterdir())
    assert key.scopes == {"chat", "tune"} and (key.requests_per_minute, key.tokens_per_minute) == (10, 1000)
    assert key.may_use("claims") and key.may_use("claims@2") and not key.may_use("claims2")
    store.allow(key.id, "fresh")
    assert store.find(secret).models == ("claims", "fresh")
    time.sleep(0.001)
    other, _ = store.create(KeyOptions("other", models=("all",)))
    assert other.may_use("anything")
    assert [each.name for each in store.all()] == ["app", "other"]
    store.revoke(key.id)
    assert store.find(secret) is None and store.all()[0].revoked is not None
    store.create(KeyOptions("app", models=("all",)))  # its name is free again


@pytest.mark.parametrize(
    "options",
    [
        {"name": "no models"},
        {"name": "app", "models": ()},
        {"name": "app", "models": ("claims",), "scopes": ("everything",)},
        {"name": "app", "models": ("claims",), "scopes": ()},
        {"name": "app", "models": ("claims@2",)},
        {"name": "app", "models": ("all", "claims")},
        {"name": "app", "models": ("all",), "requests_per_minute": 0},
    ],
)
def test_a_key_that_cannot_be_is_refused(home, options):
    with pytest.raises(SettingError):
        KeyStore(home).create(KeyOptions(**options))
    assert KeyStore(home).all() == []


def test_two_keys_of_one_name_are_refused(home):
    KeyStore(home).create(KeyOptions("app", models=("all",)))
    with pytest.raises(SettingError, match="already"):
        KeyStore(home).create(KeyOptions("app", models=("all",)))
    with pytest.raises(SettingError, match="No key in use"):
        KeyStore(home).revoke("nobody")
