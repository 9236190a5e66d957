"""The measurement of a service runs from beginning to end on a tiny base, and its figures add up."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks import serving
from benchmarks.serving import Timing


def test_a_timing_counts_requests_tokens_and_the_late_ones():
    timing = Timing(10.0, [1.0] * 19 + [9.0], 400)
    assert timing.row == ["2.00", "40.0", "1.000", "9.000"]


def test_what_waits_for_others_waited():
    done = serving._generated(lambda texts, longest: len(texts), [["a", "b", "c"]], 5, together=False)
    assert done.tokens == 3 and sorted(done.latencies) == list(done.latencies)
    assert len(set(serving._generated(lambda *_: 1, [["a", "b"]], 5, together=True).latencies)) == 1


def test_every_part_runs_on_a_tiny_base(bases, tmp_path, capsys, monkeypatch):
    short = {kind: (contract, 12) for kind, (contract, _) in serving.CONTRACTS.items()}
    monkeypatch.setattr(serving, "CONTRACTS", short)
    # Not in processes of their own: what is taken means nothing then, and need not.
    monkeypatch.setattr(serving, "ProcessPoolExecutor", lambda *_, **__: ThreadPoolExecutor(1))
    small = ["--home", str(tmp_path), "--base", str(bases.decoder), "--threads", "1", "--tail-layers", "2"]
    small += ["--clients", "1", "2", "--requests", "1", "--question", "4", "--document", "20"]
    programs = ["azubi", "Transformers, batched"]
    parts = ["speed", "documents", "memory"]
    serving.main([*parts, *small, "--specialists", "2", "--programs", *programs])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(rows) == (2 + 3 * 2 * 2) + (2 + 3) + (2 + 5)
    assert sum("| azubi |" in row for row in rows) == 6
    with pytest.raises(SystemExit):
        serving.main(["--programs", "nobody"])
