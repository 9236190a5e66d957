"""Number format and threads follow from what was measured."""

import pytest
import torch

from azubi.engine.base import hardware


@pytest.fixture(autouse=True)
def threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def speeds(monkeypatch):
    """Say how fast each format is, in GFLOP/s."""

    def say(float32, bfloat16):
        speeds = {torch.float32: float32, torch.bfloat16: bfloat16}
        monkeypatch.setattr(hardware, "matmul_speed", lambda dtype, *_: speeds[dtype])

    return say


def test_this_machine_has_a_speed():
    machine = hardware.probe("float32", threads=1)
    assert machine.dtype == torch.float32 and machine.dtype_name == "float32"
    assert machine.threads == 1 == torch.get_num_threads()
    assert 0.1 < machine.gflops < 1e6


def test_what_one_device_can_do_is_not_told_of_another(monkeypatch):
    measured = []
    monkeypatch.setattr(
        hardware, "measured_speed", lambda *_: measured.append(torch.get_default_device().type) or 1.0
    )
    hardware._remembered_speed.cache_clear()
    for where in ("cpu", "meta", "cpu", "meta"):
        with torch.device(where):
            hardware.matmul_speed(torch.float32, 1)
    hardware._remembered_speed.cache_clear()
    assert measured == ["cpu", "meta"]


@pytest.mark.parametrize(
    "float32, bfloat16, chosen",
    [
        (100.0, 0.5, "float32"),
        (100.0, 100.0, "float32"),
        (100.0, 129.0, "float32"),
        (100.0, 131.0, "bfloat16"),
    ],
)
def test_bfloat16_is_taken_only_where_it_pays(speeds, float32, bfloat16, chosen):
    speeds(float32, bfloat16)
    machine = hardware.probe("auto", threads=1)
    assert machine.dtype_name == chosen
    assert machine.gflops == {"float32": float32, "bfloat16": bfloat16}[chosen]


@pytest.mark.parametrize("wanted", ["float32", "bfloat16"])
def test_a_format_that_was_asked_for_is_taken(speeds, wanted):
    speeds(100.0, 0.5) if wanted == "bfloat16" else speeds(0.5, 100.0)
    assert hardware.probe(wanted, threads=1).dtype_name == wanted


@pytest.mark.parametrize(
    "line, has",
    [
        ("flags\t\t: fpu avx512f avx512_bf16 sse", True),
        ("flags\t\t: fpu avx512f amx_bf16", True),
        ("flags\t\t: fpu avx2 avx512f", False),
        ("Features\t: fp asimd bf16", True),
        ("Features\t: fp asimd", False),
    ],
)
def test_the_processor_says_whether_bfloat16_is_its_own_however_busy_it_is(
    speeds, monkeypatch, tmp_path, line, has
):
    speeds(100.0, 0.0 if has else 200.0)
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nmodel name\t: bf16 maker\n{line}\n\n")
    monkeypatch.setattr(hardware, "_CPUINFO", tmp_path / "cpuinfo")
    assert hardware.has_bfloat16() is has


@pytest.mark.parametrize("bfloat16, has", [(0.5, False), (49.0, False), (51.0, True), (200.0, True)])
def test_where_the_system_does_not_say_bfloat16_is_measured(speeds, monkeypatch, tmp_path, bfloat16, has):
    speeds(100.0, bfloat16)
    monkeypatch.setattr(hardware, "_CPUINFO", tmp_path / "none")
    assert hardware.has_bfloat16() is has


def test_threads_are_as_given_then_as_the_environment_says_then_the_cores(monkeypatch):
    monkeypatch.setattr(hardware.joblib, "cpu_count", lambda: 8)
    monkeypatch.setattr(hardware.psutil, "cpu_count", lambda logical: 4)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    hardware.use_threads(3)
    assert torch.get_num_threads() == 3
    hardware.use_threads(None)
    assert torch.get_num_threads() == 2
    monkeypatch.delenv("OMP_NUM_THREADS")
    hardware.use_threads(None)
    assert torch.get_num_threads() == 4
    monkeypatch.setattr(hardware.joblib, "cpu_count", lambda: 1)
    hardware.use_threads(None)
    assert torch.get_num_threads() == 1
