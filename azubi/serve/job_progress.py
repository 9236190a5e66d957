"""What happens in a run and its proof, as the events, figures and files of a job.

Knows the events of a run and the store of jobs; nothing of processes.
"""

import csv
import io
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from azubi.events import events as ev
from azubi.registry import runs
from azubi.serve.jobs import Job, JobEvent, Jobs, message
from azubi.serve.uploads import Uploads, blocks_of

STAGES: Mapping[str, str] = {
    "data": "Reading, checking and splitting the examples.",
    "search": "Trying settings on the validation examples.",
    "base": "Loading the base and measuring the machine.",
    "instruction": "Reading the instruction that all examples share.",
    "trunk": "Running the frozen layers once over every example.",
    "tail": "Training the last layers.",
    "evaluate": "Asking the base and the specialist about examples that neither has seen.",
    "package": "Writing the specialist and its report.",
    "examples": "The proof begins: finding the held-out examples.",
    "baselines": "Asking the baselines the held-out questions.",
    "forgetting": "Asking the specialist what its base could do.",
    "scope": "Asking what is not its job.",
    "leaks": "Trying to get its examples out of it.",
    "report": "Working out the verdict.",
}
_CHOSEN = ("task", "tail_layers", "prompt_layers", "rank", "epochs", "batch", "learning_rate")
"""Settings that a job shows as they were chosen."""
_FLUSH_SECONDS = 1.0
"""How long figures of steps wait for others: each write is synced to the disk."""
_ESTIMATE_SECONDS = 5.0
_STEPS_OF_A_STAGE = 10**9


class Reporter:
    """Takes what happens, and keeps the job up to date."""

    def __init__(self, job: Job, home: Path) -> None:
        self._id, self._model = job.id, job.fine_tuned_model
        self._jobs = Jobs(home)
        self._waiting: list[JobEvent] = []
        self._outcome: dict[str, Any] = {}
        self._written = self._estimated = time.monotonic()
        self._stage, self._step, self._reached = 0, 0, job.reached

    def handle(self, event: ev.Event) -> None:
        """Take in what happened; it is written at once, but for steps, which wait for a second."""
        if isinstance(event, ev.StepDone):
            self._step = event.step
        self._waiting += _told(event, self._model, self._step)
        self._outcome |= self._changes(event)
        small = isinstance(event, ev.StepDone | ev.Progress)
        if not small or time.monotonic() - self._written > _FLUSH_SECONDS:
            self.flush(self._place(event))

    def flush(self, place: int = 0) -> None:
        """Write what waits. A try that came further than those before, to `place`, is the first one there."""
        changes = {"reached": place, "tries": 0} if place > self._reached else {}
        self._reached = max(self._reached, place)
        events, outcome = self._waiting, self._outcome
        self._waiting, self._outcome, self._written = [], {}, time.monotonic()
        if changes or outcome:
            changed = self._jobs.change(self._id, ("running",), *events, outcome=outcome, **changes)
            events = [] if changed is not None else events
        if events:
            self._jobs.add_events(self._id, events)

    def _place(self, event: ev.Event) -> int:
        """How far the run is: what tries are compared by."""
        if isinstance(event, ev.StageStarted):
            self._stage += 1
        done = (
            event.step
            if isinstance(event, ev.StepDone)
            else event.done
            if isinstance(event, ev.Progress)
            else 0
        )
        return self._stage * _STEPS_OF_A_STAGE + done

    def _changes(self, event: ev.Event) -> dict[str, Any]:
        """What an event changes of the job's outcome."""
        match event:
            case ev.RunStarted():
                return {"run": Path(event.folder).name}
            case ev.Planned() if event.forecast is not None:
                plan = event.forecast.model_dump(mode="json")
                chosen = {name: event.settings.get(name) for name in _CHOSEN}
                return {"plan": {"seconds": event.forecast.total, **plan}, "chosen": chosen}
            case ev.Progress() if event.left is not None and self._estimate_due():
                return {"estimated_finish": int(time.time() + event.left)}
            case ev.Measured():
                name = "score" if event.who == "specialist" else "base_score"
                return {name: event.scores[0].model_dump(mode="json")}
            case ev.Packaged():
                return {"specialist": f"{event.name}@{event.version}"}
            case ev.Proved():
                shown = {"verdict", "sentence", "advice", "passes"}
                return {"verdict": event.model_dump(mode="json", include=shown)}
        return {}

    def _estimate_due(self) -> bool:
        if time.monotonic() - self._estimated < _ESTIMATE_SECONDS:
            return False
        self._estimated = time.monotonic()
        return True


