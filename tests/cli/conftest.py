"""A run that is not one: the events that `azubi.pipeline.run.run` would yield, without a model."""

import json
import sys
import types

import pytest

from azubi.events import events as ev
from azubi.events.figures import Score

FIELDS = ("line", "peril", "claim_code", "date_of_loss", "amount", "cover", "team", "missing")
TRUTH = {
    "line": "household",
    "peril": "burst pipe",
    "claim_code": "HH-W31",
    "date_of_loss": "2026-03-04",
    "amount": 1840.5,
    "cover": "covered",
    "team": "Water and storm",
    "missing": ["photos", "plumber's invoice"],
}
NEAR = TRUTH | {"team": "Large losses", "missing": ["photos"]}
NOTES = (
    "Phone note, 5 March: policyholder called, pipe under the sink burst yesterday, kitchen floor and the "
    "neighbour's ceiling are wet. Plumber says about EUR 1,840.50. No photos yet, invoice will follow.",
    "Hi,\nmy bike was stolen from the cellar on 12/02/26, lock was cut. It's worth 900 euros.\nBest, Jana",
    "Hail, 4 dents, car 'Golf' - VK w/ 300 deductible; see e-mail.",
)


def scores(*values):
    """Scores of an intake run."""
    names = ("record_exact", "parsable", *(f"field:{name}" for name in FIELDS))
    return tuple(
        Score(name=name, value=value, low=max(0.0, value - 0.06), high=min(1.0, value + 0.05), n=180)
        for name, value in zip(names, values, strict=False)
    )


def run_events(folder="/home/jana/.azubi", epochs=3, steps=40):
    """Every event of a run that goes well."""
    progress = lambda stage, done, total, unit, left: ev.Progress(  # noqa: E731
        stage=stage, done=done, total=total, unit=unit, left=left
    )
    yield ev.RunStarted(name="intake", folder=f"{folder}/runs/intake-1", settings={})
    yield ev.StageStarted(stage="data")
    yield ev.DataReady(task="json", train=900, validation=120, test=180, fields=FIELDS)
    yield ev.StageStarted(stage="base")
    yield ev.BaseReady(
        name="smollm2-135m", licence="apache-2.0", layers=30, tail_layers=8, rank=0, parameters=134_515_008,
        trained=28_318_464, dtype="float32", threads=2, gflops=115.2,
    )  # fmt: skip
    yield ev.StageStarted(stage="instruction")
    yield ev.InstructionReady(text="Read the claim note.", tokens=63, made=True)
    yield ev.StageStarted(stage="trunk")
    for done in range(0, 1021, 60):
        yield progress("trunk", done, 1020, "examples", 420 - done / 20)
    yield ev.TrunkDone(computed=1020, reused=0, tokens=91_000, seconds=31.0, bytes=209_000_000)
    yield ev.StageStarted(stage="tail")
    yield ev.Notice(text="3 examples are longer than the model reads and were left out.")
    for epoch in range(1, epochs + 1):
        for step in range(1, steps + 1):
            done = (epoch - 1) * steps + step
            loss = 2.0 / (1 + done / 10)
            yield ev.StepDone(
                step=done, steps=epochs * steps, epoch=epoch, loss=loss, learning_rate=3e-4, tokens=900
            )
            yield progress("tail", done, epochs * steps, "steps", 360 - 2.5 * done)
        yield ev.EpochDone(
            epoch=epoch, epochs=epochs, loss=loss, validation_loss=loss * 1.1,
            validation_accuracy=0.9 + epoch / 40, seconds=81.0, best=epoch < 3,
        )  # fmt: skip
    yield ev.TrainingEnded(reason="all epochs done", best_epoch=2, seconds=243.0)
    yield ev.StageStarted(stage="evaluate")
    base, new = scores(0.0, 0.31, *[0.12] * 8), scores(0.57, 1.0, *[0.97] * 6, 0.61, 0.93)
    for who in ("base", "specialist"):
        for done in range(0, 181, 30):
            yield progress("evaluate", done, 180, "answers", 60 - done / 6)
        yield ev.Measured(who=who, scores=base if who == "base" else new, seconds=20.0)
    said = ("Sure! Here is the record you asked for: line: household …", json.dumps({"line": "bike"}), "{}")
    for note, base_said in zip(NOTES, said, strict=True):
        yield ev.Compared(prompt=note, base=base_said, specialist=json.dumps(NEAR), truth=json.dumps(TRUTH))
    yield ev.StageStarted(stage="package")
    yield ev.Packaged(
        name="intake", version=1, folder=f"{folder}/specialists/intake/1", bytes=113_300_000,
        report=f"{folder}/specialists/intake/1/report.html", parameters=134_515_008, trained=28_318_464,
    )  # fmt: skip
    yield ev.RunEnded(seconds=371.0)


@pytest.fixture
def events():
    """The events of a run."""
    return run_events


@pytest.fixture
def stub(monkeypatch):
    """Put a module that holds only what is given in the place of a real one."""

    def put(name, **content):
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return put


@pytest.fixture
def runs(stub):
    """Let `azubi.pipeline.run.run` yield the events of a run; gives the calls it got."""
    calls = []

    def run(recipe, home, fresh=False):
        calls.append((recipe, home))
        return run_events(str(home))

    stub("azubi.pipeline.run", run=run)
    return calls
