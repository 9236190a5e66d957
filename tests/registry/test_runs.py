"""Runs that were stopped are gone on with, those that ended are not, and two can be at it at once."""

import errno
import itertools
import json
import threading
import time
from pathlib import Path

import pytest
import torch

from azubi.engine.model.label_tail import LabelTail
from azubi.engine.training import loop
from azubi.errors import MemoryShortage, SettingError, StorageError, TrainingError
from azubi.events import events as ev
from azubi.pipeline.run import resume, run
from azubi.registry.runs import Runs, history, state, summary
from azubi.registry.store import Store
from azubi.settings import Recipe
from azubi.storage import files
from tests import tiny


@pytest.fixture
def settings(bases, tmp_path):
    """A small run of a few seconds."""

    def make(base="encoder", **more):
        settings = {
            "name": "tiny",
            "data": tiny.write(tmp_path / "notes.jsonl", tiny.labels()),
            "base": str(getattr(bases, base)),
            "tail_layers": 1,
            "epochs": 3,
            "patience": 9,
            "batch": 8,
            "learning_rate": 3e-3,
            "dtype": "float32",
            "threads": 1,
        }
        return Recipe(**settings | more)

    return make


def until(events, stop):
    """Take events until one of that kind (and number) came, then close."""
    kind, number = stop if isinstance(stop, tuple) else (stop, 1)
    seen = []
    for event in events:
        seen.append(event)
        number -= event.kind == kind or (event.kind == "stage_started" and event.stage == kind)
        if number == 0:
            break
    events.close()
    return seen


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


def weights(home, name="tiny"):
    return files.sha256(Store(home).get(name).folder / "tail.safetensors")


def folders(home):
    return sorted(path for path in home.glob("runs/*"))


@pytest.mark.parametrize(
    "stop", ["trunk", "trunk_done", ("step_done", 7), ("epoch_done", 2), "evaluate", "package"]
)
@pytest.mark.parametrize("base", ["encoder", "decoder"])
def test_the_same_command_goes_on(base, stop, settings, home, tmp_path):
    whole = list(run(settings(base), tmp_path / "whole"))
    first = until(run(settings(base), home), stop)
    again = list(run(settings(base), home))
    assert weights(home) == weights(tmp_path / "whole")
    assert again[0].again and again[0].folder == first[0].folder
    assert Store(home).get("tiny").version == 1 and len(folders(home)) == 1
    steps = of(ev.StepDone, first)
    assert [step.step for step in (*steps, *of(ev.StepDone, again))] == [
        step.step for step in of(ev.StepDone, whole)
    ]
    assert [event.step for event in of(ev.TrainingResumed, again)] == ([len(steps)] if steps else [])
    elapsed = [event.elapsed for event in (*first, *again)]
    assert elapsed == sorted(elapsed)
    # The checkpoint is gone, and the report has every epoch.
    names = sorted(path.name for path in Path(first[0].folder).iterdir())
    assert names == [".lock", "events.jsonl", "run.json"]
    past = history(Runs(home).get(Path(first[0].folder).name).events())
    assert [epoch.epoch for epoch in past.epochs] == [1, 2, 3] and past.sessions == 2
    assert [step.loss for step in past.steps] == [step.loss for step in of(ev.StepDone, whole)]


def test_resume_takes_the_last_unfinished_or_the_one_named(settings, home, tmp_path):
    whole = list(run(settings(), tmp_path / "whole"))
    for name in ("one", "two"):
        until(run(settings(name=name), home), ("step_done", 3))
        time.sleep(1.01)  # folders are named by the second
    first, two = [run.id for run in reversed(list(Runs(home).all()))]
    again = list(resume(home))
    assert Path(again[0].folder).name == two and again[-1].kind == "run_ended"
    with pytest.raises(SettingError, match=f"The run {two} is done"):
        resume(home, two)
    list(resume(home, first))
    assert weights(home, "one") == weights(home, "two") == weights(tmp_path / "whole")
    assert whole
    with pytest.raises(SettingError, match="no unfinished run"):
        resume(home)
    for name in ("nothing", "../runs"):
        with pytest.raises(SettingError, match="There is no run"):
            resume(home, name)


def test_fresh_begins_anew(settings, home):
    first = until(run(settings(), home), ("step_done", 3))
    again = list(run(settings(), home, fresh=True))
    assert not again[0].again and again[0].folder != first[0].folder
    assert not of(ev.TrainingResumed, again)


@pytest.mark.parametrize("change", ["settings", "data", "instruction"])
def test_another_recipe_or_other_data_is_another_run(change, settings, home, tmp_path):
    prime = tmp_path / "p.txt"
    prime.write_text("Sort.")
    made = settings("decoder", instruction=f"@{prime}")
    until(run(made, home), ("step_done", 3))
    if change == "settings":
        made = made.model_copy(update={"learning_rate": 1e-3})
    elif change == "data":
        tiny.write(tmp_path / "notes.jsonl", tiny.labels(49))
        with pytest.raises(SettingError, match=r"data of the run .* have changed"):
            resume(home)
    else:
        prime.write_text("Sort them.")
    again = next(events := run(made, home))
    assert not again.again
    events.close()


