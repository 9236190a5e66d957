"""Fine-tuning jobs: what was asked for, how each stands, and what happened in it.

    <home>/serve/jobs.sqlite     a row per job, a row per event of a job

    validating_files -> queued -> running -> succeeded | failed | cancelled
                          ^  v       v
                          paused <----

It is the queue, too: whoever runs it takes the oldest job that is queued. A change names the states that it
may begin from, so the server and a worker cannot overwrite each other's. Knows nothing of HTTP or training.
"""

import builtins
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict

from azubi.serve.uploads import new_id
from azubi.storage.database import Database

Status = Literal["validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"]
ACTIVE: frozenset[Status] = frozenset(("validating_files", "queued", "running", "paused"))
"""Not at their end."""
ENDED: frozenset[Status] = frozenset(get_args(Status)) - ACTIVE
TRIES = 3
"""A job that fails so often at the same point has failed."""
KILLS = 6
"""As `TRIES`, where its process was killed: that may have had nothing to do with the job."""
_RETRY_SECONDS = 10.0
"""Before the second try; twice as long before the third, three times before each one after it."""
_SHORT_ID = 8

_MIGRATIONS = (
    (
        "CREATE TABLE jobs (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, "
        "status TEXT NOT NULL, model TEXT NOT NULL UNIQUE, record TEXT NOT NULL)",
        "CREATE INDEX by_status ON jobs (status)",
        "CREATE TABLE events (number INTEGER PRIMARY KEY, job TEXT NOT NULL, kind TEXT NOT NULL, "
        "record TEXT NOT NULL)",
        "CREATE INDEX by_job ON events (job, kind, number)",
    ),
)


class JobError(BaseModel):
    """Why a job failed, in OpenAI's terms."""

    code: str
    message: str
    param: str | None = None


class Order(BaseModel):
    """What a job is to do; never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    """As it was asked for."""
    training_file: str
    validation_file: str | None = None
    name: str
    """The specialist's."""
    settings: dict[str, Any]
    """Of the recipe, without the examples."""
    rate_multiplier: float | None = None
    prove: bool = False
    hyperparameters: dict[str, Any] = {}
    """As they were asked for."""
    metadata: dict[str, str] | None = None


class Outcome(BaseModel):
    """What came of a job so far."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: str = ""
    """The run's id, as `azubi runs` lists it."""
    specialist: str = ""
    """With its version, once it is registered: claims@2."""
    trained_tokens: int | None = None
    estimated_finish: int | None = None
    result_files: tuple[str, ...] = ()
    report: str | None = None
    """The file that is the report of the training."""
    proof: str | None = None
    """The file that is the report of the proof."""
    score: dict[str, Any] | None = None
    base_score: dict[str, Any] | None = None
    verdict: dict[str, Any] | None = None
    plan: dict[str, Any] | None = None
    chosen: dict[str, Any] | None = None
    """Settings of the training that azubi chose, or took as they were asked for."""


class Job(BaseModel):
    """One job."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    owner: str
    """The id of the key that it belongs to."""
    status: Status
    created: int
    finished: int | None = None
    fine_tuned_model: str
    """What the specialist is called in chat, once the job has succeeded."""
    order: Order
    outcome: Outcome = Outcome()
    error: JobError | None = None
    reached: int = 0
    """How far the furthest try came; see `job_progress.Reporter`."""
    tries: int = 0
    """How many tries ended at that point."""
    not_before: float = 0.0
    """When to try again, in seconds since the epoch."""


class JobEvent(BaseModel):
    """What happened in a job, in OpenAI's terms."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["event", "checkpoint"] = "event"
    level: Literal["info", "warn", "error"] = "info"
    message: str
    type: Literal["message", "metrics"] = "message"
    data: dict[str, Any] | None = None
    created: int
    number: int = 0
    """Among all events; set when it is read."""


def message(text: str, level: Literal["info", "warn", "error"] = "info") -> JobEvent:
    """A sentence for whoever waits for the job."""
    return JobEvent(level=level, message=text, created=int(time.time()))


class QueueFull(Exception):
    """As many jobs wait as may."""


