"""One job in a process of its own: its files are checked, or its run is made.

    python -m azubi.serve.worker HOME JOB

The supervisor starts it, and keeps its standard input open. When that ends, because the job is not wanted now
or the server is gone, the worker stops where a run may stop. It can be killed at any moment: a run is found
again by its settings and data, and goes on from its last checkpoint. Exit code 0: all that is to be known
stands in the job.
"""

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from azubi.errors import AzubiError, DataError, TrainingError, UsageError
from azubi.events import events as ev
from azubi.registry import runs
from azubi.registry.runs import Runs
from azubi.registry.store import Store
from azubi.serve.job_progress import Reporter, keep_results, outcome_of
from azubi.serve.jobs import Job, JobError, JobEvent, Jobs, message
from azubi.serve.uploads import StoredFile, Uploads
from azubi.settings import Recipe
from azubi.storage import files

NICENESS = 10
"""Below whoever answers questions."""
FEWEST = 10
"""Examples; OpenAI's limit, too."""
_STOP_SECONDS = 60.0
"""A run that has not stopped so long after it was asked to is ended: at most the steps since its last
checkpoint are done again."""


class StopSignal:
    """Whether the job is still wanted: standard input is open as long as it is."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        threading.Thread(target=self._wait, name="stop signal", daemon=True).start()

    def _wait(self) -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        self._asked.set()
        time.sleep(_STOP_SECONDS)
        os._exit(0)

    @property
    def asked(self) -> bool:
        """Whether it is to stop."""
        return self._asked.is_set()


def place(home: Path, id: str) -> Path:
    """The folder of a job: its examples, decrypted as long as it works on them, and what its process says."""
    return home / "serve" / "jobs" / id


def main(home: Path, id: str) -> None:
    """Do what is next for a job."""
    os.nice(NICENESS)
    stop, folder = StopSignal(), place(home, id)
    with files.locked(folder):  # a worker of a server that was killed may still be stopping
        job = Jobs(home).find(id)
        if job is None or stop.asked:
            return
        try:
            if job.status == "validating_files":
                check(job, home)
            elif job.status == "running":
                work(job, home, stop)
        finally:
            shutil.rmtree(folder / "data", ignore_errors=True)


# Checking


def check(job: Job, home: Path) -> None:
    """Read the job's files as training will, and queue the job, or say which line cannot be used."""
    from azubi.data.readers.reading import read_source
    from azubi.data.readers.source import Source

    jobs, said, field = Jobs(home), list[JobEvent](), "training_file"
    try:
        recipe = recipe_of(job, home)
        for field, path in (("training_file", recipe.data), ("validation_file", recipe.validation_data)):
            if path is None:
                continue
            reading = read_source(Source(recipe, path))
            if field == "training_file" and len(reading.examples) < FEWEST:
                raise _Fault(
                    f"{path.name} has {len(reading.examples)} examples; it takes at least {FEWEST} to learn "
                    "from them and to measure what was learned.",
                    "invalid_n_examples",
                    field,
                )
            said += [message(note, "warn") for note in reading.notes]
            said.append(message(f"{path.name} has {len(reading.examples):,} examples."))
    except _Fault as fault:
        jobs.fail(job.id, JobError(code=fault.code, message=str(fault), param=fault.param))
    except UsageError as error:
        jobs.fail(job.id, _error(error, f"invalid_{field}", field))
    except AzubiError as error:
        jobs.fault(job.id, str(error))
    else:
        said.append(message("The files are sound; the job is queued."))
        jobs.change(job.id, ("validating_files",), *said, status="queued", tries=0)


class _Fault(Exception):
    def __init__(self, problem: str, code: str, param: str) -> None:
        super().__init__(problem)
        self.code, self.param = code, param


def _error(error: AzubiError, code: str, param: str | None = None) -> JobError:
    text = f"{error.problem} {error.remedy}".strip()
    for flag, setting in _flags().items():
        text = text.replace(flag, setting)
    return JobError(code=code, message=text, param=param)


def _flags() -> dict[str, str]:
    """What the command line calls a setting, and what a request calls it; the longest first."""
    names = {}
    for key, field in Recipe.model_fields.items():
        name = field.alias or key
        names[name] = f"azubi.{name}"
        inner = getattr(field.annotation, "model_fields", {})
        names |= {f"{name}-{part}": f"azubi.{name}.{part}" for part in inner}
    flags = {f"--{name.replace('_', '-')}": setting for name, setting in names.items()}
    return dict(sorted(flags.items(), key=lambda pair: -len(pair[0])))


# Working


