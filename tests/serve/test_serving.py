"""The program and its models: answers over HTTP are those of `azubi ask`, however many ask at once."""

import asyncio
import json
import math
import shlex
import signal
import sqlite3
import time
from typing import Literal

import httpx
import openai
import pytest
from pydantic import BaseModel

from azubi.cli import main
from azubi.cli.command import Session
from azubi.cli.serve import _tell_started
from azubi.data.contract import Contract
from azubi.pipeline import ask
from azubi.pipeline.service import Service
from azubi.serve.audit import AuditLog
from azubi.serve.backend import ServeOptions, open_backend
from azubi.serve.keys import KeyOptions
from tests import program, tiny
from tests.pipeline.untrained import LABELS, register
from tests.serve.fake import FakeService, free_port, running

NOTES = [row["prompt"] for row in tiny.labels(10, seed=7)]
TRIAGE = Contract(task="labels", labels=LABELS)


@pytest.fixture(scope="module")
def office(bases, tmp_path_factory):
    """Specialists of several kinds on two bases; what they say is random."""
    home = tmp_path_factory.mktemp("office")
    register(home, bases.encoder, "sorter", TRIAGE, scope=True)
    register(home, bases.decoder, "triage", TRIAGE, seed=1, instruction="Sort it.")
    register(home, bases.decoder, "writer", Contract(task="text"), seed=2, scope=True)
    register(home, bases.decoder, "reader", Contract(task="text"), seed=3, prompt_layers=0, tail_layers=3)
    recipe = {"name": "strict", "scope": {"out_of_scope": "caller"}}
    register(home, bases.decoder, "strict", TRIAGE, seed=4, scope=True, recipe=recipe)
    return home


@pytest.fixture(scope="module")
def server(office):
    with running(office, Service(office, threads=1)) as started:
        yield started


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key(), max_retries=0) as opened:
        yield opened


def test_fifty_clients_get_what_they_would_get_alone(server, office, client):
    names = ("sorter", "triage", "writer", "reader@1")
    wanted = {name: [answer.text for answer in ask.answer(office, name, NOTES)] for name in names}
    asked = [(names[n % 4], n % len(NOTES)) for n in range(50)]

    async def one(model, note, key):
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as own:
            messages = [{"role": "user", "content": NOTES[note]}]
            if note % 3:
                done = await own.chat.completions.create(model=model, messages=messages)
                return done.choices[0].message.content
            chunks = await own.chat.completions.create(model=model, messages=messages, stream=True)
            return "".join([each.choices[0].delta.content or "" async for each in chunks])

    async def all_at_once():
        keys = [server.key(f"client-{n}") for n in range(2)]
        return await asyncio.gather(*(one(*each, keys[n % 2]) for n, each in enumerate(asked)))

    before = len(server.backend.audit.entries())
    assert asyncio.run(all_at_once()) == [wanted[model][note] for model, note in asked]
    assert len(server.backend.audit.entries()) == before + 50
    assert server.backend.traffic.running == 0
    assert len({text for texts in wanted.values() for text in texts}) > 10


def test_a_specialist_says_who_answered_and_whether_it_was_its_job(client, office):
    for note, want in zip(NOTES, ask.answer(office, "sorter", NOTES), strict=True):
        done = client.chat.completions.create(model="sorter", messages=[{"role": "user", "content": note}])
        said = done.azubi
        assert (done.choices[0].message.content, said["in_scope"]) == (want.text, want.in_scope)
        assert said["scope"] == pytest.approx(want.scope, abs=1e-4)
        assert said["specialist"] == done.model == "sorter@1" and said["answered_by"] == "specialist"


def test_a_specialist_that_leaves_it_to_the_caller(client, office):
    answers = ask.answer(office, "strict", NOTES)
    assert {answer.by for answer in answers} == {"specialist", "nobody"}
    for note, want in zip(NOTES, answers, strict=True):
        request = {"model": "strict", "messages": [{"role": "user", "content": note}]}
        if want.by == "specialist":
            assert client.chat.completions.create(**request).choices[0].message.content == want.text
            continue
        with pytest.raises(openai.UnprocessableEntityError) as caught:
            client.chat.completions.create(**request)
        assert caught.value.code == "out_of_scope"
        done = client.chat.completions.create(**request, extra_body={"azubi": {"out_of_scope": "empty"}})
        assert done.choices[0].message.content == "" and done.azubi["answered_by"] == "nobody"


