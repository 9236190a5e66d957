"""Numbers, times and sizes as a person reads them."""

import pytest

from azubi.cli import formatting
from azubi.events.figures import Score


def test_interval():
    score = Score(name="accuracy", value=0.87, low=0.8, high=0.93, n=100)
    assert formatting.interval(score) == "87 % (80–93 %)"


def test_words_that_the_report_shares_have_plain_spaces():
    assert formatting.percent(0.9305, 3080) == "93.0 %"
    assert formatting.duration(190) == "3 min 10 s"
    assert formatting.metric("field:team") == "  team"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "time left: measuring"),
        (2, "a few seconds left"),
        (9, "about 10 s left"),
        (72, "about 70 s left"),
        (361, "about 6 min left"),
        (7900, "about 2 h 15 min left"),
        (7199, "about 2 h 00 min left"),
    ],
)
def test_time_left(seconds, text):
    assert formatting.time_left(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 bytes"), (1500, "1.5 kB"), (113_300_000, "113 MB"), (999_900_000, "1.0 GB"), (2e9, "2.0 GB")],
)
def test_size(number, text):
    assert formatting.size(int(number)) == text


def test_shorten_cuts_between_words():
    assert formatting.shorten("one two three", 9) == "one two…"
    assert formatting.shorten("x" * 20, 5) == "xxxx…"
    assert formatting.shorten("short", 5) == "short"


def test_clean_keeps_lines_and_takes_out_control_codes():
    assert (
        formatting.clean("a\r\nb\tc\x1b[1m\u202e")
        == "a\nb   c\N{REPLACEMENT CHARACTER}[1m\N{REPLACEMENT CHARACTER}"
    )