def test_a_file_by_another_name_is_the_same_run(settings, home, tmp_path):
    until(run(settings(), home), ("step_done", 3))
    moved = (tmp_path / "notes.jsonl").rename(tmp_path / "moved.jsonl")
    events = run(settings().model_copy(update={"data": moved}), home)
    assert next(events).again
    events.close()


def test_what_was_done_is_not_gone_on_with(settings, home):
    for version in (1, 2):
        events = list(run(settings(), home))
        assert not events[0].again
        assert Store(home).get("tiny").version == version


def test_a_checkpoint_of_something_else_is_told_and_not_used(settings, home, monkeypatch, tmp_path):
    list(run(settings(), tmp_path / "whole"))
    until(run(settings(), home), ("step_done", 7))
    (folder,) = folders(home)
    contents = json.loads((folder / "checkpoint.json").read_text())
    (folder / "checkpoint.json").write_text(json.dumps(contents | {"basis": "of an older torch"}))
    again = list(run(settings(), home))
    assert not of(ev.TrainingResumed, again)
    assert any("begins anew" in notice.text for notice in of(ev.Notice, again))
    assert weights(home) == weights(tmp_path / "whole")


def test_a_line_of_the_log_that_was_cut_off_is_passed_over(settings, home):
    first = until(run(settings(), home), ("step_done", 7))
    log = Path(first[0].folder) / "events.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]) + lines[-2][:40])
    again = list(run(settings(), home))
    assert of(ev.TrainingResumed, again)[0].step == 7
    (known_run,) = Runs(home).all()
    logged = list(known_run.events())
    assert logged[-1].kind == "run_ended" and logged[: len(lines) - 1] == first[: len(lines) - 1]


# What fails


@pytest.mark.parametrize("more", [{"data": "nowhere.csv"}, {"tail_layers": 9}, {"base": "nowhere"}])
def test_a_run_that_failed_before_work_leaves_nothing(more, settings, home, monkeypatch):
    made = settings().model_copy(update={key: Path(v) if key == "data" else v for key, v in more.items()})
    with pytest.raises(Exception, match=r"nowhere|tail_layers"):
        list(run(made, home))
    assert folders(home) == []


def test_a_run_that_would_fail_again_is_not_gone_on_with(settings, home):
    made = settings("decoder", learning_rate=1e30)
    with pytest.raises(TrainingError, match="The loss became"):
        list(run(made, home))
    (known_run,) = Runs(home).all()
    assert state(known_run) == "failed" and not list(known_run.folder.glob("*.safetensors"))
    past = history(known_run.events())
    assert len(past.rollbacks) == 3 and "The loss became" in past.stopped.problem
    assert all(rollback.loss is None or rollback.loss > 0 for rollback in past.rollbacks)
    with pytest.raises(SettingError, match="is failed"):
        resume(home, known_run.id)


def test_after_the_last_chance_the_best_epoch_is_measured_and_packaged(settings, home, monkeypatch):
    forward, measure, epochs = LabelTail.forward, loop.measure, []
    monkeypatch.setattr(loop, "measure", lambda *given: epochs.append(1) or measure(*given))

    def spoiled(self, batch, prime=None):
        outcome = forward(self, batch, prime)
        if self.training and len(epochs) > 1:  # the first time the regression was measured
            return type(outcome)(outcome.loss * float("nan"), 1, 1, 0)
        return outcome

    monkeypatch.setattr(LabelTail, "forward", spoiled)
    events = list(run(settings(), home))
    assert len(of(ev.RolledBack, events)) == 3
    assert all(event.loss is None for event in of(ev.RolledBack, events))
    (ended,) = of(ev.TrainingEnded, events)
    best = [epoch.epoch for epoch in of(ev.EpochDone, events) if epoch.best]
    assert (ended.reason, ended.best_epoch) == ("the loss kept exploding", max(best, default=0))
    assert any("--learning-rate" in notice.text for notice in of(ev.Notice, events))
    assert events[-1].kind == "run_ended" and Store(home).get("tiny").version == 1


def test_a_disk_too_full_for_checkpoints_is_told_and_the_run_ends_well(settings, home, monkeypatch, tmp_path):
    list(run(settings(), tmp_path / "whole"))
    new_file = files.new_file

    def full(path):
        if path.name.startswith("state-"):
            with files.explained(path):
                raise OSError(errno.ENOSPC, "No space left on device")
        return new_file(path)

    monkeypatch.setattr(files, "new_file", full)
    events = list(run(settings(), home))
    notices = [notice.text for notice in of(ev.Notice, events)]
    (failed,) = [notice for notice in notices if "Training goes on" in notice]
    assert "The disk is full" in failed
    assert weights(home) == weights(tmp_path / "whole")


