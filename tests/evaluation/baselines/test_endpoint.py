"""The generalist against a real server on this machine: what it asks, and what it makes of every answer."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from azubi.errors import SettingError
from azubi.evaluation.baselines import asking
from azubi.evaluation.baselines import endpoint as module
from azubi.evaluation.baselines.endpoint import Endpoint, EndpointError, Refused, generalist
from azubi.events.events import finish
from tests import tiny
from tests.evaluation.baselines.conftest import examples

KEY = "sk-very-secret"
TEST = examples(tiny.records(9, seed=5))
LABELLED = examples(tiny.labels(9, seed=5))


def said(text, **usage):
    return 200, {"choices": [{"message": {"content": text}}], "usage": usage}


@contextmanager
def serving(reply, models=("big",)):
    """A server; `reply(body, count)` gives status, what it says and headers. Yields URL and all it heard."""
    heard, lock = [], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(200, {"data": [{"id": name} for name in models]}, {})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                heard.append((self.path, dict(self.headers), body))
                count = len(heard)
            self.answer(*(*reply(body, count), {})[:3])

        def answer(self, status, reply, headers):
            raw = reply.encode() if isinstance(reply, str) else json.dumps(reply).encode()
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(raw))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Waits briefly, tries three times, and has a key."""
    monkeypatch.setattr(module, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(module, "TRIES", 3)
    monkeypatch.setenv("AZUBI_AGAINST_KEY", KEY)


def prepared(url, task):
    return finish(generalist("generalist", Endpoint(url), task))


def answer_alone(url, task, question, mode="constrained"):
    """One answer without any preparation."""
    asking = module._Asking(Endpoint(url), task)
    return next(iter(asking.answer([question], mode)))[1]


def right(body, _):
    """What a model that knows the notes would say."""
    note = body["messages"][-1]["content"]
    line = next(line for line, many in tiny.THINGS.items() if any(thing in note for thing in many))
    record = {"line": line, "amount": int(note.rpartition(",")[2])}
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
    answer = {"label": line} if "label" in schema.get("properties", {}) else record
    return said(json.dumps(answer), prompt_tokens=31, completion_tokens=7)


def test_records_are_asked_for_with_their_schema_and_all_are_right(records):
    with serving(right) as (url, heard):
        baseline = prepared(url, records)
        rows = finish(asking.ask(baseline, records, TEST, range(9)))
    assert all(row.right for row in rows)
    assert {(row.tokens_in, row.tokens_out, row.confidence) for row in rows} == {(31, 7, None)}
    path, headers, body = heard[-1]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert body["model"] == "big" and body["temperature"] == 0
    assert body["messages"][0]["role"] == "system"
    assert body["messages"][0]["content"].startswith(records.instruction)
    schema = body["response_format"]["json_schema"]["schema"]
    assert list(schema["properties"]) == ["line", "amount"]
    assert schema["additionalProperties"] is False
    assert baseline.contender.says == f"big behind {url}"
    assert baseline.notes == []


def test_labels_are_asked_for_as_one_of_a_closed_set(labels):
    with serving(right) as (url, heard):
        rows = finish(asking.ask(prepared(url, labels), labels, LABELLED, range(9)))
    assert all(row.right for row in rows)
    schema = heard[0][2]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["label"]["enum"] == ["home", "motor", "travel"]


def test_free_answers_are_taken_as_they_are(labels):
    with serving(lambda *_: said(" It is home. ")) as (url, heard):
        answer = answer_alone(url, labels, LABELLED[0].turns, "unconstrained")
    assert answer.text == " It is home. "
    assert "response_format" not in heard[0][2]


def test_derived_fields_are_computed(dear):
    with serving(lambda *_: said('{"line": "home", "amount": 60}')) as (url, heard):
        answer = answer_alone(url, dear, TEST[0].turns)
    assert json.loads(answer.text) == {"line": "home", "amount": 60, "dear": True}
    assert "dear" not in heard[0][2]["response_format"]["json_schema"]["schema"]["properties"]


def test_an_endpoint_that_knows_no_schema_is_asked_without_and_that_is_said(records):
    def picky(body, _):
        if "response_format" in body:
            return 400, {"error": {"message": "response_format is not supported"}}
        return right(body, _)

    with serving(picky) as (url, heard):
        baseline = prepared(url, records)
        rows = finish(asking.ask(baseline, records, TEST, range(9)))
    assert all(row.right for row in rows)
    assert len([note for note in baseline.notes if "response_format is not supported" in note]) == 1
    assert sum("response_format" in body for *_, body in heard) <= 4


def test_busy_then_ready_is_waited_for(records):
    def busy(body, count):
        return (429, {"error": "slow down"}, {"Retry-After": "0.05"}) if count == 1 else right(body, count)

    with serving(busy) as (url, heard):
        begun = time.perf_counter()
        reply = Endpoint(url).chat([{"role": "user", "content": TEST[0].prompt}], 20)
        assert time.perf_counter() - begun >= 0.05
    assert json.loads(reply.text) == json.loads(TEST[0].answer)
    assert len(heard) == 2


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_stays_busy_is_given_up_and_named(status):
    with serving(lambda *_: (status, {})) as (url, heard), pytest.raises(EndpointError) as caught:
        Endpoint(url).chat([], 20)
    assert len(heard) == 3
    assert str(status) in caught.value.problem and url in caught.value.problem


@pytest.mark.parametrize(
    ("key", "said"), [(KEY, "the key in the environment is not accepted"), ("", "it wants a key")]
)
def test_refused_access_is_said_at_once_without_the_key(key, said, monkeypatch):
    monkeypatch.setenv("AZUBI_AGAINST_KEY", key)
    with serving(lambda *_: (401, {"error": KEY})) as (url, heard), pytest.raises(SettingError) as caught:
        Endpoint(url).chat([], 20)
    assert len(heard) == 1
    assert said in caught.value.problem and "AZUBI_AGAINST_KEY" in caught.value.remedy
    assert KEY not in str(caught.value)


def test_a_refused_request_is_told_with_the_endpoints_reason(records):
    refusal = (422, {"error": {"message": "context too long"}})
    with serving(lambda *_: refusal) as (url, _), pytest.raises(Refused, match="context too long"):
        answer_alone(url, records, TEST[0].turns)


def test_a_slow_endpoint_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", httpx.Timeout(0.05))

    def slow(body, count):
        time.sleep(0.3)
        return said("late")

    with serving(slow) as (url, heard), pytest.raises(EndpointError, match="did not answer in time"):
        Endpoint(url).chat([], 20)
    assert len(heard) == 3


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("{not json", "is no JSON"),
        ("<html>Welcome</html>", "is no JSON"),
        ({"choices": []}, "has no choices"),
        ({"error": "odd"}, "has no choices"),
        ([], "has no choices"),
        ({"choices": [{"message": {"content": [{"type": "text"}]}}]}, "content that is not text"),
    ],
)
def test_what_is_no_answer_is_named(said, what):
    with serving(lambda *_: (200, said)) as (url, _), pytest.raises(EndpointError, match=what):
        Endpoint(url).chat([], 20)


