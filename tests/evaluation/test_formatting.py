import pytest

from azubi.evaluation.formatting import amount, difference_text, duration, headline, percent, spread
from azubi.evaluation.metrics import Difference
from azubi.events.score import Score


def plain(text: str) -> str:
    return text.replace("\u00a0", " ").replace("\u2013", "-").replace("\u2212", "-")


def score(name: str, value: float, low: float, high: float, n: int = 120) -> Score:
    return Score(name=name, value=value, low=low, high=high, n=n)


def test_headline() -> None:
    ours, theirs = score("accuracy", 0.87, 0.80, 0.93), score("accuracy", 0.02, 0, 0.06)
    assert plain(headline("claims", [ours], [theirs])) == (
        "On 120 examples that neither had seen, claims got 87 % right (80-93 %), "
        "the untouched base 2 % (0-6 %)."
    )
    assert plain(headline("claims", [ours])) == (
        "On 120 examples that it had not seen, claims got 87 % right (80-93 %)."
    )
    assert "of the records completely right" in headline("claims", [score("record_exact", 0.5, 0.4, 0.6)])
    assert "close to the right wording" in headline("claims", [score("chrf", 0.5, 0.4, 0.6)])


@pytest.mark.parametrize(
    ("value", "n", "text"),
    [
        (0.874, 120, "87 %"),
        (0.9308, 3_080, "93.1 %"),
        (0.9999, 120, "99.9 %"),
        (0.0004, 120, "0.1 %"),
        (1.0, 5_000, "100 %"),
        (0.0, 120, "0 %"),
    ],
)
def test_a_share_is_never_rounded_to_all_or_nothing(value: float, n: int, text: str) -> None:
    assert plain(percent(value, n)) == text


def test_spread_has_the_same_decimals_at_both_ends() -> None:
    assert plain(spread(0.917, 0.992)) == "91.7-99.2 %"
    assert plain(spread(0.80, 0.93)) == "80-93 %"


@pytest.mark.parametrize(
    ("value", "low", "high", "words"),
    [
        (0.85, 0.78, 0.91, "better by 85 points (95 % interval 78 to 91)"),
        (-0.06, -0.09, -0.02, "worse by 6 points (95 % interval 2 to 9)"),
        (0.03, -0.02, 0.08, "+3 points (95 % interval -2 to +8) may be chance"),
    ],
)
def test_difference_says_no_more_than_it_knows(value: float, low: float, high: float, words: str) -> None:
    difference = Difference(name="accuracy", value=value, low=low, high=high, n=120)
    assert words in plain(difference_text(difference))


def test_lengths_and_amounts() -> None:
    lengths = [plain(duration(s)) for s in (0.42, 12.3, 252, 7_500)]
    assert lengths == ["0.4 s", "12 s", "4 min 12 s", "2 h 5 min"]
    assert [amount(n) for n in (9_216, 134_515_008, 7_000_000_000)] == [
        "9,216",
        "134.5 million",
        "7.0 billion",
    ]
