"""What a server notes: the audit log, metrics, feedback; and that nothing else is written down."""

import asyncio
import json
import sqlite3
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from azubi.data.example import Turn
from azubi.data.readers.reading import read
from azubi.errors import CorruptFile, DiskFull
from azubi.serve.audit import AuditEntry, AuditLog
from azubi.serve.feedback import example
from azubi.serve.feedback_store import KEPT_DAYS, FeedbackStore
from tests.serve.fake import FakeService, running

SECRET = "Zahnersatz-Unterlagen"


@pytest.fixture
def client(server, key):
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {key}"}) as opened:
        yield opened


def ask(client, text=SECRET, model="claims", **more):
    body = {"model": model, "messages": [{"role": "user", "content": text}]} | more
    return client.post("/v1/chat/completions", json=body)


def test_every_answer_is_in_the_audit_log_before_it_is_sent(server, client):
    given = ask(client).json()
    entry = server.backend.audit.entries()[-1]
    assert datetime.fromisoformat(entry.pop("when")) > datetime.now(UTC) - timedelta(minutes=1)
    assert entry.pop("key").startswith("key_")
    assert entry == {
        "action": "answer",
        "key_name": "everything",
        "request": given["id"],
        "model": "claims@1",
        "result": "ok",
        "prompt_tokens": 10,
        "completion_tokens": 1,
        "scope": 0.8,
        "in_scope": True,
        "answered_by": "specialist",
    }
    ask(client, "elsewhere")
    assert server.backend.audit.entries()[-1]["result"] == "out_of_scope"
    ask(client, "long")
    assert server.backend.audit.entries()[-1]["result"] == "context_length_exceeded"
    client.post("/v1/embeddings", json={"model": "tiny-llama", "input": SECRET})
    assert server.backend.audit.entries()[-1]["action"] == "embed"


def test_no_prompt_answer_or_key_is_written_down(tmp_path, capfd):
    with running(tmp_path, FakeService()) as server:
        key = server.key("app")
        with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {key}"}) as client:
            assert SECRET in ask(client).text
            assert SECRET in ask(client, stream=True).text
            ask(client, "broken")
            client.get(f"/v1/models/{SECRET}?q={SECRET}")
            client.get(f"/{SECRET}")
            httpx.get(f"{server.url}/v1/models", headers={"Authorization": f"Bearer {SECRET}"})
            feedback = client.post(
                "/azubi/v1/feedback", json={"response_id": "chatcmpl-1", "correction": "a"}
            )
            assert feedback.status_code == 403 and feedback.json()["error"]["code"] == "feedback_off"
            metrics = server.key("counts", scopes=["metrics"], models=[])
            counted = httpx.get(f"{server.url}/metrics", headers={"Authorization": f"Bearer {metrics}"}).text
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    printed = "".join(capfd.readouterr())
    for text in (SECRET, key):
        assert text.encode() not in written and text not in printed and text not in counted
    assert "failed" in printed  # the request that broke is in the log all the same


def test_without_the_audit_log_there_is_no_answer(tmp_path, monkeypatch, capfd):
    def full(self, texts):
        raise DiskFull("The disk is full.", "Make room.")

    with running(tmp_path, FakeService()) as server, httpx.Client(base_url=server.url) as client:
        client.headers["Authorization"] = f"Bearer {server.key()}"
        assert ask(client).status_code == 200
        monkeypatch.setattr(AuditLog, "_write", full)
        refused = ask(client)
        assert refused.status_code == 500 and SECRET not in refused.text
        assert "internal_error" in ask(client, stream=True).text
        monkeypatch.undo()
        assert ask(client).status_code == 200
    assert "DiskFull" in capfd.readouterr().err


def test_metrics_count_by_route_and_model(tmp_path):
    with running(tmp_path, FakeService()) as server:
        key = server.key("app", scopes=["chat", "metrics"])
        with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {key}"}) as client:
            ask(client)
            ask(client, "elsewhere")
            client.get("/v1/models/claims")
            httpx.get(f"{server.url}/v1/models")
            lines = client.get("/metrics").text.splitlines()
    for line in (
        'azubi_requests_total{method="POST",route="/v1/chat/completions",status="200"} 1.0',
        'azubi_requests_total{method="POST",route="/v1/chat/completions",status="422"} 1.0',
        'azubi_requests_total{method="GET",route="/v1/models/{model:path}",status="200"} 1.0',
        'azubi_requests_total{method="GET",route="none",status="401"} 1.0',
        'azubi_tokens_total{kind="completion",model="claims@1"} 1.0',
        'azubi_tokens_total{kind="cached",model="claims@1"} 8.0',
        'azubi_load{kind="waiting"} 0.0',
    ):
        assert line in lines, "\n".join(lines)


