"""Results as a cell leaves them, without running one."""

from benchmarks.cells import Cell, Method

OURS = Method("azubi", "", "tiny", (1e-3,), (("batch", 8),), seeds=2)
BASELINE = Method("a baseline", "trl_lora", "tiny", (1e-4, 1e-3, 1e-2), modes=("float32",))
CELL = Cell("tiny-lora", "set-up", "tiny", 40, 20, 2, (OURS,), BASELINE, faster=5, memory=1 / 3)


def run(began, ended, seconds=10.0, score=0.8, **more):
    """One run of a side, from minute to minute."""
    return {
        "began": f"2026-01-01T10:{began:02}:00+00:00",
        "ended": f"2026-01-01T10:{ended:02}:00+00:00",
        "seconds_to_best": seconds,
        "seconds": seconds + 1,
        "peak_bytes": 1000,
        "scores": [{"name": "accuracy", "value": score}],
        "versions": {"torch": "2", "azubi": "0"},
        "threads": 1,
        "method": "azubi",
        **more,
    }


HERE = {"cpu": "a processor", "cores": 2, "threads": 1, "memory_gib": 8, "system": "Linux", "commit": "abc"}
"""What `machine.identity` says where these results were made."""


def result(ours=None, baseline=None):
    """A cell's result: two runs of ours, one of the baseline's."""
    return {
        "machine": HERE | {"python": "3.11"},
        "began": "2026-01-01T10:00:00+00:00",
        "mode": "float32",
        "ours": ours or [run(0, 1, 10.0, 0.8), run(1, 2, 14.0, 0.9)],
        "baseline": baseline or [run(3, 9, 120.0, 0.8, peak_bytes=4000)],
    }
