"""Devices are handled in one place. No accelerator is here: `second_device` stands in for one."""

import json
import subprocess
import sys

import pytest
import torch

from azubi.engine.base import hardware
from azubi.errors import SettingError


def test_the_engine_computes_where_torch_computes():
    command = [sys.executable, "-m", "tests.engine.second_device", "llama", "bert"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    document = json.loads(done.stdout.splitlines()[-1])
    assert "tensors on two devices" in document.pop("left behind")
    for family in ("llama", "bert"):
        for dtype in ("float32", "bfloat16"):
            assert document.pop(f"{family} {dtype}") == ["second", [], ""]
    # With one cut and with two, interrupted and under differential privacy.
    assert set(document) == {f"{kind} {layers}" for kind in ("resumed", "private") for layers in (1, 2)}
    assert all(document.values())


def test_on_a_processor_nothing_is_set_and_nothing_is_moved():
    assert hardware.use_device("cpu").type == "cpu"
    assert torch.get_default_device().type == "cpu"
    tensor = torch.zeros(2)
    assert hardware.on_device(tensor) is tensor


def test_the_best_is_an_accelerator_that_torch_can_use(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert hardware.best_device().type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    assert hardware.best_device() == torch.device("cuda", 0)


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_here_is_refused(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(SettingError, match=name) as refused:
        hardware.use_device(name)
    assert "azubi doctor" in refused.value.remedy
    assert torch.get_default_device().type == "cpu"


def test_dropout_draws_the_same_again():
    state = hardware.rng_state()
    first = torch.rand(3)
    hardware.set_rng_state(state)
    assert torch.equal(torch.rand(3), first)
