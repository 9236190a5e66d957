"""Files and fine-tuning jobs over HTTP, by OpenAI's own client; the workers do nothing until stopped."""

import json
import sys
import time
from functools import partial
from itertools import count

import openai
import pytest

from azubi.registry import card as cards
from azubi.registry.store import Store
from azubi.serve import backend as backend_module
from azubi.serve.jobs import JobError, JobEvent, Jobs, message
from azubi.serve.supervisor import Supervisor
from tests.registry.sample import made
from tests.serve.fake import FakeService, running

NUMBERS = count()
IDLE = (sys.executable, "-c", "import sys; sys.stdin.read()")
ROWS = "".join(
    json.dumps({"messages": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": "a"}]})
    + "\n"
    for n in range(12)
).encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory, bases):
    home = tmp_path_factory.mktemp("served")
    (home / "bases").mkdir()
    (home / "bases" / "tiny-llama").symlink_to(bases.decoder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend_module, "Supervisor", partial(Supervisor, worker=IDLE))
        with running(home, FakeService(), company="acme", most_jobs=3) as started:
            yield started


@pytest.fixture
def client(server):
    """A client with a key of its own, and nobody's jobs waiting."""
    yield connected(server, server.key(f"key-{next(NUMBERS)}", ["chat", "files", "tune"]))
    for job in server.backend.jobs.with_status("validating_files", "queued", "running", "paused"):
        server.backend.jobs.change(job.id, (job.status,), status="cancelled")


def connected(server, key):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0)


def upload(client, content=ROWS, name="../../claims 2025.jsonl", purpose="fine-tune"):
    return client.files.create(file=(name, content), purpose=purpose)


def create(client, **fields):
    given = {"model": "tiny-llama", "training_file": upload(client).id, "suffix": "claims"}
    return client.fine_tuning.jobs.create(**given | fields)


def queued(server, job):
    """The job, its files taken for checked."""
    server.backend.jobs.change(job.id, ("validating_files",), status="queued")
    return wait_for_status(server, job, "running")


def wait_for_status(server, job, status):
    until = time.monotonic() + 30
    while server.backend.jobs.find(job.id).status != status:
        assert time.monotonic() < until
        time.sleep(0.02)
    return job


# Files


def test_a_file_from_upload_to_deletion(client):
    file = upload(client)
    assert (file.filename, file.bytes, file.purpose) == ("../../claims 2025.jsonl", len(ROWS), "fine-tune")
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).read() == ROWS
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError) as refused:
        client.files.content(file.id)
    assert refused.value.code == "file_not_found"


def test_files_in_pages(client):
    ids = [upload(client, purpose="batch" if n % 2 else "fine-tune").id for n in range(5)]
    assert [file.id for file in client.files.list(limit=2)] == ids[::-1]  # the client fetches page by page
    assert [file.id for file in client.files.list(order="asc", after=ids[2])] == ids[3:]
    assert [file.id for file in client.files.list(purpose="batch")] == [ids[3], ids[1]]
    with pytest.raises(openai.NotFoundError):
        client.files.list(after="file-none")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"content": b""}, "empty_file"),
        ({"purpose": "assistants"}, "invalid_purpose"),
    ],
)
def test_uploads_that_are_refused(client, fields, code):
    with pytest.raises(openai.BadRequestError) as refused:
        upload(client, **fields)
    assert refused.value.code == code


def test_files_and_jobs_of_another_key_are_not_there(client, server):
    file = upload(client)
    job = create(client, training_file=file.id)
    other = connected(server, server.key(f"other-{job.id}", ["files", "tune"]))
    admin = connected(server, server.key(f"admin-{job.id}", ["files", "tune", "admin"]))
    assert not list(other.files.list()) and not list(other.fine_tuning.jobs.list())
    for call in (
        lambda: other.files.retrieve(file.id),
        lambda: other.files.content(file.id),
        lambda: other.files.delete(file.id),
        lambda: other.fine_tuning.jobs.retrieve(job.id),
        lambda: other.fine_tuning.jobs.cancel(job.id),
        lambda: other.fine_tuning.jobs.list_events(job.id),
        lambda: other.fine_tuning.jobs.checkpoints.list(job.id),
    ):
        with pytest.raises(openai.NotFoundError):
            call()
    with pytest.raises(openai.BadRequestError) as refused:
        create(other, training_file=file.id)
    assert (refused.value.code, refused.value.param) == ("invalid_file_id", "training_file")
    assert admin.files.retrieve(file.id) == file and admin.fine_tuning.jobs.retrieve(job.id).id == job.id


