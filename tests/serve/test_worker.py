"""A worker checks a job's files as training reads them; of a run it keeps what belongs under its job."""

import json

import pytest

from azubi.errors import DataError, DiskFull
from azubi.events import events as ev
from azubi.events.figures import Score
from azubi.registry.runs import Runs
from azubi.serve import worker
from azubi.serve.jobs import Jobs, Order
from azubi.serve.uploads import Uploads
from azubi.settings import Recipe


def conversation(answer="motor", question="The car was hit by hail", role="assistant"):
    return {"messages": [{"role": "user", "content": question}, {"role": role, "content": answer}]}


def lines(*rows):
    return "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows).encode()


GOOD = [conversation(question=f"question {n}") for n in range(11)]


def checked(home, training, validation=None, **settings):
    uploads, jobs = Uploads(home), Jobs(home)
    ids = [
        content and uploads.add("k", "t.jsonl", "fine-tune", [content]).id
        for content in (training, validation)
    ]
    given = {"name": "claims", "base": "tiny", "seed": 0, "limits": {"rejected": 0.0}} | settings
    order = Order(model="tiny", training_file=ids[0], validation_file=ids[1], name="claims", settings=given)
    job = jobs.create("k", order, "ft:tiny:acme:claims", 9)
    worker.check(job, home)
    return jobs.find(job.id)


def test_sound_files_are_queued(home):
    job = checked(home, lines(*GOOD), lines(conversation()))
    assert (job.status, job.error) == ("queued", None)
    said = [event.message for event in Jobs(home).events(job.id, "event", None, 9)]
    assert said[:3] == [
        "The files are sound; the job is queued.",
        "t.jsonl has 1 examples.",
        "t.jsonl has 11 examples.",
    ]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            conversation(role="user"),
            "line 4: the conversation ends with a message of the user, not with an answer",
        ),
        (conversation(role="robot"), 'line 4: message 2 has the role "robot"'),
        (conversation(answer=""), "line 4: no answer"),
        ({"messages": []}, "line 4: “messages” is not a list with messages in it"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "line 4: no message of the user"),
        ({"text": "no conversation"}, "line 4 has no column “prompt”"),
        ('{"messages": [', "line 4 is not JSON"),
        ('["a list"]', "line 4 is JSON, but not an object"),
    ],
)
def test_a_line_that_cannot_be_used_fails_the_job_by_its_number(home, row, words):
    job = checked(home, lines(*GOOD[:3], row, *GOOD[3:]))
    assert job.status == "failed" and words in job.error.message, job.error.message
    assert (job.error.code, job.error.param) == ("invalid_training_file", "training_file")
    assert "--" not in job.error.message


def test_a_bad_validation_file_is_named(home):
    job = checked(home, lines(*GOOD), lines(conversation(role="user")))
    assert (job.error.code, job.error.param) == ("invalid_validation_file", "validation_file")


def test_fewer_than_ten_examples(home):
    job = checked(home, lines(*GOOD[:9]))
    assert job.error.code == "invalid_n_examples" and "has 9 examples" in job.error.message


def test_bad_lines_may_be_left_out_if_that_is_wanted(home):
    rows = lines(*GOOD[:3], conversation(role="user"), *GOOD[3:])
    assert checked(home, rows, limits={"rejected": 0.2}).status == "queued"


def test_a_file_that_was_deleted_meanwhile(home):
    uploads, jobs = Uploads(home), Jobs(home)
    order = Order(model="tiny", training_file="file-gone", name="claims", settings={"seed": 0})
    job = jobs.create("k", order, "ft:tiny:acme:claims", 9)
    worker.check(job, home)
    assert "file-gone is gone" in jobs.find(job.id).error.message and not uploads.list().files


def test_settings_are_called_as_a_request_calls_them():
    flags = worker._flags()
    assert (
        flags["--limits-rejected"] == "azubi.limits.rejected"
        and flags["--tail-layers"] == "azubi.tail_layers"
    )


# A run, without training


SCORE = Score(name="accuracy", value=0.9, low=0.8, high=0.95, n=40)


class Stop:
    """What tells a worker to stop, after so many looks."""

    def __init__(self, looks=99):
        self.looks = looks

    @property
    def asked(self):
        self.looks -= 1
        return self.looks < 0


def events_of(folder):
    """What a run says, with the least in it."""
    report = folder / "report.html"
    report.write_text("<!doctype html>the report")
    step = {"steps": 2, "learning_rate": 0.1, "tokens": 50}
    yield ev.RunStarted(name="claims", folder=str(folder), settings={})
    yield ev.StageStarted(stage="tail")
    yield ev.StepDone(step=1, epoch=1, loss=2.0, **step)
    yield ev.StepDone(step=2, epoch=1, loss=1.0, **step)
    figures = {"loss": 1.5, "validation_loss": 1.2, "validation_accuracy": 0.8}
    yield ev.EpochDone(epoch=1, epochs=1, seconds=1.0, best=True, **figures)
    for who in ("base", "specialist"):
        yield ev.Measured(who=who, scores=(SCORE,), seconds=1.0)
    files = {"folder": str(folder), "report": str(report), "bytes": 1, "parameters": 1, "trained": 1}
    yield ev.Packaged(name="claims", version=1, **files)
    yield ev.RunEnded(seconds=1.0)


