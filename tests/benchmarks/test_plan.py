"""The time left that a run shows is held against what it then took."""

import pytest

from benchmarks.plan import time_left


def event(kind, elapsed, **more):
    return {"kind": kind, "elapsed": elapsed, **more}


def test_what_is_shown_counts_down_from_what_was_last_told():
    events = [
        event("run_started", 0.0),
        event("stage_started", 1.0, stage="trunk"),
        event("progress", 1.0, stage="trunk", left=50.0),
        event("progress", 5.0, stage="trunk", left=30.0),
        event("stage_started", 11.0, stage="tail"),
        event("run_ended", 31.0),
    ]
    shown = time_left(events)
    assert shown["trunk, 10% over"] == [pytest.approx(49.0), pytest.approx(29.0)]
    assert shown["trunk, 50% over"] == [pytest.approx(29.0), pytest.approx(25.0)]
    assert shown["tail, 10% over"] == [pytest.approx(22.0), pytest.approx(18.0)]
    assert time_left(events, fewer=9.0)["tail, 10% over"][0] == pytest.approx(13.0)