def test_a_file_that_a_job_reads_is_not_deleted(client):
    file = upload(client)
    job = create(client, training_file=file.id)
    with pytest.raises(openai.ConflictError, match=job.id):
        client.files.delete(file.id)
    client.fine_tuning.jobs.cancel(job.id)
    assert client.files.delete(file.id).deleted


# Jobs


def test_a_job_as_it_was_asked_for(client):
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": "auto"}}}
    own = {"azubi": {"tail_layers": 2}}
    job = create(client, method=method, seed=7, metadata={"team": "claims"}, extra_body=own)
    assert (job.status, job.model, job.seed, job.metadata) == (
        "validating_files",
        "tiny-llama",
        7,
        {"team": "claims"},
    )
    assert job.method.supervised.hyperparameters.n_epochs == job.hyperparameters.n_epochs == 2
    assert job.fine_tuned_model is None and job.error is None and job.organization_id == "acme"
    assert client.fine_tuning.jobs.retrieve(job.id) == job


def test_jobs_in_pages_and_by_metadata(client):
    jobs = [create(client, metadata=data) for data in ({"team": "claims"}, {"team": "it", "n": "1"}, None)]
    ids = [job.id for job in jobs]
    listed = client.fine_tuning.jobs.list
    assert [job.id for job in listed(limit=1)] == ids[::-1]
    assert [job.id for job in listed(after=ids[1])] == ids[:1]
    assert [job.id for job in listed(metadata={"team": "it"})] == [ids[1]]
    assert [job.id for job in listed(extra_query={"metadata": "null"})] == [ids[2]]


def test_a_job_is_paused_resumed_and_cancelled(client, server):
    job = queued(server, create(client))
    steer = client.fine_tuning.jobs
    assert steer.pause(job.id).status == "paused"
    with pytest.raises(openai.BadRequestError, match="is paused"):
        steer.pause(job.id)
    assert steer.resume(job.id).status == "queued"
    wait_for_status(server, job, "running")
    assert steer.cancel(job.id).status == "cancelled"
    for again in (steer.cancel, steer.resume, steer.pause):
        with pytest.raises(openai.BadRequestError) as refused:
            again(job.id)
        assert refused.value.code == "invalid_job_status"
    assert [event.message for event in steer.list_events(job.id)][:4] == [
        "The job was cancelled.",
        "The job was resumed.",
        "The job was paused.",
        "The job was created; its files are checked next.",
    ]


def test_events_and_checkpoints_in_pages(client, server):
    job = create(client)
    added = [message(f"note {n}") for n in range(3)]
    figures = {"step": 4, "train_loss": 0.5, "valid_loss": 0.4, "azubi": {"best": True}}
    added += [
        JobEvent(kind="checkpoint", message=f"ft:x:ckpt-step-{n}", data=figures, created=1) for n in range(3)
    ]
    server.backend.jobs.add_events(job.id, added)
    events = list(client.fine_tuning.jobs.list_events(job.id, limit=1))
    assert [event.message for event in events][:3] == ["note 2", "note 1", "note 0"]
    assert {event.object for event in events} == {"fine_tuning.job.event"}
    made = list(client.fine_tuning.jobs.checkpoints.list(job.id, limit=2))
    assert [each.fine_tuned_model_checkpoint for each in made] == [f"ft:x:ckpt-step-{n}" for n in (2, 1, 0)]
    assert (made[0].step_number, made[0].metrics.valid_loss) == (4, 0.4)


