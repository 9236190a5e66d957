"""Texts and numbers in both languages, and the sentences made of them."""

import string

import pytest

from azubi.evaluation import summary
from azubi.evaluation.statistics import Difference
from azubi.events.figures import Score
from azubi.locale.locale import Lang, Locale, catalogue

ENGLISH, GERMAN = Locale("en"), Locale("de")


def plain(text: str) -> str:
    return text.translate({0xA0: " ", 0x2060: None, 0x2013: "-", 0x2212: "-"})


def score(name: str, value: float, low: float, high: float, n: int = 120) -> Score:
    return Score(name=name, value=value, low=low, high=high, n=n)


def texts(lang: Lang) -> dict[str, str]:
    """The texts of a language by key; of those with a singular and a plural, both."""
    messages = {}
    for message in catalogue(lang):
        if isinstance(message.id, str):
            messages[message.id] = str(message.string)
        else:
            messages |= {f"{message.id[0]}[{number}]": text for number, text in enumerate(message.string)}
    return {key: text for key, text in messages.items() if key}


def test_both_languages_have_the_same_texts_with_the_same_values() -> None:
    english, german = texts("en"), texts("de")
    assert english.keys() <= german.keys()
    for key, text in english.items():
        if not key.startswith("achieved.") and not key.endswith("[0]"):
            gaps = [
                {name for _, name, _, _ in string.Formatter().parse(t) if name} for t in (text, german[key])
            ]
            assert gaps[0] == gaps[1], key


def test_a_text_that_no_catalogue_has_is_an_error() -> None:
    with pytest.raises(KeyError):
        ENGLISH.text("no such text")
    assert ENGLISH.who("somebody") == "somebody" and GERMAN.kind("") == "alle"


def test_numbers_as_each_language_writes_them() -> None:
    assert (ENGLISH.count(12_345), GERMAN.count(12_345)) == ("12,345", "12.345")
    assert (ENGLISH.number(1234.5, 1), GERMAN.number(-0.25)) == ("1,234.5", "\u22120,25")
    assert (ENGLISH.points(0.034), GERMAN.points(-0.12)) == ("+3.4", "\u221212")
    assert (ENGLISH.points(0.0), GERMAN.points(-0.0004)) == ("0", "0")
    assert (ENGLISH.p(0.0001), GERMAN.p(0.0123)) == ("<\u00a00.001", "0,012")
    assert (ENGLISH.duration(0.004), GERMAN.duration(3725)) == ("4\u00a0ms", "1\u00a0Std. 2\u00a0min")
    assert (ENGLISH.about(4607), ENGLISH.money(0.0267, "EUR")) == ("4,600", "0.0267\u00a0EUR")
    assert (GERMAN.money(0.00001, "EUR"), GERMAN.money(12.5, "EUR")) == (
        "<\u00a00,0001\u00a0EUR",
        "12,50\u00a0EUR",
    )
    assert (ENGLISH.confidence(0.9589), ENGLISH.significant(0.0005, 2)) == ("0.958", "0.0005")
    assert (ENGLISH.date("2026-11-22"), GERMAN.date("2026-11-22")) == (
        "22 November 2026",
        "22. November 2026",
    )
    assert (ENGLISH.memory(1_100_000_000), ENGLISH.memory(0)) == ("1,100\u00a0MB", "\u2013")
    assert (ENGLISH.plural("n.examples", 1), GERMAN.plural("n.examples", 2_000)) == (
        "1 example",
        "2.000 Beispiele",
    )


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
    assert plain(ENGLISH.percent(value, n)) == text
    assert plain(GERMAN.percent(value, n)) == text.replace(".", ",")


def test_spread_has_the_same_decimals_at_both_ends() -> None:
    assert plain(ENGLISH.span(0.917, 0.992)) == "91.7-99.2 %"
    assert plain(GERMAN.span(0.80, 0.93)) == "80-93 %"


def test_lengths_and_amounts() -> None:
    lengths = [plain(ENGLISH.duration(s)) for s in (0.42, 12.3, 252, 7_500)]
    assert lengths == ["0.4 s", "12 s", "4 min 12 s", "2 h 5 min"]
    amounts = [plain(ENGLISH.amount(n)) for n in (9_216, 134_515_008, 7_000_000_000)]
    assert amounts == ["9,216", "134.5 million", "7 billion"]
    assert plain(GERMAN.amount(134_515_008)) == "134,5 Millionen"


def test_headline() -> None:
    ours, theirs = score("accuracy", 0.87, 0.80, 0.93), score("accuracy", 0.02, 0, 0.06)
    assert plain(summary.headline(ENGLISH, "claims", [ours], [theirs])) == (
        "On 120 examples that neither had seen, claims got 87 % right (80-93 %), "
        "the untouched base 2 % (0-6 %)."
    )
    assert plain(summary.headline(ENGLISH, "claims", [ours])) == (
        "On 120 examples that it had not seen, claims got 87 % right (80-93 %)."
    )
    assert plain(summary.headline(GERMAN, "claims", [ours], [theirs])) == (
        "Bei 120 Beispielen, die keiner von beiden kannte, lag claims in 87 % der Fälle richtig (80-93 %); "
        "beim unveränderten Basismodell sind es 2 % (0-6 %)."
    )
    records, text = score("record_exact", 0.5, 0.4, 0.6), score("chrf", 0.5, 0.4, 0.6)
    assert "of the records completely right" in summary.headline(ENGLISH, "claims", [records])
    assert "close to the right wording" in summary.headline(ENGLISH, "claims", [text])


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
    assert words in plain(summary.difference(ENGLISH, difference))


@pytest.mark.parametrize(
    ("tail_layers", "rank", "words", "german"),
    [
        (0, 0, "a label head alone; no layer of the base", "nur ein Klassifikationskopf"),
        (1, 0, "all weights of the last of 30 layers", "alle Gewichte in der letzten von 30 Schichten"),
        (8, 16, "LoRA factors of rank 16 in the last 8 of 30 layers", "in den letzten 8 von 30 Schichten"),
        ("all", 0, "all weights of all 30 layers", "alle Gewichte in allen 30 Schichten"),
    ],
)
def test_what_was_trained_in_words(tail_layers: int, rank: int, words: str, german: str) -> None:
    assert summary.trained_weights(ENGLISH, tail_layers, 30, rank) == words
    assert german in summary.trained_weights(GERMAN, tail_layers, 30, rank)


@pytest.mark.parametrize(
    ("prompt_layers", "words", "german"),
    [
        (None, "layers", "Schichten"),
        (8, "layers", "Schichten"),
        (4, "; in the last 4 layers they act on the prompt, too", "in den letzten 4 Schichten wirken sie"),
        (1, "; in the last layer they act on the prompt, too", "in der letzten Schicht wirken sie auch"),
        (0, "; they act on the answer alone: the base reads the prompt", "nur auf die Antwort"),
    ],
)
def test_where_the_base_reads_the_prompt_it_is_said(
    prompt_layers: int | None, words: str, german: str
) -> None:
    sentence = summary.trained_weights(ENGLISH, 8, 30, 0, prompt_layers)
    assert sentence == f"all weights of the last 8 of 30 {'layers' if ';' in words else ''}{words}"
    assert german in summary.trained_weights(GERMAN, 8, 30, 0, prompt_layers)