class Jobs:
    """The jobs of one home."""

    def __init__(self, home: Path) -> None:
        """`home` need not exist yet."""
        self._database = Database(home / "serve" / "jobs.sqlite", _MIGRATIONS)

    def create(self, owner: str, order: Order, model: str, most_waiting: int) -> Job:
        """A new job; `model` is the beginning of the fine-tuned model's name: ft:smollm2-135m:company:suffix.

        Raises:
            QueueFull: so many wait already.
        """
        id = new_id("ftjob")
        name = f"{model}:{id.removeprefix('ftjob-')[:_SHORT_ID]}"
        job = Job(
            id=id,
            owner=owner,
            status="validating_files",
            created=int(time.time()),
            fine_tuned_model=name,
            order=order,
        )
        with self._database.writing() as database:
            waiting = "SELECT count(*) FROM jobs WHERE status IN ('validating_files', 'queued')"
            if database.execute(waiting).fetchone()[0] >= most_waiting:
                raise QueueFull
            database.execute(
                "INSERT INTO jobs (id, owner, status, model, record) VALUES (?, ?, ?, ?, ?)",
                (id, owner, job.status, name, job.model_dump_json()),
            )
            _add(database, id, [message("The job was created; its files are checked next.")])
        return job

    def find(self, id: str, owner: str | None = None) -> Job | None:
        """The job of that id; None if there is none, or it belongs to another than `owner` (None: any)."""
        return next(self._select("id = ? AND (? IS NULL OR owner = ?)", (id, owner, owner)), None)

    def with_status(self, *statuses: Status) -> list[Job]:
        """All that stand so, the oldest first."""
        places = ", ".join("?" * len(statuses))
        return list(self._select(f"status IN ({places}) ORDER BY number", statuses))

    def list(self, owner: str | None, after: str | None) -> Iterator[Job]:
        """The jobs of an owner (None: of all), the newest first; those older than the job `after`."""
        return self._select(
            "(? IS NULL OR owner = ?) AND (? IS NULL OR number < (SELECT number FROM jobs WHERE id = ?)) "
            "ORDER BY number DESC",
            (owner, owner, after, after),
        )

    def of_model(self, model: str) -> Job | None:
        """The job whose fine-tuned model is called so, if it has succeeded."""
        return next(self._select("model = ? AND status = 'succeeded'", (model,)), None)

    def change(
        self,
        id: str,
        only_from: Sequence[Status],
        *events: JobEvent,
        outcome: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Job | None:
        """Change a job and its outcome, and add events to it.

        None, and nothing is done, if it stands otherwise than it has to.
        """
        with self._database.writing() as database:
            row = database.execute("SELECT record FROM jobs WHERE id = ?", (id,)).fetchone()
            job = Job.model_validate_json(row[0]) if row else None
            if job is None or job.status not in only_from:
                return None
            if changes.get("status") in ENDED:
                changes["finished"] = int(time.time())
            job = job.model_copy(update=changes | {"outcome": job.outcome.model_copy(update=outcome or {})})
            database.execute(
                "UPDATE jobs SET status = ?, record = ? WHERE id = ?", (job.status, job.model_dump_json(), id)
            )
            _add(database, id, events)
        return job

    def fault(self, id: str, problem: str, most: int = TRIES) -> Job | None:
        """A try has failed in a way that may pass: the job waits for the next one, or has failed for good.

        That is so if `most` tries, one after the other, came no further.
        """
        job = self.find(id)
        if job is None or job.status not in ("validating_files", "running"):
            return None
        tries = job.tries + 1
        if tries >= most:
            return self.fail(id, JobError(code="server_error", message=f"{problem} So it was {tries} times."))
        seconds = _RETRY_SECONDS * min(tries, TRIES)
        again: Status = "queued" if job.status == "running" else job.status
        said = message(f"{problem} The job is tried again in {seconds:.0f} seconds.", "warn")
        return self.change(
            id, (job.status,), said, status=again, tries=tries, not_before=time.time() + seconds
        )

    def fail(self, id: str, error: JobError) -> Job | None:
        """End a job that cannot go on."""
        said = message(f"The job failed. {error.message}", "error")
        return self.change(id, ("validating_files", "queued", "running"), said, status="failed", error=error)

    def add_events(self, id: str, events: Sequence[JobEvent]) -> None:
        """Add what happened in a job."""
        with self._database.writing() as database:
            _add(database, id, events)

    def events(
        self, id: str, kind: Literal["event", "checkpoint"], before: int | None, limit: int
    ) -> builtins.list[JobEvent]:
        """What happened in a job, the newest first; only what has a smaller number than `before`."""
        rows = self._database.select(
            "SELECT number, record FROM events WHERE job = ? AND kind = ? AND (? IS NULL OR number < ?) "
            "ORDER BY number DESC LIMIT ?",
            (id, kind, before, before, limit),
        )
        read = (JobEvent.model_validate_json(record) for _, record in rows)
        return [
            event.model_copy(update={"number": number}) for event, (number, _) in zip(read, rows, strict=True)
        ]

    def uses(self, file: str) -> Job | None:
        """A job that has not ended and reads this file."""
        jobs = self._select(f"status IN ({', '.join('?' * len(ACTIVE))})", tuple(ACTIVE))
        return next(
            (job for job in jobs if file in (job.order.training_file, job.order.validation_file)), None
        )

    def _select(self, where: str, values: Sequence[object]) -> Iterator[Job]:
        rows = self._database.select(f"SELECT record FROM jobs WHERE {where}", values)
        return (Job.model_validate_json(row[0]) for row in rows)


def _add(database: sqlite3.Connection, id: str, events: Sequence[JobEvent]) -> None:
    database.executemany(
        "INSERT INTO events (job, kind, record) VALUES (?, ?, ?)",
        [(id, event.kind, event.model_dump_json(exclude={"number"})) for event in events],
    )
