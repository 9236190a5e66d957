"""Weights of trials are kept, found again, and thrown away."""

import pytest
import torch

from azubi.search.trial_runner import TrialWeights, clear


@pytest.fixture
def trial_weights(tmp_path):
    trial_weights = TrialWeights(tmp_path)
    for number in (1, 2, 10):
        trial_weights.write(number, {"weight": torch.full((3,), float(number), dtype=torch.bfloat16)})
    return trial_weights


def test_what_was_put_is_there(trial_weights):
    assert (
        trial_weights.read(10)["weight"].tolist() == [10, 10, 10]
        and trial_weights.read(10)["weight"].dtype == torch.bfloat16
    )
    assert trial_weights.read(3) is None
    assert [trial_weights.exist(number) for number in (1, 3)] == [True, False]


def test_what_is_damaged_is_not_there(trial_weights, tmp_path):
    path = tmp_path / "trial-2.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert trial_weights.read(2) is None


def test_all_but_what_is_wanted_goes_and_nothing_else(trial_weights, tmp_path):
    (tmp_path / "events.jsonl").touch()
    (tmp_path / ".trial-3.safetensors.half").touch()
    trial_weights.keep_only((10,))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events.jsonl", "trial-10.safetensors"]
    (tmp_path / "search.sqlite").touch()
    clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["events.jsonl"]