def test_models_embeddings_responses_and_completions(client, bases, office):
    names = {each.id for each in client.models.list()}
    assert names >= {"sorter", "sorter@1", "sorter@candidate", bases.encoder.name, bases.decoder.name}
    done = client.embeddings.create(model=bases.encoder.name, input=NOTES[:2])
    assert [sum(x * x for x in each.embedding) for each in done.data] == pytest.approx([1, 1], abs=1e-4)
    (want,) = ask.answer(office, "writer", NOTES[:1])
    assert client.responses.create(model="writer", input=NOTES[0]).output_text == want.text
    assert client.completions.create(model="writer", prompt=NOTES[0]).choices[0].text == want.text
    base = client.chat.completions.create(
        model=bases.decoder.name, messages=[{"role": "user", "content": NOTES[0]}], max_tokens=8
    )
    assert base.azubi["answered_by"] == "base" and base.model == bases.decoder.name


def test_probabilities_of_labels(client, office):
    for model in ("sorter", "triage"):
        done = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": NOTES[0]}], logprobs=True, top_logprobs=3
        )
        (scored,) = done.choices[0].logprobs.content
        chances = {each.token: math.exp(each.logprob) for each in scored.top_logprobs}
        assert set(chances) == set(LABELS) and sum(chances.values()) == pytest.approx(1, abs=1e-3)
        assert scored.token == done.choices[0].message.content == max(chances, key=chances.get)
        (want,) = ask.answer(office, model, NOTES[:1])
        assert math.exp(scored.logprob) == pytest.approx(want.confidence, rel=1e-3)


def test_an_object_is_parsed(client):
    class Claim(BaseModel):
        line: Literal["home", "motor"]
        urgent: bool

    messages = [{"role": "user", "content": NOTES[0]}]
    done = client.chat.completions.parse(
        model="writer", messages=messages, response_format=Claim, max_completion_tokens=100
    )
    assert isinstance(done.choices[0].message.parsed, Claim)
    done = client.responses.parse(model="writer", input=NOTES[0], text_format=Claim, max_output_tokens=100)
    assert isinstance(done.output_parsed, Claim)


def test_drawn_answers_follow_their_seed(client):
    def drawn(**settings):
        done = client.chat.completions.create(
            model="writer", messages=[{"role": "user", "content": NOTES[0]}], temperature=1.0, **settings
        )
        return [choice.message.content for choice in done.choices]

    first = drawn(n=3, seed=11)
    assert drawn(n=3, seed=11) == first and len(set(first)) > 1
    assert drawn(seed=12) == first[1:2]  # each choice has the next seed
    cut = drawn(seed=11, stop=first[0][3])[0]
    assert first[0].startswith(cut) and first[0][3] not in cut
    done = client.completions.create(model="writer", prompt=NOTES[0], max_tokens=2)
    assert done.choices[0].finish_reason == "length" and done.usage.completion_tokens == 2


def test_a_stream_that_is_left_frees_its_place(server, client, bases):
    name = bases.decoder.name
    messages = [{"role": "user", "content": "hail"}]
    stream = client.chat.completions.create(model=name, messages=messages, stream=True, max_tokens=100)
    next(stream)
    stream.close()
    deadline = time.monotonic() + 10
    while server.backend.service.busy().running and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.backend.service.busy().running == server.backend.traffic.running == 0


def test_several_specialists_about_one_document(server, office):
    asked = {"Authorization": f"Bearer {server.key('office')}"}
    names = ["writer", "reader", "sorter"]
    done = httpx.post(
        f"{server.url}/azubi/v1/ask", json={"models": names, "document": NOTES[0]}, headers=asked, timeout=30
    )
    for name in names:
        assert done.json()["answers"][name]["text"] == ask.answer(office, name, NOTES[:1])[0].text


def test_what_is_too_long_is_refused_as_such(client):
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as caught:
            long = [{"role": "user", "content": "hail " * tiny.CONTEXT}]
            client.chat.completions.create(model="writer", messages=long, stream=stream)
        assert caught.value.code == "context_length_exceeded"


