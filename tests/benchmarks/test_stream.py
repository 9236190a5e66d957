"""The cells of the streaming benchmark, on a base of a few thousand weights."""

import json
from collections import namedtuple

import pytest
from safetensors.torch import load_file

from benchmarks import stream

TINY = dict(kind="llama", hidden=32, inner=64, layers=4, heads=4, keys=2, words=512, tied=False, tokens=2048)
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "SHAPES", {"tiny": TINY})
    monkeypatch.setattr(stream, "RESULTS", tmp_path / "results")
    return tmp_path / "work"


@pytest.fixture
def free(monkeypatch):
    """Say how many bytes are free."""
    return lambda size: monkeypatch.setattr(stream.shutil, "disk_usage", lambda _: Usage(0, 0, size))


@pytest.mark.parametrize("kind", stream.CELLS)
def test_each_cell_is_measured_and_stored(kind, work, capsys):
    stream.write_base("tiny", work / "tiny")
    assert len(list((work / "tiny").glob("*.safetensors"))) == 4 + 3  # words, norm and head are their own
    assert stream.main(["cell", "tiny", kind, "--folder", str(work)]) == 0
    result = json.loads(stream.stored("tiny", kind).read_text())
    assert result["seconds"] > 0 and result["memory"]["peak"] >= result["memory"]["bare"] > 0
    layer = sum(weight.nbytes for weight in load_file(next((work / "tiny").glob("*-00002-*"))).values())
    # Opening asks for the tail's two layers and the head, a pass for the trunk's two layers and the words.
    assert result["bytes_asked"] >= (2 if kind in ("lora", "full") else 4) * layer
    assert "| tiny |" in capsys.readouterr().out
    assert not (work / "home" / "checkpoint").exists()


def test_what_is_missing_on_disk_is_said(work, free, capsys):
    free(10**9)
    assert stream.main(["run", "tiny", "trunk", "--folder", str(work)]) == 1
    message = capsys.readouterr().err
    assert (
        "needs 2.0 GB" in message
        and "1.0 GB are free, so 1.0 GB are missing" in message
        and "--folder" in message
    )
    assert not work.exists()


def test_what_is_stored_is_not_measured_again(work, monkeypatch, capsys):
    for kind in stream.CELLS:
        stream.stored("tiny", kind).parent.mkdir(exist_ok=True)
        stream.stored("tiny", kind).write_text("{}")
    monkeypatch.setattr(stream.subprocess, "run", lambda *_: pytest.fail("nothing is to be run"))
    assert stream.main(["run", "--folder", str(work)]) == 0
    assert "tiny lora: stored" in capsys.readouterr().out


def test_a_base_that_was_left_half_written_makes_room(work, free):
    (work / ".tiny.left").mkdir(parents=True)
    free(0)
    assert stream.main(["run", "tiny", "trunk", "--folder", str(work)]) == 1
    assert list(work.iterdir()) == []


def test_a_cell_that_there_is_not_is_named(work, capsys):
    with pytest.raises(SystemExit):
        stream.main(["run", "tiny", "lore", "--folder", str(work)])
    assert "there is no cell lore" in capsys.readouterr().err
