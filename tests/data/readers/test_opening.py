"""Packed files, standard input, and what is damaged or unfolds to too much."""

import gzip
import io
import os
import subprocess
import sys
import threading
from functools import partial

import pyarrow
import pytest
from pyarrow import parquet

from azubi.data.readers.reading import read, stream
from azubi.data.readers.source import Source
from azubi.settings import Recipe
from tests.data.readers.writing import lines, pairs, refused

ROWS = lines({"prompt": "a", "answer": "x"}, {"prompt": "ä", "answer": "y"})
PACK = {"gz": gzip.compress, "zst": partial(pyarrow.compress, codec="zstd", asbytes=True)}


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("name", ["a.jsonl.", "a.json", "a.csv."])
def test_packed_files_are_taken_as_they_are(file, kind, name):
    text = "prompt,answer\na,x\nä,y\n" if "csv" in name else ROWS
    path = file(PACK[kind](text.encode()), name + kind if name.endswith(".") else name)
    assert pairs(read(path)) == [("a", "x"), ("ä", "y")]


@pytest.mark.parametrize("kind", PACK)
def test_formats_read_from_their_end_may_be_packed_too(file, kind):
    out = io.BytesIO()
    parquet.write_table(pyarrow.table({"prompt": ["a"], "answer": ["x"]}), out)
    assert pairs(read(file(PACK[kind](out.getvalue()), "a.parquet"))) == [("a", "x")]


def test_several_packed_parts_in_a_row(file):
    for kind in PACK.values():
        parts = b"".join(kind(line.encode()) for line in ROWS.splitlines(True))
        assert len(read(file(parts)).examples) == 2


@pytest.mark.parametrize("kind", PACK)
def test_a_packed_file_that_breaks_off(file, kind):
    packed = PACK[kind](lines(*({"prompt": f"a{i}", "answer": "x"} for i in range(5_000))).encode())
    error = refused(file(packed[: len(packed) // 2]))
    assert "breaks off after" in error.problem and "damaged" in error.remedy


@pytest.mark.parametrize("kind", PACK)
def test_a_bomb_is_not_unfolded(file, kind, monkeypatch):
    monkeypatch.setattr("azubi.data.readers.opening.MOST_BYTES", 1_000_000)
    bomb = PACK[kind](b"prompt,answer\n" + b"a,x\n" * 5_000_000)
    assert len(bomb) < 100_000
    error = refused(file(bomb, "a.csv"))
    assert "unfolds to more than 1,000,000 bytes" in error.problem


def test_standard_input_without_a_file_behind_it(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(ROWS.encode()))))
    assert pairs(read("-")) == [("a", "x"), ("ä", "y")]


def test_standard_input_from_a_pipe():
    code = "from azubi.data.readers.reading import read; print(len(read('-').examples))"
    done = subprocess.run([sys.executable, "-c", code], input=ROWS.encode(), capture_output=True, timeout=60)
    assert done.stdout.strip() == b"2", done.stderr


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_pipe_with_a_name_is_read_once(tmp_path, pack):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    content = pack(b"prompt,answer\n" + b"a,x\n" * 500_000)
    writing = threading.Thread(target=path.write_bytes, args=(content,))
    writing.start()
    assert not Source.of(Recipe(data=path)).is_file
    assert sum(1 for _ in stream(path)) == 500_000
    writing.join()


def test_a_line_of_200_mb_is_left_out_and_the_rest_goes_on(tmp_path):
    import resource

    path = tmp_path / "a.jsonl"
    with path.open("wb") as out:
        out.write(ROWS.encode() * 20 + b'{"prompt": "')
        for _ in range(200):
            out.write(b"x" * 1_000_000)
        out.write(b'"}\n' + ROWS.encode())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reading = read(path)
    assert len(reading.examples) == 42
    assert "has 200,000,015 bytes" in reading.rejected[0].reason and reading.rejected[0].line == 41
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 60_000_000


def test_too_many_rows(file, monkeypatch):
    monkeypatch.setattr("azubi.data.readers.source.MOST_ROWS", 10)
    assert "more than 10 rows" in refused(file(ROWS * 6)).problem
