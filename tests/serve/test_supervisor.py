"""The queue: one worker per job, watched, stopped if it is not wanted, taken over if its server is gone."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from azubi.serve import jobs as jobs_module
from azubi.serve import supervisor as supervisor_module
from azubi.serve.jobs import KILLS, TRIES, Jobs, Order
from azubi.serve.supervisor import Supervisor
from azubi.serve.worker import place

HEAD = """
import os, sys
home, id = sys.argv[1:3]
open(f"{home}/{id}.pid", "w").write(str(os.getpid()))
"""
SERVER = """
import sys, time
from pathlib import Path
from azubi.serve.supervisor import Supervisor
Supervisor(Path(sys.argv[1]), 1, (sys.executable, "-c", sys.argv[2])).start()
time.sleep(60)
"""
DONE = """
import json, sqlite3
with sqlite3.connect(f"{home}/serve/jobs.sqlite", timeout=20) as database:
    (text,) = database.execute("SELECT record FROM jobs WHERE id = ?", (id,)).fetchone()
    record = json.dumps(json.loads(text) | {"status": "succeeded"})
    database.execute("UPDATE jobs SET status = 'succeeded', record = ? WHERE id = ?", (record, id))
"""
UNTIL_STOPPED = "sys.stdin.read()"
NOTHING = "pass"
CRASH = 'raise RuntimeError("the reason")'
KILLED = "os.kill(os.getpid(), 9)"


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(jobs_module, "_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(supervisor_module, "_LOOK_SECONDS", 0.03)


@pytest.fixture
def jobs(home):
    return Jobs(home)


@pytest.fixture
def queue(home):
    """Starts supervisors whose workers do what a program says; all are closed at the end."""
    started = []

    def start(program, most_running=1):
        supervisor = Supervisor(home, most_running, (sys.executable, "-c", HEAD + program))
        started.append(supervisor)
        supervisor.start()
        return supervisor

    yield start
    for supervisor in started:
        supervisor.close(5)


def create(jobs):
    """A job whose files were checked."""
    id = jobs.create("key_a", Order(model="m", training_file="f", name="n", settings={}), "ft:m:a:n", 99).id
    jobs.change(id, ("validating_files",), status="queued")
    return id


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.02)
    return value


def pid_of(home, id):
    """The process of a job's worker, once it says so."""
    path = home / f"{id}.pid"
    return int(wait_for(lambda: path.is_file() and path.read_text()))


def lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_jobs_are_done_in_their_order(jobs, queue):
    ids = [create(jobs) for _ in range(3)]
    queue(DONE)
    wait_for(lambda: jobs.find(ids[-1]).status == "succeeded")
    assert [jobs.find(id).status for id in ids] == ["succeeded"] * 3


@pytest.mark.parametrize("most", [1, 2])
def test_so_many_run_at_a_time(jobs, queue, most):
    for _ in range(3):
        create(jobs)
    queue(UNTIL_STOPPED, most)
    wait_for(lambda: len(jobs.with_status("running")) == most)
    time.sleep(0.3)
    assert len(jobs.with_status("running")) == most


@pytest.mark.parametrize("status", ["cancelled", "paused"])
def test_a_job_that_is_not_wanted_is_stopped(jobs, queue, home, status):
    id = create(jobs)
    supervisor = queue(UNTIL_STOPPED)
    pid = pid_of(home, id)
    assert jobs.change(id, ("running",), status=status)
    supervisor.look()
    wait_for(lambda: not lives(pid))
    wait_for(lambda: place(home, id).exists() == (status == "paused"))
    assert jobs.find(id).status == status
    if status == "paused":
        jobs.change(id, ("paused",), status="queued")
        wait_for(lambda: pid_of(home, id) != pid)


@pytest.mark.parametrize(
    ("program", "words"),
    [(CRASH, "RuntimeError: the reason"), (KILLED, "signal 9"), (NOTHING, "ended with code 0")],
)
def test_a_worker_that_dies_each_time_fails_its_job_and_the_queue_goes_on(jobs, queue, program, words):
    id = create(jobs)
    queue(program)
    wait_for(lambda: jobs.find(id).status == "failed")
    assert words in jobs.find(id).error.message
    assert jobs.find(id).error.message.endswith(f"{KILLS if program == KILLED else TRIES} times.")
    second = create(jobs)
    wait_for(lambda: jobs.find(second).status == "failed")


def test_what_a_worker_left_is_removed(jobs, queue, home):
    id = create(jobs)
    queue('os.makedirs(f"{home}/serve/jobs/{id}/data")\n' + KILLED)
    wait_for(lambda: jobs.find(id).status == "failed")
    wait_for(lambda: not place(home, id).exists())


def test_one_server_runs_the_queue_and_the_next_takes_over(jobs, queue, home):
    first = queue(UNTIL_STOPPED)
    wait_for(lambda: first.is_leader)
    second = queue(DONE)
    id = create(jobs)
    pid = pid_of(home, id)
    assert not second.is_leader
    first.close(5)
    assert not lives(pid)
    wait_for(lambda: jobs.find(id).status == "succeeded")


def test_a_server_that_is_killed_takes_its_worker_along_and_the_next_goes_on(jobs, queue, home):
    id = create(jobs)
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(home), HEAD + UNTIL_STOPPED], cwd=Path(__file__).parents[2]
    )
    pid = pid_of(home, id)
    server.kill()
    server.wait()
    assert jobs.find(id).status == "running"
    queue(DONE)
    wait_for(lambda: jobs.find(id).status == "succeeded")
    wait_for(lambda: not lives(pid))
    assert jobs.find(id).tries == 0