def test_json_that_was_cut_short_once_is_asked_for_again():
    with serving(lambda _, count: (200, '{"choices"') if count == 1 else said("whole")) as (url, heard):
        assert Endpoint(url).chat([], 20).text == "whole"
    assert len(heard) == 2


def test_an_empty_answer_is_an_empty_answer():
    with serving(lambda *_: said(None)) as (url, _):
        assert Endpoint(url).chat([], 20).text == ""


def test_nobody_there_is_said():
    with serving(right) as (url, _):
        pass
    with pytest.raises(EndpointError, match="cannot be reached"):
        Endpoint(url).chat([], 20)


def test_the_only_model_is_taken_one_of_several_has_to_be_named():
    with serving(right, models=("big",)) as (url, _):
        assert Endpoint(url).model == "big"
        assert Endpoint(f"{url}#other").model == "other"
        assert Endpoint(f"{url}/chat/completions#x").url == url
    for models in ((), ("big", "small")):
        with serving(right, models=models) as (url, _), pytest.raises(SettingError, match="models") as caught:
            _ = Endpoint(url).model
        assert "#MODEL" in caught.value.remedy


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "ftp://x/v1",
        "",
        f"http://me:{KEY}@x/v1",
        f"http://x/v1?api-key={KEY}",
        "http://",
        "http://x:port/",
    ],
)
def test_what_is_no_address_or_shows_a_secret_is_refused(url):
    with pytest.raises(SettingError) as caught:
        Endpoint(url)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("name", ["AZUBI_AGAINST_KEY", "OPENAI_API_KEY"])
def test_the_key_comes_from_the_environment(monkeypatch, name):
    monkeypatch.delenv("AZUBI_AGAINST_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv(name, KEY)
    with serving(lambda *_: said("x")) as (url, heard):
        endpoint = Endpoint(url)
        endpoint.chat([], 20)
    assert heard[0][1]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(vars(endpoint))


def test_a_redirect_does_not_take_the_key_elsewhere():
    with serving(right) as (other, there):
        away = (307, {}, {"Location": f"{other}/chat/completions"})
        with serving(lambda *_: away) as (url, _), pytest.raises(Refused, match="307"):
            Endpoint(url).chat([], 20)
    assert there == []


def test_several_are_asked_at_a_time(records):
    running, most, lock = [0], [0], threading.Lock()

    def busy(body, count):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.05)
        with lock:
            running[0] -= 1
        return right(body, count)

    with serving(busy) as (url, _):
        rows = finish(asking.ask(prepared(url, records), records, TEST, range(9)))
    assert 2 <= most[0] <= 4
    assert [json.loads(row.answer) for row in rows] == [json.loads(example.answer) for example in TEST]
