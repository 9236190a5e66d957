"""How much memory may be taken: the least of what the machine, its container and its limit leave."""

import resource

import psutil
import pytest

from azubi.engine.base import hardware

GB = 1 << 30


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A system without limits, with 64 GiB free, whose groups can be written."""
    monkeypatch.setattr(hardware, "_CGROUPS", tmp_path)
    monkeypatch.setattr(hardware, "_OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(hardware.psutil, "virtual_memory", lambda: type("", (), {"available": 64 * GB}))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    return tmp_path


def write(folder, **values):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (folder / name.replace("__", ".")).write_text(f"{value}\n")


def test_without_limits_it_is_what_the_machine_has(system):
    assert hardware.available_memory() == 64 * GB


def test_the_group_of_the_process_counts(system):
    (system / "own").write_text("0::/a/b\n")
    write(system / "a/b", memory__max=8 * GB, memory__current=3 * GB)
    write(system / "a/b", memory__stat=f"anon 5\ninactive_file {GB}\nactive_file 7")
    write(system / "a", memory__max="max", memory__current=9 * GB)
    assert hardware.available_memory() == 6 * GB  # files that were read are given up


def test_a_group_around_it_counts_too(system):
    (system / "own").write_text("0::/a/b\n")
    write(system / "a/b", memory__max=8 * GB, memory__current=3 * GB)
    write(system / "a", memory__max=10 * GB, memory__current=9 * GB)
    assert hardware.available_memory() == GB


def test_in_a_container_the_group_lies_at_the_root(system):
    (system / "own").write_text("0::/of/the/host\n")
    write(system, memory__max=4 * GB, memory__current=GB)
    assert hardware.available_memory() == 3 * GB


def test_the_first_version_of_groups_is_read(system):
    (system / "own").write_text("11:cpu:/x\n4:memory:/a\n")
    write(system / "memory/a", memory__limit_in_bytes=8 * GB, memory__usage_in_bytes=5 * GB)
    assert hardware.available_memory() == 3 * GB


def test_the_limit_of_the_process_counts(system, monkeypatch):
    used = psutil.Process().memory_info().vms
    monkeypatch.setattr(resource, "getrlimit", lambda _: (used + GB, used + GB))
    assert hardware.available_memory() <= 1.1 * GB


def test_it_is_never_below_nothing(system):
    (system / "own").write_text("0::/\n")
    write(system, memory__max=GB, memory__current=2 * GB)
    assert hardware.available_memory() == 0


def test_this_machine_tells():
    assert 0 < hardware.available_memory() <= psutil.virtual_memory().total


def test_the_peak_is_that_of_the_time_since_it_was_forgotten():
    block = bytearray(60 << 20)
    assert hardware.peak_memory() >= hardware.used_memory() > len(block)
    high = hardware.peak_memory()
    del block
    hardware.release_memory()
    hardware.reset_peak_memory()
    low = hardware.peak_memory()
    assert low < high - (30 << 20)
    again = bytearray(40 << 20)
    assert hardware.peak_memory() > low + len(again) // 2


def test_where_the_system_does_not_tell_the_peak_since_it_is_that_of_the_whole_life(tmp_path, monkeypatch):
    monkeypatch.setattr(hardware, "_OWN_STATUS", tmp_path / "none")
    monkeypatch.setattr(hardware, "_CLEAR_REFS", tmp_path / "nowhere" / "none")
    hardware.reset_peak_memory()
    # The system counts pages in batches: two counts of the same memory may differ by some of them.
    assert hardware.peak_memory() > 0.95 * hardware.used_memory() > 1 << 20


def test_what_nothing_uses_is_given_back():
    many = [bytes(50_000) for _ in range(2_000)]
    kept = many[1::2]  # gaps below the top of the heap, which would not be given back by themselves
    del many
    before = hardware.used_memory()
    hardware.release_memory()
    assert hardware.used_memory() < before - (20 << 20) and len(kept) == 1_000