def test_the_program_serves_until_it_is_stopped(office, capsys):
    assert main(["keys", "create", "--name", "desk", "--models", "sorter", "--home", str(office)]) == 0
    key, _, *more = capsys.readouterr().out.splitlines()
    assert not more
    port = free_port()
    serving = program.started("serve", "--port", port, "--threads", 1, "--home", office)
    try:
        lines = []
        while not (lines and lines[-1].startswith("  -H")):
            lines.append(serving.stdout.readline().rstrip("\n"))
            assert lines[-1] or serving.poll() is None, serving.stderr.read()
        printed = "\n".join(lines)
        assert f"http://127.0.0.1:{port}/v1" in printed and "sorter" in printed
        words = shlex.split(printed[printed.index("curl ") :].replace("\\\n", " "))
        headers = dict(
            words[n + 1].replace("KEY", key).split(": ", 1) for n, word in enumerate(words) if word == "-H"
        )
        body = json.loads(words[words.index("-d") + 1]) | {"model": "sorter"}
        done = httpx.post(words[1], json=body, headers=headers, timeout=60)
        assert done.status_code == 200 and done.json()["choices"][0]["message"]["content"] in LABELS
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(30) == 0
        assert serving.stderr.read() == ""
    finally:
        serving.kill()


def test_keys_on_the_command_line(home, capsys):
    said = []

    def run(*words):
        assert main(["keys", *words]) == 0
        printed = capsys.readouterr()
        said.append(printed.err)
        return printed.out

    assert "There is no key yet" in run()
    key, *_ = run(
        "create", "--name", "app", "--models", "claims, triage", "--requests-per-minute", "60"
    ).splitlines()
    assert key.startswith("azubi-")
    assert "no base named claims here yet" in said[-1] and "named triage" in said[-1]  # it may be misspelt
    listed = run("list")
    assert all(word in listed for word in ("app", "claims", "triage", "60 requests")) and key not in listed
    (shown,) = json.loads(run("--json"))["keys"]
    assert (shown["models"], shown["scopes"], shown["requests_per_minute"]) == (
        ["claims", "triage"],
        ["chat"],
        60,
    )
    assert "is revoked" in run("revoke", "app")
    assert json.loads(run("--json"))["keys"][0]["revoked"]
    assert main(["keys", "create", "--name", "app"]) == 2
    assert "which models" in capsys.readouterr().err
    assert main(["keys", "revoke", "app"]) == 2


def test_what_serve_prints(home, capsys):
    backend = open_backend(home, FakeService(), ServeOptions("::1", 8443, tls_cert=home / "cert.pem"))
    _tell_started(backend, Session(home))
    printed = capsys.readouterr().out
    assert "https://[::1]:8443/v1" in printed and "claims, triage" in printed
    assert "azubi keys create --name my-app --models claims" in printed
    backend.keys.create(KeyOptions("app", models=("all",)))
    _tell_started(backend, Session(home))
    assert "Nobody can ask" not in capsys.readouterr().out
    _tell_started(backend, Session(home, json=True))
    told = json.loads(capsys.readouterr().out)
    assert told == {"address": "https://[::1]:8443/v1", "specialists": ["claims", "triage"], "keys": 1}


def test_serve_says_what_cannot_be(server, capsys, tmp_path):
    assert main(["serve", "--port", str(server.port)]) == 2
    assert f"cannot listen on 127.0.0.1:{server.port}" in capsys.readouterr().err
    assert main(["serve", "--tls-cert", str(tmp_path / "a.pem")]) == 2
    assert "belong together" in capsys.readouterr().err
    assert main(["serve", "--tls-cert", str(tmp_path / "a"), "--tls-key", str(tmp_path / "b")]) == 2
    assert "There is no file" in capsys.readouterr().err


def test_audit_reads_the_servers_log_too(home, capsys):
    from tests.serve.test_notes import written

    log = written(home, 3)
    assert main(["audit"]) == 0
    printed = capsys.readouterr().out
    last = log.verify()[0].hash
    assert "3 entries in the server's log, none changed or removed" in printed and last in printed
    assert main(["audit", "--contains", last[:16]]) == 0
    assert "Entry 3 has the hash" in capsys.readouterr().out
    assert main(["audit", "--contains", "f" * 64]) == 2
    capsys.readouterr()
    with sqlite3.connect(AuditLog(home).path) as connection:
        connection.execute("DROP TRIGGER only_added")
        connection.execute("UPDATE log SET entry = '{}' WHERE number = 2")
    assert main(["audit"]) == 1
    assert "Entry 2 of" in capsys.readouterr().err