def recipe_of(job: Job, home: Path) -> Recipe:
    """The job's recipe, with its files decrypted into the job's folder.

    Raises:
        DataError: a file is gone.
    """
    order, uploads = job.order, Uploads(home)
    sources: dict[str, Any] = {}
    for setting, id in (("data", order.training_file), ("validation_data", order.validation_file)):
        if id is not None:
            file = _file(uploads, id)
            folder = place(home, job.id) / "data" / setting
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            sources[setting] = uploads.write_to(file, folder)
    return Recipe.model_validate(order.settings | sources)


def _file(uploads: Uploads, id: str) -> StoredFile:
    file = uploads.find(id)
    if file is None:
        raise DataError(f"The file {id} is gone.", "Upload it again, and create a new job.")
    return file


def with_rate(recipe: Recipe, multiplier: float, home: Path) -> Recipe:
    """The recipe with the learning rate that it would have by default, multiplied."""
    from azubi.engine.base.opening import open_base
    from azubi.engine.training import defaults

    fitted = recipe
    if recipe.from_ is not None:
        card = Store(home).get(recipe.from_)
        own = {"base": card.base, "tail_layers": card.tail_layers, "rank": card.rank, "prompt_layers": "auto"}
        fitted = recipe.model_copy(update=own)
    chosen = defaults.resolved(fitted, open_base(fitted.base, home), "text")
    assert chosen.learning_rate is not None
    return recipe.model_copy(update={"learning_rate": multiplier * chosen.learning_rate})


def work(job: Job, home: Path, stop: StopSignal) -> None:
    """Make the job's run, or the rest of it, and what follows."""
    jobs, reporter = Jobs(home), Reporter(job, home)
    try:
        if not _is_done(job, home):
            events = _run(job, home)
            if not _follow(events, reporter, stop):
                return
        _finish(job, home, reporter, stop)
    except (UsageError, TrainingError) as error:
        jobs.fail(job.id, _error(error, _CODES.get(type(error).__name__, "invalid_value")))
    except AzubiError as error:
        jobs.fault(job.id, f"{error.problem} {error.remedy}".strip())
    finally:
        with contextlib.suppress(AzubiError):
            reporter.flush()


_CODES = {
    "DataError": "invalid_training_file",
    "TrainingError": "training_failed",
    "BaseModelError": "model_not_found",
}


def _is_done(job: Job, home: Path) -> bool:
    """Whether the job's run came to its end, and the process that made it was killed after that."""
    if not job.outcome.run:
        return False
    try:
        return runs.state(Runs(home).get(job.outcome.run)) == "done"
    except UsageError:
        return False  # someone removed it


def _run(job: Job, home: Path) -> Iterator[ev.Event]:
    from azubi.pipeline.run import run

    recipe = recipe_of(job, home)
    if job.order.rate_multiplier is not None:
        recipe = with_rate(recipe, job.order.rate_multiplier, home)
    return run(recipe, home)


def _follow(events: Iterator[ev.Event], reporter: Reporter, stop: StopSignal) -> bool:
    """Take in all events; False if the run was stopped before its end."""
    with contextlib.closing(events):  # type: ignore[type-var]
        for event in events:
            reporter.handle(event)
            if stop.asked:
                return isinstance(event, ev.RunEnded | ev.Proved)
    return True


def _finish(job: Job, home: Path, reporter: Reporter, stop: StopSignal) -> None:
    """Prove the specialist if that is wanted, keep what can be downloaded, and end the job."""
    jobs = Jobs(home)
    current = jobs.find(job.id)
    assert current is not None
    past = runs.history(Runs(home).get(current.outcome.run).events())
    outcome, proof = outcome_of(past), None
    if job.order.prove:
        from azubi.pipeline.prove import REPORT, prove

        proving = prove(outcome["specialist"], home)
        verdict: list[ev.Proved] = []
        if not _follow(_noted(proving, verdict), reporter, stop):
            return
        proof = Path(verdict[0].folder) / REPORT
    outcome |= keep_results(job, past, Uploads(home), proof) | {"estimated_finish": None}
    said = message(f"The job is done. Ask the new model by its name: {job.fine_tuned_model}")
    if jobs.change(job.id, ("running",), said, outcome=outcome, status="succeeded") is None:
        jobs.add_events(
            job.id, [message(f"{outcome['specialist']} was finished before the job was stopped.", "warn")]
        )


def _noted(events: Iterator[ev.Event], verdict: list[ev.Proved]) -> Iterator[ev.Event]:
    for event in events:
        if isinstance(event, ev.Proved):
            verdict.append(event)
        yield event


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
