"""Every reader on spoiled seeds: it refuses what it cannot read with a sentence, and never otherwise."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.readers import READERS

SEEDS = {name: seeds() for name, (_, seeds) in READERS.items()}
spoil = st.lists(
    st.tuples(
        st.sampled_from(("change", "insert", "cut", "repeat")),
        st.floats(0, 1, exclude_max=True),
        st.binary(min_size=1, max_size=6)
        | st.sampled_from([b'"', b"\n", b"\0", b"{", b"]", b"\xff", b"<", b"&"]),
    ),
    max_size=6,
)


def spoiled(data, steps):
    for step, share, piece in steps:
        at = int(share * len(data))
        match step:
            case "change":
                data = data[:at] + piece + data[at + len(piece) :]
            case "insert":
                data = data[:at] + piece + data[at:]
            case "cut":
                data = data[:at] + data[at + 10 * len(piece) :]
            case "repeat":
                data = data[:at] + data[at : at + 50] * 3 + data[at:]
    return data


@pytest.mark.parametrize("name", READERS)
def test_spoiled_seeds(name):
    @settings(
        max_examples=15 if name in ("docx", "workbook", "pdf") else 60,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(st.sampled_from(SEEDS[name]), spoil)
    def check(seed, steps):
        READERS[name][0](spoiled(seed, steps))

    check()


@pytest.mark.parametrize("name", ["csv", "jsonl", "list", "packed", "parquet", "workbook"])
def test_any_bytes(name):
    @settings(max_examples=40, deadline=None)
    @given(
        st.sampled_from([b"", b"PAR1", b"PK\x03\x04", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"[", b"a,b\n"]),
        st.binary(),
    )
    def check(start, data):
        READERS[name][0](start + data)

    check()
