"""A server that is killed with its workers at random moments loses nothing, and its queue goes on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.server_killed import ROWS


@pytest.mark.end_to_end
def test_killed_three_times_and_all_is_there(tmp_path):
    call = [sys.executable, "-m", "tests.end_to_end.server_killed", tmp_path, 3, 5, 1, 4]
    done = subprocess.run(
        [*map(str, call)], capture_output=True, text=True, timeout=500, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert len(document["killed"]) == 3, document
    assert document["jobs"] == ["succeeded"] and document["errors"] == []
    assert document["made"] == document["whole"] and list(document["made"]) == document["specialists"]
    assert document["answered"] == [str(number) for number in range(ROWS)]
    assert document["training file"] > 0 and document["stopped"] == 0
    assert document["workers"] == 0 and document["left"] == []
