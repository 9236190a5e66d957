"""The tables: ratios, aims met and missed, what is not measured."""

from dataclasses import replace

import pytest

from benchmarks import data, table
from benchmarks.store import Store
from tests.benchmarks.cells import CELL, HERE, OURS, result, run


@pytest.fixture(autouse=True)
def tiny_source(monkeypatch):
    monkeypatch.setitem(data.SOURCES, "tiny", data.Source("tiny", "labels", None, lambda *_: ([], [])))


def test_figures_are_those_of_the_middle_seed_and_the_mean_score():
    values = table.figures(CELL, OURS, result())
    assert (values.ours_seconds, values.baseline_seconds) == (12, 120)
    assert values.faster == pytest.approx(10)
    assert values.gain == pytest.approx(0.05)
    assert values.memory == pytest.approx(0.25)


def test_a_search_counts_all_of_ours_and_scales_the_baseline():
    cell = replace(CELL, trials=20)
    values = table.figures(
        cell, OURS, result([run(0, 1)] * 1 + [run(1, 2)] * 1, [run(2, 3, 100), run(3, 4, 200)])
    )
    assert values.ours_seconds == 22
    assert values.baseline_seconds == 151 * 20


def test_a_result_whose_sides_ran_apart_gives_no_ratio():
    with pytest.raises(ValueError, match="back to back"):
        table.figures(CELL, OURS, result(baseline=[run(40, 50)]))


def test_the_table_tells_what_is_met_and_what_is_not(tmp_path):
    store = Store(tmp_path, HERE)
    slow = replace(CELL, name="slow")
    store.write(CELL, result())
    store.write(slow, result(baseline=[run(3, 4, 24.0, 0.99, peak_bytes=1500)]))
    text = table.render([CELL, slow], store)
    met, missed = [line for line in text.splitlines() if "a baseline" in line]
    assert "10.0× | ≥ 5× ✓ | 85.0 against 80.0 %" in met
    assert "0.25 ✓" in met
    assert "2.0× | ≥ 5× ✗ | 85.0 against 99.0 %" in missed
    assert "0.67 ✗" in missed
    assert "a processor" in text
    assert "2026-01-01" in text


def test_shares_of_the_peak_have_their_own_table(tmp_path):
    store = Store(tmp_path, HERE)
    shares = {
        "dtype": "float32",
        "peak_gflops": 150.0,
        "trunk_share": 0.8,
        "tail_share": 0.5,
        "unmastered": 0.3,
    }
    store.write(CELL, result(ours=[run(0, 1, **shares)]))
    text = table.render([CELL], store)
    assert "80 % | ≥ 75 % ✓ | 50 % | ≥ 60 % ✗ | 30 %" in text


def test_what_is_not_measured_is_named(tmp_path, monkeypatch):
    lacking = data.Source("tiny", "labels", None, lambda *_: ([], []), ("nowhere.csv",))
    text = table.render([CELL], Store(tmp_path, HERE))
    assert "tiny-lora: not measured yet" in text
    monkeypatch.setitem(data.SOURCES, "tiny", lacking)
    assert "tiny-lora: skipped, nowhere.csv not found" in table.render([CELL], Store(tmp_path, HERE))


def test_a_table_takes_the_place_of_the_one_before(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- long, AMX -->\nold\n<!-- end of long, AMX -->\nafter\n")
    table.insert(page, "long, AMX", "new\n")
    assert page.read_text() == "before\n<!-- long, AMX -->\n\nnew\n\n<!-- end of long, AMX -->\nafter\n"
    with pytest.raises(ValueError, match="no place for the short, AMX table"):
        table.insert(page, "short, AMX", "new\n")


def test_methods_of_a_cell_have_a_row_each(tmp_path):
    store = Store(tmp_path, HERE)
    other = replace(OURS, name="azubi, j=0")
    cell = replace(CELL, ours=(OURS, other))
    runs = [run(0, 1, 20.0), run(1, 2, 5.0, method=other.name)]
    store.write(cell, result(ours=runs))
    rows = [row for row in table.render([cell], store).splitlines() if "a baseline" in row]
    assert "6.0×" in rows[0]
    assert "(azubi, j=0)" in rows[1]
    assert "24.0×" in rows[1]


def test_cells_that_did_not_choose_their_rates_are_named(tmp_path):
    store = Store(tmp_path, HERE)
    other = replace(CELL, name="other")
    store.write(CELL, result() | {"middle_rates": True})
    store.write(other, result() | {"middle_rates": False})
    assert "The middle one of three rates on both sides: tiny-lora.\n" in table.render([CELL, other], store)
