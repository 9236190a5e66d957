"""Cells on disk: kept whole, read back as they are defined now, refused if the sides cannot be compared."""

from dataclasses import replace

import pytest

from benchmarks.store import Store
from tests.benchmarks.cells import CELL, HERE, result, run


def test_a_cell_is_read_back(tmp_path):
    store = Store(tmp_path, HERE)
    assert store.read(CELL) is None
    store.write(CELL, result())
    stored = Store(tmp_path, HERE).read(CELL)
    assert stored is not None
    assert stored["baseline"] == result()["baseline"]


def test_a_cell_that_is_defined_otherwise_now_counts_as_not_measured(tmp_path):
    store = Store(tmp_path, HERE)
    store.write(CELL, result())
    assert store.read(replace(CELL, epochs=3)) is None


@pytest.mark.parametrize(
    ("ours", "baseline", "complaint"),
    [
        ([run(0, 1)], [run(9, 10)], "back to back"),
        ([run(5, 6)], [run(0, 1)], "back to back"),
        ([run(0, 1), run(20, 21)], [run(21, 22)], "back to back"),
        ([run(0, 1)], [run(1, 2, versions={"torch": "3"})], "different torch"),
        ([run(0, 1)], [run(1, 2, threads=4)], "different threads"),
    ],
)
def test_sides_that_cannot_be_compared_are_refused(tmp_path, ours, baseline, complaint):
    store = Store(tmp_path, HERE)
    with pytest.raises(ValueError, match=complaint):
        store.write(CELL, result(ours, baseline))
    assert store.read(CELL) is None


def test_a_side_that_is_missing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="both sides"):
        Store(tmp_path, HERE).write(CELL, result() | {"baseline": []})


def test_a_choice_holds_on_its_own_basis_only(tmp_path):
    store = Store(tmp_path, HERE)
    store.choose("rate", ["a", (1, 2)], 0.1, {"0.1": 3.0})
    assert store.choice("rate", ["a", (1, 2)])["chosen"] == 0.1
    assert store.choice("rate", ["a", (1, 3)]) is None
