"""Batches over HTTP, by OpenAI's own client: rows in, rows out, kept over a crash, behind live requests."""

import json
import time
from dataclasses import replace
from itertools import count

import openai
import pytest

from azubi.data.example import Turn
from azubi.serve import batch_runner
from tests.serve.fake import FakeService, running

NUMBERS = count()


@pytest.fixture
def client(server):
    return connected(server, server.key(f"key-{next(NUMBERS)}", ["chat", "files"]))


def connected(server, key):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0)


def row(number, text="hello you", url="/v1/chat/completions", **changes):
    body = {"model": "claims", "messages": [{"role": "user", "content": text}]}
    return {"custom_id": f"row-{number}", "method": "POST", "url": url, "body": body} | changes


def create(client, rows, endpoint="/v1/chat/completions", **fields):
    content = "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    file = client.files.create(file=("night.jsonl", content.encode()), purpose="batch")
    return client.batches.create(
        **{"input_file_id": file.id, "endpoint": endpoint, "completion_window": "24h"} | fields
    )


def ended(client, batch, *, seconds=60):
    until = time.monotonic() + seconds
    while (batch := client.batches.retrieve(batch.id)).status not in (
        *("completed", "failed", "cancelled", "expired"),
    ):
        assert time.monotonic() < until, batch
        time.sleep(0.05)
    return batch


def lines(client, id):
    return [json.loads(line) for line in client.files.content(id).text.splitlines()]


def test_rows_in_rows_out(client, server):
    rows = [row(n, f"word {n}") for n in range(9)]
    batch = ended(client, create(client, rows, metadata={"inbox": "night"}))
    assert (batch.status, batch.metadata, batch.error_file_id) == ("completed", {"inbox": "night"}, None)
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (9, 9, 0)
    assert batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at
    out = lines(client, batch.output_file_id)
    assert [each["custom_id"] for each in out] == [f"row-{n}" for n in range(9)]
    answers = [each["response"]["body"]["choices"][0]["message"]["content"] for each in out]
    assert answers == [f"word {n}" for n in range(9)]
    assert client.files.retrieve(batch.output_file_id).purpose == "batch_output"
    noted = [entry for entry in server.backend.audit.entries() if entry["model"] == "claims@1"]
    assert len(noted) >= 9


def test_rows_that_fail_stand_in_the_error_file(client):
    rows = [row(1), row(2, "long"), row(3), row(4, body={"model": "claims"}), row(5)]
    rows[4]["body"]["model"] = "nobody"
    batch = ended(client, create(client, rows))
    assert (batch.request_counts.completed, batch.request_counts.failed) == (2, 3)
    failed = {each["custom_id"]: each["response"] for each in lines(client, batch.error_file_id)}
    codes = {name: (each["status_code"], each["body"]["error"]["code"]) for name, each in failed.items()}
    assert codes == {
        "row-2": (400, "context_length_exceeded"),
        "row-4": (400, "missing_required_parameter"),
        "row-5": (404, "model_not_found"),
    }


@pytest.mark.parametrize(
    ("rows", "line", "code", "param"),
    [
        ([row(1), "{not json"], 2, "invalid_json_line", None),
        ([row(1), row(1)], 2, "duplicate_custom_id", "custom_id"),
        ([row(1, method="GET")], 1, "invalid_method", "method"),
        ([row(1), row(2, url="/v1/embeddings")], 2, "invalid_url", "url"),
        ([row(1, body="text")], 1, "missing_required_parameter", "body"),
        ([row(1, body={"stream": True})], 1, "unsupported_parameter", "body.stream"),
        (["", "  "], None, "empty_file", None),
    ],
)
def test_a_file_that_cannot_be_used_is_named_by_its_line(client, rows, line, code, param):
    batch = ended(client, create(client, rows))
    assert batch.status == "failed"
    error = batch.errors.data[0]
    assert (error.line, error.code, error.param) == (line, code, param)


@pytest.mark.parametrize(
    ("endpoint", "body", "of"),
    [
        ("/v1/completions", {"model": "claims", "prompt": "a b"}, lambda b: b["choices"][0]["text"] == "a b"),
        (
            "/v1/embeddings",
            {"model": "tiny-llama", "input": "a"},
            lambda b: len(b["data"][0]["embedding"]) == 2,
        ),
        ("/v1/responses", {"model": "claims", "input": "a b"}, lambda b: b["status"] == "completed"),
    ],
)
def test_other_endpoints(client, endpoint, body, of):
    batch = ended(client, create(client, [row(1, url=endpoint, body=body)], endpoint))
    (out,) = lines(client, batch.output_file_id)
    assert out["response"]["status_code"] == 200 and of(out["response"]["body"])


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"endpoint": "/v1/moderations"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"input_file_id": "file-none"}, "input_file_id"),
    ],
)
def test_requests_that_are_refused(client, fields, param):
    with pytest.raises(openai.BadRequestError) as refused:
        create(client, [row(1)], **fields)
    assert refused.value.param == param