def _told(event: ev.Event, model: str, step: int) -> Iterable[JobEvent]:
    """What whoever waits for the job is told of an event."""
    match event:
        case ev.RunStarted():
            yield message(f"The run {Path(event.folder).name} {'goes on' if event.again else 'begins'}.")
        case ev.StageStarted():
            yield message(STAGES.get(event.stage, event.stage))
        case ev.Notice():
            yield message(event.text, "warn")
        case ev.DataReady():
            kind = "records" if event.task == "json" else event.task
            yield message(
                f"{event.train:,} examples to learn from, {event.validation:,} to choose with, "
                f"{event.test:,} to measure on; the answers are {kind}."
            )
        case ev.Planned() if event.forecast is not None:
            yield message(f"It will take about {_duration(event.forecast.total)} in all.")
        case ev.TrainingResumed():
            yield message(f"Training goes on after step {event.step:,}.")
        case ev.RolledBack():
            yield message(f"The loss exploded: back to step {event.back_to:,}, with half the rate.", "warn")
        case ev.StepDone():
            yield _metrics(
                f"Step {event.step}/{event.steps}: training loss={event.loss:.4f}", _step_data(event)
            )
        case ev.EpochDone():
            yield from _epoch(event, model, step)
        case ev.Measured():
            score = event.scores[0]
            yield message(
                f"On {score.n:,} unseen examples the {event.who} has {score.name} {score.value:.3f} "
                f"({score.low:.3f} to {score.high:.3f} with 95 % certainty)."
            )
        case ev.Packaged():
            yield message(f"The specialist {event.name}@{event.version} is registered.")
        case ev.Proved():
            yield message(event.sentence)


def _step_data(event: ev.StepDone) -> dict[str, Any]:
    return {"step": event.step, "total_steps": event.steps, "train_loss": event.loss}


def _epoch(event: ev.EpochDone, model: str, step: int) -> Iterable[JobEvent]:
    figures = {
        "step": step,
        "train_loss": event.loss,
        "valid_loss": event.validation_loss,
        "full_valid_loss": event.validation_loss,
    }
    yield message(
        f"Epoch {event.epoch} of at most {event.epochs}: validation loss {event.validation_loss:.4f}, "
        f"{100 * event.validation_accuracy:.1f} % of the validation answers right"
        f"{'; the best so far' if event.best else ''}."
    )
    yield _metrics(f"Epoch {event.epoch}: validation loss={event.validation_loss:.4f}", figures)
    own = {"epoch": event.epoch, "best": event.best, "valid_answers_right": event.validation_accuracy}
    yield JobEvent(
        kind="checkpoint",
        message=f"{model}:ckpt-step-{step}",
        type="metrics",
        data={**figures, "azubi": own},
        created=int(time.time()),
    )


def _metrics(text: str, figures: dict[str, Any]) -> JobEvent:
    return JobEvent(message=text, type="metrics", data=figures, created=int(time.time()))


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


# What is left at the end


def outcome_of(past: runs.History) -> dict[str, Any]:
    """What the events of a run that is done say of its job: also of one that another process followed."""
    outcome: dict[str, Any] = {"trained_tokens": sum(step.tokens for step in past.steps)}
    if past.packaged is not None:
        outcome["specialist"] = f"{past.packaged.name}@{past.packaged.version}"
    for who, name in (("specialist", "score"), ("base", "base_score")):
        if (measured := past.measured.get(who)) is not None:  # type: ignore[call-overload]
            outcome[name] = measured.scores[0].model_dump(mode="json")
    return outcome


def keep_results(job: Job, past: runs.History, uploads: Uploads, proof: Path | None) -> dict[str, Any]:
    """Keep figures and reports for download: the ids of the files, the same however often this is done."""
    own = job.id.removeprefix("ftjob-")
    figures = uploads.add(
        job.owner, f"{job.order.name}-metrics.csv", "fine-tune-results", [_table(past)], f"file-{own}-metrics"
    )
    named, ids = [figures.id], dict[str, str]()
    report = Path(past.packaged.report) if past.packaged is not None else None
    for path, kind in ((report, "report"), (proof, "proof")):
        if path is not None and path.is_file():
            with path.open("rb") as stream:
                name = f"{job.order.name}-{kind}.html"
                id = f"file-{own}-{kind}"
                named.append(uploads.add(job.owner, name, "fine-tune-results", blocks_of(stream), id).id)
            ids[kind] = named[-1]
    return {"result_files": tuple(named), **ids}


def _table(past: runs.History) -> bytes:
    """OpenAI's table of figures: a row per step, the validation loss where an epoch ends."""
    ends: dict[int, float] = {}
    by_epoch = {epoch.epoch: epoch.validation_loss for epoch in past.epochs}
    for step in past.steps:
        ends[step.epoch] = step.step
    last = {int(number): by_epoch.get(epoch) for epoch, number in ends.items()}
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("step", "train_loss", "valid_loss"))
    for step in past.steps:
        loss = last.get(step.step)
        table.writerow((step.step, step.loss, "" if loss is None else loss))
    return text.getvalue().encode()