def test_a_full_disk_stops_the_run_and_with_room_it_goes_on(settings, home, monkeypatch, tmp_path):
    list(run(settings(), tmp_path / "whole"))
    opened, seen = Path.open, []

    def full(self, mode="r", *more, **named):
        if self.name == "events.jsonl" and mode == "a" and len(seen) > 60:
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return opened(self, mode, *more, **named)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(StorageError, match="The disk is full"):
        for event in run(settings(), home):
            seen.append(event)
    monkeypatch.undo()
    again = list(resume(home))
    assert of(ev.TrainingResumed, again) and weights(home) == weights(tmp_path / "whole")


def test_memory_that_is_used_up_is_an_error_with_a_remedy(settings, home, monkeypatch):
    def hungry(*given, **named):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        yield

    train = loop.train
    monkeypatch.setattr(loop, "train", hungry)
    with pytest.raises(MemoryShortage, match="--batch"):
        list(run(settings(), home))
    monkeypatch.setattr(loop, "train", train)
    assert list(resume(home))[-1].kind == "run_ended"


# Clocks


def test_nothing_depends_on_the_wall_clock(settings, home, monkeypatch, tmp_path):
    """The clock is set back again and again, and once by ten years between two sessions."""
    list(run(settings(), tmp_path / "whole"))
    now = itertools.count(2e9, -3600.0)
    monkeypatch.setattr(time, "time", lambda: next(now))
    first = until(run(settings(), home), ("step_done", 7))
    now = itertools.count(1.7e9, -3600.0)
    again = list(run(settings(), home))
    assert of(ev.TrainingResumed, again)[0].step == 7
    assert weights(home) == weights(tmp_path / "whole")
    for events in (first, again):
        for event in events:
            seconds = getattr(event, "seconds", 0.0)
            assert all(value >= 0 for value in (seconds.values() if isinstance(seconds, dict) else [seconds]))
            assert event.elapsed >= 0 and (getattr(event, "left", None) or 0.0) >= 0
    (known_run,) = Runs(home).all()
    past = history(known_run.events())
    assert all(took >= 0 for took in past.seconds.values()) and summary(known_run).seconds > 0


# Two at once


def with_dice_of_its_own(events):
    """As in a process of its own: what another run draws for its dropout is not missing here."""
    state = torch.get_rng_state()
    while True:
        others = torch.get_rng_state()
        torch.set_rng_state(state)
        event = next(events, None)
        state = torch.get_rng_state()
        torch.set_rng_state(others)
        if event is None:
            return
        yield event


@pytest.mark.parametrize("base", ["encoder", "decoder"])
def test_two_runs_of_the_same_at_once_get_two_versions(base, settings, home):
    """Each has a folder of its own, though the other's would fit; both use one cache."""
    under_way = [with_dice_of_its_own(run(settings(base), home)) for _ in range(2)]
    events = [[], []]
    for event in under_way[0]:
        events[0].append(event)
        if event.kind == "trunk_done":
            break
    for pair in itertools.zip_longest(*under_way):
        for seen, event in zip(events, pair, strict=True):
            seen.append(event)
    ended = [[seen for seen in event if seen is not None] for event in events]
    assert all(seen[-1].kind == "run_ended" for seen in ended)
    assert len({seen[0].folder for seen in ended}) == 2
    assert sorted(of(ev.Packaged, seen)[0].version for seen in ended) == [1, 2]
    done = [of(ev.TrunkDone, seen)[0] for seen in ended]
    assert min(trunk.computed for trunk in done) == 0, "the second found all that the first had computed"
    folders = [Path(of(ev.Packaged, seen)[0].folder) / "tail.safetensors" for seen in ended]
    assert files.sha256(folders[0]) == files.sha256(folders[1])


def test_a_run_that_is_under_way_is_not_taken(settings, home):
    first = run(settings(), home)
    for event in first:
        if event.kind == "step_done":
            break
    (known_run,) = Runs(home).all()
    assert state(known_run) == "running"
    with pytest.raises(SettingError, match="is running"):
        resume(home, known_run.id)
    with pytest.raises(SettingError, match="no unfinished run"):
        resume(home)
    first.close()
    assert state(known_run) == "unfinished"
    taken = []
    workers = [
        threading.Thread(target=lambda: taken.append(Runs(home).take(known_run.paper.identity)))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sum(event is not None for event in taken) == 1


def test_the_list_of_runs(settings, home):
    list(run(settings(), home))
    time.sleep(1.01)
    until(run(settings(name="other"), home), ("step_done", 2))
    (home / "runs" / "20200101-000000-old").mkdir()  # of an azubi that kept no papers
    other, done = map(summary, Runs(home).all())
    assert (other.name, other.state, other.score) == ("other", "unfinished", None)
    assert (done.name, done.state) == ("tiny", "done") and 0 <= done.score.value <= 1
    assert done.seconds > 0 and abs(done.when.timestamp() - time.time()) < 120
