"""Runs the queue of jobs: one worker process per job, watched, stopped if the job is not wanted, tried again.

Of all servers on a home one runs the queue, the holder of a lock. A lock of the system ends with its process,
however that ends: so no lease has to expire before the next server goes on. A worker whose server is gone
notices that its standard input has ended, and stops; the next server's worker waits for its lock. Knows
nothing of HTTP.
"""

import contextlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from azubi.errors import AzubiError
from azubi.registry import runs
from azubi.registry.runs import Runs
from azubi.serve.jobs import ENDED, KILLS, TRIES, Job, Jobs, Status, message
from azubi.serve.refusal import log_failure
from azubi.serve.worker import place
from azubi.storage import files

WORKER = (sys.executable, "-m", "azubi.serve.worker")
_LOOK_SECONDS = 0.5
"""How often the queue is looked at, if nobody says that it changed."""
_LOG = "worker.log"
_SHOWN = 300
"""Characters of what a worker said last."""


@dataclass
class _Worker:
    """A process at work on a job."""

    process: subprocess.Popen[bytes]
    purpose: Status
    """The job's status as long as the process is wanted: validating_files or running."""

    def stop(self) -> None:
        """Ask it to stop where a run may stop."""
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()


class Supervisor:
    """A thread that runs the queue of a home."""

    def __init__(self, home: Path, most_running: int = 1, worker: Sequence[str] = WORKER) -> None:
        """Nothing is started yet; `most_running` jobs run at a time, each in a process of `worker`."""
        self._home, self._most_running, self._worker = home, most_running, worker
        self._jobs = Jobs(home)
        self._workers: dict[str, _Worker] = {}
        self._lock: IO[bytes] | None = None
        self._changed, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="azubi queue", daemon=True)

    def start(self) -> None:
        """Begin, or wait until the server that runs the queue is gone."""
        self._thread.start()

    def look(self) -> None:
        """The queue has changed."""
        self._changed.set()

    @property
    def is_leader(self) -> bool:
        """Whether this server runs the queue."""
        return self._lock is not None

    def close(self, seconds: float) -> None:
        """Ask all workers to stop, end those that have not after so many seconds, and give the queue away.

        Their jobs stay as they are, and go on when a server is started.
        """
        self._closing.set()
        self._changed.set()
        self._thread.join()
        for worker in self._workers.values():
            worker.stop()
        until = time.monotonic() + seconds
        for worker in self._workers.values():
            try:
                worker.process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _work(self) -> None:
        while not self._closing.is_set():
            self._changed.wait(_LOOK_SECONDS)
            self._changed.clear()
            try:
                self._turn()
            except Exception as error:  # a full disk, say: the queue goes on when there is room
                log_failure(error, "the queue")
                self._closing.wait(_LOOK_SECONDS)

    def _turn(self) -> None:
        """Look once: who ended, who is not wanted, who is next."""
        if self._lock is None and not self._lead():
            return
        for id, worker in list(self._workers.items()):
            if (code := worker.process.poll()) is not None:
                del self._workers[id]
                self._ended(id, worker, code)
            elif (job := self._jobs.find(id)) is None or job.status != worker.purpose:
                worker.stop()
        self._tidy_up()
        if not self._closing.is_set():
            self._start_next("validating_files", "validating_files", 1)
            self._start_next("queued", "running", self._most_running)

    def _tidy_up(self) -> None:
        """Queue again what nobody works on, since its server or worker is gone; remove what nobody needs."""
        for job in self._jobs.with_status("running"):
            if job.id not in self._workers:
                said = message("The job is queued again; it goes on from what is kept.")
                self._jobs.change(job.id, ("running",), said, status="queued")
        for left in (self._home / "serve" / "jobs").iterdir():
            if left.is_dir() and left.name not in self._workers:
                self._tidy(left.name)

    def _lead(self) -> bool:
        """Take over the queue if nobody runs it."""
        folder = self._home / "serve" / "jobs"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = files.claim(folder)
        return self._lock is not None

    def _start_next(self, waiting: Status, purpose: Status, most: int) -> None:
        """Start workers for the oldest jobs that wait so, while fewer than `most` of the kind are at work."""
        busy = sum(worker.purpose == purpose for worker in self._workers.values())
        for job in self._jobs.with_status(waiting):
            if busy >= most:
                return
            # A job that was paused and resumed at once still has a worker that stops.
            if job.id in self._workers or job.not_before > time.time():
                continue
            if self._jobs.change(job.id, (waiting,), status=purpose) is not None:
                self._workers[job.id] = _Worker(self._started(job), purpose)
                busy += 1

    def _started(self, job: Job) -> subprocess.Popen[bytes]:
        folder = place(self._home, job.id)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (folder / _LOG).open("wb") as log:
            # Ctrl-C is for the server, so the worker gets a process group of its own. Not a session: Linux
            # weighs niceness within a session alone, and the worker is to give way to this very process.
            return subprocess.Popen(
                [*self._worker, str(self._home), job.id],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                process_group=0,
            )

    def _ended(self, id: str, worker: _Worker, code: int) -> None:
        """Note how a worker ended, if it has not itself."""
        worker.stop()
        job = self._jobs.find(id)
        if job is not None and job.status == worker.purpose:
            problem = _problem(code, place(self._home, id) / _LOG)
            self._jobs.fault(id, problem, KILLS if code < 0 else TRIES)

    def _tidy(self, id: str) -> None:
        """Remove the examples that a worker left, and of a job that has ended all the rest."""
        folder, job = place(self._home, id), self._jobs.find(id)
        if job is not None and job.status == "cancelled" and job.outcome.run:
            with contextlib.suppress(AzubiError):
                run = Runs(self._home).get(job.outcome.run)
                if runs.state(run) == "unfinished":
                    run.remove()
        ended = job is None or job.status in ENDED
        shutil.rmtree(folder if ended else folder / "data", ignore_errors=True)


def _problem(code: int, log: Path) -> str:
    """Why a worker ended without a word of its own."""
    if code < 0:
        return (
            f"The job's process was ended by signal {-code}"
            f"{' (perhaps since the memory was used up)' if code == -9 else ''}."
        )
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return f"The job's process failed: {lines[-1][:_SHOWN] if lines else f'it ended with code {code}'}."