def test_what_a_job_left_is_shown_and_its_model_answers(client, server):
    job = queued(server, create(client))
    kept: Jobs = server.backend.jobs
    score = {"name": "accuracy", "value": 0.9, "low": 0.8, "high": 0.95, "n": 40}
    outcome = {"specialist": "claims@1", "trained_tokens": 99, "result_files": ("file-1",), "score": score}
    name = kept.find(job.id).fine_tuned_model
    with pytest.raises(openai.NotFoundError):
        ask(client, name)
    kept.change(job.id, ("running",), status="succeeded", outcome=outcome)
    done = client.fine_tuning.jobs.retrieve(job.id)
    assert (done.status, done.fine_tuned_model, done.trained_tokens) == ("succeeded", name, 99)
    assert name.startswith("ft:tiny-llama:acme:claims:") and done.finished_at
    assert done.azubi["score"] == score and done.azubi["specialist"] == "claims@1"
    assert ask(client, name).model == "claims@1"


def ask(client, model):
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hello"}])


def test_a_failed_job_says_why(client, server):
    job = create(client)
    error = JobError(
        code="invalid_training_file", message="t.jsonl: line 3 has no answer.", param="training_file"
    )
    server.backend.jobs.fail(job.id, error)
    failed = client.fine_tuning.jobs.retrieve(job.id)
    assert failed.status == "failed" and failed.error.message == "t.jsonl: line 3 has no answer."
    assert client.fine_tuning.jobs.list_events(job.id).data[0].level == "error"


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": "gpt-4o-mini"}, "model", "model_not_found"),
        ({"training_file": "file-none"}, "training_file", "invalid_file_id"),
        ({"validation_file": "file-none"}, "validation_file", "invalid_file_id"),
        ({"suffix": "x" * 65}, "suffix", "string_above_max_length"),
        ({"method": {"type": "dpo"}}, "method.type", "unsupported_method"),
        ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs", "invalid_value"),
        ({"hyperparameters": {"epochs": 3}}, "hyperparameters.epochs", "unknown_parameter"),
        ({"extra_body": {"azubi": {"rank": -1}}}, "azubi.rank", "invalid_value"),
        ({"extra_body": {"n_epochs": 3}}, "n_epochs", "unknown_parameter"),
        ({"metadata": {f"k{n}": "v" for n in range(17)}}, "metadata", "invalid_value"),
    ],
)
def test_requests_that_are_refused(client, fields, param, code):
    with pytest.raises(openai.BadRequestError) as refused:
        create(client, **fields)
    assert (refused.value.param, refused.value.code) == (param, code)
    assert not list(client.fine_tuning.jobs.list())


def test_a_batch_file_is_no_training_file(client):
    with pytest.raises(openai.BadRequestError, match="'fine-tune'"):
        create(client, training_file=upload(client, purpose="batch").id)


def test_so_many_jobs_may_wait(client):
    for _ in range(3):
        create(client)
    with pytest.raises(openai.RateLimitError, match="3 jobs wait") as refused:
        create(client)
    assert refused.value.code == "queue_full" and refused.value.response.headers["Retry-After"]


def test_a_key_trains_specialists_of_its_own_names(client, server):
    bound = connected(server, server.key("bound", ["files", "tune"], ["claims"]))
    assert create(bound).status == "validating_files"
    with pytest.raises(openai.PermissionDeniedError) as refused:
        create(bound, suffix="triage")
    assert refused.value.param == "suffix"


def test_own_specialists_go_on(client, server):
    """The model of a job may be a specialist: it is pinned to its version."""
    store = Store(server.backend.home)
    card = made(name="triage")
    store.place("triage", 1).mkdir(parents=True)
    cards.write(card, store.place("triage", 1))
    store.register(card)
    for model in ("triage", "triage@1", "triage@candidate"):
        job = create(client, model=model, suffix=None)
        order = server.backend.jobs.find(job.id).order
        assert order.settings["from"] == "triage@1" and order.name == "triage"
        client.fine_tuning.jobs.cancel(job.id)
    bound = connected(server, server.key("not-triage", ["files", "tune"], ["claims"]))
    with pytest.raises(openai.NotFoundError):
        create(bound, model="triage")