def test_batches_belong_to_their_key(client, server):
    batch = create(client, [row(1)])
    other = connected(server, server.key(f"other-{batch.id}", ["chat", "files"]))
    for call in (other.batches.retrieve, other.batches.cancel):
        with pytest.raises(openai.NotFoundError):
            call(batch.id)
    assert not list(other.batches.list())
    assert [each.id for each in client.batches.list(limit=1)] == [batch.id]


def test_a_busy_model_is_asked_again(client, service, monkeypatch):
    monkeypatch.setattr(batch_runner, "_LOOK_SECONDS", 0.05)
    batch = create(client, [row(1, "busy"), row(2)])
    until = time.monotonic() + 30
    while not (done := client.batches.retrieve(batch.id)).request_counts.completed:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert done.status == "in_progress" and done.request_counts.failed == 0
    with monkeypatch.context() as patch:
        answered = FakeService().submit
        patch.setattr(
            service, "submit", lambda inquiry: answered(replace(inquiry, turns=(Turn("user", "free"),)))
        )
        assert ended(client, batch).request_counts.completed == 2


def test_a_batch_that_waits_for_a_busy_model_can_be_cancelled(client):
    batch = create(client, [row(1, "busy")])
    until = time.monotonic() + 30
    while client.batches.retrieve(batch.id).status != "in_progress":
        assert time.monotonic() < until
        time.sleep(0.05)
    client.batches.cancel(batch.id)
    assert ended(client, batch).status == "cancelled"


def test_live_requests_go_first(client, service):
    service.waiting = 3
    batch = create(client, [row(n) for n in range(3)])
    time.sleep(1.5)
    assert client.batches.retrieve(batch.id).request_counts.completed == 0
    service.waiting = 0
    assert ended(client, batch).request_counts.completed == 3


def test_a_cancelled_batch_keeps_what_was_answered(client, service):
    service.slow = 0.2
    batch = create(client, [row(n) for n in range(60)])
    until = time.monotonic() + 30
    while client.batches.retrieve(batch.id).request_counts.completed < 4:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert client.batches.cancel(batch.id).status == "cancelling"
    service.slow = 0
    done = ended(client, batch)
    assert done.status == "cancelled" and 4 <= done.request_counts.completed < 60
    assert len(lines(client, done.output_file_id)) == done.request_counts.completed
    with pytest.raises(openai.BadRequestError):
        client.batches.cancel(batch.id)


def test_a_revoked_key_answers_no_more(client, server, service):
    service.waiting = 1
    batch = create(client, [row(1)])
    server.backend.keys.revoke(server.backend.batches.find(batch.id).owner)
    service.waiting = 0
    until = time.monotonic() + 30
    while (kept := server.backend.batches.find(batch.id)).status != "completed":
        assert time.monotonic() < until
        time.sleep(0.05)
    assert (kept.completed, kept.failed) == (0, 1)


def test_what_was_answered_outlasts_the_server(tmp_path):
    """Requests that are done are not asked again by the next server, and none is missing."""
    first, second = FakeService(slow=0.1), FakeService()
    rows = [row(n, f"a {n}") for n in range(40)]
    with running(tmp_path, first) as server:
        key = server.key("night", ["chat", "files"])
        client = connected(server, key)
        batch = create(client, rows)
        until = time.monotonic() + 30
        while client.batches.retrieve(batch.id).request_counts.completed < 8:
            assert time.monotonic() < until
            time.sleep(0.02)
    with running(tmp_path, second) as server:
        client = connected(server, key)
        done = ended(client, batch)
        assert (done.status, done.request_counts.completed) == ("completed", 40)
        out = lines(client, done.output_file_id)
        assert [each["custom_id"] for each in out] == [f"row-{n}" for n in range(40)]
        assert 0 < len(second.asked) <= 32
        until = time.monotonic() + 10  # its key goes after its status has changed
        while list((tmp_path / "keys").glob("batches-*")):
            assert time.monotonic() < until
            time.sleep(0.02)
