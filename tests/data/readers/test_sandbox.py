"""A parser that loops, crashes, eats memory or calls home costs its file and nothing else."""

import os
import subprocess
import sys
import time
from datetime import date, datetime
from decimal import Decimal

import psutil
import pytest

from azubi.data.readers.row import Unreadable, Unusable
from azubi.data.readers.sandbox import Sandbox, decode_cell, encode_cell
from tests.data.readers.formats import FORMS
from tests.data.readers.test_documents import spoiled
from tests.data.readers.writing import refused

PARSERS = """
import os, socket

def count(to):
    yield from range(to)

def loop():
    while True: pass

def eat():
    yield len(b"x" * 3_000_000_000)

def crash():
    os.abort()

def fail():
    yield "before"
    raise KeyError("a\\nb")

def call_home():
    socket.create_connection(("127.0.0.1", 9), timeout=1)

def chatter():
    print("no message", flush=True)
    yield "x" * 5_000_000
"""


@pytest.fixture
def sandbox(tmp_path, monkeypatch):
    monkeypatch.setattr("azubi.data.readers.sandbox.SECONDS", 2)
    (tmp_path / "parsers.py").write_text(PARSERS)
    monkeypatch.syspath_prepend(tmp_path)
    with Sandbox(2 * 10**9, ["json"]) as sandbox:
        yield sandbox


def test_what_the_parser_yields(sandbox):
    assert list(sandbox.call("parsers:count", to=300_000)) == list(range(300_000))
    assert [len(text) for text in sandbox.call("parsers:chatter")] == [5_000_000]
    assert next(sandbox.call("parsers:count", to=10_000_000)) == 0
    assert list(sandbox.call("parsers:count", to=2)) == [0, 1]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("loop", "within 2 s"),
        ("eat", "memory that limits.memory allows"),
        ("crash", "makes the parser crash"),
        ("fail", "cannot be read: 'a"),
        ("call_home", "files are read without a network"),
        ("missing", "cannot be read: module 'parsers' has no attribute"),
    ],
)
def test_faults_are_said_and_the_next_call_goes_on(sandbox, name, reason):
    with pytest.raises(Unusable, match=reason):
        list(sandbox.call(f"parsers:{name}"))
    assert list(sandbox.call("parsers:count", to=2)) == [0, 1]


@pytest.mark.parametrize(
    ("cell", "read"),
    [
        (None, None),
        ("\ud800", "\ud800"),
        (True, True),
        (2**80, 2**80),
        (date(2024, 2, 3), date(2024, 2, 3)),
        (datetime(2024, 2, 3, 4), datetime(2024, 2, 3, 4)),
        (Decimal("1.10"), 1.1),
        ([date(2024, 2, 3)], ["2024-02-03"]),
        ({"a": 1}, {"a": 1}),
        ([float("nan")], Unreadable("a record or list holds nan, which JSON does not have")),
        (b"\xff", Unreadable("a value is 1 bytes of binary data (FF…), not text")),
    ],
)
def test_cells(cell, read):
    assert decode_cell(encode_cell(cell)) == read


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """Parsers that loop, eat or crash where they are told so, in the processes that are started."""
    folder = tmp_path / "trap"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import os, sys\n"
        "from azubi.data.readers import content, tables\n"
        "def fall(data, *_):\n"
        "    if data == b'loop':\n"
        "        while True: pass\n"
        "    if data == b'eat':\n"
        "        return 'x' * 3_000_000_000\n"
        "    if data == b'crash':\n"
        "        os.abort()\n"
        "    return data.decode()\n"
        "content.KINDS['.txt'] = fall\n"
        "tables._open = tables._open_sheets = lambda _: fall(os.environb[b'TRAP'])\n"
    )
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *filter(None, sys.path)]))


def test_a_document_costs_itself(file, tmp_path, trap, monkeypatch):
    monkeypatch.setattr("azubi.data.readers.sandbox.SECONDS", 2)
    reasons = spoiled({"a.txt": "loop", "b.txt": "eat", "c.txt": "crash"}, file, tmp_path)
    assert "within 2 s" in reasons["a.txt"]
    assert "memory" in reasons["b.txt"] and "memory" in reasons["c.txt"]


@pytest.mark.parametrize("kind", ["xlsx", "parquet"])
@pytest.mark.parametrize("name", ["loop", "eat", "crash"])
def test_a_table_is_refused(kind, name, tmp_path, trap, monkeypatch):
    monkeypatch.setenv("TRAP", name)
    monkeypatch.setattr("azubi.data.readers.sandbox.SECONDS", 2)
    path = FORMS[kind].write(tmp_path, ["a"], ["x"])["data"]
    error = refused(path)
    assert ("within 2 s" if name == "loop" else "limits.memory") in error.problem


def test_the_process_ends_though_nobody_is_left_to_end_it(file, trap):
    code = (
        "import sys\n"
        "from azubi.data.readers import sandbox as module\n"
        "module.SECONDS = 1\n"
        "sandbox = module.Sandbox(10**9, [])\n"
        "sandbox._start()\n"
        "module.SECONDS = 60\n"
        "print(sandbox._process.pid, flush=True)\n"
        "extract = 'azubi.data.readers.content:extract'\n"
        "list(sandbox.call(extract, path=sys.argv[1], encoding=None, guess=True))\n"
    )
    reading = subprocess.Popen(
        [sys.executable, "-c", code, str(file("loop", "loop.txt"))], stdout=subprocess.PIPE
    )
    assert reading.stdout is not None
    process = psutil.Process(int(reading.stdout.readline()))
    time.sleep(1)  # the document is being read
    reading.kill()
    reading.communicate()
    assert process.is_running()
    until = time.monotonic() + 60
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until
        time.sleep(0.2)