@pytest.fixture
def made(home, monkeypatch):
    """Runs that were begun; they say what `events_of` says, or fail as `made.error` says, half-way."""

    class Made(list):
        error = None

    runs = Made()

    def run(recipe, home):
        work = Runs(home).begin(recipe.name, "identity", {})
        runs.append(recipe)
        try:
            for event in events_of(work.folder):
                if runs.error is not None and event.kind == "epoch_done":
                    raise runs.error
                work.log(event)
                yield event
        finally:
            work.release()

    monkeypatch.setattr("azubi.pipeline.run.run", run)
    return runs


def running(home, **changes):
    uploads, jobs = Uploads(home), Jobs(home)
    file = uploads.add("k", "claims.jsonl", "fine-tune", [lines(*GOOD)])
    given = {
        "model": "tiny",
        "training_file": file.id,
        "name": "claims",
        "settings": {"name": "claims", "seed": 0},
    }
    job = jobs.create("k", Order(**given | changes), "ft:tiny:acme:claims", 9)
    return jobs.change(job.id, ("validating_files",), status="running")


def test_what_a_run_leaves_under_its_job(home, made):
    job = running(home)
    worker.work(job, home, Stop())
    done, uploads = Jobs(home).find(job.id), Uploads(home)
    assert done.status == "succeeded" and done.outcome.specialist == "claims@1"
    assert done.outcome.trained_tokens == 100 and done.outcome.score == SCORE.model_dump()
    metrics, report = (b"".join(uploads.content(uploads.find(id))) for id in done.outcome.result_files)
    assert metrics == b"step,train_loss,valid_loss\n1,2.0,\n2,1.0,1.2\n"
    assert report == b"<!doctype html>the report" and uploads.find(done.outcome.report).owner == "k"
    (checkpoint,) = Jobs(home).events(job.id, "checkpoint", None, 9)
    assert checkpoint.data["step"] == 2 and checkpoint.data["azubi"]["best"]
    assert made[0].data.name == "claims.jsonl"


def test_a_proof_follows_if_it_is_wanted(home, made, monkeypatch, tmp_path):
    def prove(name, home):
        assert name == "claims@1"
        (tmp_path / "report.html").write_text("the proof")
        said = {"folder": str(tmp_path), "report": "", "seconds": 1.0}
        yield ev.Proved(verdict="deploy", sentence="Deploy it.", passes=True, **said)

    monkeypatch.setattr("azubi.pipeline.prove.prove", prove)
    job = running(home, prove=True)
    worker.work(job, home, Stop())
    outcome, uploads = Jobs(home).find(job.id).outcome, Uploads(home)
    assert outcome.verdict == {"verdict": "deploy", "sentence": "Deploy it.", "advice": "", "passes": True}
    assert b"".join(uploads.content(uploads.find(outcome.proof))) == b"the proof"
    assert outcome.proof != outcome.report and outcome.proof in outcome.result_files


def test_a_run_that_is_done_is_not_made_again(home, made):
    """The worker was killed after the run's last word, and before the job knew of it."""
    job = running(home)
    for _ in worker._run(job, home):
        pass
    name = next(Runs(home).all()).id
    job = Jobs(home).change(job.id, ("running",), outcome={"run": name})
    worker.work(job, home, Stop())
    assert len(made) == 1 and Jobs(home).find(job.id).status == "succeeded"


def test_a_worker_stops_when_it_is_asked_to(home, made):
    job = running(home)
    worker.work(job, home, Stop(looks=2))
    assert Jobs(home).find(job.id).status == "running"
    assert [event.kind for event in next(Runs(home).all()).events()][-1] == "step_done"


def test_what_would_fail_again_fails_the_job_and_what_may_pass_is_tried_again(home, made):
    made.error = DataError("Each label takes 2 examples.", "Bring more, or set --limit.")
    job = running(home)
    worker.work(job, home, Stop())
    failed = Jobs(home).find(job.id)
    assert failed.status == "failed" and failed.error.code == "invalid_training_file"
    assert failed.error.message == "Each label takes 2 examples. Bring more, or set azubi.limit."
    made.error = DiskFull("The disk is full.", "Free some space.")
    job = running(home)
    worker.work(job, home, Stop())
    waiting = Jobs(home).find(job.id)
    assert (waiting.status, waiting.tries, waiting.reached > 0) == ("queued", 1, True)


def test_tries_are_counted_from_where_they_came_furthest(home, made):
    made.error = DiskFull("The disk is full.", "Free some space.")
    job = running(home)
    for tries in (1, 2):
        worker.work(Jobs(home).find(job.id), home, Stop())
        assert Jobs(home).change(job.id, ("queued",), status="running").tries == tries
    Jobs(home).change(job.id, ("running",), reached=1)  # those before came less far
    worker.work(Jobs(home).find(job.id), home, Stop())
    assert Jobs(home).find(job.id).tries == 1


def test_the_rate_is_a_multiple_of_the_usual_one(home, bases):
    recipe = Recipe(base=str(bases.decoder))
    assert worker.with_rate(recipe, 0.5, home).learning_rate == pytest.approx(5e-4)
    recipe = Recipe(base=str(bases.encoder), tail_layers=2)
    assert worker.with_rate(recipe, 2, home).learning_rate == pytest.approx(2e-4)