def written(path, entries=7):
    log = AuditLog(path)

    async def write():
        await asyncio.gather(
            *(
                log.add(AuditEntry("answer", "key_1", "app", f"chatcmpl-{n}", "claims@1"))
                for n in range(entries)
            )
        )

    asyncio.run(write())
    return log


def test_entries_that_come_together_form_one_chain(home):
    log = written(home, 50)
    assert [entry["request"] for entry in log.entries()] == [f"chatcmpl-{n}" for n in range(50)]
    assert log.verify()[0].number == 50
    assert AuditLog(home / "other").verify() == (None, None)


@pytest.mark.parametrize(
    "statement", ["UPDATE log SET entry = '{}' WHERE number = 3", "DELETE FROM log WHERE number = 3"]
)
def test_an_entry_that_was_changed_is_found(home, statement):
    log = written(home)
    with sqlite3.connect(log.path) as connection:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
        connection.execute("DROP TRIGGER only_added")
        connection.execute("DROP TRIGGER never_removed")
        connection.execute(statement)
    with pytest.raises(CorruptFile, match="Entry 3 of"):
        log.verify()


def test_a_correction_becomes_an_example_to_review(server, client, tmp_path):
    given = ask(client, "Mein Dach ist undicht").json()["id"]
    streamed = json.loads(ask(client, "Mein Auto", stream=True).text.split("\n")[0].removeprefix("data: "))[
        "id"
    ]
    for id, text in ((given, "home"), (streamed, "motor")):
        done = client.post(
            "/azubi/v1/feedback", json={"response_id": id, "correction": text, "comment": "J."}
        )
        assert done.json()["status"] == "to review"
    other = {"Authorization": f"Bearer {server.key('other')}"}
    body = {"response_id": given, "correction": "travel"}
    assert client.post("/azubi/v1/feedback", json=body, headers=other).status_code == 404
    assert client.get("/azubi/v1/feedback").status_code == 403  # only an admin reads them
    admin = {"Authorization": f"Bearer {server.key('office', scopes=['admin'], models=[])}"}
    rows = [json.loads(line) for line in client.get("/azubi/v1/feedback", headers=admin).text.splitlines()]
    assert [row["messages"] for row in rows] == [
        [{"role": "user", "content": "Mein Dach ist undicht"}, {"role": "assistant", "content": "home"}],
        [{"role": "user", "content": "Mein Auto"}, {"role": "assistant", "content": "motor"}],
    ]
    assert (rows[0]["answered"], rows[0]["model"], rows[0]["comment"]) == (
        "Mein Dach ist undicht",
        "claims@1",
        "J.",
    )
    assert client.delete(f"/azubi/v1/feedback/{given}", headers=admin).json()["deleted"] is True
    assert client.delete(f"/azubi/v1/feedback/{given}", headers=admin).status_code == 404
    assert len(client.get("/azubi/v1/feedback", headers=admin).text.splitlines()) == 1


def test_corrections_can_be_learned_from(home, tmp_path):
    store = FeedbackStore(home)
    store.keep("chatcmpl-1", "key_1", "claims@1", (Turn("user", "Mein Dach"),), "motor")
    assert store.correct("chatcmpl-1", "key_1", "home", "")
    path = tmp_path / "review.jsonl"
    path.write_text("".join(json.dumps(example(each)) + "\n" for each in store.corrections()))
    (read_back,) = read(path).examples
    assert (read_back.turns, read_back.answer) == ((Turn("user", "Mein Dach"),), "home")


def test_what_is_kept_for_feedback_is_encrypted_and_goes_after_a_while(home, monkeypatch):
    from azubi.serve import feedback_store

    store = FeedbackStore(home)
    store.keep("chatcmpl-1", "key_1", "claims@1", (Turn("user", SECRET),), "an answer that was given")
    store.keep("chatcmpl-2", "key_1", "claims@1", (Turn("user", SECRET),), "another answer")
    assert store.correct("chatcmpl-2", "key_1", "the right answer", "")
    for path in (home / "serve").iterdir():
        assert SECRET.encode() not in path.read_bytes() and b"answer that" not in path.read_bytes()

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(days=KEPT_DAYS + 1)

    monkeypatch.setattr(feedback_store, "datetime", Later)
    store.keep("chatcmpl-3", "key_1", "claims@1", (Turn("user", "a"),), "b")
    assert not store.correct("chatcmpl-1", "key_1", "too late", "")
    assert [each.id for each in store.corrections()] == ["chatcmpl-2"]  # what was corrected stays
