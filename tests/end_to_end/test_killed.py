"""Killed with -9 at random moments of every stage, a run comes out the same, once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import tiny

MAKERS = {"encoder": tiny.labels, "decoder": tiny.records}


@pytest.mark.end_to_end
@pytest.mark.parametrize("base", ["encoder", "decoder"])
def test_killed_ten_times_and_the_weights_are_the_same(base, bases, tmp_path):
    data = tiny.write(tmp_path / "notes.jsonl", MAKERS[base]())
    call = [sys.executable, "-m", "tests.end_to_end.killed", tmp_path, data, getattr(bases, base), 10, 7]
    done = subprocess.run(
        [*map(str, call)], capture_output=True, text=True, timeout=500, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert len(document["trials"]) == 10
    for trial in document["trials"]:
        assert trial["ended"], trial
        # Killed after its very last word, a run is done, and the same command begins another.
        finished = sum(attempt["ended"] for attempt in trial["killed"])
        assert trial["hashes"] == [document["whole"]] * (1 + finished), trial
        assert trial["runs"] == 1 + finished and trial["odd"] == [], trial
        assert trial["left"] == [".lock", "events.jsonl", "run.json"], trial
    assert sum(not attempt["ended"] for trial in document["trials"] for attempt in trial["killed"]) >= 10
