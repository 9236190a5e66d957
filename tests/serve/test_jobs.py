"""The store of jobs: which changes there are, whose they are, and when a job has failed for good."""

import pytest

from azubi.serve.jobs import TRIES, JobError, JobEvent, Jobs, Order, QueueFull, message


def order(**changes):
    given = {"model": "tiny", "training_file": "file-1", "name": "claims", "settings": {"seed": 0}}
    return Order(**given | changes)


@pytest.fixture
def jobs(home):
    return Jobs(home)


@pytest.fixture
def job(jobs):
    return jobs.create("key_a", order(), "ft:tiny:acme:claims", 9)


def test_a_change_names_where_it_may_begin(jobs, job):
    assert jobs.change(job.id, ("running",), status="succeeded") is None
    assert jobs.find(job.id).status == "validating_files"
    moved = jobs.change(job.id, ("validating_files",), message("Sound."), status="queued")
    assert moved.status == "queued" and moved.finished is None
    assert next(event.message for event in jobs.events(job.id, "event", None, 9)) == "Sound."
    assert jobs.change(job.id, ("queued",), status="cancelled").finished is not None


def test_outcomes_add_up(jobs, job):
    jobs.change(job.id, ("validating_files",), outcome={"run": "r1"})
    jobs.change(job.id, ("validating_files",), outcome={"specialist": "claims@1"})
    kept = jobs.find(job.id).outcome
    assert (kept.run, kept.specialist) == ("r1", "claims@1")


def test_so_many_may_wait(jobs):
    for _ in range(2):
        jobs.create("key_a", order(), "ft:tiny:acme:claims", 2)
    with pytest.raises(QueueFull):
        jobs.create("key_b", order(), "ft:tiny:acme:claims", 2)
    jobs.change(jobs.with_status("validating_files")[0].id, ("validating_files",), status="running")
    jobs.create("key_b", order(), "ft:tiny:acme:claims", 2)


def test_a_fault_that_stays_fails_the_job(jobs, job):
    for number in range(1, TRIES):
        jobs.change(job.id, ("validating_files", "queued"), status="running")
        waiting = jobs.fault(job.id, "The disk is full.")
        assert (waiting.status, waiting.tries) == ("queued", number) and waiting.not_before > job.created
    jobs.change(job.id, ("queued",), status="running")
    failed = jobs.fault(job.id, "The disk is full.")
    assert failed.status == "failed" and "The disk is full." in failed.error.message
    assert jobs.fault(job.id, "The disk is full.") is None


def test_a_fault_of_a_job_that_is_not_wanted_changes_nothing(jobs, job):
    jobs.change(job.id, ("validating_files",), status="paused")
    assert jobs.fault(job.id, "It was killed.") is None
    assert jobs.fail(job.id, JobError(code="x", message="It was killed.")) is None
    assert jobs.find(job.id).status == "paused"


def test_whose_jobs(jobs, job):
    other = jobs.create("key_b", order(training_file="file-2"), "ft:tiny:acme:claims", 9)
    assert jobs.find(other.id, "key_a") is None and jobs.find(other.id, "key_b") == other
    assert [each.id for each in jobs.list("key_a", None)] == [job.id]
    assert [each.id for each in jobs.list(None, None)] == [other.id, job.id]
    assert [each.id for each in jobs.list(None, other.id)] == [job.id]
    assert jobs.uses("file-2").id == other.id and jobs.uses("file-3") is None


def test_a_model_answers_when_its_job_has_succeeded(jobs, job):
    assert job.fine_tuned_model.startswith("ft:tiny:acme:claims:")
    assert jobs.of_model(job.fine_tuned_model) is None
    jobs.change(job.id, ("validating_files",), status="succeeded", outcome={"specialist": "claims@1"})
    assert jobs.of_model(job.fine_tuned_model).outcome.specialist == "claims@1"


def test_events_in_pages_without_the_checkpoints(jobs, job):
    jobs.add_events(job.id, [message(str(number)) for number in range(5)])
    jobs.add_events(job.id, [JobEvent(kind="checkpoint", message="c", created=1)])
    newest = jobs.events(job.id, "event", None, 2)
    assert [event.message for event in newest] == ["4", "3"]
    assert [event.message for event in jobs.events(job.id, "event", newest[-1].number, 2)] == ["2", "1"]
    assert [event.message for event in jobs.events(job.id, "checkpoint", None, 9)] == ["c"]
