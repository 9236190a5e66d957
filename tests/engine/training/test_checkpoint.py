"""A course that is kept goes on to the very same weights; what is damaged or does not fit is not read."""

import errno
import os
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from azubi.engine.model.cut import to_dtype
from azubi.engine.model.language_tail import LanguageTail
from azubi.engine.training import checkpoint
from azubi.engine.training.checkpoint import Checkpoints
from azubi.engine.training.loop import CheckpointFailed, Epoch, Resumed, Step, train


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


def digest(tail):
    return [weight.detach().clone() for weight in tail.parameters()]


def same(first, two):
    return all(torch.equal(a, b) for a, b in zip(first, two, strict=True))


def studied(school, plan, rank, folder, stop=None, dtype=torch.float32):
    """Train with checkpoints; close after `stop` events. Gives the tail and the events."""
    tail = LanguageTail(school.model, 2, rank, plan.seed)
    to_dtype(tail, dtype)
    read = lambda tokens: school.read(tokens).to(dtype)  # noqa: E731
    encoded = train(
        tail,
        school.encoded,
        school.validation,
        read,
        plan,
        has_instruction=False,
        checkpoints=Checkpoints(folder, "b"),
    )
    events = []
    for event in encoded:
        events.append(event)
        if len(events) == stop:
            encoded.close()
    return tail, events


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rank", [0, 4])
def test_stopped_anywhere_it_comes_out_the_same(school, plan, rank, dtype, tmp_path):
    head = school.model.get_output_embeddings()
    head.to(dtype)
    try:
        whole, events = studied(school, plan, rank, tmp_path / "whole", dtype=dtype)
        for stop in range(1, len(events), 2 if rank else 3):
            folder = tmp_path / str(stop)
            studied(school, plan, rank, folder, stop, dtype)
            again, rest = studied(school, plan, rank, folder, dtype=dtype)
            assert same(digest(whole), digest(again)), f"stopped after event {stop}: {events[stop - 1]}"
            assert isinstance(rest[0], Resumed)
            steps = sum(isinstance(event, Step) for event in events[:stop])
            assert rest[0].step == steps
            losses = [(step.step, step.loss) for step in of(Step, events)][steps:]
            assert [(step.step, step.loss) for step in of(Step, rest)] == losses
            means = [epoch.loss for epoch in of(Epoch, events)]
            assert [epoch.loss for epoch in of(Epoch, rest)] == means[len(means) - len(of(Epoch, rest)) :]
    finally:
        head.float()


def test_dropout_goes_on_where_it_was(school, plan, tmp_path):
    class Dropping(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = LanguageTail(school.model, 2, 0, 0)

        def forward(self, batch, prime):
            states = nn.functional.dropout(batch.states, 0.3, self.training)
            return self.inner(replace(batch, states=states), prime)

        def groups(self):
            return self.inner.groups()

    def taught(folder, stop=None):
        tail, places = Dropping(), Checkpoints(folder, "b")
        events = train(
            tail,
            school.encoded,
            school.validation,
            school.read,
            plan,
            has_instruction=False,
            checkpoints=places,
        )
        for number, _ in enumerate(events, start=1):
            if number == stop:
                events.close()
        return digest(tail)

    whole = taught(tmp_path / "whole")
    for stop in (1, 2, 5, 9):
        taught(tmp_path / str(stop), stop)
        torch.manual_seed(99)
        assert same(whole, taught(tmp_path / str(stop)))


def test_a_checkpoint_of_something_else_is_not_read(school, plan, tmp_path):
    studied(school, plan, 0, tmp_path, 3)
    assert Checkpoints(tmp_path, "b").read() is not None
    other = Checkpoints(tmp_path, "c")
    assert other.read() is None and other.unfit


@pytest.mark.parametrize("spoil", ["flip", "cut", "lose", "json"])
def test_a_damaged_checkpoint_is_not_read(spoil, school, plan, tmp_path, monkeypatch):
    monkeypatch.setattr("azubi.engine.training.state._SAFE_POINTS", 1e-9)  # so that there is one file
    studied(school, plan, 0, tmp_path, 3)
    (state,) = tmp_path.glob("state-*")
    content = state.read_bytes()
    if spoil == "flip":
        state.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    elif spoil == "cut":
        state.write_bytes(content[:-9])
    elif spoil == "lose":
        state.unlink()
    else:
        (tmp_path / "checkpoint.json").write_text("{")
    assert Checkpoints(tmp_path, "b").read() is None
    tail, events = studied(school, plan, 0, tmp_path)
    assert not of(Resumed, events)
    assert same(digest(tail), digest(studied(school, plan, 0, tmp_path / "whole")[0]))


def test_little_is_kept_at_a_time_and_nothing_after_clear(school, plan, tmp_path):
    for left in (".state-9-0.safetensors.x1y2", ".tmpX1y2Z3"):  # of a run that was killed while it wrote
        (tmp_path / left).touch()
    tail = LanguageTail(school.model, 2, 0, plan.seed)
    places = Checkpoints(tmp_path, "b")
    for event in train(
        tail, school.encoded, school.validation, school.read, plan, has_instruction=False, checkpoints=places
    ):
        names = sorted(path.name.split("-")[0] for path in tmp_path.iterdir())
        if isinstance(event, Step) and event.epoch > 1:
            assert len(names) <= 4 and {"checkpoint.json", "best"} <= set(names)
    checkpoint.clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_minute_never_passes_without_one(school, plan, tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("azubi.engine.training.state.time.monotonic", lambda: now[0])
    monkeypatch.setattr("azubi.engine.training.state._SAFE_POINTS", 1e-9)
    places, kept = Checkpoints(tmp_path, "b"), []
    write = places.write
    monkeypatch.setattr(places, "write", lambda *a, **b: kept.append(now[0]) or write(*a, **b))
    plan = replace(plan, batch=1, epochs=2)
    tail = LanguageTail(school.model, 2, 0, 0)
    for event in train(
        tail, school.encoded, school.validation, school.read, plan, has_instruction=False, checkpoints=places
    ):
        now[0] += 9.0 if isinstance(event, Step) else 0.0
    assert max(later - earlier for earlier, later in pairwise([0.0, *kept])) <= 60
    assert len(kept) < 10


def test_a_full_disk_is_told_and_training_goes_on(school, plan, tmp_path, monkeypatch):
    whole, _ = studied(school, plan, 0, tmp_path / "whole")
    sync = os.fsync

    def full(handle):
        if full.on:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    full.on = False
    monkeypatch.setattr("azubi.storage.files.os.fsync", full)
    tail = LanguageTail(school.model, 2, 0, plan.seed)
    places = Checkpoints(tmp_path / "full", "b")
    events = []
    for event in train(
        tail, school.encoded, school.validation, school.read, plan, has_instruction=False, checkpoints=places
    ):
        events.append(event)
        full.on = len(of(Epoch, events)) in (2, 3)
    assert any("disk is full" in str(event.reason) for event in of(CheckpointFailed, events))
    assert same(digest(tail), digest(whole))
    assert not [path for path in (tmp_path / "full").iterdir() if path.name.startswith(".")]
    monkeypatch.undo()
    assert same(digest(studied(school, plan, 0, tmp_path / "full")[0]), digest(whole))
