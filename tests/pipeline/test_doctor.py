"""azubi doctor: what is measured and looked up, and what is said of it."""

import json
from types import SimpleNamespace

import pytest
import torch
from transformers import AttentionInterface

from azubi.cli import main
from azubi.engine import selftest
from azubi.engine.base import catalog, hardware
from azubi.engine.model import attention
from azubi.pipeline import doctor
from azubi.pipeline.doctor import examine


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """A good machine, whatever this one is: two cores, bfloat16, room enough."""
    before = torch.get_num_threads()
    speeds = {torch.float32: 80.0, torch.bfloat16: 200.0}
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(hardware, "matmul_speed", lambda dtype, *_: speeds[dtype])
    monkeypatch.setattr(hardware, "usable_cores", lambda: 2)
    monkeypatch.setattr(hardware, "physical_cores", lambda: 2)
    monkeypatch.setattr(hardware, "available_memory", lambda: 20 * 10**9)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=50 * 10**9))
    monkeypatch.setattr(catalog.CatalogEntry, "whole", lambda entry, home: True)
    yield speeds
    torch.set_num_threads(before)


def test_a_good_machine(home, capsys):
    report = examine(home)
    assert report.dtype == "bfloat16" and report.threads == 2 and report.issues == ()
    assert report.gflops == {"float32": 80.0, "bfloat16": 200.0}
    assert not home.exists(), "looking leaves nothing behind"
    assert main(["doctor", "--home", str(home)]) == 0
    out = capsys.readouterr().out
    assert "bfloat16 200 GFLOP/s (used), float32 80 GFLOP/s" in out and "Nothing stands in the way." in out
    assert "20 GB free for azubi" in out and "50 GB free on its disk" in out


def test_as_json(home, capsys):
    assert main(["doctor", "--home", str(home), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (
        document["dtype"] == "bfloat16" and document["bases"]["minilm"] is True and document["issues"] == []
    )


def test_a_processor_without_bfloat16(home, machine, capsys):
    machine[torch.bfloat16] = 1.0
    assert main(["doctor", "--home", str(home)]) == 0
    out = capsys.readouterr().out
    assert "float32 80 GFLOP/s (used), bfloat16 1 GFLOP/s" in out
    assert "Mind: This processor computes bfloat16 no faster" in out


def test_threads_that_the_environment_cuts(home, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (issue,) = examine(home).issues
    assert "on 1 of the 2 cores that it may use, since OMP_NUM_THREADS" in issue.problem and not issue.stops


def test_a_home_that_cannot_be_written_stops_all(tmp_path, capsys, monkeypatch):
    def closed(dir):
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", closed)
    assert main(["doctor", "--home", str(tmp_path / "h")]) == 1
    out = capsys.readouterr().out
    assert f"To mend: {tmp_path / 'h'} may not be written (Permission denied)." in out and "--home" in out


def test_little_room(home, monkeypatch):
    monkeypatch.setattr(hardware, "available_memory", lambda: 10**9)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=2 * 10**9))
    disk, free = examine(home).issues
    assert disk.problem.startswith("2.0 GB are free on the disk") and not disk.stops
    assert free.problem.startswith("1.0 GB of memory are free") and not free.stops


def test_a_missing_base_stops_only_if_there_is_no_other(home, monkeypatch, capsys):
    monkeypatch.setattr(catalog.CatalogEntry, "whole", lambda entry, home: "smol" not in entry.name)
    (problem,) = examine(home).issues
    assert "smollm2-135m" in problem.problem and "azubi bases get" in problem.remedy and not problem.stops
    monkeypatch.setattr(catalog.CatalogEntry, "whole", lambda entry, home: False)
    assert [issue.stops for issue in examine(home).issues] == [True] * len(catalog.known())
    assert main(["doctor", "--home", str(home)]) == 1
    assert "minilm (missing or damaged)" in capsys.readouterr().out


def test_a_damaged_base_is_noticed(tmp_path, monkeypatch):
    monkeypatch.undo()
    entry = catalog.find("minilm")
    assert entry is not None and entry.whole(tmp_path)
    path = entry.folder(tmp_path) / entry.module / entry.file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half a download")
    assert not entry.whole(tmp_path)


def test_what_the_cache_holds_is_counted(home):
    (home / "cache" / "a").mkdir(parents=True)
    (home / "cache" / "a" / "shard").write_bytes(bytes(1000))
    assert examine(home).activations == 1000


@pytest.fixture
def few(monkeypatch):
    """A decoder with a window and an encoder, cut in two ways."""
    monkeypatch.setattr(
        selftest, "FAMILIES", {name: selftest.FAMILIES[name] for name in ("gemma3_text", "bert")}
    )
    monkeypatch.setattr(selftest, "CUTS", ((2, 2), (2, 1)))


def test_a_cut_model_is_compared_with_the_whole_one(few, home, capsys):
    assert main(["doctor", "--selftest", "--device", "cpu", "--home", str(home)]) == 0
    out = capsys.readouterr().out
    assert out.count(" same") == 4 and "DIFFERS" not in out
    assert "On cpu a cut and cached model computes what the whole one does" in out
    assert not home.exists()


def test_a_comparison_that_fails_is_named(few, monkeypatch, capsys):
    def unmasked(module, query, key, value, attention_mask, *args, **kwargs):
        return attention.attend(module, query, key, value, None, *args, **kwargs)

    # Taken in bfloat16 alone.
    monkeypatch.setitem(AttentionInterface._global_mapping, attention.NAME, unmasked)
    assert main(["doctor", "--selftest", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    failed = {(result["family"], result["dtype"]): result["failed"] for result in document["results"]}
    assert not document["passed"] and "gradients" in failed.pop(("gemma3_text", "bfloat16"))
    assert failed.pop(("bert", "bfloat16")) and not any(failed.values())


def test_what_a_device_cannot_do_is_told(few, monkeypatch, capsys):
    def broken(*_):
        raise RuntimeError("tensors on two devices, cuda:0 and cpu")
        yield

    monkeypatch.setattr(selftest, "_compare", broken)
    assert main(["doctor", "--selftest"]) == 1
    out = capsys.readouterr().out
    assert out.count("DIFFERS") == 4 and "RuntimeError: tensors on two devices, cuda:0 and cpu" in out
    assert "cannot be relied on" in out and "eport this table" in out
